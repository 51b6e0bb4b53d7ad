"""What the tests of transcripts share: a folder, its clock, and what is in the files."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from smtpcb.engine._connection import Connection
from smtpcb.transcript import Line, Transcript, TranscriptFolder, TranscriptSettings, load
from smtpcb.transcript._file import TranscriptWriting

STARTED = datetime(2026, 11, 20, 8, 14, 50, 123456, tzinfo=UTC)


def named(number: int = 1) -> str:
    """An id as servers make it."""
    return f"20261120T081450.123456Z-4711-{number}-9f3a2c08"


def connection(number: int = 1, **other: Any) -> Connection:
    return Connection(named(number), "127.0.0.1", 51234, "127.0.0.1", 10025, STARTED, **other)


class Recording:
    """A folder, its clock, and what is in the file of one connection."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.settings = TranscriptSettings(
            **{
                "folder": path / "transcripts",
                "sessions": "all",
                "keep_days": None,
                **settings,
            }
        )
        self.folder = TranscriptFolder(self.settings, self.clock)

    def open(self, number: int = 1) -> Transcript:
        return self.folder.open(connection(number))

    def path(self, number: int = 1) -> Path:
        return self.settings.folder / f"2026/11/20/{named(number)}.txt"

    def text(self, number: int = 1) -> str:
        """What stands below the header, as soon as all is written."""
        assert self.folder.flush()
        text = self.path(number).read_text(encoding="utf-8")
        return "".join(line for line in text.splitlines(True) if not line.startswith("# "))

    def lines(self, number: int = 1) -> list[Line]:
        assert self.folder.flush()
        return list(load(self.path(number)).lines)

    def files(self) -> list[str]:
        """The names of all transcripts, as soon as all is written."""
        assert self.folder.flush()
        return sorted(path.name for path in self.settings.folder.rglob("*.txt"))

    def clear_up(self) -> None:
        """Leave no thread behind."""
        self.folder.close()
        self.folder.flush()


class InMemory(TranscriptFolder):
    """A folder without a thread and without a disk."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            TranscriptSettings(
                Path("/nowhere"), **{"sessions": "all", "max_octets": 1 << 40, **settings}
            ),
            Clock(),
        )
        self.written: list[bytes] = []

    def write(
        self, writing: TranscriptWriting, records: list[Any], octets: int, *, closed: bool
    ) -> bool:
        self.written.append(writing._text(records))
        writing._written += len(self.written[-1])
        return True


def recorded(record_all: Callable[[Transcript], None], **settings: Any) -> str:
    """The text of a transcript that is kept in memory, without its header."""
    folder = InMemory(**settings)
    transcript = folder.open(connection())
    record_all(transcript)
    transcript.close("done")
    return b"".join(folder.written).decode().partition("Z\n")[2]


def octets_of(side: str, lines: list[Line]) -> bytes:
    """Everything one side said."""
    return b"".join(
        line.octets + (b"\r\n" if line.ended else b"") for line in lines if line.side == side
    )


def notes(lines: list[Line]) -> list[str]:
    return [line.octets.decode() for line in lines if line.side == "*"]


def os_with(**functions: Callable[..., Any]) -> SimpleNamespace:
    """The os module as the transcripts see it, some calls replaced."""
    return SimpleNamespace(**{**vars(os), **functions})
