"""PlayReactor: a clock, and threads that are waited for, in place of a reactor that runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import twisted.internet
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from smtpcb._threads import start_pool
from smtpcb.testing._loop import PlayLoop

# How long a thread is waited for, in real time, before it counts as one that hangs.
THREAD_SECONDS = 60.0
# How far ahead something may be due by the real clock, to be waited for.
REAL_SECONDS = 10.0
# How long something is waited for that may come over a socket: one that is kept open is no reason
# to wait for long.
FILE_SECONDS = 1.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.01
_NAME = "twisted.internet.reactor"


class PlayReactor:
    """
    What `play` gives to handlers for a reactor.

    :param clock: tells and keeps the time.
    :param loop: asyncio's, where that runs too.
    """

    def __init__(self, clock: Clock, loop: PlayLoop | None = None) -> None:
        self.clock = clock
        self.loop = loop
        self.seconds = clock.seconds
        self.callLater = clock.callLater
        self.getDelayedCalls = clock.getDelayedCalls
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._triggers: dict[object, tuple[Callable[..., object], tuple[object, ...]]] = {}
        self._pool: ThreadPool | None = None
        #: What was the reactor before.
        self._real: Any = None

    def callFromThread(self, call: Callable[..., object], *args: object, **kwargs: object) -> None:
        """See `twisted.internet.interfaces.IReactorFromThreads`."""
        self._calls.put(partial(call, *args, **kwargs))

    def callInThread(self, call: Callable[..., object], *args: object, **kwargs: object) -> None:
        """See `twisted.internet.interfaces.IReactorInThreads`."""
        self.getThreadPool().callInThread(call, *args, **kwargs)

    def callWhenRunning(self, call: Callable[..., object], *args: object) -> None:
        """Call it: what is asked here, is asked while a dialogue is held."""
        call(*args)

    def getThreadPool(self) -> ThreadPool:
        """Return the threads of `deferToThread`."""
        if self._pool is None:
            self._pool = start_pool("play", 10)
            self.addSystemEventTrigger("during", "shutdown", self._pool.stop)
        return self._pool

    def addSystemEventTrigger(
        self, phase: str, event: str, call: Callable[..., object], *args: object
    ) -> object:
        """Remember what ends something."""
        trigger = object()
        self._triggers[trigger] = call, args
        return trigger

    def removeSystemEventTrigger(self, trigger: object) -> None:
        """Forget it."""
        del self._triggers[trigger]

    def let_threads_come(self, *, wait: bool) -> bool:
        """
        Do the next thing that a thread has asked for; return whether there was one.

        :param wait: until one has, if any is at work.
        """
        began = time.monotonic()
        loop = self.loop
        while True:
            if loop is not None and loop.turn():
                return True
            waited = time.monotonic() - began
            # A thread may also end without a word.
            busy = wait and self._is_busy() and waited < THREAD_SECONDS
            if loop is not None and wait and waited < FILE_SECONDS:
                busy = busy or loop.has_files
            try:
                call = self._calls.get(timeout=_LOOK_SECONDS if busy else 0)
            except Empty:
                if not busy:
                    return False
            else:
                call()
                return True

    def _is_busy(self) -> bool:
        if self.loop is not None and self.loop.in_threads:
            return True
        pools = [self._pool, *(one for _, args in self._triggers.values() for one in args)]
        return any(isinstance(pool, ThreadPool) and pool.working for pool in pools)

    def let_real_time_pass(self) -> bool:
        """Run the reactor that a module imported before, if it has something to do soon."""
        real = self._real
        if real is None or isinstance(real, PlayReactor):
            return False
        times = [call.getTime() - real.seconds() for call in real.getDelayedCalls()]
        if not times or min(times) > REAL_SECONDS:
            return False
        real.iterate(max(min(times), 0))
        return True

    def stop(self) -> None:
        """End the threads, as the end of a reactor does."""
        triggers, self._triggers = self._triggers, {}
        for call, args in triggers.values():
            stopping = Thread(target=call, args=args, daemon=True)
            stopping.start()
            stopping.join(_STOP_SECONDS)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Be the reactor that ``from twisted.internet import reactor`` gives, for a while."""
        package: Any = twisted.internet
        before = sys.modules.get(_NAME)
        had = self._real = getattr(package, "reactor", None)
        # Twisted does so itself: what it installs is a reactor, and no module.
        sys.modules[_NAME] = package.reactor = self  # type: ignore[assignment]
        try:
            with self.loop.running() if self.loop is not None else nullcontext():
                yield
        finally:
            if before is None:
                del sys.modules[_NAME]
            else:
                sys.modules[_NAME] = before
            if had is None:
                del package.reactor
            else:
                package.reactor = had
