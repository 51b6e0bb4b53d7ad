"""What systemd is told of a service of ``Type=notify``."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smtpcb import _hangup
from smtpcb.run._notify import Notifier, notifier_of
from tests.running import DEADLINE_SECONDS, running


class Manager:
    """The service manager: a socket that takes datagrams."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(DEADLINE_SECONDS)

    def hear(self) -> list[str]:
        """Return the lines of the next datagram."""
        return self.socket.recv(4096).decode().split("\n")

    def hear_of(self, word: str) -> list[str]:
        """Return the next datagram that begins so; signs of life are passed over."""
        while (lines := self.hear()) == ["WATCHDOG=1"] != [word]:
            pass
        assert lines[0] == word
        return lines

    def silence(self) -> bool:
        """Whether nothing more has been said."""
        self.socket.settimeout(0)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(DEADLINE_SECONDS)
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens at ``notify`` in the folder of the test."""
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


class Reactor(Clock):
    """A reactor that has not been started yet."""

    def __init__(self) -> None:
        super().__init__()
        self.begins: list[Any] = []
        self.ends: list[Any] = []

    def callWhenRunning(self, *call: Any) -> None:
        self.begins.append(call)

    def addSystemEventTrigger(self, phase: str, event: str, *call: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.ends.append(call)

    def callFromThread(self, work: Any, *arguments: Any) -> None:
        work(*arguments)


def do(calls: list[Any]) -> None:
    """Do what waits for its time."""
    for work, *arguments in calls:
        work(*arguments)


@pytest.fixture
def hangup() -> Iterator[None]:
    """Somebody reloads on SIGHUP; it is as it was afterwards."""
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


class TestNotifier:
    """What is said, and when."""

    def test_ready_and_stopping(self, manager: Manager, tmp_path: Path) -> None:
        """Once each: when the reactor runs, and when it is about to stop."""
        reactor = Reactor()
        Notifier(str(tmp_path / "notify")).attend(reactor)
        assert manager.silence()
        do(reactor.begins)
        assert manager.hear() == ["READY=1"]
        reactor.advance(3600)
        assert manager.silence()
        do(reactor.ends)
        assert manager.hear() == ["STOPPING=1"]

    def test_signs_of_life_come_twice_as_often_as_they_must(
        self, manager: Manager, tmp_path: Path
    ) -> None:
        """From the reactor: one that is stuck gives none."""
        reactor = Reactor()
        Notifier(str(tmp_path / "notify"), 30.0).attend(reactor)
        do(reactor.begins)
        assert [manager.hear(), manager.hear()] == [["READY=1"], ["WATCHDOG=1"]]
        reactor.advance(14.9)
        assert manager.silence()
        reactor.advance(0.2)
        assert manager.hear() == ["WATCHDOG=1"]

    def test_a_reload_ends_when_it_is_done(
        self, manager: Manager, tmp_path: Path, hangup: None
    ) -> None:
        """Or systemctl reload would return before the new certificate is shown."""
        reactor, reading = Reactor(), Deferred[None]()
        stop = _hangup.on_hangup(reactor, lambda: reading)
        Notifier(str(tmp_path / "notify")).attend(reactor)
        do(reactor.begins)
        assert manager.hear() == ["READY=1"]
        before = time.monotonic_ns() // 1000
        os.kill(os.getpid(), signal.SIGHUP)
        said, moment = manager.hear()
        assert said == "RELOADING=1"
        name, _, number = moment.partition("=")
        assert name == "MONOTONIC_USEC"
        assert before <= int(number) <= time.monotonic_ns() // 1000
        assert manager.silence()
        reading.callback(None)
        assert manager.hear() == ["READY=1"]
        stop()

    def test_nobody_reloads_and_nobody_is_told(
        self, manager: Manager, tmp_path: Path, hangup: None
    ) -> None:
        """Where SIGHUP is somebody else's, it is none of ours."""
        reactor = Reactor()
        Notifier(str(tmp_path / "notify")).attend(reactor)
        do(reactor.begins)
        assert manager.hear() == ["READY=1"]
        os.kill(os.getpid(), signal.SIGHUP)
        assert manager.silence()

    @pytest.mark.skipif(sys.platform != "linux", reason="there are none but on Linux")
    def test_an_abstract_socket(self) -> None:
        """It has no file, and begins with @."""
        name = f"smtpcb-test-{os.getpid()}"
        manager = Manager(f"\0{name}")
        Notifier(f"@{name}").say("READY=1")
        assert manager.hear() == ["READY=1"]
        manager.socket.close()

    def test_one_that_is_not_there_is_done_without(self, tmp_path: Path) -> None:
        """A server serves also those whom nobody looks after."""
        notifier = Notifier(str(tmp_path / "none"))
        notifier.say("READY=1")
        notifier.say("WATCHDOG=1")


class TestEnvironment:
    """What the service manager says of itself."""

    def test_it_is_taken_out(self) -> None:
        """What a handler runs, and a worker, must not speak for the service."""
        environment = {
            "NOTIFY_SOCKET": "/run/notify",
            "WATCHDOG_USEC": "30000000",
            "WATCHDOG_PID": str(os.getpid()),
            "PATH": "/bin",
        }
        notifier = notifier_of(environment)
        assert notifier is not None
        assert notifier.watchdog_seconds == 30.0
        assert environment == {"PATH": "/bin"}

    @pytest.mark.parametrize(
        ("more", "seconds"),
        [
            ({}, None),
            ({"WATCHDOG_USEC": "2000000"}, 2.0),
            ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "x"}, None),
        ],
    )
    def test_signs_of_life_are_for_who_is_asked_for_them(
        self, more: dict[str, str], seconds: float | None
    ) -> None:
        """And of a number only."""
        notifier = notifier_of({"NOTIFY_SOCKET": "/run/notify", **more})
        assert notifier is not None
        assert notifier.watchdog_seconds == seconds

    @pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
    def test_nobody_is_told_where_there_is_no_socket(self, address: str) -> None:
        """As when it is started by hand."""
        assert notifier_of({"NOTIFY_SOCKET": address}) is None
        assert notifier_of({}) is None


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_process(manager: Manager, tmp_path: Path, workers: tuple[str, ...]) -> None:
    """It is ready when mail is taken, by all workers; a reload is told; and the stop."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"}
    with running(tmp_path, *workers, environment=environment) as server:
        assert manager.hear() == ["READY=1"]
        assert "mail is taken on" in server.log
        assert manager.hear() == ["WATCHDOG=1"]
        server.signal(signal.SIGHUP)
        manager.hear_of("RELOADING=1")
        manager.hear_of("READY=1")
        server.stop()
        manager.hear_of("STOPPING=1")
        assert manager.silence()


def test_one_that_cannot_start_is_not_ready(manager: Manager, tmp_path: Path) -> None:
    """systemd hears it by the exit status."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with (
            pytest.raises(AssertionError, match="cannot listen on"),
            running(tmp_path, "--listen", port, environment=environment),
        ):
            pass
    assert manager.silence()
