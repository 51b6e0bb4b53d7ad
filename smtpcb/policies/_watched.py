"""A file that is read again when it has changed, and what holds when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger

from smtpcb._reread import Reread
from smtpcb.smtp._reply import Reply

CANNOT_TELL = Reply(451, "4.3.0", "That cannot be looked up now, try again later")
"""What a client hears while a file cannot be used."""

_Read = TypeVar("_Read")
_log = Logger(namespace="smtpcb.policies")


class WatchedFile(Generic[_Read]):
    """
    What a text file says, as it is now; while it is being written, as it was.

    :param path: of the file, which is read now.
    :param understand: makes something of its lines: the number of each, and the line; raises
        `ValueError` with one line of text, which names the line's number itself.
    :raises ValueError: it cannot be read or understood; the text is one line that names it.
    """

    def __init__(self, path: Path, understand: Callable[[list[tuple[int, str]]], _Read]) -> None:
        self._path = path
        self._understand = understand
        self._file = Reread(path, limited=True)
        self._fault = ""
        self._value = self._read()

    def now(self) -> _Read | None:
        """Return what it says; None, and a line in the log, while it cannot be used."""
        try:
            value = self._read()
        except ValueError as error:
            if str(error) != self._fault:  # once, and not for each who asks
                self._fault = str(error)
                _log.error("{why}; clients are asked to try again later", why=self._fault)
            return None
        self._fault = ""
        return value

    def _read(self) -> _Read:
        try:
            content = self._file.look()
            if content is None:
                return self._value
            # Editors on Windows put a byte order mark first.
            text = content.octets.decode("utf-8-sig")
            lines = [(at, line.strip()) for at, line in enumerate(text.split("\n"), 1)]
            value = self._understand(
                [(at, line) for at, line in lines if line and not line.startswith("#")]
            )
        except UnicodeDecodeError:
            raise ValueError(f"{self._path}: it is no UTF-8") from None
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None
        self._value = value
        self._file.take(content)
        return value
