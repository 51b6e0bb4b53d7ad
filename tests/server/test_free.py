"""Whether there is room for mail."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from smtpcb.engine import Circumstances, Settings
from smtpcb.handling import around
from smtpcb.server import _free
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._free import LOOK_SECONDS, FreeSpace, free_octets
from smtpcb.smtp import Limits


@implementer(IReactorFromThreads)
class Reactor(Clock):
    """A clock, and calls from threads, which wait until the test looks."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)
        self.waiting: list[Any] = []

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        self.waiting.append((call, arguments))
        self.came.release()

    def take(self) -> None:
        """Wait for a call, and make it."""
        assert self.came.acquire(timeout=30)
        call, arguments = self.waiting.pop(0)
        call(*arguments)


class Disks:
    """How much is free where; an error is raised."""

    def __init__(self, **free: Any) -> None:
        self.free = free
        self.reactor = Reactor()
        self.circumstances = Circumstances()
        self.space = FreeSpace(
            1000,
            lambda: [Path(name) for name in free],
            self.circumstances,
            self.reactor,
            free=self.ask,
        )

    def ask(self, folder: Path) -> int:
        free = self.free[str(folder)]
        if isinstance(free, OSError):
            raise free
        if isinstance(free, threading.Event):
            free.wait(30)
            return 0
        return int(free)

    def look(self) -> None:
        self.reactor.advance(LOOK_SECONDS)
        self.reactor.take()


def test_mail_is_refused_while_one_disk_is_short_of_room() -> None:
    """It says so once in the log, and once when there is room again (P48)."""
    disks = Disks(a=5000, b=1000)
    with capturedLogs() as events:
        disks.space.start()
        disks.reactor.take()
        assert not disks.circumstances.storage_full
        disks.free["b"] = 999
        disks.look()
        disks.look()
        assert disks.circumstances.storage_full
        disks.free["b"] = 1000
        disks.look()
        assert not disks.circumstances.storage_full
    disks.space.stop()
    assert [formatEvent(event) for event in events] == [
        "less than 1000 octets are free in b: mail is refused until there are",
        "there is room for mail again",
    ]
    assert disks.reactor.getDelayedCalls() == []


def test_a_disk_that_cannot_be_looked_at_is_no_limit() -> None:
    """One warning says why; the others are looked at all the same."""
    disks = Disks(gone=FileNotFoundError(2, "No such file or directory"), b=1)
    with capturedLogs() as events:
        disks.space.start()
        disks.reactor.take()
        assert disks.circumstances.storage_full
        disks.free["b"] = 5000
        disks.look()
    assert not disks.circumstances.storage_full
    disks.space.stop()
    said = [formatEvent(event) for event in events]
    assert said.count("how much is free in gone cannot be known: No such file or directory") == 1


def test_a_disk_that_stalls_stops_nobody() -> None:
    """It is asked once, in a thread; what was known of it holds until it answers."""
    stalls = threading.Event()
    disks = Disks(a=stalls)
    disks.space.start()
    for _ in range(3):
        disks.reactor.advance(LOOK_SECONDS)
    assert sum(one.name == "smtpcb-free" for one in threading.enumerate()) == 1
    assert not disks.circumstances.storage_full
    stalls.set()
    disks.reactor.take()
    assert disks.circumstances.storage_full
    disks.space.stop()


def test_what_comes_after_the_end_is_nobodys() -> None:
    """A disk may answer when the server has stopped."""
    disks = Disks(a=0)
    disks.space.start()
    disks.space.stop()
    disks.space.stop()
    disks.reactor.take()
    assert not disks.circumstances.storage_full


@pytest.mark.parametrize("least", [None, 0])
def test_it_can_be_lifted(least: int | None) -> None:
    """Then no disk is asked, nor where there are no threads."""
    for reactor in (Reactor(), Clock()):
        space = FreeSpace(
            least if isinstance(reactor, Reactor) else 1000,
            lambda: [Path("/")],
            Circumstances(),
            reactor,
        )
        space.start()
        assert reactor.getDelayedCalls() == []
        space.stop()


def test_a_real_disk(tmp_path: Path) -> None:
    """What we may write counts, and not what root may."""
    found = os.statvfs(tmp_path)
    assert abs(free_octets(tmp_path) - found.f_bavail * found.f_frsize) < 1 << 30
    with pytest.raises(FileNotFoundError):
        free_octets(tmp_path / "x")


class Keeps:
    """A handler that says where it writes."""

    discards_content = True

    def __init__(self, *folders: Any) -> None:
        self.folders = folders


@pytest.mark.parametrize(
    ("folders", "known"),
    [((Path("/a"), Path("/b")), ["/a", "/b"]), (("/a",), []), ((), [])],
)
def test_a_server_looks_where_its_mail_is_written(
    folders: Any, known: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the spool folder, and where the handler says."""
    asked: list[str] = []
    reactor = Reactor()

    def ask(folder: Path) -> int:
        asked.append(str(folder))
        return 0

    monkeypatch.setattr(_free.FreeSpace.__init__, "__kwdefaults__", {"free": ask})
    settings = Settings(limits=Limits(message_octets=1000))
    factory = SmtpServerFactory(Keeps(*folders), settings, reactor=reactor, spool_folder=tmp_path)
    factory.begin()
    reactor.take()
    assert asked == [str(tmp_path), *known]
    assert factory.circumstances.storage_full
    factory.end()


def test_folders_that_are_no_list(tmp_path: Path) -> None:
    """An attribute of that name may be anything."""
    handler = Keeps()
    handler.folders = "/a"
    factory = SmtpServerFactory(handler, reactor=Clock(), spool_folder=tmp_path)
    assert factory.handlers.folders == ()


def test_policies_hide_no_folder(tmp_path: Path) -> None:
    """What stands in front of a handler does not write, and the handler still does."""
    handler = around(Keeps(Path("/a")), Keeps())
    factory = SmtpServerFactory(handler, reactor=Clock(), spool_folder=tmp_path)
    assert list(factory.handlers.folders) == [Path("/a")]
