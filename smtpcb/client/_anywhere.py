"""Coroutines that Twisted runs, and anybody's coroutine may await: one of asyncio's tasks too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from smtpcb.handling._coroutines import is_asyncio

P = ParamSpec("P")
T = TypeVar("T")


def awaited_anywhere(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Let Twisted run a coroutine function, whoever awaits what it brings.

    What is awaited inside of it is Deferreds, which a task of asyncio's cannot do.  Such a task can
    await this one where asyncio's loop is the reactor's.
    """

    @wraps(function)
    async def run(*arguments: P.args, **named: P.kwargs) -> T:
        _check()
        running = Deferred.fromCoroutine(function(*arguments, **named))
        brought: Brought[T] = Brought(lambda _: running.cancel())
        running.chainDeferred(brought)
        return await brought

    return run


def _check() -> None:
    """
    See that somebody will bring it.

    :raises RuntimeError: asyncio's loop runs, and no reactor does: it would be waited for for ever.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return  # then it is Twisted that runs, or will
    from twisted.internet import reactor

    if not is_asyncio(reactor):
        raise RuntimeError(
            "asyncio's loop is not the reactor's: call"
            " twisted.internet.asyncioreactor.install(loop) before anything imports the reactor"
        )
    if not getattr(reactor, "running", True):
        raise RuntimeError(
            "the reactor does not run: call reactor.startRunning(installSignalHandlers=False)"
        )


class Brought(Deferred[T]):
    """A Deferred that is a future as well, as far as a task needs one (`asyncio.isfuture`)."""

    _asyncio_future_blocking = False
    _left = False

    def __await__(self) -> Generator[Brought[T], None, T]:
        """Wait for it; see `Deferred.__await__`."""
        awaited = super().__await__()
        while True:
            try:
                next(awaited)
            except StopIteration as end:
                result: T = end.value
                return result
            self._asyncio_future_blocking = True  # a task asks what it is yielded for that
            yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop whose task may await it."""
        return asyncio.get_running_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Any = None) -> None:
        """Wake a task."""
        loop = asyncio.get_running_loop()

        def wake(result: object) -> object:
            done: asyncio.Future[None] = loop.create_future()
            left = self._left and isinstance(result, Failure) and result.check(CancelledError)
            if left:
                done.cancel()
            else:
                done.set_result(None)  # the task asks us
            loop.call_soon(callback, done, context=context)
            return None if left else result

        self.addBoth(wake)

    def cancel(self, *of_a_task: object, **msg: object) -> bool:  # type: ignore[override]
        """Give it up; a task, which gives a message too, is to see asyncio's error."""
        self._left = bool(of_a_task or msg)
        super().cancel()
        return True
