"""What the folder may hold is kept to while it is written, and nothing of others is removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from smtpcb.transcript import TranscriptFolder, TranscriptSettings
from smtpcb.transcript import _folders as folders_module
from smtpcb.transcript._folders import Folders
from smtpcb.transcript._names import MARK
from smtpcb.transcript._room import FULL, Room
from tests.transcript.recording import Recording, named, notes, os_with
from tests.transcript.test_file import warnings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86400.0


class Kept:
    """A folder with transcripts of any age, and what tidies it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / MARK).touch()

    def put(self, age_days: float, number: int = 1, octets: int = 10) -> Path:
        """Make a transcript of that age, in the folder of its day."""
        began = datetime.fromtimestamp(NOW - age_days * DAY, UTC)
        path = self.folder / f"{began:%Y/%m/%d}/{began:%Y%m%dT%H%M%S.%fZ}-1-{number}-0123abcd.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * octets)
        return path

    def names(self) -> list[str]:
        """The numbers of those that are there, the oldest first."""
        paths = sorted(self.folder.rglob("*.txt"), key=lambda path: path.name)
        return [path.name.split("-")[2] for path in paths]

    def room(self, **limits: Any) -> Room:
        none = {"keep_days": None, "keep_octets": None, "keep_files": None}
        settings = TranscriptSettings(self.folder, **{**none, **limits})
        folders = Folders(self.folder)
        folders.open_root()
        return Room(folders, settings, Clock().seconds, lambda: NOW)

    def tidy(self, **limits: Any) -> int:
        room = self.room(**limits)
        try:
            return room.tidy()
        finally:
            room._folders.close()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "kept")


# What goes


def test_everything_is_kept_where_nothing_is_said(kept: Kept) -> None:
    """Without limits nothing is removed."""
    kept.put(10_000)
    assert kept.tidy() == 0
    assert kept.names() == ["1"]


def test_old_transcripts_are_removed(kept: Kept) -> None:
    """Transcripts older than ``keep_days`` go, and the folders they leave empty."""
    for number, age in enumerate([400, 31, 30.1, 29.9, 29.9, 1]):
        kept.put(age, number)
    assert kept.tidy(keep_days=30) == 3
    assert kept.names() == ["3", "4", "5"]
    assert sorted(str(path.relative_to(kept.folder)) for path in kept.folder.glob("*/*/*")) == [
        "2026/10/21",
        "2026/11/19",
    ]
    assert not (kept.folder / "2025").exists()


def test_age_is_told_by_the_name(kept: Kept) -> None:
    """A copy that was brought back yesterday is as old as its session."""
    path = kept.put(100)
    os.utime(path, (NOW, NOW))
    assert kept.tidy(keep_days=30) == 1


@pytest.mark.parametrize("days", [1e9, 1e300, float("inf")])
def test_a_very_long_time_is_never(kept: Kept, days: float) -> None:
    """Any number of days can be said."""
    kept.put(10_000)
    assert kept.tidy(keep_days=days) == 0


def test_the_oldest_go_until_the_rest_fits(kept: Kept) -> None:
    """``keep_octets`` and ``keep_files`` are met by removing the oldest first."""
    for number in range(9):
        kept.put(9 - number, number, octets=100)
    assert kept.tidy(keep_octets=750) == 2
    assert kept.names() == ["2", "3", "4", "5", "6", "7", "8"]
    assert kept.tidy(keep_files=3) == 4
    assert kept.names() == ["6", "7", "8"]
    assert kept.tidy(keep_files=0) == 3
    assert [path.name for path in kept.folder.iterdir()] == [MARK]


def test_what_is_not_ours_is_not_touched(kept: Kept, tmp_path: Path) -> None:
    """Only what is named exactly as we name it, in the folder of its day, is removed."""
    elsewhere = tmp_path / "elsewhere"
    outside = elsewhere / "01/01/19990101T000000.000000Z-1-1-0123abcd.txt"
    ours = "20240506T000000.000000Z-1-1-0123abcd"
    day = "2024/05/06"
    foreign = [kept.folder / f"{day}/notes.txt"]
    foreign += [kept.folder / place for place in ("notes.txt", f"{ours}.txt", f"2024/{ours}.txt")]
    foreign += [
        kept.folder / day / name
        for name in (
            *(ours, f"{ours}.log", f".{ours}.txt", f"{ours}.TXT", f"{ours}.txt~", f"x{ours}.txt"),
            *(f"{ours}\n.txt", f"{ours.upper()}.txt", "20240507T000000.000000Z-1-1-0123abcd.txt"),
            *("20240506T000000Z-1-1-0123abcd.txt", "20240506T000000.000000Z-1-1.txt"),
            *("20240506T000000.000000Z-1-1-.txt", "20240506T000000.000000Z--1-0123abcd.txt"),
            *("20240506.txt", "20240506T000000.000000Z-1-1-0123abcd-draft.txt"),
        )
    ]
    foreign += [
        kept.folder / f"2024/5/6/{ours}.txt",
        kept.folder / f"20240/05/06/{ours}.txt",
        kept.folder / f"x/2024/05/06/{ours}.txt",
        kept.folder / f"{day}/folder.txt/{ours}.txt",
        kept.folder / f"{day}/20240506T000000.000000Z-1-2-0123abcd.txt/{ours}.txt",
    ]
    for path in [outside, *foreign]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    (kept.folder / "1999").symlink_to(elsewhere)
    link = kept.folder / f"{day}/20240506T000000.000000Z-1-3-0123abcd.txt"
    link.symlink_to(outside)
    (kept.folder / "2002/01/01").mkdir(parents=True)
    mine = kept.put(300)
    assert kept.tidy(keep_days=1, keep_files=0, keep_octets=0) == 1
    assert not mine.exists()
    assert (kept.folder / "2002/01/01").exists()
    assert link.is_symlink()
    assert all(path.exists() for path in [outside, *foreign])


def test_a_dated_folder_exchanged_for_a_link_is_left_alone(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when it happens while the folder is looked through."""
    path = kept.put(100)
    elsewhere = tmp_path / "elsewhere"
    room = kept.room(keep_days=1)
    days = room._folders.days

    def exchanged() -> list[str]:
        found = days()
        if not elsewhere.exists():
            path.parent.rename(elsewhere)
            path.parent.symlink_to(elsewhere)
        return found

    monkeypatch.setattr(room._folders, "days", exchanged)
    assert room.tidy() == 0
    assert (elsewhere / path.name).exists()
    room._folders.close()


def test_others_may_remove_transcripts_too(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transcript that vanishes while the folder is read or emptied is no mistake."""
    for number in range(4):
        kept.put(4 - number / 100, number)

    @contextmanager
    def scandir(folder: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        with os.scandir(folder) as entries:
            found = list(entries)
        for entry in found:
            if "-1-0-" in entry.name and os.access(entry.name, os.F_OK, dir_fd=folder):
                os.unlink(entry.name, dir_fd=folder)
        yield iter(found)

    def unlink(path: str, **keywords: Any) -> None:
        os.unlink(path, **keywords)
        if "-1-1-" in path:
            raise FileNotFoundError(path)

    monkeypatch.setattr(folders_module, "os", os_with(scandir=scandir, unlink=unlink))
    kept.tidy(keep_files=1)
    assert kept.names() == ["3"]


def test_a_transcript_that_cannot_be_removed_is_passed_over(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that stays does not keep the others."""
    for number in range(3):
        kept.put(3 - number, number)

    def unlink(path: str, **keywords: Any) -> None:
        if "-1-0-" in path:
            raise PermissionError(path)
        os.unlink(path, **keywords)

    monkeypatch.setattr(folders_module, "os", os_with(unlink=unlink))
    assert kept.tidy(keep_files=2) == 1
    assert kept.names() == ["0", "2"]


# Whose the folder is


def test_a_folder_of_others_is_written_to_and_never_cleared(
    recording: Recording, tmp_path: Path
) -> None:
    """Where there was something before, nothing is removed, and the log says so."""
    folder = recording.settings.folder
    folder.mkdir()
    (folder / "notes.txt").write_text("precious")
    kept = Kept(tmp_path / "other")
    old = kept.put(1000)
    copy = folder / old.relative_to(kept.folder)
    copy.parent.mkdir(parents=True)
    old.rename(copy)
    with capturedLogs() as captured:
        recording.open().close("done")
        assert notes(recording.lines()) == ["closed: done"]
    assert copy.exists()
    assert not (folder / MARK).exists()
    assert "has not been made for transcripts: none will be removed" in warnings(captured)[0]


def test_a_folder_of_others_has_the_same_limits(make: Callable[..., Recording]) -> None:
    """What cannot be removed is not added to: it is full, and the log says so once."""
    recording = make(keep_files=2)
    recording.settings.folder.mkdir()
    (recording.settings.folder / "notes.txt").write_text("precious")
    with capturedLogs() as captured:
        for number in range(1, 9):
            recording.open(number).close("done")
        assert recording.files() == [f"{named(1)}.txt", f"{named(2)}.txt", "notes.txt"]
    assert [text for text in warnings(captured) if FULL in text] == warnings(captured)[1:]
    assert len(captured) == 2


@pytest.mark.parametrize("before", [[], ["lost+found"]])
def test_an_empty_folder_becomes_ours(recording: Recording, before: list[str]) -> None:
    """Whoever names an empty folder, or a file system of its own, wants it used for this."""
    recording.settings.folder.mkdir()
    for name in before:
        (recording.settings.folder / name).mkdir()
    recording.open().close("done")
    assert recording.folder.flush()
    assert (recording.settings.folder / MARK).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["link", "folder"])
def test_a_mark_is_a_file(kept: Kept, tmp_path: Path, what: str) -> None:
    """Nothing else that is called so allows to remove anything."""
    path = kept.put(100)
    mark = kept.folder / MARK
    mark.rename(tmp_path / "mark")
    if what == "link":
        mark.symlink_to(tmp_path / "mark")
    else:
        mark.mkdir()
    assert kept.tidy(keep_days=1) == 0
    assert path.exists()


def test_one_of_several_processes_marks_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks while another one begins sees that the folder is ours."""
    (kept.folder / MARK).unlink()

    @contextmanager
    def scandir(folder: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        (kept.folder / MARK).touch()
        with os.scandir(folder) as entries:
            yield entries

    monkeypatch.setattr(folders_module, "os", os_with(scandir=scandir))
    folders = Folders(kept.folder)
    folders.open_root()
    folders.close()
    assert folders.ours


def test_a_folder_is_not_made_by_looking(tmp_path: Path) -> None:
    """Before the first connection there is nothing to remove, and nothing is made."""
    folders = Folders(tmp_path / "none")
    assert folders.days() == []
    assert not (tmp_path / "none").exists()


def test_a_mark_that_cannot_be_looked_at_is_an_error(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails makes no folder ours, and leaves no descriptor."""

    def stat(*arguments: Any, **keywords: Any) -> os.stat_result:
        raise OSError(5, "Input/output error")

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(folders_module, "os", os_with(stat=stat))
        folders = Folders(kept.folder)
        with pytest.raises(OSError, match="Input/output"):
            folders.open_root()
    assert not folders.ours
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_both_may_mark_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second finds the mark of the first."""
    (kept.folder / MARK).unlink()
    opened = os.open

    def later(path: Any, *arguments: Any, **keywords: Any) -> int:
        if path == MARK:
            (kept.folder / MARK).touch()
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(folders_module, "os", os_with(open=later))
    folders = Folders(kept.folder)
    folders.open_root()
    folders.close()
    assert folders.ours


def test_a_server_that_is_only_tried_out_does_nothing(tmp_path: Path) -> None:
    """A folder that is made and closed, and never written to, leaves the disk as it is."""
    kept = Kept(tmp_path / "kept")
    path = kept.put(1000)
    for folder in (kept.folder, tmp_path / "new"):
        transcripts = TranscriptFolder(TranscriptSettings(folder), Clock())
        transcripts.close()
        assert transcripts.flush()
    assert path.exists()
    assert not (tmp_path / "new").exists()


def test_a_server_that_starts_clears_up(make: Callable[..., Recording], tmp_path: Path) -> None:
    """Whoever starts it need not wait for the first client."""
    kept = Kept(tmp_path / "transcripts")
    kept.put(1000)
    recording = make(keep_days=30)
    recording.folder._disk._room._wall = lambda: NOW
    with capturedLogs() as captured:
        recording.folder.start()
        assert recording.files() == []
    assert warnings(captured) == ["1 old transcripts removed"]


# While it is written


def test_the_limits_hold_while_it_is_written(make: Callable[..., Recording]) -> None:
    """However fast one client connects, the folder never holds more files than it may."""
    recording = make(keep_files=10)
    for number in range(100, 150):
        recording.open(number).close("done")
        assert len(recording.files()) <= 10
    assert recording.files()[-1] == f"{named(149)}.txt"
    assert len(recording.files()) >= 9


def test_the_octets_hold_while_it_is_written(make: Callable[..., Recording]) -> None:
    """One client who talks much cannot make it more octets than it may be."""
    recording = make(keep_octets=200_000, max_octets=50_000)
    for number in range(100, 130):
        transcript = recording.open(number)
        for _ in range(40):
            transcript.content(b"x\r\n" * 400)
        transcript.close("done")
        assert recording.folder.flush()
        octets = [path.stat().st_size for path in recording.settings.folder.rglob("*.txt")]
        assert sum(octets) <= 200_000
    assert sum(octets) > 100_000


def test_one_that_is_being_written_is_not_removed(make: Callable[..., Recording]) -> None:
    """A session that goes on is removed when it has ended, if it still is too much."""
    recording = make(keep_files=2)
    transcript = recording.open(1)
    transcript.client(b"NOOP\r\n")
    for number in range(2, 9):
        assert recording.folder.flush()
        recording.open(number).close("done")
    assert named(1) + ".txt" in recording.files()
    transcript.close("done")
    assert notes(recording.lines(1)) == ["closed: done"]
    recording.open(9).close("done")
    assert recording.files() == [f"{named(8)}.txt", f"{named(9)}.txt"]


def test_a_transcript_that_finds_no_room_says_so(make: Callable[..., Recording]) -> None:
    """What was recorded of it is readable, and it is not tried again for every line."""
    recording = make(keep_octets=2000)
    transcript = recording.open()
    transcript.client(b"NOOP\r\n")
    assert recording.folder.flush()
    transcript.content(b"x" * 1500 + b"\r\n")
    with capturedLogs() as captured:
        assert recording.folder.flush()
        transcript.content(b"x" * 1500 + b"\r\n")
        assert notes(recording.lines()) == [f"cut: {FULL}"]
        transcript.close("done")
        assert recording.folder.flush()
    assert len(captured) == 1


def test_where_nothing_can_be_removed_it_is_tried_once_a_minute(
    make: Callable[..., Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full folder costs the sessions that find it full nothing."""
    recording = make(keep_files=1)
    looked: list[int] = []
    room = recording.folder._disk._room
    make_room = room._clear

    def clear(octets: int, files: int) -> int:
        looked.extend([octets] if octets else [])  # none: it is looked through, not cleared
        return make_room(octets, files)

    monkeypatch.setattr(room, "_clear", clear)
    recording.open(1).client(b"NOOP\r\n")
    assert recording.folder.flush()
    with capturedLogs():
        for number in range(2, 50):
            recording.open(number).close("done")
        assert recording.folder.flush()
        assert len(looked) == 1
        recording.clock.advance(60)
        recording.open(50).close("done")
        assert recording.folder.flush()
    assert len(looked) == 2
    assert recording.files() == [f"{named(1)}.txt"]


def test_what_others_have_removed_makes_room(make: Callable[..., Recording]) -> None:
    """Whoever empties a full folder by hand sees the next session in it, not an hour later."""
    recording = make(keep_files=4)
    for number in range(1, 5):
        recording.open(number).close("done")
    assert len(recording.files()) == 4
    for path in recording.settings.folder.rglob("*.txt"):
        path.unlink()
    with capturedLogs() as captured:
        recording.open(5).close("done")
        assert recording.files() == [f"{named(5)}.txt"]
    assert captured == []


@pytest.mark.parametrize("files", [2, 8])
def test_what_was_moved_away_is_neither_counted_nor_cleared(
    make: Callable[..., Recording], files: int
) -> None:
    """An archive of old transcripts is nobody's but its owner's, whatever the limits say."""
    recording = make(keep_files=4)
    for number in range(1, 5):
        recording.open(number).close("done")
    assert len(recording.files()) == 4
    kept = recording.settings.folder.with_name("kept")
    recording.settings.folder.rename(kept)
    with capturedLogs() as captured:
        for number in range(11, 11 + files):
            recording.open(number).close("done")
            assert recording.folder.flush()
    assert captured == []
    assert len(recording.files()) == min(files, 4)
    assert len([*kept.rglob("*.txt")]) == 4


def test_only_what_is_removed_is_looked_at(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with 100,000 transcripts costs little each time that some of them must go."""
    for number in range(100):
        kept.put(2 - number / 100, number)
    room = kept.room(keep_files=100)
    room.tidy()
    looked: list[str] = []

    def stat(path: str, **keywords: Any) -> os.stat_result:
        looked.extend([str(path)] if str(path).endswith(".txt") else [])
        return os.stat(path, **keywords)

    monkeypatch.setattr(folders_module, "os", os_with(stat=stat))
    room.admit(10, new=True)
    assert [path.split("-")[2] for path in looked] == ["0", "1", "2", "3", "4", "5"]
    assert kept.names() == [str(number) for number in range(6, 100)]
    room._folders.close()


def test_all_minutes_of_a_day_are_in_their_order(tmp_path: Path) -> None:
    """The oldest go first, however the disk lists them."""
    folders = Folders(tmp_path)
    names = [
        f"20261120T{hour:02}{minute:02}{second:02}.000000Z-1-1-0123abcd.txt"
        for hour in (0, 9, 23)
        for minute in (0, 7, 59)
        for second in (0, 30)
    ]
    (tmp_path / "2026/11/20").mkdir(parents=True)
    for name in reversed(names):
        (tmp_path / "2026/11/20" / name).touch()
    assert folders.transcripts("2026/11/20") == names
    folders.close()


def test_nothing_is_kept_where_nothing_may_be(make: Callable[..., Recording]) -> None:
    """A limit of no files is a folder without files."""
    recording = make(keep_files=0)
    with capturedLogs():
        recording.open().close("done")
        assert recording.files() == []


def test_what_others_write_is_counted_too(kept: Kept) -> None:
    """After a quarter of a limit it is looked at what several processes have written."""
    room = kept.room(keep_files=8, keep_octets=1000)
    room.tidy()
    for number in range(8):
        kept.put(8 - number, number)
    for _ in range(4):
        room.admit(10, new=True)
    assert len(kept.names()) < 8
    room._folders.close()
