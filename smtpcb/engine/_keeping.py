"""Where mail data waits for its reader: in memory up to a limit, in a temporary file past it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from email.feedparser import BytesFeedParser
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_OCTETS = 65_536
# Within `MailData`, `bytes` is a method.
_Octets = bytes
_READ_OCTETS = 1_048_576


class MailData:
    """
    The mail data of one message: what ``envelope.content`` is (RFC 5321 §2.3.9).

    The octets are those the client sent, without the dots it added, CRLF kept.  It is written
    by one thread; once it is complete, any number of threads may read it.

    :param memory_octets: how much is kept in memory; what is longer goes into a file whole.
    :param folder: where that file is made, without a name and readable by nobody else;
        ``None`` is the system's folder for temporary files.
    """

    __slots__ = (
        "_closed",
        "_failure",
        "_file",
        "_folder",
        "_lock",
        "_memory",
        "_memory_octets",
        "_size_octets",
    )

    def __init__(self, memory_octets: int = 1_048_576, folder: Path | None = None) -> None:
        self._memory_octets = memory_octets
        self._folder = folder
        # Not a list of pieces: a client that sends one octet at a time (BDAT 1) would make us
        # spend forty for each.  The first piece, which often is all, is kept as it came.
        self._memory: _Octets | bytearray = b""
        self._file: io.FileIO | None = None
        self._size_octets = 0
        self._closed = False
        # A close while another thread opens must not make it read something else.
        self._lock = Lock()
        self._failure: tuple[object, ...] | None = None

    @property
    def size_octets(self) -> int:
        """How many octets were written; known even after `close`."""
        return self._size_octets

    def write(self, octets: bytes) -> None:
        """
        Add octets to the end.

        :raises OSError: they could not be kept (disk full).  Nothing is kept any more then, and
            every later use but `close` raises the same: half a message is never read as a whole.
        :raises ValueError: the mail data is closed.
        """
        self._require_usable()
        if self._file is None and self._size_octets + len(octets) <= self._memory_octets:
            if not self._memory:
                self._memory = octets
            else:
                if not isinstance(self._memory, bytearray):
                    self._memory = bytearray(self._memory)
                self._memory += octets
        else:
            try:
                file = self._move_to_file() if self._file is None else self._file
                _write_whole(file, octets)
            except OSError as error:
                self._failure = error.args
                self._release()
                raise
        self._size_octets += len(octets)

    def open(self) -> BinaryIO:
        """
        Return a new reader, at the first octet.

        It is an `io.BytesIO` or an `io.BufferedReader`, shares its position with no other, reads
        what has been written so far, and goes on after `close` until it is closed itself.

        :raises ValueError: the mail data is closed.
        :raises OSError: a write failed, or there are no more file descriptors.
        """
        with self._lock:
            self._require_usable()
            if self._file is None:
                return io.BytesIO(self._memory)
            descriptor = os.dup(self._file.fileno())
        return io.BufferedReader(_FileReader(descriptor, self._size_octets), PIECE_OCTETS)

    def pieces(self, size: int = PIECE_OCTETS) -> Iterator[bytes]:
        """Return the content in pieces of `size` octets, the last one shorter; as `open`."""
        # The reader is opened here and not at the first piece, so that whoever was given the
        # iterator can use it after `close`.
        return _pieces(self.open(), size)

    # No annotation below this method can say `bytes`: to type checkers that is the method.
    def bytes(self) -> bytes:
        """Return the whole content; raises as `open` does."""
        with self.open() as reader:
            # With a number, since without one the pieces are collected first and then joined,
            # and the content is in memory twice.
            return reader.read(self._size_octets)

    def mime(self) -> EmailMessage:
        """
        Return the content as a parsed message, all of it in memory; raises as `open` does.

        Never trust it to be well formed: see its ``defects``.

        :raises RecursionError: parts are nested some hundred deep, which no honest client does.
        """
        # Not `email.message_from_binary_file`: that reads with universal newlines, which makes
        # a line of whatever follows a lone CR.
        parser = BytesFeedParser(EmailMessage, policy=SMTP)
        for piece in self.pieces():
            parser.feed(piece)
        return parser.close()

    def close(self) -> None:
        """Give back memory and disk; more than once does no harm."""
        with self._lock:
            self._closed = True
            self._release()

    def _require_usable(self) -> None:
        if self._closed:
            raise ValueError("the mail data is closed")
        if self._failure is not None:
            raise OSError(*self._failure)

    def _move_to_file(self) -> io.FileIO:
        # Unbuffered, so that a full disk is known in the write that fills it.
        # It is open for as long as we are: there is no block for it to end with.
        self._file = TemporaryFile(buffering=0, dir=self._folder, prefix="smtpcb-")  # noqa: SIM115
        _write_whole(self._file, self._memory)
        self._memory = b""
        return self._file

    def _release(self) -> None:
        self._memory = b""
        if self._file is not None:
            # What close() can fail with is that data did not reach the disk; nobody wants it.
            with suppress(OSError):
                self._file.close()
            self._file = None


class _FileReader(io.RawIOBase):
    """Read a file from a position of its own, which a duplicated descriptor does not have."""

    def __init__(self, descriptor: int, size_octets: int) -> None:
        self._descriptor = descriptor
        self._size_octets = size_octets
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_octets}
        if whence not in start or start[whence] + offset < 0:
            raise ValueError(f"there is no position {offset} from {whence}")
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        left = max(self._size_octets - self._position, 0)
        octets = os.pread(self._descriptor, min(len(view), left, _READ_OCTETS), self._position)
        view[: len(octets)] = octets
        self._position += len(octets)
        return len(octets)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _write_whole(file: io.FileIO, octets: bytes | bytearray) -> None:
    """A write may take only a part, the last one before the disk is full always does."""
    with memoryview(octets) as rest:
        written = 0
        while written < len(rest):
            written += file.write(rest[written:])


def _pieces(reader: BinaryIO, size: int) -> Iterator[bytes]:
    with reader:
        while piece := reader.read(size):
            yield piece
