"""Files that an operator names: read whole, unless they are none that could be meant."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

MOST_OCTETS = 4_194_304
"""No certificate, key, passphrase or file of settings is longer."""


def read_all(file: BinaryIO) -> bytes:
    """
    Return what is in a file; a pipe is one too, a device that never ends is not.

    :raises OSError: it is longer than any that could be meant, or cannot be read.
    """
    octets = file.read(MOST_OCTETS + 1)
    if len(octets) > MOST_OCTETS:
        raise OSError(errno.EFBIG, f"has no end within {MOST_OCTETS} octets: another file is meant")
    return octets


class Reading(NamedTuple):
    """
    What was in a file.

    :ivar octets: all of it.
    :ivar status: of the file, from before it was read: what is written meanwhile is a change.
    """

    octets: bytes
    status: os.stat_result


class Watch:
    """
    Notices that a file is another one than was understood last.

    Nothing is remembered of a file that was not understood: it is read again each time until it
    can be.  Whoever asks from several threads locks around both calls.

    :param path: of the file.
    :param bounded: one that is longer than `MOST_OCTETS` is refused.
    """

    def __init__(self, path: Path, *, bounded: bool = True) -> None:
        self._path = path
        self._bounded = bounded
        self._understood: tuple[int, ...] = ()

    def changed(self) -> Reading | None:
        """
        Return what is in the file now; ``None`` if that is what was understood last.

        :raises OSError: it is gone, is no regular file, or cannot be read; ``strerror`` says why.
        """
        status = self._path.stat()
        if _marks(status) == self._understood:
            return None
        if not stat.S_ISREG(status.st_mode):  # the end of a pipe may never come
            raise OSError(errno.EINVAL, "is no regular file")
        with self._path.open("rb") as file:
            return Reading(read_all(file) if self._bounded else file.read(), status)

    def understood(self, reading: Reading) -> None:
        """Remember what `changed` has returned: it could be used."""
        self._understood = _marks(reading.status)


def _marks(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs between two files, or between one and what it was before."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
