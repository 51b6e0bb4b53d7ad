"""Where mail data waits for its reader: in memory up to a limit, in a temporary file past it.

It is there as long as somebody holds it, the envelope, a reader or an iterator of its pieces:
whoever lets go last gives memory, disk and descriptor back, without being asked to.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from errno import EEXIST
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from smtpcb.smtp._limits import Limits
from smtpcb.smtp._mime import read_message

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_OCTETS = 65_536
# Within `MailData`, `bytes` and `open` are methods.
_Octets = bytes
_READ_OCTETS = 1_048_576
_HEADER_OCTETS = Limits().header_octets

InThread = Callable[[Callable[[], EmailMessage]], Awaitable[EmailMessage]]


class MailData:
    """
    The mail data of one message: what ``envelope.content`` is (RFC 5321 §2.3.9).

    The octets are those the client sent, without the dots it added, CRLF kept.  It is written
    by one thread; once it is complete, any number of threads may read it.

    :param memory_octets: how much is kept in memory; what is longer goes into a file whole.
    :param folder: where that file is made, without a name and readable by nobody else;
        ``None`` is the system's folder for temporary files.
    :param header_octets: how much of its header section `mime` reads, as for ``header`` events.
    :param in_thread: runs a function in a thread and returns what can be awaited for its result,
        such as Twisted's ``deferToThread``; `parsed` says what happens without it.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_failure",
        "_file",
        "_folder",
        "_header_octets",
        "_in_thread",
        "_lock",
        "_memory",
        "_memory_octets",
        "_size_octets",
    )

    def __init__(
        self,
        memory_octets: int = 1_048_576,
        folder: Path | None = None,
        *,
        header_octets: int = _HEADER_OCTETS,
        in_thread: InThread | None = None,
    ) -> None:
        self._memory_octets = memory_octets
        self._folder = folder
        self._header_octets = header_octets
        self._in_thread = in_thread
        # Not a list of pieces: a client that sends one octet at a time (BDAT 1) would make us
        # spend forty for each.  The first piece, which often is all, is kept as it came.
        self._memory: _Octets | bytearray = b""
        self._file: _File | None = None
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
        if self._closed or self._failure is not None:
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
                # No variable holds the file: the traceback of an error would, and so the disk.
                _write_whole((self._file or self._move_to_file()).fileno(), octets)
            except OSError as error:
                self._failure = error.args
                self._release()
                raise
        self._size_octets += len(octets)

    def open(self) -> BinaryIO:
        """
        Return a new reader, at the first octet.

        It is an `io.BytesIO` or an `io.BufferedReader`, shares its position with no other, reads
        what has been written so far, and goes on after `close` until it is closed itself, or nobody
        holds it.

        :raises ValueError: the mail data is closed.
        :raises OSError: a write failed.
        """
        with self._lock:
            self._require_usable()
            if self._file is None:
                return io.BytesIO(self._memory)
            raw = _FileReader(self._file, self._size_octets)
        return io.BufferedReader(raw, PIECE_OCTETS)

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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """
        Write the content into a new file; return its path when a power cut cannot undo it.

        It blocks.  The file appears under its name when it is whole, readable by nobody else; on
        any error nothing is left.

        :raises FileExistsError: there is something of that name; it stays as it is.
        :raises OSError: it could not be written, or `open` failed.
        :raises ValueError: the mail data is closed.
        """
        return _save(self.pieces(), Path(path))

    def mime(self) -> EmailMessage:
        """
        Return the content as a parsed message, all of it in memory; raises as `open` does.

        It never raises for what a stranger wrote, and takes time in proportion to its length: for a
        long one that is longer than an event loop should wait, which is what `parsed` is for.
        Never trust it to be well-formed: see its ``defects``.
        """
        return read_message(self.bytes(), self._header_octets)

    async def parsed(self) -> EmailMessage:
        """
        Return what `mime` does, from a thread.

        In a task of asyncio that is a thread of asyncio's, elsewhere one of the server's.  Where
        there is neither, nobody is kept waiting by doing it at once.
        """
        # Nobody who does without asyncio should pay for it.
        import asyncio

        try:
            in_task = asyncio.current_task() is not None
        except RuntimeError:  # no loop runs
            in_task = False
        if in_task:  # where a Deferred could not be awaited
            return await asyncio.to_thread(self.mime)
        if self._in_thread is not None:
            return await self._in_thread(self.mime)
        return self.mime()

    def close(self) -> None:
        """
        Give back memory and disk of what nobody was promised; more than once does no harm.

        Readers and iterators that are there go on.
        """
        with self._lock:
            self._closed = True
            self._release()

    # Its octets never change, so a copy of who has it has the same: one of the file's descriptor
    # would close that file when it goes, or whatever has that number by then.

    def __copy__(self) -> MailData:
        return self

    def __deepcopy__(self, memo: object) -> MailData:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("mail data cannot be pickled: it may be in a file; its bytes() can")

    def _require_usable(self) -> None:
        if self._closed:
            raise ValueError("the mail data is closed")
        if self._failure is not None:
            raise OSError(*self._failure)

    def _move_to_file(self) -> _File:
        self._file = _File(self._folder)
        _write_whole(self._file.fileno(), self._memory)
        self._memory = b""
        return self._file

    def _release(self) -> None:
        self._memory = b""
        self._file = None


class _File:
    """A file without a name, which is there until nobody holds this object."""

    # A descriptor, and no file object: that would complain (ResourceWarning) when it is collected.
    __slots__ = ("_descriptor",)

    def __init__(self, folder: Path | None) -> None:
        self._descriptor = -1
        # Unbuffered, as we are: a full disk is known in the write that fills it.
        with TemporaryFile(buffering=0, dir=folder, prefix="smtpcb-") as file:
            self._descriptor = os.dup(file.fileno())

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def __del__(self) -> None:
        if self._descriptor >= 0:
            # What close() can fail with is that data did not reach the disk; nobody wants it.
            with suppress(OSError):
                os.close(self._descriptor)


class _FileReader(io.RawIOBase):
    """Read a file from a position of its own."""

    def __init__(self, file: _File, size_octets: int) -> None:
        self._file: _File | None = file
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
        if self._file is None:
            raise ValueError("the reader is closed")
        view = memoryview(buffer).cast("B")
        left = max(self._size_octets - self._position, 0)
        octets = os.pread(self._file.fileno(), min(len(view), left, _READ_OCTETS), self._position)
        view[: len(octets)] = octets
        self._position += len(octets)
        return len(octets)

    def close(self) -> None:
        self._file = None
        super().close()


def _write_whole(descriptor: int, octets: bytes | bytearray) -> None:
    """A write may take only a part, the last one before the disk is full always does."""
    with memoryview(octets) as rest:
        written = 0
        while written < len(rest):
            written += os.write(descriptor, rest[written:])


def _pieces(reader: BinaryIO, size: int) -> Iterator[bytes]:
    with reader:
        while piece := reader.read(size):
            yield piece


def _save(pieces: Iterator[bytes], path: Path) -> Path:
    """Bring a new file to disk: whole under another name first, then under its own."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    made: list[str] = []
    try:
        unfinished = f".smtpcb-{secrets.token_hex(16)}"
        if os.path.lexists(path):
            raise FileExistsError(EEXIST, os.strerror(EEXIST), str(path))
        descriptor = os.open(unfinished, flags, 0o600, dir_fd=folder)
        made.append(unfinished)
        try:
            for piece in pieces:
                _write_whole(descriptor, piece)
            os.fsync(descriptor)
        finally:
            # Some file systems tell only here that there was no room (NFS).
            os.close(descriptor)
        # A rename would replace what somebody else has put there meanwhile; it is ours now, and
        # unlike a link works on every file system.
        os.close(os.open(path.name, flags, 0o600, dir_fd=folder))
        made.append(path.name)
        os.rename(unfinished, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except BaseException:
        for name in made:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(folder)
    return path
