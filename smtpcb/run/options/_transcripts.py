"""What is recorded."""

from __future__ import annotations

from smtpcb._amounts import days, octets
from smtpcb.run.options._option import Option
from smtpcb.run.options._values import count, one_of, or_none, path

ROWS: tuple[Option, ...] = (
    Option(
        "transcripts",
        path,
        None,
        "Record what is said below FOLDER (capture does so without being asked).",
        "FOLDER",
    ),
    Option("no-transcripts", bool, False, "Record nothing."),
    Option(
        "transcript-content",
        one_of("full", "head", "none"),
        "full",
        "How much of a message a transcript has: full, head or none.",
        "HOW",
    ),
    Option(
        "transcript-days",
        or_none(days),
        30.0,
        "Remove transcripts after so many days, or 12h (none: never).",
        "DAYS",
    ),
    Option(
        "transcript-sessions",
        one_of("all", "commands", "transactions"),
        "commands",
        "Which connections are recorded: all, those in which the client says anything (commands), "
        "or those in which it begins a mail (transactions).",
        "WHICH",
    ),
    Option(
        "transcript-octets",
        or_none(octets),
        1_073_741_824,
        "How large all transcripts together may be; past it the oldest are removed (none: no "
        "limit).",
        "OCTETS",
    ),
    Option(
        "transcript-files",
        or_none(count),
        100_000,
        "The same as a number of transcripts.",
        "N",
    ),
)
