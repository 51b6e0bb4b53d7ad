"""Replay: a transcript, or a dialogue written by hand, becomes lines of exact octets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal, cast

from smtpcb.transcript._escape import unescape

Side = Literal["C", "S", "*"]


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of a dialogue.

    :ivar side: who said it: the client, the server, or nobody: a note.
    :ivar octets: what was said, without CRLF.
    :ivar ended: whether CRLF followed.
    :ivar seconds: since the start, where the transcript says so.
    """

    side: Side
    octets: bytes
    ended: bool = True
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TranscriptFile:
    """
    One transcript.

    :ivar fields: what its header says: ``connection``, ``peer``, ``host``, ``started``; empty for
        a dialogue without a header.
    :ivar lines: the dialogue.
    """

    fields: Mapping[str, str]
    lines: tuple[Line, ...]


_FIRST_LINE = "# smtpcb transcript "
_VERSION = "1"
_LINE = re.compile(r"\s*(?:(-?[0-9]+\.[0-9]+)\s+)?([CS*]):(?: (.*))?")
_FIELD = re.compile(r"# [a-z]+ .*")


def read(text: str) -> Iterator[Line]:
    r"""
    Read the lines of a transcript, or of a script: no header, no times, indented as one likes.

    Empty lines and lines that begin with ``#`` are passed over.

    :param text: only ``\n`` (or CRLF) ends a line of it.
    :raises ValueError: a line is none; the message begins with its number.
    """
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number}: it begins with none of C: and S: and *:")
        seconds, side, said = match[1], cast(Side, match[2]), match[3] or ""
        # Doubled backslashes come in pairs: an odd one at the end is the mark.
        ended = (len(said) - len(said.rstrip("\\"))) % 2 == 0
        try:
            octets = unescape(said if ended else said[:-1])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        yield Line(side, octets, ended, float(seconds) if seconds else None)


def load(path: str | os.PathLike[str]) -> TranscriptFile:
    """
    Read a file.

    :raises ValueError: it is no transcript and no script, or a later version's.
    """
    # Octets that are not UTF-8 become escapes, and so themselves again.
    text = Path(path).read_bytes().decode("utf-8", "backslashreplace")
    fields: dict[str, str] = {}
    first, *others = text.split("\n")
    if first.startswith(_FIRST_LINE):
        if first != _FIRST_LINE + _VERSION:
            raise ValueError(f"line 1: only version {_VERSION} of transcripts is known")
        for line in takewhile(_FIELD.fullmatch, others):
            _, name, value = line.split(" ", 2)
            fields[name] = value
    return TranscriptFile(fields, tuple(read(text)))
