"""Files that are read again when they have changed: those of policies, and those of passwords."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from smtpcb import _files
from smtpcb.policies._watched import WatchedFile
from smtpcb.run._named_lines import Watched, named_lines

Now = Callable[[], "list[str] | None"]


class OfAPolicy:
    """A file of a policy: lines, of which ``wrong`` is none."""

    def __init__(self, path: Path) -> None:
        self.reads = 0
        self.now: Now = WatchedFile(path, self._understood).now

    def _understood(self, lines: list[tuple[int, str]]) -> list[str]:
        self.reads += 1
        if any(line == "wrong" for _, line in lines):
            raise ValueError("line 1: wrong")
        return [line for _, line in lines]


class OfPasswords:
    """A file of passwords, whose lines have a colon."""

    def __init__(self, path: Path) -> None:
        self.reads = 0
        self._file: Watched[bytes] = Watched(path, self._understood, kind="file", private=True)
        self._file.names()

    def now(self) -> list[str] | None:
        names = self._file.names_or_none()
        return None if names is None else [b":".join(pair).decode() for pair in names.items()]

    def _understood(self, path: Path, octets: bytes) -> Mapping[bytes, bytes]:
        self.reads += 1
        return {name: rest for _, name, rest in named_lines(path, octets, "NAME:REST")}


both = pytest.mark.parametrize("kind", [OfAPolicy, OfPasswords])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("anne:1\n")
    path.chmod(0o600)
    return path


def replace(path: Path, text: str) -> None:
    """Put another file in its place, as editors do."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(0o600)
    os.replace(new, path)


def gone(path: Path) -> None:
    path.unlink()


def half_written(path: Path) -> None:
    path.write_text("wrong\n")


def no_utf8(path: Path) -> None:
    path.write_bytes(b"anne:\xff\n")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def back(path: Path) -> None:
    """Have there what was there at first."""
    if path.is_dir():
        path.rmdir()
    replace(path, "anne:1\n")


@both
def test_a_file_that_has_not_changed_is_read_once(kind: Any, path: Path) -> None:
    """However often it is asked."""
    file = kind(path)
    assert [file.now() for _ in range(3)] == [["anne:1"]] * 3
    assert file.reads == 1


@both
@pytest.mark.parametrize("change", [replace, Path.write_text])
def test_what_is_written_or_put_in_its_place_counts_at_once(
    kind: Any, path: Path, change: Callable[[Path, str], object]
) -> None:
    """Of the same length too."""
    file = kind(path)
    change(path, "anne:2\n")
    assert file.now() == file.now() == ["anne:2"]
    assert file.reads == 2


@both
def test_one_with_the_same_date_and_length_is_another_file(kind: Any, path: Path) -> None:
    """What restores a file restores its date."""
    file = kind(path)
    before = path.stat().st_mtime_ns
    replace(path, "anne:2\n")
    os.utime(path, ns=(before, before))
    assert file.now() == ["anne:2"]


@both
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (gone, "No such file or directory"),
        (half_written, "line 1: "),
        (no_utf8, "it is no UTF-8"),
        (a_folder, "is no regular file"),
        (a_pipe, "is no regular file"),
    ],
)
def test_while_it_cannot_be_used_nothing_is_known_and_it_comes_back(
    kind: Any, path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    """
    What it said before holds no longer, the log says why once, and as soon as it is there again it
    counts again.
    """
    file = kind(path)
    for _ in range(2):
        spoil(path)
        with capturedLogs() as events:
            assert [file.now() for _ in range(3)] == [None] * 3
        [event] = events
        assert str(path) in formatEvent(event)
        assert why in formatEvent(event)
        back(path)
        assert file.now() == ["anne:1"]


@both
def test_what_was_not_understood_is_read_again(kind: Any, path: Path) -> None:
    """Nothing is remembered of half a file, whoever asks next."""
    file = kind(path)
    half_written(path)
    assert [file.now() for _ in range(3)] == [None] * 3
    assert file.reads == 4


@both
def test_one_that_may_not_be_read_is_said_to_be(
    kind: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be once its mode is right, which changes no octet of it."""
    file = kind(path)
    path.touch()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched, capturedLogs() as events:
        patched.setattr(Path, "open", denied)
        assert file.now() is None
        assert file.now() is None
    assert [f"{path}: Permission denied; " in formatEvent(event) for event in events] == [True]
    assert file.now() == ["anne:1"]


def test_only_files_of_policies_have_a_longest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many have passwords, they log in."""
    policy, passwords = OfAPolicy(path), OfPasswords(path)
    monkeypatch.setattr(_files, "MOST_OCTETS", 20)
    path.write_text("anne:1\nbob:2\ncarol:3\n")
    with capturedLogs() as events:
        assert policy.now() is None
    assert "has no end within 20 octets" in formatEvent(events[0])
    assert passwords.now() == ["anne:1", "bob:2", "carol:3"]
