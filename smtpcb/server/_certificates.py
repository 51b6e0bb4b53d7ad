"""Keys and certificates are read again: once a day, on SIGHUP, and when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb._hangup import on_hangup

RELOAD_SECONDS = 86400.0

_log = Logger(namespace="smtpcb.server")


class Reloads:
    """
    Reads them again while a server runs.

    :param tls: whose ``reload`` does it; of one that has none nothing is read, and SIGHUP does
        nothing: who sends it to every server does not mean to end this one.
    """

    def __init__(self, tls: object, reactor: Any) -> None:
        self._reload: Callable[[], object] | None = getattr(tls, "reload", None)
        self._reactor = reactor
        self._daily: LoopingCall | None = None
        self._give_back: Callable[[], None] | None = None

    def start(self) -> None:
        """Do it daily and on SIGHUP from now on."""
        self._give_back = on_hangup(self._reactor, self.now)
        if self._reload is not None:
            self._daily = LoopingCall(self.now)
            self._daily.clock = self._reactor
            self._daily.start(RELOAD_SECONDS, now=False)

    def stop(self) -> None:
        """Do it daily no more."""
        if self._daily is not None:
            self._daily.stop()
            self._daily = None

    def give_back(self) -> None:
        """Leave SIGHUP to whom it was taken from: by default it ends the process."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None

    def now(self) -> Deferred[None]:
        """
        Do it now; a pair that is broken leaves the old one in force, and the log says so.

        :return: fires when it is done, and does not fail.
        """
        if self._reload is None:
            return succeed(None)
        reading = _in_thread_of_its_own(self._reload, self._reactor)
        return reading.addCallbacks(_reloaded, _not_reloaded)


def _in_thread_of_its_own(work: Callable[[], object], reactor: Any) -> Deferred[object]:
    """
    Do what reads from a disk, which may stall.

    Not in a thread of the reactor's, whose end a process waits for without a limit.
    """
    done: Deferred[object] = Deferred()

    def run() -> None:
        try:
            result: object = work()
        except Exception:
            result = Failure()
        reactor.callFromThread(done.callback, result)  # a Failure makes it fail

    Thread(target=run, daemon=True, name="smtpcb-reload").start()
    return done


def _reloaded(_: object) -> None:
    _log.info("certificates reloaded")


def _not_reloaded(failure: Failure) -> None:
    if failure.check(ValueError):  # IdentityError says which file, and why
        _log.error("certificates not reloaded: {error}", error=str(failure.value))
    else:
        _log.failure("certificates not reloaded", failure)
