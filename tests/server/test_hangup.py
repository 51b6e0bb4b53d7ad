"""SIGHUP: who hears of it, who had it before, who gets it back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from smtpcb.server._hangup import on_hangup


class Reactor:
    """Calls at once."""

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Who has been told; the signal is an application's, which keeps it."""
    them: list[str] = []

    def before(number: int, frame: object) -> None:
        them.append("before")

    kept = signal.signal(signal.SIGHUP, before)
    yield them
    assert signal.getsignal(signal.SIGHUP) is before
    signal.signal(signal.SIGHUP, kept)


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


def test_everybody_is_told(told: list[str]) -> None:
    """Several services of one process, and whoever had the signal before."""
    first = on_hangup(Reactor(), lambda: told.append("first"))
    second = on_hangup(Reactor(), lambda: told.append("second"))
    hang_up()
    assert sorted(told) == ["before", "first", "second"]
    first()
    hang_up()
    assert sorted(told[3:]) == ["before", "second"]
    second()
    second()
    hang_up()
    assert told[5:] == ["before"]


def test_a_signal_that_is_somebody_elses_by_then_stays_so(told: list[str]) -> None:
    """What an application has set later is not undone."""
    before = signal.getsignal(signal.SIGHUP)
    stop = on_hangup(Reactor(), lambda: told.append("first"))

    def later(number: int, frame: object) -> None:
        told.append("later")

    signal.signal(signal.SIGHUP, later)
    stop()
    hang_up()
    assert told == ["later"]
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("default", [signal.SIG_DFL, signal.SIG_IGN])
def test_the_default_does_not_end_the_process(default: Any, told: list[str]) -> None:
    """Nobody means that who sends it to a server."""
    before = signal.signal(signal.SIGHUP, default)
    stop = on_hangup(Reactor(), lambda: told.append("first"))
    hang_up()
    assert told == ["first"]
    stop()
    assert signal.getsignal(signal.SIGHUP) is default
    signal.signal(signal.SIGHUP, before)


def test_one_that_came_before_is_made_up_for(told: list[str]) -> None:
    """While a server starts it is remembered."""

    class Remembered:
        came = True

        def __call__(self, number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGHUP, Remembered())
    on_hangup(Reactor(), lambda: told.append("first"))()
    signal.signal(signal.SIGHUP, before)
    # It was told of when it was there to be told.
    assert told == []


def test_elsewhere_than_in_the_main_thread_nothing_is_done(told: list[str]) -> None:
    """Signals are somebody else's there."""
    before = signal.getsignal(signal.SIGHUP)
    stops: list[Any] = []
    thread = threading.Thread(target=lambda: stops.append(on_hangup(Reactor(), lambda: None)))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGHUP) is before
    stops[0]()
