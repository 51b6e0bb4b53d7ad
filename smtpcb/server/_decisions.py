"""What a handler returned becomes a verdict, whatever it was, and whenever it came."""

from __future__ import annotations

import asyncio
import secrets
import types
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.engine import _replies as replies
from smtpcb.engine._questions import Authenticate, Connected, Event
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated

_log = Logger(namespace="smtpcb.handler")


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine to its end that has already been started, and waits for ``awaited``."""
    try:
        while True:
            try:
                if asyncio.isfuture(awaited):  # on the asyncio reactor its libraries just work
                    awaited = Deferred.fromFuture(awaited)
                value = yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(value)
    except StopIteration as end:
        return end.value


def _start(coroutine: Coroutine[Any, Any, Any]) -> object:
    """
    Run a coroutine as far as it goes.

    One that never waits costs no Deferred; in any case it sees a context of its own, as
    `Deferred.fromCoroutine` gives it.
    """
    context = copy_context()
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as end:
        return end.value
    return context.run(Deferred.fromCoroutine, _rest(coroutine, awaited))


def started(result: object) -> object:
    """
    Take what a method of a handler has returned.

    :return: the answer; if it needs time, a Deferred of it.
    :raises BaseException: whatever a coroutine raises before it waits.
    """
    if isinstance(result, (bool, Reply, tuple, Deferred)):
        return result
    if isinstance(result, types.CoroutineType):
        return _start(result)
    if asyncio.isfuture(result):
        return Deferred.fromFuture(result)
    if hasattr(type(result), "__await__"):
        return _start(_awaited(result))
    return result


async def _awaited(awaitable: Any) -> object:
    return await awaitable


def verdict_of(event: Event, answer: object) -> Reply | bool:
    """
    Turn an answer into a verdict.

    :raises TypeError: it is none.
    :raises ValueError: it cannot be made a well formed reply.
    """
    if isinstance(event, Authenticate):
        if answer is None:
            raise TypeError("authenticate must answer True, Authenticated, False or a Reply")
        if isinstance(answer, Authenticated):
            return True
    return Reply.from_verdict(answer, getattr(event, "refuse", None))


def fault_of(event: Event, method: str, failure: Failure, connection_id: str) -> Reply | bool:
    """
    Turn what a handler raised into a verdict.

    A `Refusal` is one.  Anything else is an incident: the client hears of its number, and the
    log has the traceback under that number (P19, P40).
    """
    refusal = failure.value
    if isinstance(refusal, Refusal):
        try:
            verdict = verdict_of(event, refusal.answer)
            if (isinstance(verdict, Reply) and verdict.positive) or verdict is True:
                raise ValueError("a Refusal carries a 4yz or 5yz reply")
        except Exception:
            failure = Failure()
        else:
            return verdict
    return incident(event, method, failure, connection_id)


def incident(event: Event, method: str, failure: Failure, connection_id: str) -> Reply:
    """Log a failure of a handler under a number of its own, and return what the client hears."""
    number = secrets.token_hex(4)
    if isinstance(event, Authenticate):
        # The text of the exception may quote the password: its kind and place will have to do.
        _log.error(
            "{method} failed: incident {incident} on {id}: {kind} at {trace}",
            method=method,
            incident=number,
            id=connection_id,
            kind=failure.type.__qualname__ if failure.type is not None else "an error",
            trace="; ".join(f"{frame[1]}:{frame[2]} in {frame[0]}" for frame in failure.frames),
        )
    else:
        _log.failure(
            "{method} failed: incident {incident} on {id}",
            failure,
            method=method,
            incident=number,
            id=connection_id,
        )
    return _reply_to(event, number)


def timed_out(method: str, seconds: float, event: Event, connection_id: str) -> Reply:
    """Log that a handler has not answered in time, and return what the client hears."""
    number = secrets.token_hex(4)
    _log.error(
        "{method} has not answered within {seconds} s: incident {incident} on {id}",
        method=method,
        seconds=seconds,
        incident=number,
        id=connection_id,
    )
    return _reply_to(event, number)


def _reply_to(event: Event, number: str) -> Reply:
    if isinstance(event, Connected):  # there is no 451 in place of a greeting (P40)
        return Reply(421, f"Local error in processing (incident {number})", status="4.3.0")
    return replies.incident(number)
