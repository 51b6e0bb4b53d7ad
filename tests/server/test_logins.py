"""Failed logins make the next ones of their address wait, over all its connections."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine import replies
from smtpcb.server import _logins
from smtpcb.server._logins import Logins
from smtpcb.smtp import Limits, Reply

NO = Reply(535, status="5.7.8")
YES = Reply(235, status="2.7.0")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def logins(clock: Clock, **limits: Any) -> Logins:
    given: dict[str, Any] = {"logins_slowed_after": 3, "login_slow_seconds": 10.0}
    return Logins(Limits(**(given | limits)), clock, clock.seconds)


def fails(one: Logins, address: str, times: int) -> None:
    for _ in range(times):
        assert one.admit(address) is None
        one.decided(address, NO)


def test_some_failures_are_free_and_then_one_waits(clock: Clock) -> None:
    """Whichever of its connections it comes from; others wait for nothing (P15)."""
    one = logins(clock)
    fails(one, "192.0.2.1", 3)
    waiting = one.admit("192.0.2.1")
    assert isinstance(waiting, Deferred)
    assert one.admit("192.0.2.2") is None
    done: list[object] = []
    waiting.addCallback(done.append)
    clock.advance(9.9)
    assert done == []
    clock.advance(0.2)
    assert done == [None]


def test_those_that_wait_come_one_after_the_other(clock: Clock) -> None:
    """A hundred connections try no more often than one; those for whom it is too long hear 454."""
    one = logins(clock)
    fails(one, "192.0.2.1", 3)
    came: list[int] = []
    refused = 0
    for number in range(100):
        waiting = one.admit("192.0.2.1")
        if isinstance(waiting, Deferred):
            waiting.addCallback(lambda _, number=number: came.append(number))
        else:
            assert waiting is replies.AUTH_LATER
            refused += 1
    assert refused == 97
    for number in range(3):
        clock.advance(10)
        assert came == list(range(number + 1))


def test_time_forgets(clock: Clock) -> None:
    """A failure each so many seconds."""
    one = logins(clock)
    fails(one, "192.0.2.1", 3)
    clock.advance(10)
    assert one.admit("192.0.2.1") is None
    clock.advance(1000)
    fails(one, "192.0.2.1", 3)
    assert isinstance(one.admit("192.0.2.1"), Deferred)


@pytest.mark.parametrize("reply", [YES, Reply(454, status="4.7.0")])
def test_what_was_no_failure_costs_nothing(clock: Clock, reply: Reply) -> None:
    """A login that succeeds, or that nobody can decide on now."""
    one = logins(clock)
    for _ in range(100):
        assert one.admit("192.0.2.1") is None
        one.decided("192.0.2.1", reply)
    assert one.forgotten == {}


def test_who_gives_up_has_tried(clock: Clock) -> None:
    """An exchange that never comes to its end counts, or it would be free to begin many."""
    one = logins(clock)
    for _ in range(3):
        assert one.admit("192.0.2.1") is None
    waiting = one.admit("192.0.2.1")
    assert isinstance(waiting, Deferred)
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    assert clock.getDelayedCalls() == []


def test_an_address_of_ipv6_is_its_network(clock: Clock) -> None:
    """Whoever has one has a /64 of them."""
    one = logins(clock)
    fails(one, "2001:db8::1", 3)
    assert isinstance(one.admit("2001:db8::ffff"), Deferred)
    assert one.admit("2001:db8:0:1::1") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", ""])
def test_this_machine_is_exempt(clock: Clock, address: str) -> None:
    """As it is from the number of connections."""
    fails(logins(clock), address, 100)


def test_it_can_be_switched_off_or_made_strict(clock: Clock) -> None:
    """``None`` lets all try; 0 has each wait."""
    fails(logins(clock, logins_slowed_after=None), "192.0.2.1", 100)
    assert isinstance(logins(clock, logins_slowed_after=0).admit("192.0.2.1"), Deferred)


def test_what_is_remembered_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who has not tried for longest goes first, and only that one is looked at: those who come from
    very many networks must not make each try cost more.
    """
    monkeypatch.setattr(_logins, "MOST_ADDRESSES", 10)
    one = logins(clock)
    for number in range(10):
        fails(one, f"192.0.2.{number}", 1)
    clock.advance(5)
    fails(one, "192.0.2.0", 1)
    fails(one, "198.51.100.1", 1)
    assert len(one.forgotten) == 10
    assert list(one.forgotten)[-2:] == ["192.0.2.0", "198.51.100.1"]
    assert "192.0.2.1" not in one.forgotten


def test_the_log_says_so_once_a_minute(clock: Clock) -> None:
    """Whatever an attacker does."""
    one = logins(clock)
    fails(one, "192.0.2.1", 3)
    with capturedLogs() as events:
        for _ in range(10):
            one.admit("192.0.2.1")
        clock.advance(5)
        one.admit("192.0.2.1")
    [event] = events
    assert formatEvent(event) == "too many failed logins from 192.0.2.1: its next ones wait"
