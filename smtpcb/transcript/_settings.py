"""What is recorded, and how much of it is kept."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Content = Literal["full", "head", "none"]
Sessions = Literal["all", "commands", "transactions"]


@dataclass(frozen=True, slots=True)
class TranscriptSettings:
    """
    What is recorded, and how much of it is kept.

    :ivar folder: where the dated folders are; text is taken for a path.  It is made at the first
        write if it is missing.  Transcripts are removed from it only if it bears our mark, which
        it gets when it is made or found empty.
    :ivar content: how much of each message: all of it, its header section, or its size only.
    :ivar sessions: which sessions get a transcript: ``"all"`` of them; those in which the client
        has said anything, ``"commands"``, so that a connect and leave of a health check or a
        port scan leaves nothing; or those in which it named a reverse-path, ``"transactions"``
        (MAIL, accepted or not).  A session that has said more than 16 KiB has one in any case.
    :ivar max_octets: size of a transcript beyond which content is only counted.  At twice that,
        the transcript says that it is cut and ends.
    :ivar keep_days: age at which a transcript is removed; ``None`` is never.
    :ivar keep_octets: how large all transcripts may be together; ``None`` is no limit.  Before it
        is passed the oldest are removed, and where none can be, nothing more is recorded.
    :ivar keep_files: the same as a number of transcripts.
    :raises TypeError: a value is of the wrong type; ValueError: nobody can mean it.
    """

    folder: Path
    content: Content = "full"
    sessions: Sessions = "commands"
    max_octets: int = 1_048_576
    keep_days: float | None = 30
    keep_octets: int | None = 1_073_741_824
    keep_files: int | None = 100_000

    def __post_init__(self) -> None:
        """Refuse what nobody can mean."""
        if not isinstance(self.folder, str | os.PathLike):
            raise TypeError(f"folder is a path, not {self.folder!r}")
        folder = os.fspath(self.folder)
        if not isinstance(folder, str) or not folder or "\0" in folder:
            raise ValueError(f"folder is a path, not {folder!r}")
        object.__setattr__(self, "folder", Path(folder))
        for name, choices in (("content", get_args(Content)), ("sessions", get_args(Sessions))):
            value = getattr(self, name)
            if value not in choices:
                first, *others, last = choices
                allowed = f"{', '.join([first, *others])} or {last}"
                raise ValueError(f"{name} is {allowed}, not {value!r}")
        _check_number("max_octets", self.max_octets, int)
        for name, kind in (("keep_days", float), ("keep_octets", int), ("keep_files", int)):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), kind)


def _check_number(name: str, value: object, kind: type[int | float]) -> None:
    kinds, what = ((int, float), "a number") if kind is float else (int, "a whole number")
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{name} is {what}, not {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} cannot be {value}")
