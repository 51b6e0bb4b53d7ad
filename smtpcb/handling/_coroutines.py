"""
Users' coroutines and futures, those of asyncio too where its loop is the reactor's, as Deferreds.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smtpcb.engine._conversation import SLOW_SECONDS
from smtpcb.engine._verdict import CannotWaitError, Failed

NEEDS_ASYNCIO = (
    "this handler waits for asyncio, whose loop does not run: start with twistd --reactor=asyncio, "
    "test with play(..., asyncio=True)"
)


class _HandlerLog(Logger):
    """Where the faults of users' code are told."""

    def error(self, format: str | None = None, **fields: object) -> None:
        """
        Write it as critical, as `Logger.failure` does with what nobody has caught.

        A program that has begun no logging sees that on stderr, and nothing less.
        """
        self.critical(format, **fields)


# Twisted's, whose methods are those of `Log` but for how they are declared.
handler_log: Any = _HandlerLog(namespace="smtpcb.handler")


def cancel(deferred: Deferred[Any]) -> None:
    """Give up what somebody was to bring; a canceller that fails is told in the log."""
    try:
        deferred.cancel()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a canceller is users' code as well
        # Not with its text, which may quote a password.
        kind = type(error).__qualname__
        handler_log.error("cancelling an answer failed: {kind}", kind=kind)


def is_asyncio(reactor: object) -> bool:
    """Say whether asyncio's loop is what a reactor runs on."""
    return isinstance(reactor, AsyncioSelectorReactor)


def begin(result: Any, with_asyncio: bool) -> object:
    """
    Make what some function returned a Deferred, if it has to be waited for.

    A coroutine runs as far as it goes.  One that never waits costs no Deferred; in any case it sees
    a context of its own, as `Deferred.fromCoroutine` gives it.

    :param with_asyncio: asyncio's loop runs, and what waits for it may be given.
    :return: a Deferred, or the value itself.
    :raises CannotWaitError: it waits for what does not run here.
    """
    if isinstance(result, types.CoroutineType):
        return _start(result, with_asyncio)
    if isinstance(result, Deferred):
        return result
    if asyncio.isfuture(result):
        return _of_future(result, with_asyncio)
    if hasattr(type(result), "__await__"):
        return _start(_awaited(result), with_asyncio)
    return result


async def awaited(awaitable: Awaitable[Any], with_asyncio: bool) -> Any:
    """Await what may wait for asyncio, in a coroutine that Twisted runs; see `begin`."""
    found = begin(awaitable, with_asyncio)
    return await found if isinstance(found, Deferred) else found


def _start(coroutine: Coroutine[Any, Any, Any], with_asyncio: bool) -> object:
    if with_asyncio:
        return Deferred.fromFuture(_task(coroutine))
    context = copy_context()
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as end:
        return end.value
    return context.run(Deferred.fromCoroutine, _rest(coroutine, awaited))


def _of_future(future: Any, with_asyncio: bool) -> Deferred[Any]:
    if not with_asyncio:
        raise _stranger(future)
    if future.get_loop() is not asyncio.get_event_loop():
        raise CannotWaitError("a future of another loop, which does not run here")
    return Deferred.fromFuture(future)


def _stranger(awaited: object) -> CannotWaitError:
    """Return the fault of waiting for what nobody here brings: it would be waited for for ever."""
    if asyncio.isfuture(awaited) or awaited is None:
        return CannotWaitError(NEEDS_ASYNCIO)
    return CannotWaitError(f"a handler can await Deferreds, not {type(awaited).__name__}")


def _step(coroutine: Coroutine[Any, Any, Any], step: Callable[[Any], Any], value: Any) -> Any:
    """Let a coroutine go on; one that keeps everybody waiting meanwhile is named in the log."""
    began = time.perf_counter()
    try:
        return step(value)
    finally:
        seconds = time.perf_counter() - began
        if seconds > SLOW_SECONDS:
            name = getattr(coroutine, "__qualname__", type(coroutine).__name__)
            handler_log.warn(
                "{name} kept everybody waiting for {seconds:.1f} s", name=name, seconds=seconds
            )


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine to its end that has already been started, and waits for ``awaited``."""
    try:
        while True:
            try:
                if not isinstance(awaited, Deferred):
                    raise _stranger(awaited)
                value = yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                awaited = _step(coroutine, coroutine.throw, error)
            else:
                awaited = _step(coroutine, coroutine.send, value)
    except StopIteration as end:
        return end.value


async def _awaited(awaitable: Any) -> object:
    return await awaitable


def _task(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run a coroutine as a task of asyncio's loop, in which Deferreds can be awaited as well."""
    loop = asyncio.get_event_loop()
    return loop.create_task(_bridge(coroutine, loop))


async def _bridge(coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> object:
    try:
        return await _steps(coroutine, loop)
    except SystemExit as error:
        # Out of a task it would end the loop, and everybody's server with it.
        return Failed(error)


@types.coroutine
def _steps(
    coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
) -> Generator[Any, Any, Any]:
    """Pass on what a coroutine awaits, a Deferred as a future."""
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            awaited = _step(coroutine, step, value)
        except StopIteration as end:
            return end.value
        step = coroutine.send
        try:
            if isinstance(awaited, Deferred):
                value = yield from _fired(awaited, loop)
            else:
                value = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step, value = coroutine.throw, error


def _fired(deferred: Deferred[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    """
    Return what is done when a Deferred has its result.

    The result stays where it is: who goes on awaiting the Deferred asks that for it.
    """
    future: asyncio.Future[Any] = loop.create_future()

    def fired(result: object) -> object:
        if future.cancelled():
            return None  # nobody asks any more
        future.set_result(None)
        return result

    def done(future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            cancel(deferred)

    deferred.addBoth(fired)
    future.add_done_callback(done)
    return future
