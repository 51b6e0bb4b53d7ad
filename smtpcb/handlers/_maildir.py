"""
How a message gets into a Maildir, and is there for good.

It is written below ``tmp``, brought to disk, renamed into ``new``, and the rename brought to disk;
only then does the client read 250.  Whoever kills the process or pulls the plug in between leaves
files in ``tmp`` and ``envelopes`` at most, which nobody reads and `smtpcb.handlers._clearing`
removes (https://cr.yp.to/proto/maildir.html).

It is a rename and not the link of that page: a rename is one step, and works on the file systems
that have no links.  It would replace a message of the same name, but names are never used twice.

The folders are opened anew for each message, none of them through a symbolic link, and all below
the first by its descriptor: see `smtpcb._folders`.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smtpcb import _folders as folders

MARK = ".smtpcb-maildir"
"""A file in each Maildir that we have made.  Nothing is ever removed from one without it."""

_MARK_TEXT = b"smtpcb has made this Maildir, and may remove messages from it that it put there.\n"
PLAIN = ("tmp", "new", "cur")
"""What every Maildir has."""

_SUBFOLDERS = (*PLAIN, "envelopes")
_COUNTER = itertools.count(1)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

NAME = re.compile(
    r"(?P<seconds>[0-9]{1,19})\.M[0-9]{6}P[0-9]{1,19}Q[0-9]{1,19}R[0-9a-f]{16}"
    r"\.[A-Za-z0-9._-]{0,64},S=[0-9]{1,20}"
)
"""What `unique_name` returns, and nothing that anybody else would call a file."""


class OsLayer(Protocol):
    """The calls that bring a message to disk, as `os` has them."""

    def open(self, path: str, flags: int, mode: int = ..., *, dir_fd: int) -> int:
        """See `os.open`."""
        ...

    def write(self, descriptor: int, octets: memoryview, /) -> int:
        """See `os.write`."""
        ...

    def fsync(self, descriptor: int, /) -> None:
        """See `os.fsync`."""
        ...

    def close(self, descriptor: int, /) -> None:
        """See `os.close`."""
        ...

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """See `os.rename`."""
        ...

    def unlink(self, path: str, *, dir_fd: int) -> None:
        """See `os.unlink`."""
        ...


@dataclass(frozen=True, slots=True)
class Maildir:
    """
    A Maildir that is open.

    :ivar path: what messages call it.
    :ivar root: its descriptor; the others are those of the folders in it.
    :ivar envelopes: -1 where there are none.
    """

    path: Path
    root: int
    tmp: int
    new: int
    cur: int
    envelopes: int = -1

    @property
    def is_marked(self) -> bool:
        """Whether we have made it, so that what we put there may be removed again."""
        try:
            os.close(folders.open_file(self.path / MARK, dir_fd=self.root))
        except OSError:
            return False
        return True


@contextmanager
def opened(path: Path, subfolders: Sequence[str] = _SUBFOLDERS) -> Iterator[Maildir]:
    """
    Open a Maildir as `prepare` made it.

    :raises FileNotFoundError: one of its folders is not there.
    :raises OSError: it cannot be used, or is not to be trusted.
    """
    descriptors = [folders.open_folder(path)]
    try:
        for name in subfolders:
            descriptors.append(folders.open_folder(path / name, dir_fd=descriptors[0]))
        yield Maildir(path, *descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def prepare(
    path: Path, subfolders: Sequence[str] = _SUBFOLDERS, *, may_be_cleared: bool = True
) -> None:
    """
    Make a Maildir if it is not there, and the folders in it that are missing.

    Folders that exist keep their modes.  One that we make, or find empty, gets our `MARK`.  It
    blocks.

    :param may_be_cleared: whether it does: what is delivered there may be removed again.

    :raises OSError: it cannot be used, or is not to be trusted; text and file name say why.
    """
    root, made = folders.make_folder(path)
    try:
        if may_be_cleared and (made or not os.listdir(root)):
            folders.require_writable(root, path)
            # First, so that no message of ours can be in one without.
            _write_mark(root)
        for name in subfolders:
            descriptor, _ = folders.make_folder(path / name, dir_fd=root)
            try:
                folders.require_writable(descriptor, path / name)
            finally:
                os.close(descriptor)
        folders.sync(root)
    finally:
        os.close(root)


def look_at(path: Path, owners: frozenset[int] | None = None) -> bool:
    """
    Find out what `prepare` would say, and change nothing.

    :param owners: the users that are trusted; by default root and us.
    :return: whether what we put there may be removed again.
    :raises OSError: as `prepare`.
    """
    if not folders.look_at(path, owners):
        return True
    root = folders.open_folder(path, owners=owners)
    try:
        names = os.listdir(root)
        for name in set(_SUBFOLDERS).intersection(names):
            os.close(folders.open_folder(path / name, dir_fd=root, owners=owners))
        return not names or MARK in names
    finally:
        os.close(root)


def unique_name(size_octets: int) -> str:
    """
    Return a Maildir name that was never used before; `NAME` matches it.

    Nothing a client can choose is in it but the size, which mail readers then need not ask
    the file system for.
    """
    microseconds = time.time_ns() // 1000
    # A host name may hold anything, "/" too; Maildir readers take ":" as the start of flags.
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]
    return (
        f"{microseconds // 1_000_000}.M{microseconds % 1_000_000:06}P{os.getpid()}"
        f"Q{next(_COUNTER)}R{secrets.token_hex(8)}.{host},S={size_octets}"
    )


def store(
    maildir: Maildir,
    pieces: Iterable[bytes],
    *,
    name: str,
    envelope: Callable[[], bytes] | None = None,
    os_layer: OsLayer = os,
) -> Path:
    """
    Bring a message to disk, byte for byte; return its path when a power cut cannot undo it.

    It blocks.  On any error nothing is left, in no folder.

    :param pieces: the mail data.
    :param name: from `unique_name`.
    :param envelope: asked when all pieces have been taken for the content of its file in
        ``envelopes``, which is on disk before the message is in ``new``.
    :param os_layer: what makes the calls; `os`, but for tests.
    :raises OSError: the message is not kept.
    :raises ValueError: the name is none that we make.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a message")
    made: list[tuple[str, int]] = []
    try:
        _write_file(name, maildir.tmp, pieces, made, os_layer)
        if envelope is not None:
            _write_file(f"{name}.json", maildir.envelopes, [envelope()], made, os_layer)
            os_layer.fsync(maildir.envelopes)
        os_layer.rename(name, name, src_dir_fd=maildir.tmp, dst_dir_fd=maildir.new)
        made[0] = (name, maildir.new)
        os_layer.fsync(maildir.new)
    except BaseException:
        # If this fails too: what is in tmp and envelopes is cleared away later, and a message in
        # new is a duplicate of the one that the client sends again.
        for unfinished, folder in made:
            with suppress(OSError):
                os_layer.unlink(unfinished, dir_fd=folder)
        raise
    return maildir.path / "new" / name


def _write_file(
    name: str,
    folder: int,
    pieces: Iterable[bytes],
    made: list[tuple[str, int]],
    os_layer: OsLayer,
) -> None:
    """Write a new file, bring it to disk and close it; say in `made` that it is there."""
    descriptor = os_layer.open(name, _CREATE, 0o600, dir_fd=folder)
    made.append((name, folder))
    try:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[os_layer.write(descriptor, rest) :]
        os_layer.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os_layer.close(descriptor)
        raise
    # Some file systems tell only here that there was no room (NFS).
    os_layer.close(descriptor)


def _write_mark(root: int) -> None:
    try:
        descriptor = os.open(MARK, _CREATE, 0o600, dir_fd=root)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return
        raise
    with open(descriptor, "wb") as file:
        file.write(_MARK_TEXT)
        file.flush()
        os.fsync(descriptor)
