"""Answers that need time: Deferreds, coroutines, and tasks that await Deferreds."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from smtpcb.engine._pending import Pending
from smtpcb.engine._verdict import Failed
from smtpcb.server._later import TwistedPlatform


class Soon:
    """An awaitable that is no coroutine."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self._deferred = deferred

    def __await__(self) -> Any:
        return (yield self._deferred)


class Heard:
    """What has come of an answer."""

    def __init__(self, answer: object) -> None:
        self.outcomes: list[Any] = []
        self.pending = answer
        if isinstance(answer, Pending):
            answer.then(self.outcomes.append)
        else:
            self.outcomes.append(answer)

    @property
    def fault(self) -> type[BaseException]:
        (failed,) = self.outcomes
        assert isinstance(failed, Failed)
        return type(failed.take())


@pytest.fixture
def platform() -> TwistedPlatform:
    return TwistedPlatform(Clock())


async def immediate() -> int:
    return 7


@pytest.mark.parametrize("answer", [7, None, (550, "no"), "odd"])
def test_what_needs_no_time_is_given_back(answer: Any, platform: TwistedPlatform) -> None:
    """Whatever it is: somebody else judges it."""
    assert platform.later(answer) is answer


@pytest.mark.parametrize("make", [lambda: succeed(7), immediate, lambda: Soon(succeed(7))])
def test_what_is_there_already_is_not_waited_for(make: Any, platform: TwistedPlatform) -> None:
    """A Deferred that has fired, a coroutine that never waits."""
    answer = platform.later(make())
    assert answer == 7 or Heard(answer).outcomes == [7] or isinstance(answer, Pending)


@pytest.mark.parametrize("kind", ["Deferred", "coroutine", "awaitable"])
def test_what_comes_later_comes_once(kind: str, platform: TwistedPlatform) -> None:
    """However it is written."""
    waiting: Deferred[Any] = Deferred()

    async def coroutine() -> Any:
        return await waiting

    made = {"Deferred": lambda: waiting, "coroutine": coroutine, "awaitable": lambda: Soon(waiting)}
    heard = Heard(platform.later(made[kind]()))
    assert heard.outcomes == []
    waiting.callback(7)
    assert heard.outcomes == [7]


def test_a_failure_is_told_once(platform: TwistedPlatform) -> None:
    """And is nobody's unhandled error afterwards."""
    assert Heard(platform.later(fail(LookupError()))).fault is LookupError
    waiting: Deferred[Any] = Deferred()
    heard = Heard(platform.later(waiting))
    waiting.errback(LookupError())
    assert heard.fault is LookupError


def test_a_cancelled_coroutine_can_clean_up(platform: TwistedPlatform) -> None:
    """It is told where it waits."""
    cleaned: list[Any] = []

    async def coroutine() -> None:
        try:
            await Deferred()
        finally:
            cleaned.append(True)

    heard = Heard(platform.later(coroutine()))
    assert isinstance(heard.pending, Pending)
    heard.pending.cancel()
    assert cleaned == [True]
    assert heard.fault is CancelledError


def test_a_cancelled_answer_that_nobody_waits_for_is_silent(
    platform: TwistedPlatform, failures: list[LogEvent]
) -> None:
    """The client has gone."""
    waiting = platform.later(Deferred())
    assert isinstance(waiting, Pending)
    waiting.cancel()
    assert failures == []


def test_each_coroutine_has_a_context_of_its_own(platform: TwistedPlatform) -> None:
    """What one client's handler sets, another one's does not see."""
    name = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []
    waiting: list[Deferred[Any]] = []

    async def coroutine(mine: str) -> None:
        seen.append(name.get())
        name.set(mine)
        waiting.append(Deferred())
        await waiting[-1]
        seen.append(name.get())

    platform.later(coroutine("anne"))
    platform.later(coroutine("tim"))
    for one in reversed(waiting):
        one.callback(None)
    assert seen == ["nobody", "nobody", "tim", "anne"]
    assert name.get() == "nobody"


# Tasks.


def run(make: Callable[[], Awaitable[Any]], *, after: Callable[[Heard], None] | None = None) -> Any:
    """Run what a handler would be under asyncio's reactor, and return what has come of it."""
    platform = TwistedPlatform(Clock())
    platform._asyncio = True

    async def main() -> Heard:
        heard = Heard(platform.later(make()))
        if after is not None:
            await asyncio.sleep(0.001)
            after(heard)
        while not heard.outcomes:
            await asyncio.sleep(0.001)
        return heard

    return asyncio.run(main())


async def soon(act: Callable[[], Any]) -> None:
    asyncio.get_running_loop().call_soon(act)


def test_a_task_has_the_result_of_a_deferred() -> None:
    """Fired already, or later."""

    async def coroutine() -> Any:
        waiting: Deferred[int] = Deferred()
        await soon(lambda: waiting.callback(3))
        return await succeed(4) + await waiting

    assert run(coroutine).outcomes == [7]


def test_a_task_has_the_failure_of_a_deferred() -> None:
    """It can be caught where the Deferred is awaited."""

    async def coroutine() -> Any:
        waiting: Deferred[int] = Deferred()
        await soon(lambda: waiting.errback(LookupError("x")))
        try:
            await waiting
        except LookupError as error:
            return error.args

    assert run(coroutine).outcomes == [("x",)]


def test_a_deferred_whose_time_is_over_is_cancelled() -> None:
    """By asyncio's own time limits; and its CancelledError is nobody's unhandled error."""
    cancelled: list[Any] = []

    async def coroutine() -> Any:
        try:
            async with asyncio.timeout(0.001):
                await Deferred(cancelled.append)
        except TimeoutError:
            await asyncio.sleep(0.001)
            return "late"

    assert run(coroutine).outcomes == ["late"]
    assert len(cancelled) == 1


def test_a_cancelled_task_cancels_what_it_waits_for() -> None:
    """A lookup for a client that has gone is called off."""
    cancelled: list[Any] = []

    async def coroutine() -> None:
        await Deferred(cancelled.append)

    heard = run(coroutine, after=lambda heard: heard.pending.cancel())
    assert len(heard.outcomes) == 1
    assert len(cancelled) == 1


def test_a_future_is_waited_for() -> None:
    """Returned as it is, or awaited."""

    def future() -> Any:
        made = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(made.set_result, 7)
        return made

    async def awaiting() -> Any:
        return await future()

    assert run(future).outcomes == [7]
    assert run(awaiting).outcomes == [7]


def test_a_task_that_awaits_what_nobody_knows_fails() -> None:
    """asyncio says so."""

    class Odd:
        def __await__(self) -> Any:
            yield 42

    async def coroutine() -> None:
        await Odd()

    assert run(coroutine).fault is RuntimeError


async def waits_until_closed(closed: list[Any]) -> None:
    try:
        await Deferred()
    except GeneratorExit:
        closed.append(True)
        raise


def test_a_task_that_is_closed_closes_its_coroutine() -> None:
    """When the loop is closed under it."""
    closed: list[Any] = []

    from smtpcb.handling._coroutines import _bridge

    loop = asyncio.new_event_loop()
    bridge = _bridge(waits_until_closed(closed), loop)
    bridge.send(None)
    bridge.close()
    loop.close()
    assert closed == [True]


def test_a_coroutine_that_is_closed_closes_the_users(platform: TwistedPlatform) -> None:
    """The same without asyncio."""
    closed: list[Any] = []

    from smtpcb.handling._coroutines import _rest

    user = waits_until_closed(closed)
    rest: Any = _rest(user, user.send(None))
    rest.send(None)
    rest.close()
    assert closed == [True]
