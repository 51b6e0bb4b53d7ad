"""What handlers may rely on when they read ``envelope.content``."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import smtpcb.engine._keeping
from smtpcb.engine._keeping import MailData

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


class TestDiskFull:
    def fail(self, content: MailData, octets: bytes, number: int) -> None:
        before = content.size_octets
        with pytest.raises(OSError) as raised:  # noqa: PT011
            content.write(octets)
        assert raised.value.errno == number
        for use in (content.bytes, content.open, lambda: content.write(b"x")):
            with pytest.raises(OSError) as again:  # noqa: PT011
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
        raw: BinaryIO = reader.raw  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="position"):
            raw.seek(0, 17)
        raw.close()
        raw.close()
    content.close()
