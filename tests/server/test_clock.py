"""Deadlines: one timer for all, and a time that never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.python import runtime

from smtpcb.server._clock import LEAST_SECONDS, Deadlines
from smtpcb.server._later import TwistedPlatform
from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, Client, Recorder

Connect = Callable[..., Client]


class WallClock(Clock):
    """A reactor whose time is that of the wall: it can be set."""

    seconds = staticmethod(runtime.seconds)
    wall = 0.0

    def callLater(self, when: float, what: Callable[..., object], *a: Any, **k: Any) -> Any:
        call = super().callLater(0, what, *a, **k)
        call.time = self.wall + when
        call.seconds = lambda: self.wall
        return call

    def jump(self, seconds: float) -> None:
        """Set the wall clock, and run what it says is due."""
        self.wall += seconds
        for call in [one for one in self.calls if one.getTime() <= self.wall]:
            if call in self.calls:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that never goes back, in its only place."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("jump", [400.0, 86_400.0])
@pytest.mark.parametrize("octets", [b"", HELLO, HELLO + MAIL, b"half a line"])
def test_a_clock_that_is_set_cuts_nobody(
    jump: float, octets: bytes, connect: Connect, monotonic: list[float]
) -> None:
    """Time servers and people set clocks; a client's patience does not depend on that."""
    clock = WallClock()
    client = connect(Recorder(), clock=clock, limits=Limits(idle_seconds=300))
    client.send(octets)
    clock.jump(jump)
    clock.jump(jump)
    assert not client.closing
    assert client.replies() == []
    monotonic[0] += 300
    clock.jump(301)
    assert client.codes() == [421]


def test_a_grace_that_is_set_forward_cuts_nobody(connect: Connect, monotonic: list[float]) -> None:
    """The time in which transactions may end when a server stops is a real one."""
    clock = WallClock()
    client = connect(Recorder(), clock=clock)
    client.send(HELLO + MAIL)
    client.factory.drain()
    clock.jump(400)
    assert not client.closing
    monotonic[0] += 29
    clock.jump(29)
    assert not client.closing
    monotonic[0] += 1
    clock.jump(30)
    assert client.codes() == [421]


@pytest.mark.parametrize("kind", ["wall", "time", "own"])
def test_which_clock_is_used(kind: str) -> None:
    """Twisted's own time is that of the wall; a reactor with another one is believed."""

    class Reactor:
        pass

    reactor: Any = Reactor()
    reactor.seconds = {"wall": runtime.seconds, "time": time.time, "own": lambda: 7.0}[kind]
    platform = TwistedPlatform(reactor)
    assert (platform.seconds is time.monotonic) is (kind != "own")


def test_the_installed_reactor_has_a_wall_clock() -> None:
    """If Twisted changes that one day, nothing here is needed any more."""
    assert ReactorBase.seconds in (runtime.seconds, time.time)


class One:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.lates: list[float] = []
        self.next = float("inf")

    def late(self, now: float) -> None:
        self.lates.append(now)
        self.deadline = self.next


def test_one_timer_for_all() -> None:
    """A timer for each connection would cost more than all else that a command does."""
    clock = Clock()
    them = [One(10.0 + number) for number in range(100)]
    deadlines = Deadlines(clock, clock.seconds, lambda: them)
    for one in reversed(them):
        deadlines.by(one.deadline)
        assert len(clock.getDelayedCalls()) == 1
    for _ in range(200):
        clock.advance(1)
    assert [one.lates for one in them] == [[10.0 + number] for number in range(100)]
    assert clock.getDelayedCalls() == []


def test_who_is_late_and_stays_so_is_asked_again_later() -> None:
    """A connection that cannot be ended yet must not keep us busy."""
    clock = Clock()
    one = One(1.0)
    one.next = 1.0
    deadlines = Deadlines(clock, clock.seconds, lambda: [one])
    deadlines.by(1.0)
    for _ in range(100):
        clock.advance(0.1)
    assert 8 <= len(one.lates) <= 10 / LEAST_SECONDS
    deadlines.stop()
    deadlines.stop()
    assert clock.getDelayedCalls() == []


def test_one_that_ends_another_when_it_is_late() -> None:
    """Handlers may do that."""
    clock = Clock()
    first, second = One(1.0), One(1.0)
    them = [first, second]

    def late(now: float) -> None:
        them.remove(second)
        second.deadline = float("inf")
        first.deadline = float("inf")

    first.late = late
    Deadlines(clock, clock.seconds, lambda: them).by(1.0)
    clock.advance(1)
    assert second.lates == []
    assert clock.getDelayedCalls() == []
