"""Who decides on mail, and where it is kept."""

from __future__ import annotations

from pathlib import Path

from smtpcb.run.options._option import Option
from smtpcb.run.options._values import described, path

ROWS: tuple[Option, ...] = (
    Option(
        "handler",
        described,
        "capture",
        "Who decides: python:MODULE.NAME, capture[:FOLDER], or a plug-in's NAME[:ARGUMENT].",
        "HANDLER",
    ),
    Option(
        "policy",
        described,
        (),
        "Asked before the handler; may be repeated, and is asked in that order: see "
        "--help-policies.",
        "NAME[:ARGUMENT]",
        many=True,
    ),
    Option(
        "state",
        path,
        Path("smtpcb-state"),
        "Folder of what is kept: messages, transcripts, the self-signed certificate.",
        "FOLDER",
    ),
)
