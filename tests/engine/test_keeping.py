"""What handlers may rely on when they read ``envelope.content``."""

from __future__ import annotations

import asyncio
import copy
import errno
import gc
import io
import os
import pickle
import random
import resource
import shutil
import stat
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import smtpcb.engine._keeping
from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._keeping import MailData
from smtpcb.smtp import MailParameters, ReversePath

MESSAGE = (
    b"From: anne@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\none\rtwo\0\xfc\r\nno final CRLF"
)
LIMITS = [pytest.param(1_048_576, id="in memory"), pytest.param(10, id="in a file")]


@pytest.fixture
def made() -> Iterator[list[MailData]]:
    """Everything in this list is closed after the test."""
    contents: list[MailData] = []
    yield contents
    for content in contents:
        content.close()


@pytest.fixture(params=LIMITS)
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MailData]:
    data = MailData(request.param, tmp_path)
    for at in range(0, len(MESSAGE), 7):
        data.write(MESSAGE[at : at + 7])
    yield data
    data.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestReading:
    def test_every_way_of_reading_gives_the_octets_that_were_written(
        self, content: MailData
    ) -> None:
        """Content is what the client sent: NUL, 8-bit, lone CR, no CRLF at the end."""
        assert content.bytes() == MESSAGE
        with content.open() as reader:
            assert reader.read() == MESSAGE
        assert b"".join(content.pieces()) == MESSAGE
        assert [len(piece) for piece in content.pieces(100)][:-1] == [100] * (len(MESSAGE) // 100)
        assert content.size_octets == len(MESSAGE)

    def test_readers_have_positions_of_their_own(self, content: MailData) -> None:
        """Two parts of a program read the same message without disturbing each other."""
        with content.open() as one, content.open() as two:
            assert one.read(5) == MESSAGE[:5]
            assert two.read(9) == MESSAGE[:9]
            assert one.read() == MESSAGE[5:]
            assert two.read() == MESSAGE[9:]
            assert two.read() == b""

    def test_a_reader_seeks(self, content: MailData) -> None:
        """Whoever uploads a message asks for its length first, by seeking to the end."""
        with content.open() as reader:
            assert reader.readable()
            assert reader.seekable()
            assert reader.seek(0, io.SEEK_END) == len(MESSAGE)
            assert reader.read() == b""
            assert reader.seek(-4, io.SEEK_END) == len(MESSAGE) - 4
            assert reader.read() == b"CRLF"
            assert reader.seek(6) == 6
            assert reader.seek(4, io.SEEK_CUR) == 10
            assert reader.read(7) == MESSAGE[10:17]
            assert reader.seek(10 * len(MESSAGE)) == 10 * len(MESSAGE)
            assert reader.read(1) == b""
            with pytest.raises(ValueError, match="-"):
                reader.seek(-1)

    def test_a_reader_is_of_a_type_that_treq_takes(self, content: MailData) -> None:
        """treq sends the body of a request from these two types and no other."""
        with content.open() as reader:
            assert isinstance(reader, (io.BytesIO, io.BufferedReader))

    def test_a_reader_sees_the_content_as_it_was_when_opened(self, content: MailData) -> None:
        """What is written later is for readers that are opened later."""
        with content.open() as reader:
            content.write(b"more")
            assert reader.read() == MESSAGE
        assert content.bytes() == MESSAGE + b"more"

    def test_threads_read_at_the_same_time(self, made: list[MailData]) -> None:
        """A message may be handed to several threads at once."""
        octets = random.Random(1).randbytes(300_000)
        content = MailData(1000)
        made.append(content)
        content.write(octets)
        together = threading.Barrier(4)

        def read() -> bytes:
            together.wait(30)
            return b"".join(content.pieces(1000))

        with ThreadPoolExecutor(4) as threads:
            results = [threads.submit(read) for _ in range(4)]
        assert [result.result() for result in results] == [octets] * 4

    def test_mime_parses_the_message(self, content: MailData) -> None:
        """A handler gets a message of the modern e-mail API, with a body exactly as sent."""
        message = content.mime()
        assert isinstance(message, EmailMessage)
        assert message["Subject"] == "Gr\xfc\xdfe"
        assert message.get_payload(decode=True) == MESSAGE.partition(b"\r\n\r\n")[2]

    def test_parts_of_a_message_are_of_the_same_kind(self, made: list[MailData]) -> None:
        """A message with an attachment is walked with one API from top to bottom."""
        original = EmailMessage()
        original.set_content("text\n")
        original.add_attachment(b"\0\1", maintype="application", subtype="x", filename="a")
        content = MailData()
        made.append(content)
        content.write(original.as_bytes())
        (attachment,) = content.mime().iter_attachments()
        assert isinstance(attachment, EmailMessage)
        assert attachment.get_content() == b"\0\1"

    def test_nothing_written_is_an_empty_message(self, made: list[MailData]) -> None:
        """A message of no octets at all can be read like any other."""
        content = MailData()
        made.append(content)
        assert content.bytes() == b""
        assert list(content.pieces()) == []
        assert content.size_octets == 0
        assert content.mime().keys() == []


class TestWhereItIsKept:
    def test_up_to_the_limit_there_is_no_file(self, made: list[MailData], tmp_path: Path) -> None:
        """Small messages never touch the disk: the folder need not even exist."""
        content = MailData(10, tmp_path / "missing")
        made.append(content)
        content.write(b"12345")
        content.write(b"67890")
        assert content.bytes() == b"1234567890"
        with pytest.raises(FileNotFoundError):
            content.write(b"1")

    def test_the_file_has_no_name_and_is_private(
        self, made: list[MailData], tmp_path: Path
    ) -> None:
        """Nobody else reads a message in passing, and a killed process leaves no file."""
        content = MailData(10, tmp_path)
        made.append(content)
        content.write(b"12345678901")
        assert list(tmp_path.iterdir()) == []
        status = os.fstat(content._file.fileno())
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_nlink == 0
        assert status.st_dev == tmp_path.stat().st_dev
        assert status.st_size == 11

    def test_a_long_message_takes_no_memory(self) -> None:
        """200 MB of mail cost the server less than 5 MB of memory."""
        script = """if True:
            import resource
            from smtpcb.engine._keeping import MailData
            piece = bytes(65536)
            content = MailData()
            def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            before = peak()
            for _ in range(200_000_000 // len(piece) + 1):
                content.write(piece)
            written = peak() - before
            assert sum(map(len, content.pieces())) == content.size_octets > 200_000_000
            print(written, peak() - before)
            content.close()
        """
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
        )
        written, read = map(int, result.stdout.split())
        assert written < 5 * 1024
        assert read < 5 * 1024

    def test_tiny_pieces_take_no_more_memory_than_large_ones(self) -> None:
        """A client that sends one octet at a time cannot make the server spend forty for each."""
        content = MailData()
        for _ in range(100_000):
            content.write(b"x")
        assert sys.getsizeof(content._memory) < 150_000
        content.close()


class TestClosing:
    def test_nothing_can_be_done_with_closed_content(self, content: MailData) -> None:
        """Using a message after its end is a mistake, and said to be one."""
        content.close()
        for use in (
            content.bytes,
            content.open,
            content.pieces,
            content.mime,
            lambda: content.write(b"x"),
        ):
            with pytest.raises(ValueError, match="closed"):
                use()
        assert content.size_octets == len(MESSAGE)

    def test_readers_outlive_the_content(self, content: MailData) -> None:
        """A message being uploaded is read to its end though the client has gone."""
        pieces = content.pieces(8)
        with content.open() as reader:
            reader.read(3)
            content.close()
            assert reader.read() == MESSAGE[3:]
        assert b"".join(pieces) == MESSAGE

    def test_everything_is_given_back(self, tmp_path: Path) -> None:
        """However many messages come, no file stays open."""
        before = open_descriptors()
        for _ in range(50):
            content = MailData(1, tmp_path)
            content.write(b"12345")
            reader = content.open()
            content.mime()
            content.pieces()  # never read
            content.close()
            content.close()
            reader.close()
            reader.close()
        assert open_descriptors() == before

    def test_a_file_that_cannot_be_closed_does_no_harm(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Discarded mail is not missed: closing never fails."""

        content = MailData(1)
        content.write(b"12345")
        descriptor = content._file.fileno()
        close = os.close

        def stubborn(descriptor: int) -> None:
            close(descriptor)
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "close", stubborn)
        content.close()
        monkeypatch.undo()
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)


class TestHowLongItLives:
    @pytest.fixture(autouse=True)
    def _nothing_is_left_open(self) -> Iterator[None]:
        gc.collect()
        before = open_descriptors()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
            gc.collect()
        assert open_descriptors() == before

    @pytest.mark.parametrize("memory_octets", LIMITS)
    def test_content_lives_as_long_as_somebody_holds_it(self, memory_octets: int) -> None:
        """A message that was put into a queue is there when it is taken out."""
        content = MailData(memory_octets)
        content.write(MESSAGE)
        queue = [content]
        del content
        gc.collect()
        assert queue.pop().bytes() == MESSAGE

    def test_a_file_closes_itself(self, tmp_path: Path) -> None:
        """Whoever forgets a message gives its file back, without a warning."""
        before = open_descriptors()
        content = MailData(10, tmp_path)
        content.write(MESSAGE)
        assert open_descriptors() == before + 1
        del content
        assert open_descriptors() == before

    def test_a_file_in_a_cycle_closes_itself(self, tmp_path: Path) -> None:
        """So does one that only the garbage collector finds."""

        class Envelope:
            pass

        envelope: Any = Envelope()
        envelope.content = MailData(10, tmp_path)
        envelope.content.write(MESSAGE)
        envelope.reader = envelope.content.open()
        envelope.itself = envelope
        gone = weakref.ref(envelope.content)
        del envelope
        gc.collect()
        assert gone() is None

    def test_a_reader_is_enough_to_hold_it(self, tmp_path: Path) -> None:
        """Readers and iterators go on when nothing else knows of the message any more."""
        content = MailData(10, tmp_path)
        content.write(MESSAGE)
        before = open_descriptors()
        reader, pieces = content.open(), content.pieces(10)
        assert open_descriptors() == before  # they cost none
        del content
        gc.collect()
        assert reader.read() == MESSAGE
        del reader
        assert b"".join(pieces) == MESSAGE
        with pytest.raises(StopIteration):
            next(pieces)

    def test_a_closed_reader_reads_nothing(self, tmp_path: Path) -> None:
        """And is not mistaken for one at the end."""
        content = MailData(10, tmp_path)
        content.write(MESSAGE)
        reader: Any = content.open()
        raw = reader.raw
        reader.close()
        with pytest.raises(ValueError, match="closed"):
            reader.read()
        with pytest.raises(ValueError, match="closed"):
            raw.readinto(bytearray(1))


class TestSaving:
    def test_it_is_saved_whole_and_private(self, content: MailData, tmp_path: Path) -> None:
        """The file has every octet, nobody else may read it, and its path comes back."""
        folder = tmp_path / "folder"
        folder.mkdir()
        path = content.save(folder / "mail.eml")
        assert path == folder / "mail.eml"
        assert path.read_bytes() == MESSAGE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(folder.iterdir()) == [path]

    def test_it_is_on_disk_before_it_has_its_name(
        self, content: MailData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut leaves the whole message or none: file, name and folder are synchronised."""
        steps: list[str] = []
        fsync, rename = os.fsync, os.rename

        def synchronise(descriptor: int) -> None:
            steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            fsync(descriptor)

        def name(*arguments: Any, **keywords: Any) -> None:
            steps.append("name")
            rename(*arguments, **keywords)

        monkeypatch.setattr(os, "fsync", synchronise)
        monkeypatch.setattr(os, "rename", name)
        content.save(str(tmp_path / "mail.eml"))
        assert steps == ["file", "name", "folder"]

    @pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
    def test_what_is_there_stays(self, content: MailData, tmp_path: Path, kind: str) -> None:
        """No mail is written over: the error says which file there is."""
        path, other = tmp_path / "mail.eml", tmp_path / "other"
        if kind == "file":
            path.write_bytes(b"old")
        elif kind == "folder":
            path.mkdir()
        else:
            if kind == "link":
                other.write_bytes(b"old")
            path.symlink_to(other)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(FileExistsError, match=r"mail\.eml"):
            content.save(path)
        assert sorted(tmp_path.iterdir()) == before
        assert not other.exists() or other.read_bytes() == b"old"

    def test_somebody_else_may_be_faster(
        self, content: MailData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What appears while the message is being written stays, too."""
        path = tmp_path / "mail.eml"
        fsync = os.fsync

        def meanwhile(descriptor: int) -> None:
            fsync(descriptor)
            path.write_bytes(b"theirs")

        monkeypatch.setattr(os, "fsync", meanwhile)
        with pytest.raises(FileExistsError):
            content.save(path)
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == b"theirs"

    @pytest.mark.parametrize("call", ["write", "fsync", "rename"])
    def test_an_error_leaves_nothing_behind(
        self, content: MailData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        """A message that could not be saved is not there in part."""

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        before = open_descriptors()
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space"):
            content.save(tmp_path / "mail.eml")
        monkeypatch.undo()
        assert list(tmp_path.iterdir()) == []
        assert open_descriptors() == before
        assert content.save(tmp_path / "mail.eml").read_bytes() == MESSAGE

    def test_the_folder_must_be_there(self, content: MailData, tmp_path: Path) -> None:
        """It is not made; and closed content cannot be saved."""
        with pytest.raises(FileNotFoundError):
            content.save(tmp_path / "missing" / "mail.eml")
        content.close()
        with pytest.raises(ValueError, match="closed"):
            content.save(tmp_path / "mail.eml")
        assert list(tmp_path.iterdir()) == []


class Noting(MailData):
    """Notes in which threads it is parsed."""

    threads: list[threading.Thread]

    def mime(self) -> EmailMessage:
        self.threads = [threading.current_thread()]
        return super().mime()


class TestParsing:
    def finish(self, coroutine: Any) -> Any:
        """Run a coroutine without a loop."""
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        return stopped.value.value

    def test_mime_reads_no_more_of_a_header_than_header_does(self) -> None:
        """The limit of the server is that of the message."""
        content = MailData(header_octets=20)
        content.write(b"A: b\r\nLong: " + b"x" * 20 + b"\r\n\r\nbody")
        assert content.mime().keys() == ["A"]

    def test_in_a_thread_of_asyncio(self) -> None:
        """In a task of asyncio the loop goes on meanwhile, whatever the server has for threads."""
        content = Noting(in_thread=lambda _: pytest.fail("a Deferred cannot be awaited here"))
        content.write(MESSAGE)
        assert asyncio.run(content.parsed())["Subject"] == "Grüße"
        assert content.threads != [threading.current_thread()]

    def test_in_a_thread_of_the_server(self) -> None:
        """Elsewhere the server knows how."""

        class Now:
            def __init__(self, result: Any) -> None:
                self.result = result

            def __await__(self) -> Iterator[Any]:
                return self.result
                yield

        def in_thread(function: Callable[[], EmailMessage]) -> Now:
            with ThreadPoolExecutor(1) as pool:
                return Now(pool.submit(function).result())

        content = Noting(in_thread=in_thread)
        content.write(MESSAGE)
        assert self.finish(content.parsed())["Subject"] == "Grüße"
        assert content.threads != [threading.current_thread()]

    def test_at_once(self, content: MailData) -> None:
        """Where there is no loop, nobody is kept waiting."""
        assert self.finish(content.parsed())["Subject"] == "Grüße"


class TestDiskFull:
    def fail(self, content: MailData, octets: bytes, number: int) -> None:
        before = content.size_octets
        with pytest.raises(OSError) as raised:  # noqa: PT011 - its errno is looked at
            content.write(octets)
        assert raised.value.errno == number
        for use in (content.bytes, content.open, lambda: content.write(b"x")):
            with pytest.raises(OSError) as again:  # noqa: PT011 - its errno is looked at
                use()
            assert again.value.errno == number
        assert content.size_octets == before
        content.close()
        with pytest.raises(ValueError, match="closed"):
            content.open()

    def test_the_error_is_the_operating_systems_and_the_content_stays_failed(
        self, made: list[MailData]
    ) -> None:
        """A message that did not fit is never taken for a whole one, however it is read later."""
        before = open_descriptors()
        content = MailData(10)
        made.append(content)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            content.write(bytes(60_000))
            # The part that still fits is taken first, so that the write must be repeated.
            self.fail(content, bytes(60_000), errno.EFBIG)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert open_descriptors() == before

    def test_what_was_in_memory_may_not_fit_either(
        self, made: list[MailData], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk may be full when the first octet is written to it."""

        def temporary_file(**_: Any) -> io.FileIO:
            return io.FileIO("/dev/full", "r+")

        monkeypatch.setattr(smtpcb.engine._keeping, "TemporaryFile", temporary_file)
        content = MailData(10)
        made.append(content)
        content.write(b"1234567890")
        self.fail(content, b"1", errno.ENOSPC)

    def test_a_folder_that_is_gone(self, made: list[MailData], tmp_path: Path) -> None:
        """No temporary file can be made: the operating system's error says why."""
        folder = tmp_path / "folder"
        folder.mkdir()
        content = MailData(10, folder)
        made.append(content)
        content.write(b"1234567890")
        shutil.rmtree(folder)
        self.fail(content, b"1", errno.ENOENT)


def test_what_a_reader_of_a_file_is_made_of_can_be_used_alone(tmp_path: Path) -> None:
    """Unknown ways to seek are refused, not misunderstood; closing twice closes once."""
    content = MailData(1, tmp_path)
    content.write(b"12345")
    with content.open() as reader:
        raw: BinaryIO = reader.raw
        with pytest.raises(ValueError, match="position"):
            raw.seek(0, 17)
        raw.close()
        raw.close()
    content.close()


@pytest.mark.parametrize("octets", [b"x" * 10, b"x" * 10_000])
def test_a_copy_takes_nothing_from_the_original(octets: bytes) -> None:
    """Whoever copies an envelope has the same content in it, and both can be read for ever."""
    data = MailData(1000)
    data.write(octets)
    for copied in (copy.copy(data), copy.deepcopy(data), copy.deepcopy({"content": [data]})):
        del copied
    for _ in range(3):
        for function in (pickle.dumps, lambda it: copy.deepcopy(it.open())):
            if function is pickle.dumps or len(octets) > 1000:
                with pytest.raises(TypeError, match="pickle"):
                    function(data)
    gc.collect()
    assert data.bytes() == octets
    assert copy.deepcopy(data).bytes() == octets


def test_an_envelope_can_be_copied() -> None:
    """Its content is not in it a second time."""
    envelope = Envelope(Connection("x"), ReversePath.NULL, MailParameters(), 1)
    envelope.kept = MailData()
    envelope.kept.write(b"x")
    assert copy.copy(envelope).content is envelope.content
