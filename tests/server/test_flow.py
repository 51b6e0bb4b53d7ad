"""Whose turn it is: whoever has much to do does not keep the others waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smtpcb.engine import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._flow import SLICE_SECONDS, TURN_SECONDS, Turns
from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, TEXT, Client, Recorder

Connect = Callable[..., Client]


class Ticking(Clock):
    """Each look at it takes a part of a slice."""

    looks = 0
    tick = SLICE_SECONDS / 3

    def seconds(self) -> float:
        self.looks += 1
        self.rightNow += self.tick
        return self.rightNow

    def turn(self) -> None:
        """Run what is due now, once, as a reactor does between two looks at its sockets."""
        now = self.rightNow
        for call in [one for one in self.calls if one.getTime() <= now]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Greedy:
    """Has more to do than fits into a turn; each step takes a slice."""

    def __init__(self, turns: Turns, clock: Clock, steps: int) -> None:
        self.turns = turns
        self.clock = clock
        self.steps = steps

    def take_turn(self) -> None:
        self.clock.rightNow += SLICE_SECONDS
        self.steps -= 1
        if self.steps:
            self.turns.join(self)


@pytest.mark.parametrize("number", [1, 20, 100])
def test_all_that_have_yielded_share_one_budget(number: int) -> None:
    """However many there are, the reactor looks at its sockets again after the same time."""
    clock = Clock()
    turns = Turns(clock, clock.seconds)
    greedy = [Greedy(turns, clock, 10) for _ in range(number)]
    for one in greedy:
        turns.join(one)
    while clock.getDelayedCalls():
        before = clock.rightNow
        (call,) = clock.getDelayedCalls()
        clock.calls.remove(call)
        call.func()
        assert clock.rightNow - before <= TURN_SECONDS + SLICE_SECONDS
    assert [one.steps for one in greedy] == [0] * number


def test_turns_are_taken_in_order() -> None:
    """Nobody has a second one before all have had their first."""
    clock = Clock()
    turns = Turns(clock, clock.seconds)
    greedy = [Greedy(turns, clock, 3) for _ in range(50)]
    for one in greedy:
        turns.join(one)
    while clock.getDelayedCalls():
        clock.advance(0)
        left = [one.steps for one in greedy]
        assert max(left) - min(left) <= 1


def test_who_has_gone_has_no_turn() -> None:
    """The last one takes the timer along."""
    clock = Clock()
    turns = Turns(clock, clock.seconds)
    first, second = (Greedy(turns, clock, 1) for _ in range(2))
    turns.join(first)
    turns.join(second)
    turns.leave(first)
    turns.leave(first)
    clock.advance(0)
    assert (first.steps, second.steps) == (1, 0)
    turns.join(first)
    turns.leave(first)
    assert clock.getDelayedCalls() == []


def test_one_that_ends_another_in_its_turn() -> None:
    """A handler may do that: who has gone is not served."""
    clock = Clock()
    turns = Turns(clock, clock.seconds)
    other = Greedy(turns, clock, 1)

    class Ending:
        def take_turn(self) -> None:
            turns.leave(other)

    turns.join(Ending())
    turns.join(other)
    clock.advance(0)
    assert other.steps == 1
    assert clock.getDelayedCalls() == []


PIPELINED = {
    "nothing": b"NOOP\r\n",
    "messages": MESSAGE,
    "two recipients": MESSAGE.replace(b"DATA", b"RCPT TO:<c@example.org>\r\nDATA"),
    "chunks": b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 2 LAST\r\nab",
    "eight lines": b"NOOP\r\n" * 7 + b"MAIL FROM:<>\r\nRSET\r\n" + b"RSET\r\n" * 7,
    "mistakes": b"WHAT\r\n",
}


@pytest.mark.parametrize("number", [20, 100])
@pytest.mark.parametrize("what", PIPELINED)
def test_who_pipelines_does_not_keep_others_waiting(
    what: str, number: int, connect: Connect
) -> None:
    """A good client's turn comes after a bounded number of slices, whatever others send (P43)."""
    clock = Ticking()
    limits = Limits(
        idle_commands=None,
        errors=None,
        free_errors=None,
        session_seconds=None,
        idle_seconds=1e9,
        content_octets_per_second=None,
        connections_per_address=None,
    )

    def work(*_: Any) -> None:
        clock.rightNow += SLICE_SECONDS / 20

    handler = Recorder(mail=work)
    factory = SmtpServerFactory(handler, Settings(limits=limits), reactor=clock, log_messages=False)
    octets = PIPELINED[what]
    octets *= 60_000 // len(octets)
    greedy = [connect(factory=factory, clock=clock) for _ in range(number)]
    good = connect(factory=factory, clock=clock)
    for offset, client in enumerate(greedy):
        # Wherever the commands of a message stand among those at which the clock is looked at.
        client.protocol.dataReceived(HELLO + b"NOOP\r\n" * (offset % 8))
        client.transport.clear()
        before = clock.rightNow
        client.protocol.dataReceived(octets)
        # The first slice, and what a look at the clock may come late.
        assert clock.rightNow - before <= 5 * SLICE_SECONDS
    good.send(HELLO)
    waited = []
    for _ in range(30):
        before = clock.rightNow
        clock.turn()
        assert good.codes(b"NOOP\r\n") == [250]
        waited.append(clock.rightNow - before)
    assert max(waited) <= TURN_SECONDS + 10 * SLICE_SECONDS
    assert any(client.protocol.flow.yielded for client in greedy)
    for client in greedy:
        client.leave()


def test_what_has_yielded_is_answered_to_its_end(connect: Connect) -> None:
    """In order, and nothing twice."""
    clock = Ticking()
    limits = Limits(idle_commands=None, session_seconds=None, idle_seconds=1e9)
    client = connect(Recorder(), clock=clock, limits=limits)
    client.send(HELLO)
    octets = (MESSAGE + b"VRFY x\r\nNOOP\r\n") * 100
    client.protocol.dataReceived(octets)
    while client.protocol.flow.yielded:
        clock.turn()
    assert client.codes() == [250, 250, 354, 250, 252, 250] * 100


def test_a_half_closed_client_that_has_yielded_is_heard_to_its_end(connect: Connect) -> None:
    """It has sent all it wanted, and waits for the rest of its replies."""
    clock = Ticking()
    client = connect(Recorder(), clock=clock, limits=Limits(session_seconds=None, idle_seconds=1e9))
    client.send(HELLO)
    client.protocol.dataReceived(MESSAGE * 100 + b"QUIT\r\n")
    assert client.protocol.flow.yielded
    client.protocol.readConnectionLost()
    while client.protocol.flow.yielded:
        assert not client.closing
        clock.turn()
    assert client.codes() == [250, 250, 354, 250] * 100 + [221]


def test_one_that_has_yielded_may_leave(connect: Connect) -> None:
    """Its turn goes with it (P60)."""
    clock = Ticking()
    client = connect(Recorder(), clock=clock, limits=Limits(session_seconds=None))
    client.send(HELLO)
    client.protocol.dataReceived(MESSAGE * 100)
    assert client.protocol.flow.yielded
    client.leave()
    assert client.timers == 0


SLOW_AT = {
    "connected": (b"", b"NOOP\r\n"),
    "hello": (b"", HELLO),
    "mail": (HELLO, MAIL),
    "rcpt": (HELLO + MAIL, RCPT),
    "data": (HELLO + MAIL + RCPT, b"DATA\r\n"),
    "message": (HELLO + MAIL + RCPT + b"DATA\r\n", TEXT + b".\r\n"),
    "verify": (HELLO, b"VRFY anne\r\n"),
}


@pytest.mark.parametrize("kind", ["Deferred", "coroutine"])
@pytest.mark.parametrize("event", SLOW_AT)
def test_nobody_waits_for_what_another_waits_for(kind: str, event: str, connect: Connect) -> None:
    """
    While one client's decision is open, others need no turn more for theirs (P43).

    Their whole sessions come to an end before the reactor has had a single one.
    """
    slow: list[Deferred[None]] = []

    def wait(*_: Any) -> Any:
        if len(slow) == number:
            return None
        slow.append(Deferred())
        return slow[-1] if kind == "Deferred" else awaited(slow[-1])

    async def awaited(answer: Deferred[None]) -> None:
        await answer

    number = 20
    handler = Recorder(**{event: wait})
    factory = SmtpServerFactory(handler, reactor=Clock(), log_messages=False)
    before, there = SLOW_AT[event]
    waiting = [connect(factory=factory, clock=factory.reactor) for _ in range(number)]
    for client in waiting:
        client.protocol.dataReceived(before)
        client.transport.clear()
        client.protocol.dataReceived(there)
        assert client.transport.value() == b""
    assert len(slow) == number
    good = connect(factory=factory, clock=factory.reactor)
    assert good.codes(HELLO, MESSAGE, b"QUIT\r\n") == [220, 250, 250, 250, 354, 250, 221]
    # Nor does it matter in which order the others are answered.
    for client, answer in reversed([*zip(waiting, slow, strict=True)]):
        answer.callback(None)
        assert client.transport.value() != b""
