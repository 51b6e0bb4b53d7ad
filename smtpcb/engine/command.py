"""Verb and Command: what a client asked for, as a value."""

from __future__ import annotations

import enum
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
    text = octets[: most + 4].decode("utf-8", "backslashreplace")
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

    :param secret: nothing of the line may be shown: it may be a password sent out of step.
    """
    name, _, argument = line.strip(b" \t").partition(b" ")
    verb = VERBS.get(name.upper(), Verb.UNKNOWN)
    if verb is Verb.AUTH:
        argument = argument.strip().partition(b" ")[0]
    elif verb is Verb.UNKNOWN and secret:
        return Command(verb, "", hidden(len(line)))
    return Command(verb, printable(argument.strip()), printable(name, 16))


def hidden(octets: int) -> str:
    """Return what stands in transcripts and logs in place of a secret."""
    return f"<{octets} octets hidden>"
