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

    What is written over the file counts when a second has passed without more of it; a file that
    takes its place by a rename counts at once.  A file that has become empty, or whose last line
    has lost its end, is not whole: to throw all names out on purpose, leave a comment.

    :param path: of the file.
    :param limited: whether it may be no longer than what people write by hand.
    """

    __slots__ = ("_limited", "_path", "_seen", "_taken", "_whole")

    def __init__(self, path: Path, *, limited: bool) -> None:
        self._path = path
        self._limited = limited
        self._seen: tuple[int, ...] = ()
        self._taken = False
        self._whole = (False, False)

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
        had_names, had_end = self._whole
        if had_names and not content.octets:
            raise ValueError("it has become empty; if nobody is to be in it, write # into it")
        if had_end and not content.octets.endswith(b"\n"):
            raise ValueError("its last line has lost its end, so it is not whole")
        return content

    def take(self, content: Content) -> None:
        """Remember what could be understood: until the file is another one, it stands."""
        self._seen = _marks(content.status)
        self._taken = True
        self._whole = (bool(content.octets), content.octets.endswith(b"\n"))

    def _content(self) -> Content | None:
        status = self._path.stat()
        if _marks(status) == self._seen:
            return None
        if not stat.S_ISREG(status.st_mode):  # the end of a pipe may never come
            self._seen = ()
            raise ValueError("is no regular file")
        if self._taken and _is_new(status):
            return None
        with self._path.open("rb") as file:
            octets = read_all(file) if self._limited else file.read()
            after = os.fstat(file.fileno())
        if self._taken and _marks(after) != _marks(status):
            return None
        return Content(octets, after)


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
