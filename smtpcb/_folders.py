"""
Folders that nobody but us can have filled: how they are opened, made, judged and locked.

Whoever may write into a folder of ours decides what we read there, and whoever can put a symbolic
link in its place decides where we write.  So a folder is opened once, without following a link,
and what was opened is judged: it belongs to us or to root, and only its owner may write.
Everything below it is reached through its descriptor, and judged again.  Between a look and a use
of a path anybody could change what it leads to; nobody can change what a descriptor is of.

What leads to a folder is not judged: a folder of ours may stand in one that a group shares.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Collection
from pathlib import Path

LOCK_SECONDS = 5.0
"""How long somebody else's lock is waited for."""

_LOCK_STEP_SECONDS = 0.05
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Nobody waits for the other end of a named pipe that lies where a file should.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotOursError(PermissionError):
    """A folder or file is not to be trusted; `strerror` is one line that says why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EPERM, why, str(path))


def us() -> frozenset[int]:
    """Return the users whose files we trust: root, and who we are now."""
    return frozenset({0, os.geteuid()})


def judge(status: os.stat_result, path: Path, owners: Collection[int] | None = None) -> None:
    """
    Refuse what others have made, or may write.

    :param owners: the users that are trusted; by default `us`.
    :raises NotOursError: it is not one of theirs, or others may write.
    """
    if status.st_uid not in (us() if owners is None else owners):
        raise NotOursError(path, f"belongs to somebody else (user {status.st_uid})")
    if status.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        raise NotOursError(path, f"others may write there (mode {mode:04o}; chmod go-w)")


def open_folder(
    path: Path, *, dir_fd: int | None = None, owners: Collection[int] | None = None
) -> int:
    """
    Open a folder of ours; the caller closes it.

    :param path: its last part may be no symbolic link.
    :param dir_fd: a folder that its name is looked up in, instead of all of `path`.
    :raises NotOursError: it is somebody else's, others may write, or it is a link.
    :raises OSError: it is not there, or no folder.
    """
    try:
        descriptor = os.open(path if dir_fd is None else path.name, _FOLDER, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and _is_link(path, dir_fd):
            raise NotOursError(path, "is a symbolic link; name the folder it leads to") from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        judge(os.fstat(descriptor), path, owners)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_folder(path: Path, *, dir_fd: int | None = None) -> tuple[int, bool]:
    """
    Open a folder of ours, and make it first if it is missing, with those that lead to it.

    Those made have mode 0700, whatever the umask and the folder above them say, and their names
    are on disk.

    :param path: absolute, unless `dir_fd` is given.
    :param dir_fd: as for `open_folder`; nothing but the last folder is made then.
    :return: its descriptor, and whether it was made.
    :raises OSError: as `open_folder`, or it cannot be made.
    """
    try:
        return open_folder(path, dir_fd=dir_fd), False
    except FileNotFoundError:
        pass
    if dir_fd is not None:
        return _make_in(dir_fd, path)
    above = path.parent
    try:
        # One that is there already may be anybody's, and links may lead to it.
        parent = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if above == path:
            raise
        parent, _ = make_folder(above)
    except PermissionError:
        # It only lets pass: an administrator's.
        parent = os.open(above, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _make_in(parent, path)
    finally:
        os.close(parent)


def require_writable(descriptor: int, path: Path) -> None:
    """
    Find out now, and not with the first message, that nothing can be put into a folder.

    :raises OSError: it is root's, or on a disk that is read-only.
    """
    effective = os.access in os.supports_effective_ids
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=effective):
        raise PermissionError(errno.EACCES, "we may not write there", str(path))


def open_file(path: Path, *, dir_fd: int, owners: Collection[int] | None = None) -> int:
    """
    Open a regular file of ours to read it; the caller closes it.

    :param path: what messages call it; its name is looked up in `dir_fd`.
    :raises NotOursError: it is somebody else's, others may write, or it is no regular file.
    :raises OSError: it is not there, or may not be read.
    """
    try:
        descriptor = os.open(path.name, _FILE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOursError(path, "is a symbolic link") from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotOursError(path, "is no regular file")
        judge(status, path, owners)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def look_at(path: Path, owners: Collection[int] | None = None) -> bool:
    """
    Find out what `make_folder` would say of a path, without making anything.

    :return: whether the folder is there.
    :raises OSError: it could not be used; as `make_folder` raises it.
    """
    try:
        os.close(open_folder(path, owners=owners))
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        if path.exists():
            raise
    else:
        return True
    for above in path.parents:
        try:
            status = above.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
        if (owners is None or os.geteuid() in owners) and not os.access(
            above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))
        break
    return False


def lock(
    descriptor: int,
    path: Path,
    *,
    seconds: float = LOCK_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """
    Be the only one who holds the lock of a folder, until its descriptor is closed.

    Anybody who may read a folder may lock it, so it is not waited for without end.

    :raises OSError: somebody else still has it.
    """
    for _ in range(max(1, int(seconds / _LOCK_STEP_SECONDS))):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(_LOCK_STEP_SECONDS)
        else:
            return
    why = f"somebody else has locked it, and still after {seconds:g} seconds"
    raise BlockingIOError(errno.EAGAIN, why, str(path))


def sync(descriptor: int) -> None:
    """Bring the names in a folder to disk, where that is possible."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        # One that was opened for its path only; a file system that has no such thing.
        if error.errno not in (errno.EBADF, errno.EINVAL):
            raise


def _make_in(parent: int, path: Path) -> tuple[int, bool]:
    made = True
    try:
        os.mkdir(path.name, 0o700, dir_fd=parent)
    except FileExistsError:
        made = False  # another process of ours was quicker, or it is none of ours, which shows
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    descriptor = open_folder(path, dir_fd=parent)
    if made:
        try:
            os.fchmod(descriptor, 0o700)  # not what the umask and a set-group-id bit made of it
            sync(parent)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor, made


def _is_link(path: Path, dir_fd: int | None) -> bool:
    try:
        status = os.stat(
            path if dir_fd is None else path.name, dir_fd=dir_fd, follow_symlinks=False
        )
    except OSError:
        return False
    return stat.S_ISLNK(status.st_mode)
