"""
Root makes a folder for the user that the process becomes.

That is all that root does for what is kept, and it is done where only root can have a hand in it:
every folder on the way belongs to root and nobody else may write there, or it is one like /tmp, in
which nobody can move what is root's.  Where that is not so, the folder is left to the user, who
makes it with no more rights than they have.  Nothing that was there before is given to anybody.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40


def make_for(path: Path, owner: tuple[int, int]) -> bool:
    """
    Make a folder that is missing, and those that lead to it, mode 0700.

    :param path: absolute.
    :param owner: user and group that it will belong to; -1 is whom it belongs to already.
    :return: whether it was made.
    :raises OSError: it cannot be.
    """
    descriptors = [os.open(path.anchor, _FOLDER)]
    made: list[int] = []
    names = list(path.parts[1:])
    links = 0
    try:
        while names:
            status = os.fstat(descriptors[-1])
            if not _is_roots(status):
                return False
            name = names.pop(0)
            try:
                descriptors.append(_enter(name, descriptors[-1], made))
            except FileExistsError:
                return False  # in /tmp somebody was quicker
            except OSError as error:
                links += 1
                shared = bool(status.st_mode & stat.S_ISVTX)  # the link may be anybody's
                if error.errno not in (errno.ELOOP, errno.ENOTDIR) or shared or links > _MOST_LINKS:
                    return False
                leads_to = _link(name, descriptors[-1])
                if leads_to is None:
                    return False
                if leads_to.is_absolute():
                    descriptors.append(os.open(leads_to.anchor, _FOLDER))
                names[:0] = leads_to.parts[leads_to.is_absolute() :]
        # Not before all are there: the user could have a hand in the first one that is theirs.
        for descriptor in made:
            os.fchown(descriptor, *owner)
        return bool(made)
    finally:
        for descriptor in {*descriptors, *made}:
            os.close(descriptor)


def _enter(name: str, folder: int, made: list[int]) -> int:
    """Open a folder in another, and make it if it is missing."""
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        os.mkdir(name, 0o700, dir_fd=folder)
    descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    made.append(descriptor)
    os.fchmod(descriptor, 0o700)
    os.fsync(folder)
    return descriptor


def _is_roots(status: os.stat_result) -> bool:
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == 0 and (not shared or bool(status.st_mode & stat.S_ISVTX))


def _link(name: str, folder: int) -> Path | None:
    try:
        return Path(os.readlink(name, dir_fd=folder))
    except OSError:
        return None
