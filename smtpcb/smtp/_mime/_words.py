"""What header values are made of: tokens (RFC 5322 §3.2) and encoded words (RFC 2047)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from smtpcb.smtp._mime._charsets import clean, decode, from_base64

# Neither alternative can match where the other does, and the end is optional: there is nothing to
# go back for, whatever the text.
_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t]+)
    | "(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"?
    | (?P<literal>\[[^][\\]*\])
    | (?P<comment>\()
    | (?P<special>[<>@,;:=])
    | (?P<atom>[^][()<>@,;:\\"= \t]+|[][)\\]+)
    """,
    re.DOTALL | re.VERBOSE,
)
_IN_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# RFC 2231 §5 adds a language, behind an asterisk.  Blanks within the text are wrong, and frequent.
_ENCODED_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=")


# Ten for each address that is read.  What is behind them is one word, and fits nowhere.
MOST_TOKENS = 100_000
# What a token is.
BLANK, QUOTED, LITERAL, SPECIAL, ATOM = "blank", "quoted", "literal", "special", "atom"


def tokens(value: str) -> Iterator[tuple[str, str]]:
    """
    Return the tokens of a structured value, in order: what each is, and its text.

    A comment is a blank, also one without end; the text of a quoted string is given without
    quotes and backslashes.
    """
    at = 0
    left = MOST_TOKENS
    while left and (match := _TOKEN.match(value, at)):
        left -= 1
        at = match.end()
        kind = match.lastgroup
        assert kind is not None
        text = match[kind]
        if kind == "comment":
            at = _end_of_comment(value, at)
            kind, text = BLANK, " "
        elif kind == QUOTED and "\\" in text:
            text = _ESCAPED.sub(r"\1", text)
        yield kind, text
    if at < len(value):
        yield ATOM, value[at:]


def _end_of_comment(value: str, at: int) -> int:
    depth = 1
    for match in _IN_COMMENT.finditer(value, at):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(value)


def decode_words(text: str) -> tuple[str, bool]:
    """
    Decode the encoded words in a text; return whether all of them could be, too.

    What is between two of them is dropped if it is blank (RFC 2047 §6.2).  Two that differ in
    nothing but their text are decoded together: senders cut characters in two.
    """
    parts: list[str] = []
    well = True
    pending = bytearray()
    charset = ""
    at = 0
    for match in _ENCODED_WORD.finditer(text):
        between = text[at : match.start()]
        octets, fine = _octets(match[2], match[3])
        well = well and fine
        if between.strip(" \t") or not at or match[1] != charset:
            parts.append(decode(bytes(pending), charset))
            pending = bytearray()
            if between.strip(" \t") or not at:
                parts.append(between)
        charset = match[1]
        pending += octets
        at = match.end()
    parts += (decode(bytes(pending), charset), text[at:])
    return clean("".join(parts)), well


def _octets(encoding: str, text: str) -> tuple[bytes, bool]:
    octets = text.encode("utf-8", "surrogateescape")
    if encoding in "bB":
        return from_base64(octets)
    return binascii.a2b_qp(octets, header=True), True
