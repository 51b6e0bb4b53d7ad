"""
A file that is read again when it has changed, and that somebody may just be writing.

Who writes over a file first makes it empty and then longer, so for a while it is a file of fewer
names, the last of them cut off.  Taken as it is then, it would turn away who stands in it, and half
a password would do for a whole one.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from smtpcb._files import read_all

SETTLED_SECONDS = 1.0
"""A file that was written to more recently may not be whole yet."""

AT_ONCE_OCTETS = 4096
"""What is no longer than this is written by one call, whatever writes it."""


@dataclass(frozen=True, slots=True)
class Content:
    """
    What a file has.

    :ivar octets: all of it.
    :ivar status: of the file.
    """

    octets: bytes
    status: os.stat_result


class Reread:
    """
    One file; whoever understands what it has says so, and is told when it is another one.

    A file that has become empty, or whose last line has lost its end, is not whole: to throw all
    names out on purpose, leave a comment.  For a second behind a write it is taken for one that is
    being written, and so is a long one that has become shorter; then what was taken last stands.
    Whatever else is written into it, or takes its place, counts at once.

    :param path: of the file.
    :param limited: whether it may be no longer than what people write by hand.
    """

    __slots__ = ("_had_end", "_limited", "_octets", "_path", "_seen", "_taken")

    def __init__(self, path: Path, *, limited: bool) -> None:
        self._path = path
        self._limited = limited
        self._seen: tuple[int, ...] = ()
        self._taken = False
        # Of what was taken last: how much it was, and whether its last line had an end.
        self._octets = 0
        self._had_end = False

    def look(self) -> Content | None:
        """
        Return what it has now; ``None``: what was taken last.

        :raises ValueError: it cannot be read, or is not whole; the text does not name it.
        """
        try:
            content = self._content()
        except OSError as error:
            self._seen = ()
            raise ValueError(error.strerror) from None
        if content is None:
            if self._seen:
                return None
            raise ValueError("it is being written")
        fault = self._fault_of(content.octets)
        if fault:
            raise ValueError(fault)
        return content

    def take(self, content: Content) -> None:
        """Remember what could be understood: until the file is another one, it stands."""
        self._seen = _marks(content.status)
        self._taken = True
        self._octets = len(content.octets)
        self._had_end = content.octets.endswith(b"\n")

    def _content(self) -> Content | None:
        status = self._path.stat()
        if _marks(status) == self._seen:
            return None
        if not stat.S_ISREG(status.st_mode):  # the end of a pipe may never come
            self._seen = ()
            raise ValueError("is no regular file")
        with self._path.open("rb") as file:
            octets = read_all(file) if self._limited else file.read()
            after = os.fstat(file.fileno())
        if self._taken and (_marks(after) != _marks(status) or self._may_grow(octets, after)):
            return None
        return Content(octets, after)

    def _may_grow(self, octets: bytes, status: os.stat_result) -> bool:
        """Whether somebody may be about to write the rest of it."""
        shorter = len(octets) < self._octets and self._octets > AT_ONCE_OCTETS
        return (shorter or bool(self._fault_of(octets))) and _is_new(status)

    def _fault_of(self, octets: bytes) -> str:
        """Return why it is not whole, or nothing."""
        if self._octets and not octets:
            return "it has become empty; if nobody is to be in it, write # into it"
        if self._had_end and not octets.endswith(b"\n"):
            return "its last line has lost its end, so it is not whole"
        return ""


def _marks(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _is_new(status: os.stat_result) -> bool:
    """
    Whether it may still be written to.

    A file that was put in the place of another one has been renamed since it was written, and is
    whole; so is one whose time was set.
    """
    written_last = status.st_ctime_ns == status.st_mtime_ns
    return written_last and time.time() - status.st_mtime < SETTLED_SECONDS
