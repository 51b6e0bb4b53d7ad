"""
An answer that needs time, on Twisted: a Deferred, a coroutine, under its reactor asyncio's too.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from pathlib import Path
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb._steady import steady_seconds
from smtpcb.engine._conversation import SLOW_SECONDS
from smtpcb.engine._envelope import Content
from smtpcb.engine._keeping import MailData
from smtpcb.engine._pending import Pending
from smtpcb.engine._verdict import CannotWaitError, Failed, Incidents, Log
from smtpcb.smtp import Limits, Reply

_UNSET = object()


class Waiting(Pending):
    """What a Deferred will bring."""

    __slots__ = ("_came", "_deferred", "outcome")

    def __init__(self, deferred: Deferred[Any]) -> None:
        self._came: Callable[[object], None] | None = None
        self._deferred = deferred
        #: What it has brought already.
        self.outcome: object = _UNSET
        deferred.addCallbacks(self._succeeded, self._failed)

    def then(self, came: Callable[[object], None]) -> None:
        """See `Pending.then`."""
        self._came = came
        if self.outcome is not _UNSET:
            came(self.outcome)

    def cancel(self) -> None:
        """See `Pending.cancel`."""
        _cancel(self._deferred)

    # Both return what another event gets for which the handler has given the same Deferred.

    def _succeeded(self, result: object) -> object:
        self._take(result)
        return result

    def _failed(self, failure: Failure) -> object:
        error = failure.value
        if error is not None and not (self._came is None and failure.check(CancelledError)):
            self._take(Failed(error))
        return Reply(451)

    def _take(self, outcome: object) -> None:
        self.outcome = outcome
        came, self._came = self._came, None
        if came is not None:
            came(outcome)


class _HandlerLog(Logger):
    """Where the faults of users' code are told."""

    def error(self, format: str | None = None, **fields: object) -> None:
        """
        Write it as critical, as `Logger.failure` does with what nobody has caught.

        A program that has begun no logging sees that on stderr, and nothing less.
        """
        self.critical(format, **fields)


# Twisted's, whose methods are those of `Log` but for how they are declared.
_log: Any = _HandlerLog(namespace="smtpcb.handler")


def _cancel(deferred: Deferred[Any]) -> None:
    try:
        deferred.cancel()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a canceller is users' code as well
        # Not with its text, which may quote a password.
        kind = type(error).__qualname__
        _log.error("cancelling an answer failed: {kind}", kind=kind)


class TwistedPlatform:
    """
    Where conversations run that a reactor serves.

    :param memory_octets: how much of a message is kept in memory.
    :param spool_folder: where the rest goes; ``None``: where temporary files go.
    :param header_octets: how much of a header section is parsed.
    :param runs_asyncio: whether asyncio's loop runs too; by default, where it is the reactor's.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        memory_octets: int = 1_048_576,
        spool_folder: Path | None = None,
        header_octets: int = Limits().header_octets,
        runs_asyncio: bool | None = None,
    ) -> None:
        self._header_octets = header_octets
        self.log: Log = _log
        self._reactor = reactor
        #: Tells the time for deadlines.  The reactor's own follows the wall clock, which jumps.
        self.seconds = steady_seconds(reactor)
        self._memory_octets = memory_octets
        self._spool_folder = spool_folder
        if runs_asyncio is None:
            runs_asyncio = isinstance(reactor, AsyncioSelectorReactor)
        self._asyncio = runs_asyncio
        kind = Incidents if self._asyncio else _IncidentsWithAdvice
        self.incidents = kind(self.log, self.seconds)

    def later(self, result: Any) -> object:
        """See `smtpcb.engine.Platform`."""
        if not isinstance(result, Deferred):
            if isinstance(result, types.CoroutineType):
                result = self._start(result)
            elif asyncio.isfuture(result):
                result = self._of_future(result)
            elif hasattr(type(result), "__await__"):
                result = self._start(_awaited(result))
            if not isinstance(result, Deferred):
                return result
        waiting = Waiting(result)
        return waiting if waiting.outcome is _UNSET else waiting.outcome

    def soon(self, step: Callable[[], object]) -> None:
        """Do something at the reactor's next turn."""
        self._reactor.callLater(0, step)

    def make_content(self) -> Content:
        """Make the place for one message."""
        return MailData(
            self._memory_octets,
            self._spool_folder,
            header_octets=self._header_octets,
            in_thread=self.in_thread,
        )

    def in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do what takes long in a thread of the reactor's."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> object:
        """
        Run a coroutine as far as it goes.

        One that never waits costs no Deferred; in any case it sees a context of its own, as
        `Deferred.fromCoroutine` gives it.
        """
        if self._asyncio:
            return Deferred.fromFuture(_task(coroutine))
        context = copy_context()
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration as end:
            return end.value
        return context.run(Deferred.fromCoroutine, _rest(coroutine, awaited))

    def _of_future(self, future: Any) -> Deferred[Any]:
        if not self._asyncio:
            raise _stranger(future)
        if future.get_loop() is not asyncio.get_event_loop():
            raise CannotWaitError("a future of another loop, which does not run here")
        return Deferred.fromFuture(future)


_NEEDS_ASYNCIO = (
    "this handler waits for asyncio, whose loop does not run: start with twistd --reactor=asyncio, "
    "test with play(..., asyncio=True)"
)


class _IncidentsWithAdvice(Incidents):
    """Incidents where asyncio's loop does not run: what asks for that loop is told the cure."""

    __slots__ = ()

    def report(self, method: str, handler: str, error: BaseException, connection_id: str) -> str:
        """See `Incidents.report`."""
        # What it was made of, and not its text: to make that may be users' code, which fails.
        said = [one for one in error.args if type(one) is str]
        if isinstance(error, RuntimeError) and any("running event loop" in one for one in said):
            error = CannotWaitError(_NEEDS_ASYNCIO).with_traceback(error.__traceback__)
        return super().report(method, handler, error, connection_id)


def _stranger(awaited: object) -> CannotWaitError:
    """Return the fault of waiting for what nobody here brings: it would be waited for for ever."""
    if asyncio.isfuture(awaited) or awaited is None:
        return CannotWaitError(_NEEDS_ASYNCIO)
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
            _log.warn(
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
            _cancel(deferred)

    deferred.addBoth(fired)
    future.add_done_callback(done)
    return future
