"""Certificates that are read again while the server runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent

from smtpcb.server import _certificates as module
from smtpcb.server._certificates import RELOAD_SECONDS, Reloads


class Identities:
    """
    Certificates that can be read, or cannot.

    :ivar errors: of the first readings.
    """

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.times = 0

    def reload(self) -> None:
        self.times += 1
        if self.errors:
            raise self.errors.pop(0)


class Reactor(Clock):
    """A clock that does at once what a thread tells it."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Threads that are none; whether each would keep the process from ending."""
    keeping: list[bool] = []

    class Thread:
        def __init__(self, target: Callable[[], None], daemon: bool, name: str) -> None:
            keeping.append(not daemon)
            self.start = target

    monkeypatch.setattr(module, "Thread", Thread)
    return keeping


def texts(events: Any) -> list[str]:
    """Return what log events say."""
    return [formatEvent(event) for event in events]


def test_once_a_day() -> None:
    """One that was exchanged is in use a day later, whatever went wrong the day before."""
    clock, identities = Reactor(), Identities(ValueError("broken"))
    reloads = Reloads(identities, clock)
    with capturedLogs() as events:
        reloads.start()
        assert identities.times == 0
        clock.pump([RELOAD_SECONDS / 2] * 4)
    assert identities.times == 2
    assert texts(events) == ["certificates not reloaded: broken", "certificates reloaded"]
    reloads.stop()
    reloads.give_back()
    reloads.give_back()
    assert not clock.getDelayedCalls()


def test_a_disk_that_has_stalled_does_not_keep_the_process(at_once: list[bool]) -> None:
    """They are read in a thread that nobody waits for."""
    done = Reloads(Identities(), Reactor()).now()
    assert done.called
    assert at_once == [False]


def test_what_nobody_has_foreseen(clean_reactor: list[LogEvent]) -> None:
    """It is logged with its traceback, and the server goes on."""
    clock, identities = Reactor(), Identities(KeyError("odd"))
    reloads = Reloads(identities, clock)
    reloads.start()
    clock.pump([RELOAD_SECONDS] * 2)
    assert identities.times == 2
    assert texts(clean_reactor) == ["certificates not reloaded"]
    clean_reactor.clear()
    reloads.stop()
    reloads.give_back()


@pytest.mark.parametrize("tls", [None, object()])
def test_where_there_is_nothing_to_read(tls: object) -> None:
    """It is done at once, and nothing is done daily."""
    clock = Reactor()
    reloads = Reloads(tls, clock)
    reloads.start()
    assert not clock.getDelayedCalls()
    done: Deferred[None] = reloads.now()
    assert done.called
    reloads.stop()
    reloads.give_back()
