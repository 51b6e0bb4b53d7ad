"""SIGHUP, for everybody in a process who has something to read again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from smtpcb._hangup import on_hangup, remember


class Reactor:
    """It does at once what it is told from a signal."""

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()


def hang_up() -> None:
    """Send it to ourselves."""
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.fixture
def happened() -> Iterator[list[str]]:
    """What was done; the process would end if nobody cared."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield []
    signal.signal(signal.SIGHUP, before)


def test_everybody_who_wants_it_hears_of_it(happened: list[str]) -> None:
    """
    Two servers in one process both read their certificates again, and either may stop first; what
    an application did with the signal before is done as well.
    """
    signal.signal(signal.SIGHUP, lambda number, frame: happened.append("before"))
    first = on_hangup(Reactor(), lambda: happened.append("first"))
    second = on_hangup(Reactor(), lambda: happened.append("second"))
    hang_up()
    assert happened == ["first", "second", "before"]
    first()
    first()
    hang_up()
    assert happened[3:] == ["second", "before"]
    second()
    hang_up()
    assert happened[5:] == ["before"]


def test_one_that_came_while_we_started_is_made_up_for(happened: list[str]) -> None:
    """Once, however often it came; and it goes on to end nothing when we have stopped."""
    remember()
    hang_up()
    hang_up()
    stop = on_hangup(Reactor(), lambda: happened.append("reload"))
    assert happened == ["reload"]
    stop()
    hang_up()
    stop = on_hangup(Reactor(), lambda: happened.append("again"))
    hang_up()
    assert happened == ["reload", "again", "again"]
    stop()


def test_nothing_came(happened: list[str]) -> None:
    """Then nothing is read twice."""
    remember()
    on_hangup(Reactor(), lambda: happened.append("reload"))()
    assert happened == []


def test_somebody_has_taken_it_meanwhile(happened: list[str]) -> None:
    """It stays theirs when we stop."""
    stop = on_hangup(Reactor(), lambda: happened.append("reload"))
    signal.signal(signal.SIGHUP, lambda number, frame: happened.append("theirs"))
    stop()
    hang_up()
    assert happened == ["theirs"]


def test_who_ignores_it_goes_on_to(happened: list[str]) -> None:
    """That has been decided, as by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    remember()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_in_a_thread(happened: list[str]) -> None:
    """Signals are somebody else's there."""

    def take() -> None:
        remember()
        on_hangup(Reactor(), lambda: happened.append("reload"))()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
