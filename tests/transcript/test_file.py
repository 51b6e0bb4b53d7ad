"""One connection becomes one file, whatever the disk does."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs

from smtpcb.transcript import Line
from smtpcb.transcript import _file as file_module
from smtpcb.transcript import _folders as folders_module
from tests.transcript.recording import Recording, connection, named, notes, octets_of, os_with

# The file


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".x", "../x", "/etc/x", "a/b", "a\0", "a\n", "ä", "x" * 65, "x-1"),
        *(f"{named()}\n", f"../{named()}", f"{named()}/x", f"{named()}.txt", named().upper()),
        named().replace("4711", "٤٧١١"),
    ],
)
def test_names_that_are_no_names_are_refused(recording: Recording, name: str) -> None:
    """What is no id as servers make it names no file: the folder can be cleared up by name."""
    who = connection()
    who.id = name
    with pytest.raises(ValueError, match="cannot name a file"):
        recording.folder.open(who)


def test_others_cannot_read_it(recording: Recording) -> None:
    """Folders are made with mode 0700 and files with 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        recording.open().close("done")
        assert recording.folder.flush()
    finally:
        os.umask(before)
    path = recording.path()
    assert str(path) == recording.open().path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in list(path.parents)[:4]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_folders_above_are_private_too(make: Callable[..., Recording], tmp_path: Path) -> None:
    """A folder that is made on the way to the other is nobody else's either."""
    recording = make(folder=tmp_path / "a/b/c")
    before = os.umask(0)
    try:
        recording.open().close("done")
        assert recording.folder.flush()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700


def test_a_file_that_exists_is_left_alone(recording: Recording) -> None:
    """A second connection of the same name does not write over the first one's transcript."""
    recording.open().close("first")
    with capturedLogs() as captured:
        recording.open().close("second")
        assert notes(recording.lines()) == ["closed: first"]
    assert len(captured) == 1


def test_a_link_is_not_followed(recording: Recording, tmp_path: Path) -> None:
    """A symbolic link in the place of a transcript is not written through, now or later."""
    target = tmp_path / "target"
    target.write_text("precious")
    recording.path().parent.mkdir(parents=True)
    recording.path(2).symlink_to(target)
    with capturedLogs() as captured:
        recording.open(2).close("done")
        transcript = recording.open(3)
        transcript.client(b"NOOP\r\n")
        assert recording.folder.flush()
        recording.path(3).unlink()
        recording.path(3).symlink_to(target)
        transcript.close("done")
        assert recording.folder.flush()
    assert target.read_text() == "precious"
    assert len([event for event in captured if "cut or lost" in event["log_format"]]) == 1


@pytest.mark.parametrize("folder", ["2026", "2026/11", "2026/11/20"])
def test_a_link_in_the_place_of_a_dated_folder_is_not_followed(
    recording: Recording, tmp_path: Path, folder: str
) -> None:
    """Nobody has transcripts written elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "11/20").mkdir(parents=True)
    (elsewhere / "20").mkdir()
    (recording.settings.folder / folder).parent.mkdir(parents=True)
    (recording.settings.folder / folder).symlink_to(elsewhere)
    with capturedLogs():
        recording.open().close("done")
        assert recording.folder.flush()
    assert not list(elsewhere.rglob("*.txt"))


def test_a_fifo_in_its_place_is_not_waited_for(recording: Recording) -> None:
    """What nobody reads is no transcript, and keeps no other one."""
    transcript, other = recording.open(1), recording.open(2)
    transcript.client(b"NOOP\r\n")
    assert recording.folder.flush()
    recording.path().unlink()
    os.mkfifo(recording.path())
    reading = os.open(recording.path(), os.O_RDONLY | os.O_NONBLOCK)
    with capturedLogs() as captured:
        transcript.close("done")
        assert recording.folder.flush()
        os.close(reading)
        other.close("done")
        assert notes(recording.lines(2)) == ["closed: done"]
    assert "Something else is in its place" in warnings(captured)[0]


def test_one_short_session_is_one_write(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of a few lines costs one open, one write and one close; no folder is made."""
    recording.open(2).close("the folder exists now")
    assert recording.folder.flush()
    calls: list[str] = []

    def counting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            calls.append(name)
            return getattr(os, name)(*arguments, **keywords)

        return call

    names = ("open", "write", "close", "mkdir", "stat", "fstat")
    patched = os_with(**{name: counting(name) for name in names})
    monkeypatch.setattr(folders_module, "os", patched)
    monkeypatch.setattr(file_module, "os", patched)
    transcript = recording.open()
    transcript.server(b"220 hello\r\n")
    transcript.client(b"QUIT\r\n")
    transcript.close("quit")
    assert recording.folder.flush()
    assert calls == ["open", "write", "close"]


def test_folders_that_were_removed_are_made_again(recording: Recording) -> None:
    """Whoever clears the folder away while the server runs loses what was there, no more."""
    recording.open(1).close("done")
    assert recording.files() == [f"{named(1)}.txt"]
    path = recording.path()
    path.unlink()
    path.parent.rmdir()
    recording.open(2).close("done")
    assert recording.files() == [f"{named(2)}.txt"]
    assert recording.settings.folder.joinpath(".smtpcb-transcripts").exists()


@pytest.mark.parametrize("what", [".", "2026", "2026/11", "2026/11/20"])
def test_a_folder_that_was_moved_away_gets_no_more(recording: Recording, what: str) -> None:
    """Whoever keeps what there was elsewhere has a new folder a second later, as named."""
    recording.open(1).close("done")
    assert recording.files() == [f"{named(1)}.txt"]
    kept = recording.settings.folder.with_name("kept")
    (recording.settings.folder / what).rename(kept)
    recording.clock.advance(1)
    recording.open(2).close("done")
    assert recording.files() == [f"{named(2)}.txt"]
    assert [path.name for path in kept.rglob("*.txt")] == [f"{named(1)}.txt"]


def test_a_session_whose_folder_was_moved_away_says_what_it_lost(recording: Recording) -> None:
    """It has no second transcript of half of it; those that come have theirs."""
    transcript = recording.open(1)
    transcript.client(b"NOOP\r\n")
    assert recording.folder.flush()
    recording.settings.folder.rename(recording.settings.folder.with_name("kept"))
    recording.clock.advance(1)
    with capturedLogs() as captured:
        transcript.close("done")
        recording.open(2).close("done")
        assert recording.files() == [f"{named(2)}.txt"]
    assert "A transcript is cut or lost" in warnings(captured)[0]


def test_a_session_goes_on_in_the_folder_of_its_day(recording: Recording) -> None:
    """Whoever stays past midnight has one transcript, and so has who comes after it."""
    first, second = recording.open(1), connection(2)
    second.id = second.id.replace("20261120T", "20261121T")
    first.client(b"NOOP\r\n")
    assert recording.folder.flush()
    recording.folder.open(second).close("done")
    first.close("done")
    assert octets_of("C", recording.lines(1)) == b"NOOP\r\n"
    assert notes(recording.lines(1)) == ["closed: done"]
    assert (recording.settings.folder / f"2026/11/21/{second.id}.txt").exists()


def test_a_folder_may_be_behind_a_link(make: Callable[..., Recording], tmp_path: Path) -> None:
    """Where the user's own folder leads is the user's choice."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    recording = make(folder=tmp_path / "link")
    recording.open().close("done")
    assert recording.files() == [f"{named()}.txt"]


def test_a_cut_never_meets_anything_but_its_file(recording: Recording) -> None:
    """A transcript that is gone when it is cut is not made anew."""
    transcript = recording.open()
    transcript.client(b"NOOP\r\n")
    assert recording.folder.flush()
    recording.path().unlink()
    recording.folder._disk.cut(transcript._writing, 0.0)
    assert not recording.path().exists()
    recording.folder.cut(transcript._writing, 0.0)
    with capturedLogs() as captured:
        transcript.close("done")
        assert recording.folder.flush()
    assert captured == []


# A disk that fails


class FailingDisk:
    """The os layer, of which one call and all after it fail until it is repaired."""

    def __init__(self, fail_at: int) -> None:
        self.fail_at = fail_at
        self.calls = 0
        names = ("open", "write", "close", "mkdir", "ftruncate", "fstat", "stat", "scandir")
        self.os = os_with(**{name: self._wrapped(name) for name in names})

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls += 1
            if name == "close":  # it frees the descriptor even when it fails
                os.close(*arguments)
            if self.calls > self.fail_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return None if name == "close" else getattr(os, name)(*arguments, **keywords)

        return call

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (folders_module, file_module):
            monkeypatch.setattr(module, "os", self.os)


def warnings(captured: list[LogEvent]) -> list[str]:
    return [event["log_format"].format(**event) for event in captured]


def session(recording: Recording, number: int) -> None:
    transcript = recording.open(number)
    transcript.server(b"220 hello\r\n")
    assert recording.folder.flush()
    transcript.content(b"x" * 20_000)
    transcript.end_of_content()
    transcript.client(b"QUIT\r\n")
    transcript.close("quit")
    assert recording.folder.flush()


@pytest.mark.parametrize("fail_at", range(45))
def test_a_full_disk_does_not_hurt_the_session(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    """Whichever call finds the disk full, the session goes on, and the next is recorded again."""
    disk = FailingDisk(fail_at)
    disk.patch(monkeypatch)
    with capturedLogs() as captured:
        session(recording, 1)
        assert {event["log_level"].name for event in captured} <= {"warn"}
        disk.fail_at = 1_000_000
        recording.clock.advance(60)
        session(recording, 2)
    assert notes(recording.lines(2)) == ["closed: quit"]
    if recording.path(1).exists():
        recording.lines(1)  # whatever arrived can be read


def test_a_disk_that_fills_up_leaves_a_readable_file(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrived of a write that failed is taken back, and the transcript says it is cut."""
    room = 0

    def write(descriptor: int, octets: bytes) -> int:
        nonlocal room
        if not room:
            room = 100  # ftruncate gives some back
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, octets[:room])
        room -= written
        return written

    monkeypatch.setattr(file_module, "os", os_with(write=write))
    room = 1000
    transcript = recording.open()
    transcript.client(b"MAIL FR")
    assert recording.folder.flush()
    room = 5
    with capturedLogs():
        transcript.client(b"OM:<\xff>\r\n")
        transcript.close("quit")
        assert recording.folder.flush()
    assert recording.lines() == [
        Line("C", b"MAIL FR", ended=False, seconds=0.0),
        Line("*", b"cut: No space left on device", True, 0.0),
    ]


@pytest.mark.parametrize("taken", [0, 7, 200])
def test_a_transcript_that_could_not_be_begun_leaves_no_file(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """An empty file, or half a header, would look like a session in which nothing was said."""
    rooms = [taken]

    def write(descriptor: int, octets: bytes) -> int:
        if not rooms or not rooms[-1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, octets[: rooms.pop()])

    with monkeypatch.context() as patch, capturedLogs() as captured:
        patch.setattr(file_module, "os", os_with(write=write))
        transcript = recording.open(1)
        transcript.client(b"NOOP\r\n" * 100)
        assert recording.folder.flush()
        transcript.close("done")
        assert recording.files() == []
    assert len(captured) == 1
    recording.open(2).close("done")
    assert recording.files() == [f"{named(2)}.txt"]


def test_a_write_may_take_two(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes a part is continued."""
    write = os.write
    monkeypatch.setattr(
        file_module, "os", os_with(write=lambda descriptor, octets: write(descriptor, octets[:7]))
    )
    recording.open().close("quit")
    assert notes(recording.lines()) == ["closed: quit"]


def test_a_full_disk_is_one_warning_a_minute(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred sessions on a full disk are one line in the log, and a count in the next."""
    recording.open(1000).close("the folder exists now")
    assert recording.folder.flush()
    FailingDisk(0).patch(monkeypatch)
    with capturedLogs() as captured:
        for number in range(100):
            recording.open(number).close("quit")
        assert recording.folder.flush()
        recording.clock.advance(59.9)
        recording.open(101).close("quit")
        assert recording.folder.flush()
        assert warnings(captured) == [
            "A transcript is cut or lost: [Errno 28] No space left on device"
            " (and 0 since the last warning)"
        ]
        recording.clock.advance(0.1)
        recording.open(102).close("quit")
        assert recording.folder.flush()
    assert "(and 100 since the last warning)" in warnings(captured)[1]
    assert len(captured) == 2


def test_a_mistake_of_ours_costs_one_transcript(
    recording: Recording, clean_reactor: list[LogEvent]
) -> None:
    """Whatever goes wrong with one of them is in the log, and the next is written."""
    transcript = recording.open(1)
    transcript._records += (0.0, 0, "no octets")
    with capturedLogs() as captured:
        transcript.close("done")
        recording.open(2).close("done")
        assert recording.files() == [f"{named(2)}.txt"]
    assert [event["log_format"] for event in captured] == ["a transcript is lost"]
    clean_reactor.clear()
