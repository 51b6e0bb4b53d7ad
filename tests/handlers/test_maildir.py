"""A Maildir: its names, how a message gets into it, and how it is made."""

from __future__ import annotations

import errno
import mailbox
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from smtpcb._folders import NotOursError
from smtpcb.handlers import _maildir
from smtpcb.handlers._maildir import MARK, look_at, opened, prepare, unique_name

from .layers import FOLDERS, MESSAGE, ORDER, FailingLayer, contents, files


def store(path: Path, pieces: Any, **named: Any) -> Path:
    """Store a message in the Maildir of this path."""
    with opened(path) as maildir:
        return _maildir.store(maildir, pieces, **named)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    folder = tmp_path / "mail"
    prepare(folder)
    return folder


class TestNames:
    def test_no_name_is_given_twice(self) -> None:
        """Two messages of the same moment do not replace each other, whatever thread they are."""
        with ThreadPoolExecutor(4) as threads:
            names = list(threads.map(unique_name, [5] * 4000))
        assert len(set(names)) == 4000

    @pytest.mark.parametrize("host", ["../x", "a:2,S b\0\xe9\n", "", "x" * 300])
    def test_they_hold_nothing_that_was_not_made_by_us(
        self, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However a host is named, messages stay in their folder and Maildir readers take them."""
        monkeypatch.setattr(socket, "gethostname", lambda: host)
        name = unique_name(1234)
        assert re.fullmatch(
            r"[0-9]+\.M[0-9]{6}P[0-9]+Q[0-9]+R[0-9a-f]{16}\.[A-Za-z0-9._-]{0,64},S=1234", name
        )
        assert abs(int(name.partition(".")[0]) - time.time()) < 60

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../x", "a/b", "x", "{}\n", "{}:2,S"],
    )
    def test_others_are_refused(self, maildir: Path, name: str) -> None:
        """Nothing is stored under a name that could lead out of the folder."""
        with pytest.raises(ValueError, match="no name of a message"):
            store(maildir, [b"x"], name=name.format(unique_name(1)))
        assert contents(maildir) == []


class TestStore:
    def test_a_message_is_kept_octet_by_octet(self, maildir: Path) -> None:
        """What is in the file is what the client sent: nothing added, no line end changed."""
        name = unique_name(len(MESSAGE))
        path = store(maildir, [MESSAGE[:1000], b"", MESSAGE[1000:]], name=name)
        assert path == maildir / "new" / name
        assert contents(maildir) == [MESSAGE]
        assert path.name.endswith(f",S={path.stat().st_size}")

    def test_only_the_owner_may_read_it(self, maildir: Path) -> None:
        """Mail is private, whatever the umask."""
        umask = os.umask(0)
        try:
            path = store(maildir, [b"x"], name=unique_name(1))
        finally:
            os.umask(umask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_other_programs_can_read_it(self, maildir: Path) -> None:
        """It is a Maildir like any other: Python's own reader finds the messages."""
        octets = b"Subject: hello\r\n\r\nbody\r\n"
        name = store(maildir, [octets], name=unique_name(len(octets))).name
        box = mailbox.Maildir(maildir, create=False)
        assert box.keys() == [name]
        assert box[name]["Subject"] == "hello"
        assert box.get_bytes(name) == octets

    def test_it_returns_when_file_and_name_are_on_disk(self, maildir: Path) -> None:
        """First the file and its envelope reach the disk, then it gets its name, then the name."""
        layer = FailingLayer()
        pieces = [b"one", b"two"]
        store(maildir, pieces, name=unique_name(6), envelope=lambda: b"{}\n", os_layer=layer)
        assert layer.calls == ORDER
        for file_flags in layer.flags:
            for flag in (os.O_EXCL, os.O_CREAT, os.O_NOFOLLOW):
                assert file_flags & flag
        [envelope], [message] = files(maildir, "envelopes"), files(maildir, "new")
        assert envelope.name == f"{message.name}.json"
        assert envelope.read_bytes() == b"{}\n"
        assert stat.S_IMODE(envelope.stat().st_mode) == 0o600

    def test_short_writes_are_continued(self, maildir: Path) -> None:
        """A disk that takes only a part of what it is given gets the rest as well."""

        class ShortLayer:
            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

            def write(self, descriptor: int, octets: memoryview) -> int:
                return os.write(descriptor, octets[:1000])

        store(maildir, [MESSAGE], name=unique_name(1), os_layer=ShortLayer())
        assert contents(maildir) == [MESSAGE]

    def test_what_somebody_else_put_there_is_left_alone(
        self, maildir: Path, tmp_path: Path
    ) -> None:
        """A link laid in the way is neither followed nor removed."""
        outside, name = tmp_path / "outside", unique_name(1)
        outside.write_bytes(b"before")
        (maildir / "tmp" / name).symlink_to(outside)
        with pytest.raises(FileExistsError):
            store(maildir, [b"x"], name=name.format(unique_name(1)))
        assert outside.read_bytes() == b"before"
        assert (maildir / "tmp" / name).is_symlink()
        assert files(maildir, "new") == []

    def test_content_that_ends_in_an_error_leaves_nothing(self, maildir: Path) -> None:
        """If the content cannot be read to its end, no part of it is kept."""

        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise KeyError("the other half")

        with pytest.raises(KeyError):
            store(maildir, pieces(), name=unique_name(1))
        assert contents(maildir) == []


class TestPrepare:
    def test_a_new_maildir_is_private(self, tmp_path: Path) -> None:
        """Nobody else may look into the folders, whatever umask and folder above say."""
        tmp_path.chmod(0o2755)  # set-group-id: folders made in it inherit the group
        umask = os.umask(0)
        try:
            prepare(tmp_path / "above" / "mail")
        finally:
            os.umask(umask)
        made = [tmp_path / "above" / "mail" / name for name in ("..", ".", *FOLDERS)]
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700] * 6
        assert sorted(path.name for path in made[1].iterdir()) == sorted([MARK, *FOLDERS])

    def test_a_umask_that_forbids_all(self, tmp_path: Path) -> None:
        """We may use what we have made."""
        umask = os.umask(0o777)
        try:
            prepare(tmp_path / "mail")
        finally:
            os.umask(umask)
        for name in FOLDERS:
            assert stat.S_IMODE((tmp_path / "mail" / name).stat().st_mode) == 0o700

    def test_its_names_reach_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut does not take the folder away again, and the mail in it."""
        synced = []
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
        prepare(tmp_path / "mail")
        assert synced[0] == tmp_path.stat().st_ino
        assert synced[-1] == (tmp_path / "mail").stat().st_ino

    def test_one_that_exists_is_kept_as_it_is(self, maildir: Path) -> None:
        """A Maildir in use keeps its messages, and the modes its owner chose."""
        store(maildir, [b"kept"], name=unique_name(4))
        (maildir / "new").chmod(0o750)
        prepare(maildir)
        assert contents(maildir) == [b"kept"]
        assert stat.S_IMODE((maildir / "new").stat().st_mode) == 0o750

    def test_what_is_missing_in_it_is_made(self, maildir: Path) -> None:
        """One of its folders may have been removed."""
        (maildir / "tmp").rmdir()
        prepare(maildir)
        store(maildir, [b"kept"], name=unique_name(4))

    def test_only_one_that_we_make_is_marked(self, tmp_path: Path) -> None:
        """New, or empty before: in a folder with somebody's files nothing may be removed."""
        for name in ("new", "empty", "home"):
            if name != "new":
                (tmp_path / name).mkdir()
        (tmp_path / "home" / "letter").write_text("dear")
        for name, ours in [("new", True), ("empty", True), ("home", False)]:
            assert look_at(tmp_path / name) == ours
            prepare(tmp_path / name)
            prepare(tmp_path / name)
            assert (tmp_path / name / MARK).exists() == ours
            assert look_at(tmp_path / name) == ours
            with opened(tmp_path / name) as one:
                assert one.is_marked == ours

    def test_a_folder_above_it_that_may_not_be_read_is_no_obstacle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Maildir may be in a folder of the administrator that only lets pass."""
        real_open = os.open

        def may_not_read_parent(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if path == tmp_path and not flags & os.O_PATH:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real_open(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", may_not_read_parent)
        prepare(tmp_path / "mail")
        assert contents(tmp_path / "mail") == []

    @pytest.mark.parametrize("name", ["mail", "mail/new", "mail/tmp", "mail/envelopes"])
    def test_a_file_in_the_way_is_named(self, tmp_path: Path, name: str) -> None:
        """Somebody who mistypes the path reads with which file it collides; a look sees it too."""
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a file")
        for attempt in (look_at, prepare):
            with pytest.raises(NotADirectoryError) as error:
                attempt(tmp_path / "mail")
            assert error.value.filename == str(tmp_path / name)
        assert (tmp_path / name).read_text() == "a file"

    @pytest.mark.parametrize("name", ["mail", "mail/new", "mail/tmp", "mail/envelopes"])
    def test_a_link_in_the_way_is_not_followed(self, tmp_path: Path, name: str) -> None:
        """Nothing is made, or stored, where a symbolic link leads."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(elsewhere)
        for attempt in (look_at, prepare):
            with pytest.raises(NotOursError, match="is a symbolic link"):
                attempt(tmp_path / "mail")
        assert not list(elsewhere.iterdir())

    @pytest.mark.parametrize("name", FOLDERS)
    def test_a_link_that_comes_later_is_not_followed(
        self, maildir: Path, tmp_path: Path, name: str
    ) -> None:
        """Also when the server runs already: the message is refused, not misplaced."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (maildir / name).rmdir()
        (maildir / name).symlink_to(elsewhere)
        with pytest.raises(NotOursError):
            store(maildir, [b"x"], name=unique_name(1))
        assert not list(elsewhere.iterdir())

    @pytest.mark.parametrize("name", [".", *FOLDERS])
    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_where_others_may_write_nothing_is_kept(
        self, maildir: Path, name: str, mode: int
    ) -> None:
        """They could put links and files there."""
        (maildir / name).chmod(mode)
        for attempt in (look_at, prepare):
            with pytest.raises(
                NotOursError, match=f"others may write there .mode {mode:04o}; chmod"
            ):
                attempt(maildir)
        with pytest.raises(NotOursError):
            store(maildir, [b"x"], name=unique_name(1))

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
    @pytest.mark.parametrize("name", [".", *FOLDERS])
    def test_somebody_else_s_is_not_used(self, maildir: Path, name: str) -> None:
        """Who owns a folder can let anybody write there, at any time."""
        os.chown(maildir / name, 65534, 65534)
        for attempt in (look_at, prepare):
            with pytest.raises(NotOursError, match=r"belongs to somebody else \(user 65534\)"):
                attempt(maildir)
