"""Verb and Command: what a client asked for, as a value."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Verb(enum.Flag):
    """
    The commands, as a set of flags: ``Verb.MAIL | Verb.RCPT`` is a mask of two.
    """

    HELO = enum.auto()
    EHLO = enum.auto()
    MAIL = enum.auto()
    RCPT = enum.auto()
    DATA = enum.auto()
    QUIT = enum.auto()
    RSET = enum.auto()
    NOOP = enum.auto()
    HELP = enum.auto()
    VRFY = enum.auto()
    AUTH = enum.auto()
    STARTTLS = enum.auto()
    BDAT = enum.auto()
    EXPN = enum.auto()
    ETRN = enum.auto()
    UNKNOWN = enum.auto()
    """Whatever is none of the others."""

    # Members are looked up in tables for every command; identity is what tells them apart.
    __hash__ = object.__hash__


VERBS: dict[bytes, Verb] = {
    verb.name.encode("ascii"): verb
    for verb in Verb
    if verb is not Verb.UNKNOWN and verb.name is not None
}


@dataclass(frozen=True, slots=True)
class Command:
    """
    A command line as it was received, also one that will be refused.

    :ivar verb: which command; `Verb.UNKNOWN` for a line that is none.
    :ivar argument: the text behind the verb, without blanks at either end; octets that are no
        printable UTF-8 stand as ``\\xNN``.  Of AUTH only the mechanism: secrets never get here.
    :ivar name: the verb as the client wrote it; of an unknown one at most 16 characters.
    """

    verb: Verb
    argument: str
    name: str


@dataclass(frozen=True, slots=True)
class Introduction:
    """
    Who the client says it is (RFC 5321 §4.1.1.1).

    :ivar verb: `Verb.HELO` or `Verb.EHLO`.
    :ivar name: a domain or an address literal, as it was written; nobody has checked it.
    """

    verb: Verb
    name: str


def printable(octets: bytes, most: int = 512) -> str:
    """
    Return octets of a stranger in a form that is safe in a log, a reply or a terminal.

    :param most: at most so many characters; three dots stand for the rest.
    """
    text = octets[: 4 * most + 4].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(
            char
            if char.isprintable()
            else "".join(f"\\x{octet:02x}" for octet in char.encode("utf-8"))
            for char in text
        )
    return text if len(text) <= most else text[:most] + "..."


def observed(line: bytes, *, secret: bool) -> Command:
    """
    Return the value that an observer of commands gets for a line.

    :param secret: a line that is no command may be a password sent out of step.
    """
    verb = VERBS.get(line.rstrip(b" \t").partition(b" ")[0].upper(), Verb.UNKNOWN)
    if verb is Verb.UNKNOWN and (secret or is_auth(line) or quotes_auth(line)):
        return Command(verb, "", hidden(len(line)))
    name, _, argument = masked(line).strip(b" \t").partition(b" ")
    if verb is Verb.AUTH:
        argument = argument.partition(b" <")[0]
    return Command(verb, printable(argument.strip()), printable(name, 16))


# Also behind a bare CR or LF: a client that ends lines so sends its secrets in one line with EHLO.
# A tab is among the controls, so blanks alone may follow: two ways to read a run of tabs would make
# a line of them cost its length squared.
_AUTH = re.compile(rb"(?:\A|[\x00-\x1f\x7f-\xff]) *+AUTH", re.IGNORECASE)
# Where it stands in a line that is no command: IMAP's habit, a quotation, a log that was pasted.
_QUOTED_AUTH = re.compile(rb"\bAUTH\b", re.IGNORECASE)
# The mechanisms that we know; what stands in their place otherwise may be a secret.
_MECHANISM = re.compile(rb" (?:PLAIN|LOGIN)(?: |\Z)", re.IGNORECASE)


def is_auth(line: bytes) -> bool:
    """Tell whether a line is an AUTH command, or was meant to be one: it may hold a secret."""
    return _AUTH.search(line) is not None


def quotes_auth(line: bytes) -> bool:
    """Tell whether a line that is no command may be one for AUTH, written in a strange way."""
    return _QUOTED_AUTH.search(line) is not None


def masked(line: bytes) -> bytes:
    """Return a command line without what AUTH, however it is written, sends along (RFC 4954 §4)."""
    auth = _AUTH.search(line)
    if auth is None or not line[auth.end() :].strip(b" \t"):
        return line
    mechanism = _MECHANISM.match(line, auth.end())
    shown = mechanism.end() if mechanism else auth.end()
    if shown == len(line) and mechanism:
        return line
    return line[:shown].rstrip() + b" " + hidden(len(line) - shown).encode("ascii")


def hidden(octets: int) -> str:
    """Return what stands in transcripts and logs in place of a secret."""
    return f"<{octets} octets hidden>"
