"""PlayLoop: asyncio's loop for `play`: its time is the clock's, and it goes on when it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from selectors import DefaultSelector
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

# How often what ends may begin something else, before it is left alone.
_LAST_TURNS = 100


class PlayLoop(asyncio.SelectorEventLoop):
    """
    A loop whose turns somebody else takes.

    :param clock: tells and keeps the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By identity: handles of the same time are equal.
        self._due: dict[int, IDelayedCall] = {}
        self._in_threads: set[asyncio.Future[Any]] = set()
        self._begun = 0
        self._files = DefaultSelector()
        super().__init__(self._files)
        #: What it has of its own: by them threads wake it.
        self._own_files = len(self._files.get_map())

    def time(self) -> float:
        """Tell the time."""
        return self._clock.seconds()

    # Their types say which arguments belong to which callback, which is nothing to us.

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call it when the clock says so."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        seconds = max(when - self._clock.seconds(), 0)
        self._due[id(handle)] = self._clock.callLater(seconds, self._is_due, handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call it in so many seconds by the clock."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """Call it in the next turn."""
        self._begun += 1
        return super().call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call it in a thread, which is waited for."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads.add(future)
        future.add_done_callback(self._in_threads.discard)
        return future

    @property
    def in_threads(self) -> bool:
        """Whether a thread is at work."""
        return bool(self._in_threads)

    @property
    def has_files(self) -> bool:
        """Whether something may come over a socket."""
        return len(self._files.get_map()) > self._own_files

    def turn(self) -> bool:
        """Do what is to be done now; return whether there may be more."""
        begun = self._begun
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            self.stop()  # after one turn
            self.run_forever()
        finally:
            asyncio._set_running_loop(running)
        return self._begun != begun

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the loop that runs, as the reactor's is for whatever it calls; end it afterwards."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            for task in asyncio.all_tasks(self):
                task.cancel()
            for _ in range(_LAST_TURNS):
                if not self.turn():
                    break
            asyncio._set_running_loop(before)
            self.close()

    def _is_due(self, handle: asyncio.TimerHandle) -> None:
        del self._due[id(handle)]
        self.call_soon(handle._run)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Forget it; the handle itself says so."""
        call = self._due.pop(id(handle), None)
        if call is not None:
            call.cancel()
