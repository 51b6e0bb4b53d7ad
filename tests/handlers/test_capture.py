"""A message that was answered 250 is in the Maildir, whole; one that was not is not there."""

from __future__ import annotations

import errno
import hashlib
import json
import mailbox
import os
import re
import resource
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs

from smtpcb.engine._keeping import MailData
from smtpcb.handlers.capture import Capture, prepare, store, unique_name

from .killed_store import is_whole

ROOT = Path(__file__).parents[2]
# More than one piece; NUL, 8-bit, lone CR and LF, a line of a dot, no CRLF at the end.
MESSAGE = b"Subject: x\r\n\r\n.\r\n\0\xff\r\n" + bytes(range(256)) * 400 + b"\rno\nCRLF"
ORDER = [
    "open new",
    "open tmp/NAME",
    "write tmp/NAME",
    "write tmp/NAME",
    "fsync tmp/NAME",
    "close tmp/NAME",
    "rename tmp/NAME new/NAME",
    "fsync new",
    "close new",
]


class Envelope:
    """As much of an envelope as a capture looks at."""

    def __init__(self, octets: bytes = MESSAGE) -> None:
        self.content = MailData()
        self.content.write(octets)


class FailingLayer:
    """
    Does what `os` does, writes down the calls, and fails at some of them.

    :ivar calls: the calls made, with file names relative to the Maildir.
    :ivar fails_at: number of the call that fails, counted from 0.
    :ivar fails_again: whether all later ones fail too.
    :ivar error: what it fails with.
    """

    def __init__(self, maildir: Path) -> None:
        self.maildir = maildir
        self.calls: list[str] = []
        self.flags: list[int] = []
        self.fails_at: int | None = None
        self.fails_again = False
        self.error: BaseException = OSError(errno.EIO, "Input/output error")
        self._names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        def call(first: Any, *rest: Any) -> Any:
            number = len(self.calls)
            paths = [
                self._names[path] if isinstance(path, int) else self._shorten(path)
                for path in (first, *rest)
                if isinstance(path, Path) or path is first
            ]
            self.calls.append(" ".join([name, *paths]))
            if name == "open":
                self.flags.append(rest[0])
            if name == "close":
                os.close(first)  # what happens to it even if it fails
            if self.fails_at is not None and (
                number == self.fails_at or (self.fails_again and number > self.fails_at)
            ):
                raise self.error
            result = None if name == "close" else getattr(os, name)(first, *rest)
            if name == "open":
                self._names[result] = paths[0]
            return result

        return call

    def _shorten(self, path: Path) -> str:
        folder, _, name = str(path.relative_to(self.maildir)).partition("/")
        return f"{folder}/NAME" if name else folder


class GatedLayer:
    """Does what `os` does, but syncs nothing before it may, and then perhaps fails."""

    def __init__(self) -> None:
        self.may_sync = threading.Event()
        self.is_syncing = threading.Event()
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        self.is_syncing.set()
        assert self.may_sync.wait(30)
        if self.error is not None:
            raise self.error
        os.fsync(descriptor)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    folder = tmp_path / "mail"
    prepare(folder)
    return folder


@pytest.fixture
def layer(maildir: Path) -> FailingLayer:
    return FailingLayer(maildir)


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor as installed

    return installed


@pytest.fixture
def capture(maildir: Path, reactor: Any) -> Iterator[Capture]:
    capture = Capture(maildir, reactor)
    yield capture
    capture.stop()


@pytest.fixture
def failing(maildir: Path, reactor: Any, layer: FailingLayer) -> Iterator[Capture]:
    capture = Capture(maildir, reactor, os_layer=layer)
    yield capture
    capture.stop()


def files(maildir: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (maildir / folder).iterdir())


def contents(maildir: Path) -> list[bytes]:
    """Everything readers of the Maildir see; there must be nothing else in it."""
    assert files(maildir, "tmp", "cur") == []
    return [path.read_bytes() for path in files(maildir, "new")]


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
        ["", ".", "..", "../x", ".hidden", "a/b", "/etc/x", "x\n", "x\0", "x:2,S", "x" * 201],
    )
    def test_others_are_refused(self, maildir: Path, name: str) -> None:
        """Nothing is stored under a name that could lead out of the folder."""
        with pytest.raises(ValueError, match="no name of a message"):
            store(maildir, [b"x"], name=name)
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

    def test_it_returns_when_file_and_name_are_on_disk(
        self, maildir: Path, layer: FailingLayer
    ) -> None:
        """First the file reaches the disk, then it gets its name, then the name reaches it."""
        store(maildir, [b"one", b"two"], name=unique_name(6), os_layer=layer)
        assert layer.calls == ORDER
        file_flags = layer.flags[1]
        for flag in (os.O_EXCL, os.O_CREAT, os.O_NOFOLLOW):
            assert file_flags & flag

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
            store(maildir, [b"x"], name=name)
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
        """Nobody else may look into the folders, whatever the umask."""
        umask = os.umask(0)
        try:
            prepare(tmp_path / "mail")
        finally:
            os.umask(umask)
        folders = [tmp_path / "mail" / name for name in (".", "cur", "new", "tmp")]
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 4
        assert sorted(folder.name for folder in (tmp_path / "mail").iterdir()) == [
            "cur",
            "new",
            "tmp",
        ]

    def test_its_names_reach_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut does not take the folder away again, and the mail in it."""
        synced = []
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
        prepare(tmp_path / "mail")
        assert synced == [tmp_path.stat().st_ino, (tmp_path / "mail").stat().st_ino]

    def test_one_that_exists_is_kept_as_it_is(self, maildir: Path) -> None:
        """A Maildir in use keeps its messages, and the modes its owner chose."""
        store(maildir, [b"kept"], name=unique_name(4))
        (maildir / "new").chmod(0o750)
        prepare(maildir)
        assert contents(maildir) == [b"kept"]
        assert stat.S_IMODE((maildir / "new").stat().st_mode) == 0o750

    def test_a_folder_above_it_that_may_not_be_read_is_no_obstacle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Maildir may be in a folder of the administrator that only lets pass."""
        real_open = os.open

        def may_not_read_parent(path: Any, *rest: Any, **more: Any) -> int:
            if path == tmp_path:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real_open(path, *rest, **more)

        monkeypatch.setattr(os, "open", may_not_read_parent)
        prepare(tmp_path / "mail")
        assert contents(tmp_path / "mail") == []

    def test_a_wrong_path_is_explained(self, tmp_path: Path) -> None:
        """Somebody who mistypes the path reads what was wrong, and with which file."""
        with pytest.raises(FileNotFoundError) as missing:
            prepare(tmp_path / "no" / "mail")
        assert str(missing.value) == (
            f"[Errno 2] cannot use {tmp_path}/no/mail as a Maildir: No such file or directory: "
            f"'{tmp_path}/no/mail'"
        )
        (tmp_path / "mail").mkdir()
        (tmp_path / "mail" / "new").write_text("a file")
        with pytest.raises(NotADirectoryError) as file:
            prepare(tmp_path / "mail")
        assert str(file.value) == (
            f"[Errno 20] cannot use {tmp_path}/mail as a Maildir: Not a directory: "
            f"'{tmp_path}/mail/new'"
        )

    def test_what_was_never_finished_is_removed_after_36_hours(self, maildir: Path) -> None:
        """Files that a killed process left in tmp do not pile up; mail under way is safe."""
        now = time.time()
        for name, hours_read, hours_written in (
            ("old", 37, 37),
            ("fresh", 35, 35),
            ("read again", 1, 99),
            ("written again", 99, 1),
            ("folder", 99, 99),
        ):
            path = maildir / "tmp" / name
            path.mkdir() if name == "folder" else path.write_bytes(b"x")
            os.utime(path, (now - hours_read * 3600, now - hours_written * 3600))
        link = maildir / "tmp" / "link"
        link.symlink_to("old")
        os.utime(link, (0, 0), follow_symlinks=False)
        finished = store(maildir, [b"x"], name=unique_name(1))
        os.utime(finished, (0, 0))
        prepare(maildir)
        assert [path.name for path in files(maildir, "tmp")] == [
            "folder",
            "fresh",
            "link",
            "read again",
            "written again",
        ]
        assert files(maildir, "new") == [finished]

    def test_a_leftover_that_cannot_be_removed_is_no_obstacle(
        self, maildir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process may have been quicker, or the file is somebody else's: mail goes on."""

        def gone(path: str) -> None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

        leftover = maildir / "tmp" / "old"
        leftover.write_bytes(b"x")
        os.utime(leftover, (0, 0))
        monkeypatch.setattr(os, "unlink", gone)
        prepare(maildir)
        assert leftover.exists()


@pytest_twisted.ensureDeferred
async def test_the_reply_names_the_file(capture: Capture, maildir: Path) -> None:
    """Whoever has the reply finds the message."""
    reply = await capture.message(Envelope())
    (path,) = files(maildir, "new")
    assert reply.text == f"250 2.0.0 Kept as {path.name}"
    assert path.name.endswith(f",S={len(MESSAGE)}")
    assert contents(maildir) == [MESSAGE]


@pytest_twisted.ensureDeferred
async def test_content_in_a_file_is_kept_too(capture: Capture, maildir: Path) -> None:
    """A message too long for memory is kept as exactly as a short one."""
    envelope = Envelope(b"")
    envelope.content = MailData(1000)
    for _ in range(20):
        envelope.content.write(MESSAGE)
    reply = await capture.message(envelope)
    envelope.content.close()
    assert reply.code == 250
    assert contents(maildir) == [MESSAGE * 20]


@pytest_twisted.ensureDeferred
async def test_messages_of_many_connections_at_once(capture: Capture, maildir: Path) -> None:
    """Twenty clients that send at the same time get twenty messages kept."""
    messages = [b"%d\r\n" % number + secrets.token_bytes(50_000) for number in range(20)]
    replies = await gatherResults([capture.message(Envelope(octets)) for octets in messages])
    assert [reply.code for reply in replies] == [250] * 20
    assert sorted(contents(maildir)) == sorted(messages)
    for reply, octets in zip(replies, messages, strict=True):
        name = reply.lines[0].removeprefix("Kept as ")
        assert (maildir / "new" / name).read_bytes() == octets


@pytest_twisted.ensureDeferred
async def test_the_client_waits_for_the_disk(maildir: Path, reactor: Any) -> None:
    """No client reads 250 before its message is on disk, and the server does not stand still."""
    layer = GatedLayer()
    capture = Capture(maildir, reactor, os_layer=layer)
    answer = capture.message(Envelope())
    assert layer.is_syncing.wait(30)
    await deferLater(reactor, 0)
    assert not answer.called
    assert files(maildir, "new") == []
    layer.may_sync.set()
    assert (await answer).code == 250
    capture.stop()


@pytest_twisted.ensureDeferred
async def test_stop_finishes_what_was_begun(maildir: Path, reactor: Any) -> None:
    """A server that is stopped keeps all mail it was given, also what had to queue."""
    capture = Capture(maildir, reactor)
    answers = [capture.message(Envelope()) for _ in range(10)]
    capture.stop()
    assert contents(maildir) == [MESSAGE] * 10
    assert [reply.code for reply in await gatherResults(answers)] == [250] * 10
    capture.stop()
    assert (await capture.message(Envelope())).code == 250
    capture.stop()


@pytest_twisted.ensureDeferred
async def test_content_may_be_closed_at_once(capture: Capture, maildir: Path) -> None:
    """The server need not know when a handler is done with the content."""
    envelope = Envelope()
    answer = capture.message(envelope)
    envelope.content.close()
    assert (await answer).code == 250
    assert contents(maildir) == [MESSAGE]


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSPC, "No space left on device")])
@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_all_or_nothing(
    maildir: Path, reactor: Any, error: OSError | None
) -> None:
    """If nobody wants the reply any more, the message is still kept whole or not at all."""
    layer = GatedLayer()
    layer.error = error
    capture = Capture(maildir, reactor, os_layer=layer)
    answer = capture.message(Envelope())
    assert layer.is_syncing.wait(30)
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    layer.may_sync.set()
    with capturedLogs() as events:
        capture.stop()
        await deferLater(reactor, 0)
    assert contents(maildir) == ([MESSAGE] if error is None else [])
    assert len([event for event in events if event["log_level"] is LogLevel.warn]) == (
        0 if error is None else 1
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "452 4.3.1 Not enough storage, try again later"),
        (errno.EDQUOT, "452 4.3.1 Not enough storage, try again later"),
        (errno.EFBIG, "452 4.3.1 Not enough storage, try again later"),
        (errno.EIO, "451 4.3.0 Message could not be stored, try again later"),
        (errno.EROFS, "451 4.3.0 Message could not be stored, try again later"),
        (errno.EMFILE, "451 4.3.0 Message could not be stored, try again later"),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_at_any_call(
    failing: Capture, layer: FailingLayer, maildir: Path, number: int, text: str
) -> None:
    """Whatever call fails: the client is asked to try again, nothing is left, mail goes on."""
    layer.error = OSError(number, os.strerror(number))
    open_before = len(os.listdir("/proc/self/fd"))
    for fails_at, call in enumerate(ORDER):
        layer.calls.clear()
        layer.fails_at = fails_at
        with capturedLogs() as events:
            reply = await failing.message(Envelope())
        assert layer.calls[: fails_at + 1] == ORDER[: fails_at + 1]
        if call == "close new":  # everything is on disk by then
            assert reply.code == 250
            assert contents(maildir) == [MESSAGE]
        else:
            assert reply.text == text
            assert contents(maildir) == []
            (event,) = (event for event in events if event["log_level"] is LogLevel.warn)
            assert event["path"].parent == maildir / "new"
            assert event["error"] is layer.error
        layer.fails_at = None
        for path in files(maildir, "new"):
            path.unlink()
        assert (await failing.message(Envelope())).code == 250
        assert contents(maildir) == [MESSAGE]
        files(maildir, "new")[0].unlink()
        assert len(os.listdir("/proc/self/fd")) == open_before


@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_for_good(
    failing: Capture, layer: FailingLayer, maildir: Path
) -> None:
    """If not even clearing away works, the client is asked to try again all the same."""
    layer.fails_again = True
    for fails_at, call in enumerate(ORDER[:-1]):
        layer.calls.clear()
        layer.fails_at = fails_at
        with capturedLogs() as events:
            assert (await failing.message(Envelope())).code == 451
        assert len([event for event in events if event["log_level"] is LogLevel.warn]) == 1
        for path in files(maildir, "new"):
            assert call == "fsync new"
            assert path.read_bytes() == MESSAGE


@pytest_twisted.ensureDeferred
async def test_a_mistake_of_ours_is_not_taken_for_a_full_disk(
    failing: Capture, layer: FailingLayer, maildir: Path
) -> None:
    """What is no error of the disk goes to the server, which logs it and answers 451."""
    layer.error, layer.fails_at = RuntimeError("a bug"), 3
    with pytest.raises(RuntimeError, match="a bug"):
        await failing.message(Envelope())
    assert contents(maildir) == []


@pytest_twisted.ensureDeferred
async def test_content_that_cannot_be_opened(capture: Capture, maildir: Path) -> None:
    """Too many open files is a reason to try again later, like any error of the disk."""

    class NoDescriptors(MailData):
        def open(self) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

    envelope = Envelope()
    envelope.content = NoDescriptors()
    with capturedLogs() as events:
        assert (await capture.message(envelope)).code == 451
    assert [event["log_level"] for event in events] == [LogLevel.warn]
    assert contents(maildir) == []


@pytest_twisted.ensureDeferred
async def test_a_maildir_that_was_removed(capture: Capture, maildir: Path) -> None:
    """A folder that is gone (an unmounted disk) is not made again in the wrong place."""
    shutil.rmtree(maildir)
    assert (await capture.message(Envelope())).code == 451
    assert not maildir.exists()
    prepare(maildir)
    assert (await capture.message(Envelope())).code == 250
    assert contents(maildir) == [MESSAGE]


@pytest_twisted.ensureDeferred
async def test_a_limit_on_the_size_of_files(capture: Capture, maildir: Path) -> None:
    """A message larger than the process may write is asked for again later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(MESSAGE) - 1, hard))
    try:
        assert (await capture.message(Envelope())).code == 452
        assert contents(maildir) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await capture.message(Envelope())).code == 250
    assert contents(maildir) == [MESSAGE]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "smtpcb-test", str(folder)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system can be mounted by root only: {error}")
    yield folder
    # Lazily: a test that fails with a file still open must not leave the file system behind.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest_twisted.ensureDeferred
async def test_a_full_disk(small_disk: Path, reactor: Any) -> None:
    """When the disk is full clients are asked to try again, and need only wait for room."""
    maildir, filler = small_disk / "mail", small_disk / "filler"
    prepare(maildir)
    filler.write_bytes(bytes(200_000))
    capture = Capture(maildir, reactor)
    for _ in range(3):
        assert (await capture.message(Envelope())).code == 452
        assert contents(maildir) == []
    filler.unlink()
    assert (await capture.message(Envelope())).code == 250
    assert contents(maildir) == [MESSAGE]
    capture.stop()


def stored_before_kill(way: str, folder: Path, rounds: int) -> list[tuple[Path, list[str]]]:
    """Run `killed_store`; the Maildirs of its children and what each said it had stored."""
    seed = secrets.token_hex(4)
    print("seed", seed)
    result = subprocess.run(
        [sys.executable, "-m", "tests.handlers.killed_store", way, folder, seed, str(rounds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return [(Path(maildir), names) for maildir, names in json.loads(result.stdout)]


def assert_nothing_lost(maildir: Path, names: list[str]) -> int:
    """Everything said to be stored is there once, whole; one more may be, whole too."""
    new = files(maildir, "new")
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in new}
    assert all(is_whole(path.read_bytes()) for path in new)
    assert len(digests) == len(new)
    assert set(names) <= {path.name for path in new}
    assert len(names) <= len(new) <= len(names) + 1
    return len(new)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A server killed without warning has every message it said it had, and no part of one."""
    rounds = stored_before_kill("at_random", tmp_path, 60)
    assert len(rounds) == 60
    assert sum(assert_nothing_lost(maildir, names) for maildir, names in rounds) > 0


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Between whatever two steps a server dies: what it said it had is there, whole, once."""
    rounds = stored_before_kill("at_every_step", tmp_path, 2)
    stored = [assert_nothing_lost(maildir, names) for maildir, names in rounds]
    assert len(rounds) > 2 * len(ORDER)
    assert sorted(set(stored)) == [0, 1, 2]
    assert sorted(stored) == stored
    assert stored[-1] == len(rounds[-1][1]) == 2


def test_a_program_that_does_not_stop_it_ends_nevertheless(tmp_path: Path) -> None:
    """Forgetting to stop a capture does not keep the program from ending."""
    script = """if True:
        import sys
        from pathlib import Path
        from types import SimpleNamespace
        from twisted.internet.task import react
        from smtpcb.handlers.capture import Capture, prepare
        from smtpcb.engine._keeping import MailData

        async def main(reactor, folder):
            prepare(Path(folder))
            envelope = SimpleNamespace(content=MailData())
            envelope.content.write(b"kept")
            print((await Capture(Path(folder), reactor).message(envelope)).code)

        react(main, sys.argv[1:])
    """
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path / "mail"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr, result.returncode) == ("250\n", "", 0)
    assert contents(tmp_path / "mail") == [b"kept"]
