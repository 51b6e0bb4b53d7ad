"""Disks that fail, that stall, and that die; and an envelope to be kept."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

from twisted.internet.task import Clock

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._keeping import MailData
from smtpcb.smtp._address import ReversePath

# More than one piece; NUL, 8-bit, lone CR and LF, a line of a dot, no CRLF at the end.
MESSAGE = b"Subject: x\r\n\r\n.\r\n\0\xff\r\n" + bytes(range(256)) * 400 + b"\rno\nCRLF"
ORDER = [
    "open tmp/NAME",
    "write tmp/NAME",
    "write tmp/NAME",
    "fsync tmp/NAME",
    "close tmp/NAME",
    "open envelopes/NAME.json",
    "write envelopes/NAME.json",
    "fsync envelopes/NAME.json",
    "close envelopes/NAME.json",
    "fsync envelopes",
    "rename tmp/NAME new/NAME",
    "fsync new",
]
FOLDERS = ("tmp", "new", "cur", "envelopes")


def envelope_of(octets: bytes = MESSAGE, content: MailData | None = None) -> Envelope:
    """Return a transaction with this content."""
    envelope = Envelope(Connection("x"), ReversePath.NULL)
    envelope.kept = MailData() if content is None else content
    envelope.kept.write(octets)
    return envelope


def files(maildir: Path, *folders: str) -> list[Path]:
    """Return what is in these folders."""
    return sorted(path for folder in folders for path in (maildir / folder).iterdir())


def contents(maildir: Path) -> list[bytes]:
    """Everything readers of the Maildir see; there must be nothing else in it."""
    assert files(maildir, "tmp", "cur") == []
    envelopes = {path.name.removesuffix(".json") for path in files(maildir, "envelopes")}
    assert envelopes <= {path.name for path in files(maildir, "new")}
    return [path.read_bytes() for path in files(maildir, "new")]


class HandReactor(Clock):
    """A reactor that a test waits with: it does what threads tell it while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._told: Queue[Callable[[], object]] = Queue()

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        self._told.put(partial(function, *arguments))

    def wait(self, answer: Any) -> Any:
        """Return what a Deferred fires with."""
        results: list[Any] = []
        answer.addBoth(results.append)
        while not results:
            self.do_one()
        return results[0]

    def do_one(self) -> None:
        """Do the next thing that a thread tells it."""
        self._told.get(timeout=20)()


class FailingLayer:
    """
    Does what `os` does, writes down the calls, and fails at some of them.

    :ivar calls: the calls made, with file names relative to the Maildir.
    :ivar fails_at: number of the call that fails, counted from 0.
    :ivar fails_again: whether all later ones fail too.
    :ivar error: what it fails with.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.flags: list[int] = []
        self.fails_at: int | None = None
        self.fails_again = False
        self.error: BaseException = OSError(errno.EIO, "Input/output error")
        self._names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*rest: Any, **named: Any) -> Any:
            number = len(self.calls)
            folders = [
                Path(os.readlink(f"/proc/self/fd/{value}")).name
                for key, value in named.items()
                if key.endswith("dir_fd")
            ]
            names = [f"NAME{'.json' if '.json' in one else ''}" for one in rest if type(one) is str]
            paths = [f"{folder}/{one}" for folder, one in zip(folders, names, strict=True)]
            if not paths:
                folder = Path(os.readlink(f"/proc/self/fd/{rest[0]}")).name
                paths = [self._names.get(rest[0], folder)]
            self.calls.append(" ".join([name, *paths]))
            if name == "open":
                self.flags.append(rest[1])
            if name == "close":
                del self._names[rest[0]]
                os.close(rest[0])  # what happens to it even if it fails
            if self.fails_at is not None and (
                number == self.fails_at or (self.fails_again and number > self.fails_at)
            ):
                raise self.error
            result = None if name == "close" else getattr(os, name)(*rest, **named)
            if name == "open":
                self._names[result] = paths[0]
            return result

        return call


class GatedLayer:
    """Does what `os` does, but syncs nothing before it may, and then perhaps fails."""

    def __init__(self) -> None:
        self.may_sync = threading.Event()
        self.is_syncing = threading.Event()
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        self.is_syncing.set()
        assert self.may_sync.wait(30)
        if self.error is not None:
            raise self.error
        os.fsync(descriptor)
