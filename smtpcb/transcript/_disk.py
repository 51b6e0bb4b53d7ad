"""What the thread does with the disk: write, count, clear up, and say what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from smtpcb.transcript._folders import Folders
from smtpcb.transcript._names import MARK
from smtpcb.transcript._room import Room

if TYPE_CHECKING:
    from smtpcb.transcript._file import TranscriptWriting
    from smtpcb.transcript._settings import TranscriptSettings

SLOW = "the disk is too slow"

_WARNING_SECONDS = 60.0

# What is written to a file at once, at most, though there be more.
_TOGETHER_OCTETS = 65_536

_log = Logger(namespace="smtpcb.transcript")


class Warnings:
    """Says that transcripts are lost, at most once a minute; each thread has its own."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last: float | None = None
        self._unreported = 0

    def lost(self, why: str) -> None:
        """Say that one was cut or lost."""
        now = self._seconds()
        if self._last is not None and now - self._last < _WARNING_SECONDS:
            self._unreported += 1
            return
        _log.warn(
            "A transcript is cut or lost: {why} (and {unreported} since the last warning)",
            why=why,
            unreported=self._unreported,
        )
        self._last, self._unreported = now, 0


@dataclass(slots=True)
class _Gathered:
    """What waits to be written to one file; see `TranscriptWriting.write`."""

    records: list[Any]
    octets: int
    closed: bool


class Disk:
    """What the thread does; nothing here raises, and nobody else calls it."""

    def __init__(
        self,
        settings: TranscriptSettings,
        seconds: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._folders = Folders(settings.folder, seconds)
        self._room = Room(self._folders, settings, seconds, wall)
        self._warnings = Warnings(seconds)
        self._told = False
        self._gathered: dict[TranscriptWriting, _Gathered] = {}

    def tidy(self) -> None:
        """Count what is there, and remove what is too old or too much."""
        try:
            self._folders.open_root()
            removed = self._room.tidy()
        except OSError as error:
            self._warnings.lost(str(error))
            return
        if removed:
            _log.info("{removed} old transcripts removed", removed=removed)
        if not self._folders.ours and not self._told:
            self._told = True
            _log.warn(
                "{folder} has not been made for transcripts: none will be removed from it, and "
                "none written when it is full (an empty file {mark} in it allows to remove them)",
                folder=str(self._folders.path),
                mark=MARK,
            )

    def write(
        self, writing: TranscriptWriting, records: list[Any], octets: int, closed: bool
    ) -> None:
        """
        Write what was said on a connection, when it is settled, together with what else was said.

        :param octets: what it takes in memory.
        """
        gathered = self._gathered.get(writing)
        if gathered is None:
            self._gathered[writing] = _Gathered(records, octets, closed)
            return
        gathered.records += records
        gathered.octets += octets
        gathered.closed = closed
        if gathered.octets > _TOGETHER_OCTETS:
            del self._gathered[writing]
            self._write(writing, gathered.records, closed)

    def settle(self) -> None:
        """Write what has been gathered."""
        for writing, gathered in self._gathered.items():
            self._write(writing, gathered.records, gathered.closed)
        self._gathered.clear()

    def tell(self, done: Event) -> None:
        """Say that all is written that came before."""
        self.settle()
        done.set()

    def _write(self, writing: TranscriptWriting, records: Sequence[Any], closed: bool) -> None:
        try:
            writing.write(self._folders, self._room, records, closed)
        except OSError as error:
            self._warnings.lost(str(error))
        except Exception:
            # The other connections must have their transcripts.
            _log.failure("a transcript is lost")

    def cut(self, writing: TranscriptWriting, seconds: float) -> None:
        """Say in a transcript that it is not whole."""
        self.settle()
        writing.cut(self._folders, seconds, SLOW)
        self._room.being_written(f"{writing.day}/{writing.name}", False)

    def close(self) -> None:
        """Keep no descriptor."""
        self._folders.close()
