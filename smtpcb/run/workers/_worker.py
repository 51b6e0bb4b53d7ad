"""One of several processes that serve the same ports: what the supervisor starts."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread, Timer
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger, globalLogBeginner

from smtpcb._ending import LAST_WORDS_SECONDS
from smtpcb.run._timers import follow_no_clock
from smtpcb.run.options import ConfigurationError
from smtpcb.run.workers._reporter import Reporter
from smtpcb.run.workers._words import CUT, FAILED, READY, RELOAD, STOP

_log = Logger(namespace="smtpcb.workers")


def read_task(descriptor: int) -> dict[str, Any] | None:
    """Return what the supervisor says first, or ``None``: it has gone."""
    with open(descriptor, "rb", closefd=False, buffering=0) as file:
        size = int.from_bytes(_exactly(file, 4), "big")
        told = _exactly(file, size)
    if not size or len(told) < size:
        return None
    task: dict[str, Any] = json.loads(told)
    return task


def _exactly(file: Any, octets: int) -> bytes:
    pieces = b""
    while len(pieces) < octets:
        piece = file.read(octets - len(pieces))
        if not piece:
            break
        pieces += piece
    return pieces


def listen_to(descriptor: int, heed: Callable[[bytes], object], seconds: float) -> None:
    """
    Pass on the supervisor's words for as long as it is there, and see that a stop comes to an end.

    It runs in a thread, since whatever keeps the reactor busy must not keep the process.

    :param heed: takes each word; `STOP` also when the supervisor is gone.
    :param seconds: how long the process may go on after the first `STOP`.
    """
    stopped = False
    rest = b""
    while True:
        try:
            octets = os.read(descriptor, 4096)
        except OSError:  # somebody has closed it
            octets = b""
        *words, rest = (rest + octets).split(b"\n")
        if not octets:
            words = [STOP]
        for word in words:
            if word == STOP and not stopped:
                stopped = True
                watchdog = Timer(seconds, os._exit, [1])
                watchdog.daemon = True
                watchdog.start()
            heed(word)
        if not octets:
            return


class Orders:
    """
    Does in the reactor what the supervisor's words say.

    :ivar acts: what to do, by its word; what is no key of it is left alone.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.acts: dict[bytes, Callable[[], object]] = {STOP: self.stop}

    def heed(self, word: bytes) -> None:
        """Take a word, in any thread; it waits until the reactor runs."""
        self._reactor.callFromThread(self._act, word)

    def stop(self) -> None:
        """Stop the reactor, unless that is stopping already: all stops are one."""
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _act(self, word: bytes) -> None:
        act = self.acts.get(word)
        if act is not None:
            act()


def serve(task: dict[str, Any], reactor: Any, reporter: Reporter, orders: Orders) -> int:
    """
    Do it, until somebody stops the reactor; return the exit status.

    :param task: as `read_task` returned it.
    """
    # They may look for the reactor, which must be the right one.
    from smtpcb.run.build import make_service
    from smtpcb.run.workers._task import understood

    try:
        configuration, share = understood(task)
        service = make_service(configuration, reactor, share=share)
        service.privilegedStartService()
        service.startService()
    except Exception as error:
        if not isinstance(error, ConfigurationError):
            _log.failure("a worker cannot start")
        text = " ".join(str(error).split())
        if not isinstance(error, ConfigurationError):
            text = f"{type(error).__name__}: {text}"
        reporter.say(FAILED + text.encode(errors="replace"))
        return 1
    orders.acts |= {CUT: service.cut, RELOAD: service.reload}

    def begin() -> None:
        # Here, since Twisted has its own by now, which logs an error when it comes twice.  It may
        # be the supervisor's stop, which the service manager sends to everybody, so it is a STOP
        # however often it comes.
        signal.signal(signal.SIGTERM, lambda *_: orders.heed(STOP))
        # The supervisor says RELOAD.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        reporter.say(READY)

    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.callWhenRunning(begin)
    reactor.run()
    return 0


def main() -> None:
    """Run the process."""
    # Ctrl-C goes to all processes of a terminal: the supervisor decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # It begins a new log file, which is twistd's; a service manager sends it to everybody.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # The usual descriptors stay free for what they are for; the other ones nobody inherits.
    control, out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    # What is printed past our log must not wait for a supervisor that does not read.
    os.set_blocking(2, False)
    task = read_task(control)
    if task is None:
        sys.exit(0)
    for descriptor, _ in task["share"][2]:
        os.set_inheritable(descriptor, False)
    sys.path[:] = task["path"]
    with suppress(ImportError, AttributeError):
        importlib.import_module(task["reactor"]).install()
    from twisted.internet import reactor

    follow_no_clock(reactor)
    reporter, orders = Reporter(out), Orders(reactor)
    globalLogBeginner.beginLoggingTo([reporter])
    Thread(target=listen_to, args=(control, orders.heed, task["seconds"]), daemon=True).start()
    status = serve(task, reactor, reporter, orders)
    reporter.close(LAST_WORDS_SECONDS)
    sys.exit(status)
