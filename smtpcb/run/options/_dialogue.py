"""How dialogues are led."""

from __future__ import annotations

from smtpcb.run.options._option import Option
from smtpcb.run.options._values import network, one_of

ROWS: tuple[Option, ...] = (
    Option("hostname", str, None, "Our name in greetings (default: the machine's).", "NAME"),
    Option("banner", str, "ESMTP", "What follows the name in the greeting.", "TEXT"),
    Option(
        "bare-newline",
        one_of("refuse", "normalize"),
        "refuse",
        "What to do with a message that has a CR or LF alone: refuse or normalize.",
        "HOW",
    ),
    Option(
        "extension",
        str,
        (),
        "Service extension of your own, python:MODULE.NAME; may be repeated.",
        "EXTENSION",
        many=True,
    ),
    Option(
        "without",
        str,
        (),
        "Keyword of EHLO that is switched off, such as CHUNKING; may be repeated.",
        "KEYWORD",
        many=True,
        commas=True,
    ),
    Option(
        "priority-profile",
        str,
        None,
        "Which priorities a handler that honours MT-PRIORITY tells apart, such as STANAG4406.",
        "NAME",
    ),
    Option(
        "xclient-from",
        network,
        (),
        "A proxy that may say for whom it speaks (XCLIENT): a network, an address, or unix.  "
        "May be repeated.",
        "NETWORK",
        many=True,
        commas=True,
    ),
    Option(
        "xforward-from",
        network,
        (),
        "A server that may say from whom it has a message (XFORWARD); likewise.",
        "NETWORK",
        many=True,
        commas=True,
    ),
    Option("lenient-addresses", bool, False, "Take addresses without brackets or behind a blank."),
)
