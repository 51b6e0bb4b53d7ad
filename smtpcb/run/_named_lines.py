"""
Files of names, and what belongs to each: read whole, and again when they have changed.

A line is ``NAME:REST``: the name ends at the first colon.  Empty lines count for nothing, nor do
those that begin with ``#``.  It is UTF-8.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from twisted.logger import Logger

from smtpcb._reread import Reread
from smtpcb.smtp._reply import Reply

# RFC 4954 §6: not the client's fault, and it may try the same again.
CANNOT_TELL = Reply(454)

_Value = TypeVar("_Value")
Understand = Callable[[Path, bytes], Mapping[bytes, _Value]]
_log = Logger(namespace="smtpcb")


class PasswordFileError(ValueError):
    """A file of passwords cannot be used; the text is one line that names it, and no password."""


def named_lines(path: Path, octets: bytes, wanted: str) -> Iterator[tuple[int, bytes, bytes]]:
    """
    Yield the number of each line, its name, and the rest.

    :param wanted: what a line is, for who has written another one.
    :raises PasswordFileError: a line is none, or names somebody again.
    """
    at: dict[bytes, int] = {}
    # Editors on Windows put a byte order mark before the first name.
    lines = octets.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        line = line.removesuffix(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        name, _, rest = line.partition(b":")
        if not (name and rest):
            raise PasswordFileError(f"{path}: line {number}: {wanted} is wanted")
        try:
            line.decode()
        except UnicodeDecodeError:
            raise PasswordFileError(f"{path}: line {number}: it is no UTF-8") from None
        if name in at:
            raise PasswordFileError(
                f"{path}: line {number}: {name.decode()!r} is named in line {at[name]} already"
            )
        at[name] = number
        yield number, name, rest


class Watched(Generic[_Value]):
    """
    A file that may change at any time, whole or bit by bit; from any thread.

    :param path: of the file.
    :param understand: makes of its octets what belongs to each name; it raises
        `PasswordFileError`.
    :param kind: how ``--auth`` calls it.
    :param private: nobody else may read it, and not only not everybody.
    :param owners: who may own it; by default root, and who we are.
    """

    def __init__(
        self,
        path: Path,
        understand: Understand[_Value],
        *,
        kind: str,
        private: bool,
        owners: Collection[int] | None = None,
    ) -> None:
        self._path = path
        self._understand = understand
        self._kind = kind
        self._readers = stat.S_IRGRP | stat.S_IROTH if private else stat.S_IROTH
        self._owners = owners
        # However many have passwords: how long it is decides nothing.
        self._file = Reread(path, limited=False)
        self._known: Mapping[bytes, _Value] = {}
        self._fault = ""
        self._lock = Lock()

    def names(self) -> Mapping[bytes, _Value]:
        """
        Return what belongs to each name, as the file says now.

        :raises PasswordFileError: it cannot be used.
        """
        with self._lock:
            self._read_again()
            return self._known

    def names_or_none(self) -> Mapping[bytes, _Value] | None:
        """Return the same; ``None`` if it cannot be used now, which the log says once."""
        try:
            known = self.names()
        except PasswordFileError as error:
            if str(error) != self._fault:  # once, and not for each who tries
                self._fault = str(error)
                _log.error(
                    "--auth {kind}: {why}; nobody can log in", kind=self._kind, why=self._fault
                )
            return None
        self._fault = ""
        return known

    def _read_again(self) -> None:
        """Read the file, if it is not the one that was read last."""
        try:
            content = self._file.look()
        except ValueError as error:
            raise PasswordFileError(f"{self._path}: {error}") from None
        if content is None:
            return
        self._known = self._understand(self._path, content.octets)
        self._file.take(content)
        if not self._known:
            _log.warn("{path}: no names in it; nobody can log in", path=self._path)
        self._judge(content.status)

    def _judge(self, status: os.stat_result) -> None:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        if status.st_mode & self._readers:
            _log.warn(
                "{path}: others may read these passwords (mode {mode})", path=self._path, mode=mode
            )
        owners = {0, os.geteuid()} if self._owners is None else self._owners
        if status.st_mode & stat.S_IWOTH or status.st_uid not in owners:
            _log.warn("{path}: others decide who may log in, since it is theirs", path=self._path)
