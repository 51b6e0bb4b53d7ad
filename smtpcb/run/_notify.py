"""
What systemd is told of a service of ``Type=notify``, and ``notify-reload`` (sd_notify(3)).

Lines in a datagram to the UNIX socket that ``NOTIFY_SOCKET`` names.  Nobody else should speak for
us, so it is taken out of the environment before anybody is started: workers, and what a handler
runs.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from smtpcb._hangup import watch

_log = Logger(namespace="smtpcb")

READY = "READY=1"
STOPPING = "STOPPING=1"
RELOADING = "RELOADING=1"
ALIVE = "WATCHDOG=1"


class Notifier:
    """
    Tells the service manager how we are.

    :param address: of its socket; one that begins with ``@`` is abstract.
    :param watchdog_seconds: how long it waits for a sign of life; ``None``: it wants none.
    """

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds
        self._warned = False

    def say(self, *lines: str) -> None:
        """Send lines in one datagram.  What cannot be sent is logged once; we do without."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # It is our reactor that would wait.
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except (OSError, ValueError) as error:
            if not self._warned:
                self._warned = True
                _log.warn("the service manager cannot be told: {error}", error=str(error))

    def attend(self, reactor: Any) -> None:
        """
        Tell what happens to a process: that it is ready, reloads, lives and stops.

        :param reactor: which is not running yet; when it does, all ports are open, and all workers
            at work.
        """
        reactor.callWhenRunning(self._begin, reactor)
        reactor.addSystemEventTrigger("before", "shutdown", self.say, STOPPING)

    def _begin(self, reactor: Any) -> None:
        self.say(READY)
        watch(self._reloading)
        if self.watchdog_seconds is not None:
            # Half of it, as sd_watchdog_enabled(3) has it.  It is the reactor that must be alive.
            alive = LoopingCall(self.say, ALIVE)
            alive.clock = reactor
            alive.start(self.watchdog_seconds / 2, now=True)

    def _reloading(self, done: object) -> None:
        # systemd takes a READY for the answer to its SIGHUP only behind one of these that is
        # younger than the signal.
        self.say(RELOADING, f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        if isinstance(done, Deferred):
            done.addBoth(self._reloaded)
        else:
            self._reloaded(done)

    def _reloaded(self, outcome: object) -> object:
        self.say(READY)
        return outcome


def notifier_of(environment: MutableMapping[str, str]) -> Notifier | None:
    """
    Return who tells the service manager, if there is one, and take what it says of that out of the
    environment.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    microseconds = environment.pop("WATCHDOG_USEC", "")
    process = environment.pop("WATCHDOG_PID", "")
    if not address:
        return None
    if not address.startswith(("/", "@")):
        _log.warn("NOTIFY_SOCKET {address}: no UNIX socket; nobody is told", address=address)
        return None
    wanted = microseconds.isdecimal() and int(microseconds) and process in ("", str(os.getpid()))
    return Notifier(address, int(microseconds) / 1_000_000 if wanted else None)
