"""
Keep every message in a Maildir.

A message is written below ``tmp``, brought to disk, renamed into ``new``, and the rename brought
to disk; only then does the client read 250.  Whoever kills the process or pulls the plug in
between leaves a file in ``tmp`` at most, which nobody reads and `prepare` removes after 36 hours
(https://cr.yp.to/proto/maildir.html).

It is a rename and not the link of that page: a rename is one step, and works on the file systems
that have no links.  It would replace a message of the same name, but names are never used twice.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from smtpcb.engine import _replies as replies
from smtpcb.engine._keeping import MailData
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Credentials

# More threads would wait for the same disk.
MAXIMUM_THREADS = 4
LEFTOVER_SECONDS = 36 * 3600

NOT_STORED = Reply(451, ("Message could not be stored, try again later",), status="4.3.0")
# EFBIG is what a limit on the size of files says (RLIMIT_FSIZE).
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._,=-]{0,199}\Z")
_COUNTER = itertools.count(1)


class OsLayer(Protocol):
    """The calls that bring a message to disk, as `os` has them."""

    def open(self, path: Path, flags: int, mode: int = ..., /) -> int:
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

    def rename(self, source: Path, target: Path, /) -> None:
        """See `os.rename`."""
        ...

    def unlink(self, path: Path, /) -> None:
        """See `os.unlink`."""
        ...


class HasContent(Protocol):
    """The one thing `Capture` wants to know of an envelope."""

    @property
    def content(self) -> MailData:
        """The mail data, complete."""
        ...


def prepare(maildir: Path) -> None:
    """
    Make the Maildir if it is not there, and clear away what was never finished.

    The folder above it must exist; folders that exist keep their modes.  It blocks: call it once,
    before the server listens.

    :raises OSError: it cannot be used; the text and the file name say what is wrong.
    """
    try:
        _make_folder(maildir)
        # A name is on disk once the folder it stands in is.  One that we may not read was made
        # and brought to disk by somebody else.
        with suppress(PermissionError):
            _sync_folder(maildir.parent)
        for name in ("tmp", "new", "cur"):
            _make_folder(maildir / name)
        _sync_folder(maildir)
        _remove_leftovers(maildir / "tmp", time.time() - LEFTOVER_SECONDS)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot use {maildir} as a Maildir: {error.strerror}", error.filename
        ) from error


def unique_name(size_octets: int) -> str:
    """
    Return a Maildir name that was never used before.

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


def store(maildir: Path, pieces: Iterable[bytes], *, name: str, os_layer: OsLayer = os) -> Path:
    """
    Bring a message to disk, byte for byte; return its path when a power cut cannot undo it.

    It blocks.  On any error nothing is left, neither in ``new`` nor in ``tmp``.

    :param maildir: as `prepare` made it; it is not made again when somebody removed it.
    :param pieces: the mail data.
    :param name: from `unique_name`.
    :param os_layer: what makes the calls; `os`, but for tests.
    :raises OSError: the message is not kept.
    :raises ValueError: the name is none that we make.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of a message")
    unfinished, kept = maildir / "tmp" / name, maildir / "new" / name
    # Opened before anything else: after the rename as little as possible should go wrong.
    folder = os_layer.open(kept.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = os_layer.open(
            unfinished,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        path = unfinished
        try:
            _fill(descriptor, pieces, os_layer)
            os_layer.rename(unfinished, kept)
            path = kept
            os_layer.fsync(folder)
        except BaseException:
            # If this fails too: tmp is cleared away later, and a message in new is a duplicate
            # of the one that the client sends again.
            with suppress(OSError):
                os_layer.unlink(path)
            raise
    finally:
        # What it was open for is done, or has failed with an error of its own.
        with suppress(OSError):
            os_layer.close(folder)
    return kept


class Capture(Service):
    """
    A handler that keeps every message in a Maildir, one instance for all connections.

    It lets anybody log in: it is there to be sent to.

    The disk is waited for in threads of its own.  They start with the first message.

    :param maildir: as `prepare` made it.
    :param reactor: fires the Deferreds.
    :param os_layer: see `store`.
    """

    _log = Logger()

    def __init__(
        self, maildir: Path, reactor: IReactorFromThreads, *, os_layer: OsLayer = os
    ) -> None:
        self.maildir = maildir
        self._reactor = reactor
        self._os_layer = os_layer
        self._pool: ThreadPool | None = None

    def stopService(self) -> None:
        """End the threads; see `stop`."""
        super().stopService()
        self.stop()

    def authenticate(self, credentials: Credentials) -> bool:
        """Accept any login."""
        return True

    def start(self) -> ThreadPool:
        """Start the threads, if they are not running."""
        if self._pool is None:
            self._pool = ThreadPool(0, MAXIMUM_THREADS, "capture")
            # A process whose owner forgot `stop` ends nevertheless; a message it was about to
            # store is then not stored and its client, who saw no reply, sends it again.
            # Typed as the class itself, and any callable will do.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
        return self._pool

    def stop(self) -> None:
        """
        Return when everything `message` was given is on disk, and the threads have ended.

        The reactor waits that long too.  Replies are handed over when it runs next.
        """
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    def message(self, envelope: HasContent) -> Deferred[Reply]:
        """
        Keep the message; see `smtpcb.interfaces`.

        :return: fires with 250 once it is on disk, with 452 if there was no room and 451 on
            every other error of the disk.  Cancelling it keeps the reply from you and not the
            message from the disk: that is there whole, or not at all.
        """
        name = unique_name(envelope.content.size_octets)
        try:
            # Here and not in the thread: the content may be closed by then.
            pieces = envelope.content.pieces()
        except OSError as error:
            return succeed(self._not_kept(name, error))
        answer: Deferred[Reply] = Deferred()
        self.start().callInThreadWithCallback(
            lambda _, result: self._reactor.callFromThread(self._answer, answer, name, result),
            partial(store, os_layer=self._os_layer),
            self.maildir,
            pieces,
            name=name,
        )
        return answer

    def _answer(self, answer: Deferred[Reply], name: str, result: Path | Failure) -> None:
        if isinstance(result, Path):
            answer.callback(Reply(250, (f"Kept as {name}",), status="2.0.0"))
        elif isinstance(result.value, OSError):
            answer.callback(self._not_kept(name, result.value))
        else:
            answer.errback(result)

    def _not_kept(self, name: str, error: OSError) -> Reply:
        self._log.warn("not kept: {path}: {error}", path=self.maildir / "new" / name, error=error)
        return replies.NO_STORAGE if error.errno in _STORAGE_ERRORS else NOT_STORED


def _fill(descriptor: int, pieces: Iterable[bytes], os_layer: OsLayer) -> None:
    """Write all pieces, bring them to disk and close the file."""
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


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path, before: float) -> None:
    """Remove what a killed process left behind; a symbolic link is none of that."""
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may clear away at the same time, and somebody else's file that we
            # may not remove is no reason not to take mail.
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                last_used = max(status.st_mtime, status.st_atime)
                if stat.S_ISREG(status.st_mode) and last_used < before:
                    os.unlink(entry.path)
