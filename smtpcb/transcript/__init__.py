"""What was said on a connection, as a file that people and programs read."""

from smtpcb.transcript._record import Transcript, TranscriptFolder, TranscriptSettings, prune
from smtpcb.transcript._replay import Line, TranscriptFile, load, read

__all__ = [
    "Line",
    "Transcript",
    "TranscriptFile",
    "TranscriptFolder",
    "TranscriptSettings",
    "load",
    "prune",
    "read",
]
