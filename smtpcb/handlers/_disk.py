"""Threads that wait for a disk, while nobody waits for them without end; what a client is told."""

from __future__ import annotations

import errno
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.threadpool import ThreadPool

from smtpcb._threads import start_pool
from smtpcb.engine import _replies as replies
from smtpcb.smtp._reply import Reply

# More threads would wait for the same disk.
MAXIMUM_THREADS = 4


NOT_STORED = Reply(451, ("Message could not be stored, try again later",), status="4.3.0")
# EFBIG is what a limit on the size of files says (RLIMIT_FSIZE).
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def not_stored(error: OSError) -> Reply:
    """Return what a client is told whose message the disk did not take."""
    return replies.NO_STORAGE if error.errno in _STORAGE_ERRORS else NOT_STORED


class DiskThreads:
    """
    A few threads, which start with the first work.

    They are not the reactor's own, whose end it waits for without a limit: a disk that has
    stalled (``fsfreeze``, a network that is gone) would keep the process from ending.

    :param reactor: is told of results, and keeps the time.
    :param name: of the threads.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._pool: ThreadPool | None = None
        self._unfinished = 0

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """
        Do something that blocks.

        :param work: called in a thread.
        :param done: called by the reactor with its result, or with a `Failure`.
        """
        self._unfinished += 1

        def finished(result: Any) -> None:
            self._unfinished -= 1
            done(result)

        self._started().callInThreadWithCallback(
            lambda _, result: self._reactor.callFromThread(finished, result), work
        )

    def stop(self, seconds: float) -> Deferred[int]:
        """
        Finish what was begun, and end the threads; later work starts others.

        :param seconds: how long that may take.
        :return: fires with 0, or when that is over with how much is not done.
        """
        pool, self._pool = self._pool, None
        if pool is None:
            return succeed(0)
        ended: Deferred[int] = Deferred()

        def in_time() -> None:
            if not ended.called:
                timer.cancel()
                ended.callback(0)

        def wait() -> None:
            pool.stop()
            self._reactor.callFromThread(in_time)

        timer = self._reactor.callLater(seconds, lambda: ended.callback(self._unfinished))
        Thread(target=wait, daemon=True, name=f"{self._name}-stop").start()
        return ended

    def _started(self) -> ThreadPool:
        if self._pool is None:
            self._pool = start_pool(self._name, MAXIMUM_THREADS)
        return self._pool
