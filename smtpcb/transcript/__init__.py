"""What was said on a connection, as a file that people and programs read."""

from smtpcb.transcript._folder import TranscriptFolder
from smtpcb.transcript._replay import Line, TranscriptFile, load, read
from smtpcb.transcript._settings import TranscriptSettings
from smtpcb.transcript._transcript import Transcript

__all__ = [
    "Line",
    "Transcript",
    "TranscriptFile",
    "TranscriptFolder",
    "TranscriptSettings",
    "load",
    "read",
]
