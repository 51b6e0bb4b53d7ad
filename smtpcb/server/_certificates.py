"""
Keys and certificates are read again: daily, on SIGHUP, when asked for, and when files change.

Who renews them need not tell anybody: each half minute somebody looks whether they are others.
"""

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
# A change is seen when it is this old, and taken up the time after (`ServerTls.refresh`).
LOOK_SECONDS = 30.0

_log = Logger(namespace="smtpcb.server")


class Reloads:
    """
    Reads them again while a server runs.

    :param tls: whose ``reload`` does it, and ``refresh`` if they have changed; of one that has none
        nothing is read, and SIGHUP does nothing: who sends it to every server does not mean to end
        this one.
    """

    def __init__(self, tls: object, reactor: Any) -> None:
        self._reload: Callable[[], object] | None = getattr(tls, "reload", None)
        self._refresh: Callable[[], object] | None = getattr(tls, "refresh", None)
        self._reactor = reactor
        self._loops: list[LoopingCall] = []
        self._give_back: Callable[[], None] | None = None

    def start(self) -> None:
        """Do it daily, on SIGHUP and on changes from now on."""
        self._give_back = on_hangup(self._reactor, self.now)
        if self._reload is not None:
            self._do_each(RELOAD_SECONDS, self.now)
        if self._refresh is not None:
            self._do_each(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Do it by itself no more."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.stop()

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

    def _look(self) -> Deferred[None]:
        assert self._refresh is not None
        looking = _in_thread_of_its_own(self._refresh, self._reactor)
        return looking.addCallbacks(_reloaded_if, _not_reloaded)

    def _do_each(self, seconds: float, work: Callable[[], Deferred[None]]) -> None:
        # What takes longer, on a disk that has stalled, is waited for: there is one at a time.
        loop = LoopingCall(work)
        loop.clock = self._reactor
        loop.start(seconds, now=False)
        self._loops.append(loop)


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


def _reloaded_if(changed: object) -> None:
    if changed:
        _log.info("certificates reloaded: the files have changed")


def _not_reloaded(failure: Failure) -> None:
    if failure.check(ValueError):  # IdentityError says which file, and why
        _log.error("certificates not reloaded: {error}", error=str(failure.value))
    else:
        _log.failure("certificates not reloaded", failure)
