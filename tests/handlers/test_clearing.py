"""What is removed from a Maildir: only what we have put there, only from one that we have made."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from smtpcb.handlers import _maildir
from smtpcb.handlers._clearing import LEFTOVER_SECONDS, Keep, Kept, clear
from smtpcb.handlers._maildir import MARK, opened, prepare, unique_name

from .layers import files

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    folder = tmp_path / "mail"
    prepare(folder)
    return folder


def named(days: float, octets: int = 5) -> str:
    """Return a name that we would have made so many days ago."""
    return re.sub(r"\A[0-9]+", str(int(NOW - days * DAY)), unique_name(octets))


def put(path: Path, hours: float = 99.0, octets: bytes = b"hello") -> Path:
    """Make a file that was last used so many hours ago."""
    path.write_bytes(octets)
    os.utime(path, (NOW - hours * 3600, NOW - hours * 3600))
    return path


def message(maildir: Path, days: float, octets: bytes = b"hello", place: str = "new") -> str:
    """Keep a message of so many days ago, with its envelope."""
    name = named(days, len(octets))
    put(maildir / place / (name + (":2,S" if place == "cur" else "")), octets=octets)
    put(maildir / "envelopes" / f"{name}.json")
    return name


def left(maildir: Path) -> set[str]:
    """Return the messages that are there; each has its envelope, and no other is there."""
    names = {path.name.partition(":")[0] for path in files(maildir, "new", "cur")}
    assert {path.name.removesuffix(".json") for path in files(maildir, "envelopes")} == names
    return names


class TestLeftovers:
    """What a killed process left behind."""

    def test_after_36_hours(self, maildir: Path) -> None:
        """They do not pile up; mail under way is safe."""
        ages = {"old": (37, 37), "fresh": (35, 35), "read again": (1, 99), "written": (99, 1)}
        names = {}
        for which, (read, written) in ages.items():
            path = put(maildir / "tmp" / named(0))
            os.utime(path, (NOW - read * 3600, NOW - written * 3600))
            names[path.name] = which
        assert clear(maildir, Keep(), NOW) == Kept(0, 0)
        assert {names[path.name] for path in files(maildir, "tmp")} == {*ages} - {"old"}

    @pytest.mark.parametrize(
        "name",
        [
            "letter",
            "notes.txt",
            ".hidden",
            "1700000000.12345_1.host",  # of another program
            "1700000000.M000001P1Q1.host",
            "1700000000.M000001P1Q1R0123456789abcdef.host,S=5 (copy)",
            "x1700000000.M000001P1Q1R0123456789abcdef.host,S=5",
            "1700000000.M000001P1Q1R0123456789abcdef.host,S=5.json",
            "1700000000.M000001P1Q1R0123456789abcdef.host,S=5\n",
        ],
    )
    def test_other_names_are_left_alone(self, maildir: Path, name: str) -> None:
        """A file that is not called as ours are is somebody's, wherever it lies."""
        kept = [put(maildir / folder / name) for folder in ("tmp", "new", "cur")]
        if not name.endswith(".json"):
            kept.append(put(maildir / "envelopes" / name))
        clear(maildir, Keep(days=1, messages=1, octets=1), NOW)
        assert all(path.exists() for path in kept)

    def test_links_and_folders_are_left_alone(self, maildir: Path, tmp_path: Path) -> None:
        """Whatever they are called, and what they lead to as well."""
        outside = put(tmp_path / "precious")
        link, folder = maildir / "tmp" / named(9), maildir / "tmp" / named(9)
        link.symlink_to(outside)
        folder.mkdir()
        for path in (link, folder):
            os.utime(path, (0, 0), follow_symlinks=False)
        clear(maildir, Keep(), NOW)
        assert link.is_symlink()
        assert folder.is_dir()
        assert outside.exists()

    @pytest.mark.parametrize("name", ["tmp", "new", "cur", "envelopes"])
    def test_a_folder_that_is_a_link(self, maildir: Path, tmp_path: Path, name: str) -> None:
        """What is behind it is not ours, even if it is called so."""
        elsewhere = tmp_path / "elsewhere"
        (maildir / name).rename(elsewhere)
        precious = put(elsewhere / named(99))
        (maildir / name).symlink_to(elsewhere)
        with pytest.raises(PermissionError, match="is a symbolic link"):
            clear(maildir, Keep(days=1), NOW)
        assert precious.exists()

    def test_a_file_with_two_names(self, maildir: Path, tmp_path: Path) -> None:
        """Another name of the same file, outside, stays."""
        precious = put(tmp_path / "precious")
        os.link(precious, maildir / "tmp" / named(99))
        clear(maildir, Keep(), NOW)
        assert precious.read_bytes() == b"hello"

    def test_a_maildir_of_somebody_else_s_making(self, tmp_path: Path) -> None:
        """It has no mark of ours: nothing is removed, however old, and however it is called."""
        for name in ("tmp", "new", "cur"):
            (tmp_path / "mail" / name).mkdir(parents=True)
        kept = [put(tmp_path / "mail" / name / named(99)) for name in ("tmp", "new", "cur")]
        prepare(tmp_path / "mail")
        assert clear(tmp_path / "mail", Keep(days=1, messages=1, octets=1), NOW) is None
        assert all(path.exists() for path in kept)

    @pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
    def test_a_mark_that_is_none(self, maildir: Path, tmp_path: Path, kind: str) -> None:
        """Only a regular file of ours is one."""
        kept = put(maildir / "tmp" / named(99))
        (maildir / MARK).rename(tmp_path / "mark")
        if kind == "link":
            (maildir / MARK).symlink_to(tmp_path / "mark")
        elif kind == "folder":
            (maildir / MARK).mkdir()
        else:
            os.mkfifo(maildir / MARK, 0o600)
        assert clear(maildir, Keep(), NOW) is None
        assert kept.exists()

    def test_envelopes_of_no_message(self, maildir: Path) -> None:
        """Of one that was never finished, or that a mail reader has removed."""
        name = message(maildir, 1)
        read = message(maildir, 1, place="cur")
        put(maildir / "envelopes" / f"{named(2)}.json", hours=LEFTOVER_SECONDS / 3600 + 1)
        fresh = put(maildir / "envelopes" / f"{named(0)}.json", hours=1)
        clear(maildir, Keep(), NOW)
        found = {path.name for path in files(maildir, "envelopes")}
        assert found == {f"{name}.json", f"{read}.json", fresh.name}

    def test_one_that_cannot_be_removed_is_no_obstacle(
        self, maildir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process may have been quicker, or the disk be read-only: mail goes on."""
        put(maildir / "tmp" / named(9))
        names = [message(maildir, days) for days in (9, 8)]

        def refuse(name: str, **_: Any) -> None:
            raise FileNotFoundError if name == names[0] else PermissionError

        monkeypatch.setattr(os, "unlink", refuse)
        assert clear(maildir, Keep(days=1), NOW) == Kept(1, 5)


class TestKeep:
    """How much is kept of what has arrived."""

    def test_all_of_it(self, maildir: Path) -> None:
        """Unless somebody says otherwise."""
        names = {message(maildir, days) for days in (0, 10, 10_000)}
        assert clear(maildir, Keep(), NOW) == Kept(3, 15)
        assert left(maildir) == names

    def test_by_age(self, maildir: Path) -> None:
        """Also what a mail reader has looked at; the envelope goes with the message."""
        message(maildir, 3.1)
        message(maildir, 5, place="cur")
        names = {message(maildir, 2.9), message(maildir, 1, place="cur")}
        assert clear(maildir, Keep(days=3), NOW) == Kept(2, 10)
        assert left(maildir) == names

    def test_by_number(self, maildir: Path) -> None:
        """The oldest go, until a tenth of the room is free."""
        names = [message(maildir, days) for days in range(20)]
        assert clear(maildir, Keep(messages=20), NOW) == Kept(20, 100)
        names.append(message(maildir, 20))
        assert clear(maildir, Keep(messages=20), NOW) == Kept(18, 90)
        assert left(maildir) == set(names[:18])

    def test_by_octets(self, maildir: Path) -> None:
        """The same for what they have together."""
        names = [message(maildir, days, bytes(100)) for days in range(11)]
        assert clear(maildir, Keep(octets=1000), NOW) == Kept(9, 900)
        assert left(maildir) == set(names[:9])

    def test_the_newest_may_be_too_much_alone(self, maildir: Path) -> None:
        """Then even that one goes: the disk is not to be filled."""
        message(maildir, 1, bytes(100))
        assert clear(maildir, Keep(octets=10), NOW) == Kept(0, 0)

    @pytest.mark.parametrize("field", ["days", "messages", "octets"])
    @pytest.mark.parametrize("value", [0, -1, float("nan")])
    def test_what_nobody_can_mean(self, field: str, value: float) -> None:
        """Nothing at all is not kept by keeping none of it."""
        with pytest.raises(ValueError, match=f"keep {field} is a number above 0"):
            Keep(**{field: value})

    def test_names_that_we_make_are_known_again(self, maildir: Path) -> None:
        """Whatever this machine is called."""
        with opened(maildir) as one:
            _maildir.store(one, [b"hello"], name=unique_name(5))
        assert clear(maildir, Keep(messages=1), NOW) == Kept(1, 5)
