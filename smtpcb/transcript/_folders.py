"""Folders: where transcripts are, reached step by step, so that no link is followed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smtpcb.transcript._names import DAY, MARK, is_ours

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without waiting: what stands in the place of a transcript may be a FIFO that nobody reads.
_FILE = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# How often it is seen whether the folders are in their place.
_LOOK_SECONDS = 1.0

_TO_THE_MINUTE = len("20261120T0814")

# What a file system of its own has in it from the start.
_EMPTY = {"lost+found"}


class Folders:
    """
    The folder of transcripts and the dated ones in it.  It blocks, and belongs to one thread.

    Two descriptors stay open: a short session is one open, one write, one close.  Once a second
    it is seen whether they still are those of what is called so: a folder that somebody has moved
    away takes no transcript any more, and a new one is made.

    :param path: the folder; missing ones above it are made as well.  It may be a link: the user
        has chosen it.
    :param seconds: any clock.
    """

    def __init__(self, path: Path, seconds: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._seconds = seconds
        self._look_at = 0.0
        self._root: int | None = None
        self._day = ""  # which one is open
        self._day_descriptor: int | None = None
        #: Whether it bears our mark, so that transcripts in it may be removed; once it is open.
        self.ours = False
        #: How often it has been opened: another one may have been in it each time.
        self.openings = 0

    def close(self) -> None:
        """Close the descriptors; they are opened anew when they are needed."""
        descriptors = self._day_descriptor, self._root
        self._day, self._day_descriptor, self._root = "", None, None
        for descriptor in descriptors:
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)

    def open_root(self, *, make: bool = True) -> int:
        """
        Return the descriptor of the folder.

        :param make: whether it is made, and marked if it is new or empty; a folder is never made
            or marked for being looked at.
        :raises OSError: it is none, or cannot be made.
        """
        if self._root is None:
            if make:
                # One by one: a folder made on the way to another gets no mode of its own.
                for folder in (*reversed(self.path.parents), self.path):
                    if not folder.exists():
                        with suppress(FileExistsError):
                            folder.mkdir(mode=0o700)
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.ours = _is_marked(root) or (make and _mark(root))
            except BaseException:
                os.close(root)
                raise
            self._root = root
            self.openings += 1
        return self._root

    def open_new(self, day: str, name: str) -> int:
        """
        Create a transcript.

        :raises OSError: it exists, or the disk fails.
        """
        flags = _FILE | os.O_CREAT | os.O_EXCL
        try:
            return os.open(name, flags, 0o600, dir_fd=self._open_day(day))
        except FileNotFoundError:
            # Removed by somebody: the descriptors are of folders that are no more.
            self.close()
            return os.open(name, flags, 0o600, dir_fd=self._open_day(day))

    def remove_new(self, day: str, name: str) -> None:
        """Remove a transcript that we have just created, and could not write."""
        os.unlink(name, dir_fd=self._open_day(day))

    def open_again(self, day: str, name: str) -> int:
        """
        Open a transcript to go on with it.

        :raises OSError: it is gone, or something else is there.
        """
        descriptor = os.open(name, _FILE, dir_fd=self._open_day(day))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(17, "Something else is in its place", name)
        return descriptor

    def days(self) -> list[str]:
        """List the dated folders, the oldest first, as ``2026/11/20``."""
        self._look()  # what has been moved away is kept, not cleared
        try:
            root = self.open_root(make=False)
        except FileNotFoundError:
            return []
        found = [""]
        for pattern in DAY:
            deeper = []
            for folder in found:
                with suppress(OSError), _opened(root, folder) as descriptor:
                    deeper += [
                        f"{folder}/{entry.name}".lstrip("/")
                        for entry in _entries(descriptor)
                        if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                    ]
            found = deeper
        return sorted(found)

    def transcripts(self, day: str) -> list[str]:
        """List the names of the transcripts of a day, the oldest first."""
        # To sort all of a busy day at once would hold up everybody who waits for the interpreter.
        by_minute: dict[str, list[str]] = {}
        for entry in self._entries_of(day):
            by_minute.setdefault(entry.name[:_TO_THE_MINUTE], []).append(entry.name)
        return [name for minute in sorted(by_minute) for name in sorted(by_minute[minute])]

    def sizes(self, day: str) -> Iterator[int]:
        """Yield the octets of each transcript of a day."""
        for entry in self._entries_of(day):
            # Somebody else may remove it while we look.
            with suppress(OSError):
                yield entry.stat(follow_symlinks=False).st_size

    def _entries_of(self, day: str) -> Iterator[os.DirEntry[str]]:
        with suppress(OSError), _opened(self.open_root(make=False), day) as descriptor:
            for entry in _entries(descriptor):
                if is_ours(day, entry.name) and entry.is_file(follow_symlinks=False):
                    yield entry

    @contextmanager
    def removing(self, day: str) -> Iterator[Callable[[str], int | None]]:
        """
        Remove transcripts of a day, and then the folders that this leaves empty.

        :return: what removes one by its name, and says how many octets it had; ``None``: it could
            not be removed.
        :raises OSError: the day cannot be opened.
        """
        assert self.ours
        root = self.open_root(make=False)
        with _opened(root, day) as descriptor:

            def remove(name: str) -> int | None:
                try:
                    octets = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
                    os.unlink(name, dir_fd=descriptor)
                except FileNotFoundError:
                    return 0  # somebody else removed it, and what it had is counted anew
                except OSError:
                    return None
                return octets

            yield remove
        while day:
            try:
                os.rmdir(day, dir_fd=root)
            except OSError:
                break  # not empty, most of the time
            day = day.rpartition("/")[0]

    def _open_day(self, day: str) -> int:
        if self._seconds() >= self._look_at:
            self._look()
        if self._day_descriptor is None or self._day != day:
            root = self.open_root()
            if self._day_descriptor is not None:
                with suppress(OSError):
                    os.close(self._day_descriptor)
                self._day_descriptor = None
            self._day_descriptor = _descend(root, day, _make)
            self._day = day
        return self._day_descriptor

    def _look(self) -> None:
        self._look_at = self._seconds() + _LOOK_SECONDS
        if not self._in_its_place():
            self.close()

    def _in_its_place(self) -> bool:
        """Whether what is open is what its path leads to."""
        try:
            return (
                self._root is None or os.path.samestat(os.fstat(self._root), os.stat(self.path))
            ) and (
                self._day_descriptor is None
                or os.path.samestat(
                    os.fstat(self._day_descriptor),
                    os.stat(self._day, dir_fd=self._root, follow_symlinks=False),
                )
            )
        except OSError:  # there is nothing, or nothing that we can see
            return False


def _make(name: str, parent: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)


def _descend(root: int, day: str, before: Callable[[str, int], None] | None = None) -> int:
    """Open a dated folder step by step, so that a link on the way is an error."""
    descriptor = os.open(".", _FOLDER, dir_fd=root)
    for name in day.split("/") if day else ():
        parent = descriptor
        try:
            if before is not None:
                before(name, parent)
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
        finally:
            os.close(parent)
    return descriptor


@contextmanager
def _opened(root: int, day: str) -> Iterator[int]:
    descriptor = _descend(root, day)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _entries(descriptor: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(descriptor) as entries:
        yield from entries


def _is_marked(root: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(MARK, dir_fd=root, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _mark(root: int) -> bool:
    """Mark a folder that is empty; whether it is marked then."""
    with os.scandir(root) as entries:
        if any(entry.name not in _EMPTY for entry in entries):
            # It may be one of several processes, which has marked it meanwhile.
            return _is_marked(root)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileExistsError):
        os.close(os.open(MARK, flags, 0o600, dir_fd=root))
    return _is_marked(root)
