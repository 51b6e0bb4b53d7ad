"""SIGTERM, SIGINT and SIGHUP, and what they are taken for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from smtpcb._hangup import on_hangup
from smtpcb.run._signals import (
    ONE_STOP_SECONDS,
    StopSignals,
    attend,
    remember_reload,
)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Reactor:
    """It does nothing by itself."""

    def __init__(self, running: bool = False) -> None:
        self.running = running
        self.first: list[Callable[[], object]] = []
        self.shutdown: list[Callable[[], object]] = []

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        self.first.append(function)

    def addSystemEventTrigger(self, phase: str, event: str, function: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.shutdown.append(function)

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()


@pytest.fixture
def happened() -> Iterator[list[str]]:
    """What was asked for; the reactor's own handlers note it as well."""
    # The real reactor of the tests takes the signals when it starts: it must have by now.
    pytest_twisted.blockon(deferLater(reactor, 0))
    seen: list[str] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS[:2]:
        signal.signal(number, lambda number, _: seen.append(signal.Signals(number).name))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


class Stopping:
    """A process that can be sent signals at any second."""

    def __init__(self, happened: list[str]) -> None:
        self.seconds = 100.0
        self.reactor = Reactor()
        self.signals = StopSignals(
            self.reactor, lambda: happened.append("cut"), lambda: self.seconds
        )
        self.signals.install()

    def send(self, number: signal.Signals, after: float = 0.0) -> None:
        self.seconds += after
        os.kill(os.getpid(), number)


@pytest.fixture
def stopping(happened: list[str]) -> Iterator[Stopping]:
    made = Stopping(happened)
    yield made
    made.signals.remove()


class TestStop:
    """SIGTERM and SIGINT."""

    @pytest.mark.parametrize("number", SIGNALS[:2])
    def test_the_first_is_the_reactors(
        self, happened: list[str], stopping: Stopping, number: signal.Signals
    ) -> None:
        """It stops the reactor, which notes what the process will end with."""
        stopping.send(number)
        assert happened == [number.name]

    def test_what_comes_together_is_one_stop(self, happened: list[str], stopping: Stopping) -> None:
        """Whichever signals they are: everybody on the way passes on one of its own."""
        stopping.send(signal.SIGINT)
        stopping.send(signal.SIGTERM)
        stopping.send(signal.SIGTERM, after=ONE_STOP_SECONDS / 2)
        assert happened == ["SIGINT"]

    @pytest.mark.parametrize("number", SIGNALS[:2])
    def test_whoever_asks_again_cuts(
        self, happened: list[str], stopping: Stopping, number: signal.Signals
    ) -> None:
        """As often as they like; the reactor hears of the first one only."""
        stopping.send(signal.SIGTERM)
        stopping.send(number, after=ONE_STOP_SECONDS)
        stopping.send(number)
        assert happened == ["SIGTERM", "cut", "cut"]

    def test_a_stop_without_a_signal(self, happened: list[str], stopping: Stopping) -> None:
        """A signal after it asks again: the reactor cannot be stopped twice."""
        [stops] = stopping.reactor.shutdown
        stops()
        stopping.send(signal.SIGTERM)
        assert happened == []
        stopping.send(signal.SIGTERM, after=ONE_STOP_SECONDS)
        stops()
        assert happened == ["cut"]

    def test_they_are_given_back(self, happened: list[str], stopping: Stopping) -> None:
        """To whoever had them before."""
        stopping.signals.remove()
        stopping.send(signal.SIGTERM)
        stopping.send(signal.SIGTERM, after=1.0)
        assert happened == ["SIGTERM", "SIGTERM"]

    def test_what_is_ignored_stays_ignored(self, happened: list[str]) -> None:
        """A shell starts what is in the background with SIGINT ignored."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stopping = Stopping(happened)
        stopping.send(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert happened == []
        stopping.signals.remove()

    def test_when_they_are_taken(self, happened: list[str]) -> None:
        """When the reactor starts, which takes them too; never from one that runs already."""
        reactor = Reactor()
        attend(reactor, lambda: happened.append("cut"))
        assert len(reactor.first) == 1
        running = Reactor(running=True)
        attend(running, lambda: happened.append("cut"))
        assert running.first == []

    def test_in_a_thread(self, happened: list[str]) -> None:
        """Signals are somebody else's there."""
        before = [signal.getsignal(number) for number in SIGNALS]

        def take() -> None:
            StopSignals(Reactor(), lambda: None).install()
            remember_reload(Reactor())
            on_hangup(Reactor(), lambda: None)()

        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
        assert [signal.getsignal(number) for number in SIGNALS] == before


class TestReload:
    """SIGHUP while we start; what it does then is a matter of the server."""

    def test_it_is_remembered_until_there_is_something_to_reload(self, happened: list[str]) -> None:
        """It ends nothing, and is made up for once."""
        remember_reload(Reactor())
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        on_hangup(Reactor(), lambda: happened.append("reload"))
        assert happened == ["reload"]

    def test_one_that_runs_already(self, happened: list[str]) -> None:
        """Its process is somebody else's, who has decided."""
        remember_reload(Reactor(running=True))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
