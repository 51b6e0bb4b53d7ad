"""One line of a file of names and hashes is changed, while others may be reading it."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from pathlib import Path

from smtpcb._files import read_all
from smtpcb.run._htpasswd import understood
from smtpcb.run._named_lines import PasswordFileError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def change(path: Path, name: str, stored: str | None) -> str:
    """
    Put a line in the place of that of the same name, or behind the others.

    What else is in the file stays as it is.  It is there whole at any time, as it was or as it
    will be; whoever else changes it waits.

    :param stored: what stands behind the name; ``None``: the line goes.
    :return: what was done: ``"added"``, ``"changed"`` or ``"removed"``.
    :raises PasswordFileError: it is another kind of file, or nobody of that name is in it.
    :raises OSError: it cannot be read or written.
    """
    # A link leads to it still, when another file has taken its place.
    path = path.resolve()
    descriptor = _open_locked(path, make=stored is not None)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PasswordFileError(f"{path}: is no regular file")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            octets = read_all(file)
        known = understood(path, octets)
        if stored is None and name.encode() not in known:
            raise PasswordFileError(f"{path}: nobody is called {name!r}")
        line = None if stored is None else f"{name}:{stored}".encode()
        _replace(path, _changed(octets, name.encode(), line), status)
    finally:
        os.close(descriptor)
    if stored is None:
        return "removed"
    return "changed" if name.encode() in known else "added"


def _open_locked(path: Path, *, make: bool) -> int:
    """Open the file when nobody else is changing it; the one that is there then."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if make else 0)
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            here, there = os.fstat(descriptor), os.stat(path)
        except BaseException:
            os.close(descriptor)
            raise
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            return descriptor
        os.close(descriptor)  # somebody has put another one in its place meanwhile


def _changed(octets: bytes, name: bytes, line: bytes | None) -> bytes:
    lines = octets.split(b"\n")
    if not lines[-1]:
        lines.pop()
    mark = b"\xef\xbb\xbf" if octets.startswith(b"\xef\xbb\xbf") else b""
    if mark:
        lines[0] = lines[0].removeprefix(mark)
    at = next((i for i, one in enumerate(lines) if one.partition(b":")[0] == name), len(lines))
    lines[at : at + 1] = [] if line is None else [line]
    return mark + b"".join(one + b"\n" for one in lines)


def _replace(path: Path, octets: bytes, before: os.stat_result) -> None:
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            # The server's group may go on reading it, if it could; nobody else.
            os.fchmod(file.fileno(), 0o600 | (before.st_mode & stat.S_IRGRP))
            os.fsync(file.fileno())
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
