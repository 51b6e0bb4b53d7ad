"""A handler that is written for asyncio is played as it is served under asyncio's reactor."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from smtpcb import Refusal, threaded
from smtpcb.testing import DialogueDiffers, play

SCRIPT = """
    C: EHLO client
    S: 250 ...
    C: MAIL FROM:<>
    S: 250
    C: RCPT TO:<a@example.org>
    S: 250
    C: DATA
    S: 354
    C: x
    C: .
    S: 250 2.0.0 Kept
"""


def kept(what: Any) -> type:
    """A class whose message is decided by a coroutine function."""

    class Inbox:
        async def message(self, envelope: Any) -> Any:
            await what()
            return 250, "Kept"

    return Inbox


async def sleeps() -> None:
    await asyncio.sleep(0)


async def sleeps_long() -> None:
    await asyncio.sleep(200)


async def in_a_thread() -> None:
    assert await asyncio.to_thread(time.sleep, 0.05) is None


async def of_a_future() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_later(5, future.set_result, 7)
    assert await future == 7


async def within_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.sleep(60)


async def of_several() -> None:
    async with asyncio.TaskGroup() as group:
        for seconds in (1, 2, 2, 3):
            group.create_task(asyncio.sleep(seconds))
    await asyncio.gather(asyncio.sleep(1), asyncio.sleep(1))


async def of_a_deferred() -> None:
    from twisted.internet import reactor

    assert await deferLater(reactor, 2.5, lambda: 7) == 7
    await asyncio.sleep(1)


async def of_a_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(queue.get())
    await queue.put(7)
    assert await task == 7
    assert asyncio.current_task() is not None


async def of_a_socket() -> None:
    one, other = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=one)
    other.send(b"7\n")
    assert await reader.readline() == b"7\n"
    writer.close()
    other.close()


@pytest.mark.parametrize(
    "what",
    [
        *(sleeps, sleeps_long, in_a_thread, of_a_future, within_a_timeout, of_several),
        *(of_a_deferred, of_a_queue, of_a_socket),
    ],
)
def test_whatever_asyncio_brings_is_waited_for(what: Any) -> None:
    """Timers by the clock of the play, threads and sockets as they come."""
    assert len(play(SCRIPT, kept(what), asyncio=True).envelopes) == 1


def test_time_is_that_of_the_play() -> None:
    """A script says how long it takes, and a time limit is one."""

    class Slow:
        async def message(self, envelope: Any) -> Any:
            await asyncio.sleep(3)
            return 250, "Kept"

    last = "S: 250 2.0.0 Kept"
    script = SCRIPT.replace(last, f"*: 2 s pass\n    *: 1 s pass\n    {last}")
    play(script, Slow, asyncio=True, clock=(clock := Clock()))
    assert clock.seconds() == 6  # it is played twice
    late = SCRIPT.replace("S: 250 2.0.0 Kept", "*: 600 s pass\n    S: 451")

    async def never() -> None:
        await asyncio.Event().wait()

    play(late, kept(never), asyncio=True)


def test_a_plain_method_may_begin_a_task() -> None:
    """And return it; it is the loop that runs."""

    async def store() -> tuple[int, str]:
        await asyncio.sleep(1)
        return 250, "Kept"

    class Inbox:
        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            return asyncio.get_running_loop().run_in_executor(None, lambda: True)

        def message(self, envelope: Any) -> Any:
            return asyncio.create_task(store())

    assert play(SCRIPT, Inbox, asyncio=True).events.count("message") == 1


def test_what_a_coroutine_raises_is_the_cause() -> None:
    """The reply is the 451 of a server, and the session lives."""

    async def fails() -> None:
        await asyncio.sleep(1)
        raise LookupError("no such shelf")

    with pytest.raises(DialogueDiffers) as caught:
        play(SCRIPT, kept(fails), asyncio=True)
    assert isinstance(caught.value.__cause__, LookupError)


async def _refuses(text: str) -> None:
    await asyncio.sleep(0)
    raise Refusal(550, "5.1.1", text)


async def _breaks() -> None:
    raise LookupError


async def _in_a_group(*tasks: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(task)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: _in_a_group(_refuses("No")), "550 5.1.1 No"),
        (lambda: _in_a_group(_refuses("No"), _refuses("No")), "550 5.1.1 No"),
        (lambda: _in_a_group(_in_a_group(_refuses("No")), asyncio.sleep(5)), "550 5.1.1 No"),
        (lambda: _in_a_group(_in_a_group(_refuses("No")), _breaks()), "451 4.3.0"),
        (lambda: _in_a_group(_breaks()), "451 4.3.0"),
    ],
)
def test_a_refusal_counts_from_however_deep(make: Any, said: str) -> None:
    """Out of the tasks of a group, too; beside a fault it is a fault."""

    class Inbox:
        async def message(self, envelope: Any) -> None:
            await make()

    play(SCRIPT.replace("250 2.0.0 Kept", said), Inbox, asyncio=True)


def test_a_future_of_another_loop_is_a_fault_at_once() -> None:
    """Nobody would ever bring its result."""
    other = asyncio.new_event_loop()

    class Inbox:
        def message(self, envelope: Any) -> Any:
            return other.create_future()

    with pytest.raises(DialogueDiffers) as caught:
        play(SCRIPT, Inbox, asyncio=True)
    assert "a future of another loop" in str(caught.value.__cause__)
    other.close()


def test_a_client_that_goes_cancels_what_it_waits_for() -> None:
    """A task sees `CancelledError` at its await."""
    seen: list[str] = []

    class Inbox:
        async def rcpt(self, recipient: Any, envelope: Any) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        def message(self, envelope: Any) -> None: ...

    script = """
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<a@example.org>
        *: 1 s pass
        *: the client has gone
    """
    script = "C: EHLO client\nS: 250 ...\n" + script
    play(script, Inbox, asyncio=True)
    assert seen == ["cancelled", "cancelled"]


def test_what_is_left_is_ended() -> None:
    """A task of the handler's own does not outlive the play; nor does the loop."""
    left: list[asyncio.Task[None]] = []

    class Inbox:
        def __init__(self) -> None:
            left.append(asyncio.create_task(asyncio.sleep(10_000)))

        def message(self, envelope: Any) -> Any:
            return 250, "Kept"

    play(SCRIPT, Inbox, asyncio=True)
    assert [task.cancelled() for task in left] == [True, True]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_a_play_within_a_loop() -> None:
    """Of a test that is a coroutine itself: its loop runs on afterwards."""

    async def test() -> None:
        outer = asyncio.get_running_loop()
        play(SCRIPT, kept(of_several), asyncio=True)
        assert asyncio.get_running_loop() is outer
        await asyncio.sleep(0)

    asyncio.run(test())


@pytest.mark.parametrize("given", [False, None])
def test_without_asyncio_the_cure_is_named(given: bool | None) -> None:
    """As in a server under another reactor, it is a fault at once, and no waiting."""
    with pytest.raises(DialogueDiffers) as caught:
        play(SCRIPT, kept(sleeps), asyncio=given)
    assert "play(..., asyncio=True)" in str(caught.value.__cause__)


def test_threads_and_plain_handlers_are_played_as_ever() -> None:
    """The loop runs beside them."""

    class Blocking:
        def message(self, envelope: Any) -> Any:
            time.sleep(0.02)
            return 250, "Kept"

    def later(self: object, envelope: object) -> Deferred[Any]:
        return deferred()

    def deferred() -> Deferred[Any]:
        from twisted.internet import reactor

        return deferLater(reactor, 3, lambda: (250, "Kept"))

    play(SCRIPT, threaded(Blocking), asyncio=True)
    play(SCRIPT, Blocking, asyncio=True)
    play(SCRIPT, type("Later", (), {"message": later}), asyncio=True)


def test_each_call_has_a_context_of_its_own() -> None:
    """As a task has."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []

    class Inbox:
        async def rcpt(self, recipient: Any, envelope: Any) -> None:
            variable.set(7)
            await asyncio.sleep(0)
            seen.append(variable.get())

        async def message(self, envelope: Any) -> Any:
            seen.append(variable.get())
            return 250, "Kept"

    play(SCRIPT, Inbox, asyncio=True)
    assert seen == [7, 0] * 2


def test_where_asyncios_reactor_is_installed_its_loop_runs() -> None:
    """Nobody has to say so twice."""
    program = """
import asyncio
from twisted.internet import asyncioreactor
asyncioreactor.install(asyncio.new_event_loop())
from smtpcb.testing import play
class Inbox:
    async def message(self, envelope):
        await asyncio.sleep(1)
script = "C: EHLO c\\nS: 250 ...\\nC: MAIL FROM:<>\\nS: 250\\nC: RCPT TO:<a@b>\\nS: 250\\n"
print(play(script + "C: BDAT 0 LAST\\nS: 250", Inbox).events[-1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "message\n", done.stderr
