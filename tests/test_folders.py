"""Folders that nobody but us can have filled."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from smtpcb import _folders as folders
from smtpcb._folders import NotOursError, look_at, make_folder, open_file, open_folder

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
SOMEBODY = 65534


def made(path: Path) -> bool:
    """Make it if it is missing; tell whether it was."""
    descriptor, was_made = make_folder(path)
    os.close(descriptor)
    return was_made


def read(path: Path) -> bytes:
    """Return the content of a file, opened through its folder."""
    folder = open_folder(path.parent)
    try:
        with open(open_file(path, dir_fd=folder), "rb") as file:
            return file.read()
    finally:
        os.close(folder)


class TestMaking:
    """A folder that is missing."""

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
    def test_it_is_private(self, tmp_path: Path, umask: int) -> None:
        """Whatever the umask, and a set-group-id bit of the folder above."""
        tmp_path.chmod(0o2755)
        before = os.umask(umask)
        try:
            assert made(tmp_path / "a/b/c")
        finally:
            os.umask(before)
        for name in ("a", "a/b", "a/b/c"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
        assert not made(tmp_path / "a/b/c")

    def test_links_may_lead_to_it(self, tmp_path: Path) -> None:
        """Only the folder itself may be none."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert made(tmp_path / "link/state")
        assert (tmp_path / "real/state").is_dir()

    def test_another_process_that_is_quicker(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Several that start at once use the same folder."""
        mkdir = os.mkdir

        def late(*arguments: Any, **named: Any) -> None:
            mkdir(*arguments, **named)
            mkdir(*arguments, **named)

        monkeypatch.setattr(os, "mkdir", late)
        assert not made(tmp_path / "state")

    def test_a_disk_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder that may be gone after a power cut is none; no descriptor stays open."""
        before = len(os.listdir("/proc/self/fd"))

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            make_folder(tmp_path / "state")
        assert len(os.listdir("/proc/self/fd")) == before

    def test_where_none_can_be(self) -> None:
        """The error names the folder."""
        with pytest.raises(OSError, match="/proc/none") as error:
            make_folder(Path("/proc/none/state"))
        assert error.value.filename == "/proc/none"


class TestJudging:
    """A folder that is there."""

    @pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o2755])
    def test_others_may_look_into_it(self, tmp_path: Path, mode: int) -> None:
        """That is for its owner to say."""
        tmp_path.chmod(mode)
        os.close(open_folder(tmp_path))
        assert look_at(tmp_path)

    @pytest.mark.parametrize("mode", [0o770, 0o720, 0o702, 0o777, 0o1777])
    def test_others_may_not_write(self, tmp_path: Path, mode: int) -> None:
        """Who may could have put anything there."""
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(mode)
        for attempt in (open_folder, make_folder, look_at):
            with pytest.raises(NotOursError, match=f"others may write there .mode {mode:04o}"):
                attempt(tmp_path / "state")

    @ROOT_ONLY
    def test_it_belongs_to_somebody(self, tmp_path: Path) -> None:
        """Whom we trust is root, who we are, and who we shall be."""
        os.chown(tmp_path, SOMEBODY, SOMEBODY)
        with pytest.raises(NotOursError, match=r"belongs to somebody else \(user 65534\)"):
            open_folder(tmp_path)
        assert look_at(tmp_path, frozenset({0, SOMEBODY}))

    @pytest.mark.parametrize("target", ["real", "nothing"])
    def test_a_link(self, tmp_path: Path, target: str) -> None:
        """It is not followed, wherever it leads."""
        (tmp_path / "real").mkdir()
        (tmp_path / "state").symlink_to(tmp_path / target)
        for attempt in (open_folder, make_folder, look_at):
            with pytest.raises(NotOursError, match="is a symbolic link; name the folder"):
                attempt(tmp_path / "state")

    def test_a_file(self, tmp_path: Path) -> None:
        """It, or one above it."""
        (tmp_path / "file").write_text("")
        for name in ("file", "file/state", "file/a/b"):
            for attempt in (make_folder, look_at):
                with pytest.raises(NotADirectoryError):
                    attempt(tmp_path / name)


class TestLooking:
    """Before anything is made."""

    def test_what_is_missing_stays_so(self, tmp_path: Path) -> None:
        """It could be made."""
        assert not look_at(tmp_path / "a/b")
        assert not list(tmp_path.iterdir())

    def test_where_it_could_not_be_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The folder is named in which we may not make one."""
        monkeypatch.setattr(os, "access", lambda path, *_, **__: path != tmp_path)
        with pytest.raises(PermissionError) as error:
            look_at(tmp_path / "a/b")
        assert error.value.filename == str(tmp_path)
        # Who we shall be may perhaps, which only they can find out.
        assert not look_at(tmp_path / "a/b", frozenset({SOMEBODY}))


class TestFiles:
    """A file in a folder of ours."""

    def test_it_is_read(self, tmp_path: Path) -> None:
        """If others may read it, that is for whoever reads it to say."""
        (tmp_path / "file").write_bytes(b"content")
        (tmp_path / "file").chmod(0o644)
        assert read(tmp_path / "file") == b"content"

    @pytest.mark.parametrize("kind", ["link", "folder", "pipe", "writable"])
    def test_what_is_none(self, tmp_path: Path, kind: str) -> None:
        """Neither followed, nor waited for."""
        path = tmp_path / "file"
        if kind == "link":
            (tmp_path / "other").write_text("secret")
            path.symlink_to("other")
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path, 0o600)
        else:
            path.write_text("")
            path.chmod(0o666)
        with pytest.raises(NotOursError):
            read(path)

    @ROOT_ONLY
    def test_somebody_else_s(self, tmp_path: Path) -> None:
        """Who owns it decides what is in it."""
        (tmp_path / "file").write_text("")
        os.chown(tmp_path / "file", SOMEBODY, SOMEBODY)
        with pytest.raises(NotOursError, match="belongs to somebody else"):
            read(tmp_path / "file")


class TestLock:
    """Only one at a time."""

    def test_one_that_somebody_else_holds(self, tmp_path: Path) -> None:
        """It is waited for a while, and then the start ends: anybody may hold it for ever."""
        slept: list[float] = []
        ours, theirs = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
        try:
            fcntl.flock(theirs, fcntl.LOCK_SH)
            with pytest.raises(BlockingIOError, match="somebody else has locked it, and still aft"):
                folders.lock(ours, tmp_path, seconds=2, sleep=slept.append)
            assert sum(slept) == pytest.approx(2)
        finally:
            os.close(ours)
            os.close(theirs)

    def test_one_that_becomes_free(self, tmp_path: Path) -> None:
        """The other one has done what there was to do."""
        ours, theirs = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
        fcntl.flock(theirs, fcntl.LOCK_EX)
        folders.lock(ours, tmp_path, sleep=lambda _: os.close(theirs))
        os.close(ours)


def test_a_folder_that_we_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is known before the first message is there."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    folders.require_writable(descriptor, tmp_path)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(PermissionError, match="we may not write there"):
        folders.require_writable(descriptor, tmp_path)
    os.close(descriptor)


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL])
def test_names_that_cannot_be_synced(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some file systems have no such thing; that is no error of theirs."""

    def fail(descriptor: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fail)
    folders.sync(0)
