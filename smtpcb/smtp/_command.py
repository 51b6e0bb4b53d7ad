"""Verb, Command and Introduction: what a client asks for, read from a line and written as one."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import NamedTuple

from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL

SYNTAX_OF_HELLO = Reply(501, "Say who you are: a domain or an address literal", status="5.5.4")


class Verb(enum.Flag):
    """
    The commands, as a set of flags: ``Verb.MAIL | Verb.RCPT`` is a mask of two.
    """

    HELO = enum.auto()
    EHLO = enum.auto()
    LHLO = enum.auto()
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
    XCLIENT = enum.auto()
    XFORWARD = enum.auto()
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
    A command line as a value: one that was received, also if it will be refused, or one to send.

    :ivar verb: which command; `Verb.UNKNOWN` for a line that is none.
    :ivar argument: the text behind the verb, without blanks at either end; in one that was
        received, octets that are no printable UTF-8 stand as ``\\xNN``.  Of AUTH only the
        mechanism, and no other secret: they never get here.
    :ivar name: the verb as the client wrote it; of an unknown one at most 16 characters.
    """

    verb: Verb
    argument: str = ""
    name: str = ""

    @property
    def wire(self) -> bytes:
        """
        The line to send, with its CRLF.

        :raises LocalProtocolError: a control character is in it, or there is no verb.
        """
        name = self.name or ("" if self.verb is Verb.UNKNOWN else self.verb.name or "")
        return _line(f"{name} {self.argument}" if self.argument else name)


class CommandLine(NamedTuple):
    """
    A line, divided.

    :ivar verb: `Verb.UNKNOWN` also for a verb that only somebody's own extension knows.
    :ivar word: the verb in upper case.
    :ivar argument: what follows the blank behind it, without blanks at its end.
    """

    verb: Verb
    word: bytes
    argument: bytes


def read_command(line: bytes) -> CommandLine:
    """
    Divide a line into verb and argument.

    Blanks before the CRLF are tolerated (RFC 5321 §4.1.1); further blanks behind the verb belong
    to the argument, whose reader knows what they mean.

    :param line: without its CRLF.
    """
    word, _, argument = line.rstrip(b" \t").partition(b" ")
    word = word.upper()
    return CommandLine(VERBS.get(word, Verb.UNKNOWN), word, argument)


@dataclass(frozen=True, slots=True)
class Introduction:
    """
    Who the client says it is (RFC 5321 §4.1.1.1).

    :ivar verb: `Verb.HELO`, `Verb.EHLO`, or in LMTP `Verb.LHLO` (RFC 2033 §4.1).
    :ivar name: whatever it says; it should be a domain or an address literal, and nobody has
        checked it.  It has no control characters; octets that are no UTF-8 stand as ``\\xNN``.
    """

    verb: Verb
    name: str

    @classmethod
    def read(cls, verb: Verb, argument: bytes) -> Introduction:
        """
        Read the argument of EHLO, HELO or LHLO.

        A server must not refuse mail for the name (RFC 5321 §4.1.4), and honest clients say
        ``(none)``, ``my laptop`` or something in Latin-1.

        :raises PeerProtocolError: there is no name, or a control character is in it (501).
        """
        name = argument.strip(b" \t").decode("utf-8", "backslashreplace")
        if not name or CONTROL.search(name):
            raise PeerProtocolError(SYNTAX_OF_HELLO)
        return cls(verb, name)

    @property
    def wire(self) -> bytes:
        """The line to send, with its CRLF."""
        return Command(self.verb, self.name).wire


class Query(NamedTuple):
    """
    The argument of VRFY or EXPN.

    :ivar text: a mailbox, a name, or a list.
    :ivar smtputf8: the client reads UTF-8 in the reply (RFC 6531 §3.7.4.2).
    """

    text: str
    smtputf8: bool


_SMTPUTF8 = re.compile(r"[ \t]SMTPUTF8\Z", re.IGNORECASE | re.ASCII)


def read_query(argument: str) -> Query:
    """Read the argument of VRFY or EXPN; its last word may be a parameter (RFC 6531 §3.7.4.2)."""
    text = argument.strip(" \t")
    match = _SMTPUTF8.search(text)
    if match is None:
        return Query(text, smtputf8=False)
    return Query(text[: match.start()].rstrip(" \t"), smtputf8=True)


def _line(text: str) -> bytes:
    if not text or text[0] == " " or CONTROL.search(text):
        raise LocalProtocolError("a command is a verb and text without control characters")
    try:
        return text.encode() + b"\r\n"
    except UnicodeEncodeError:
        raise LocalProtocolError("a command is text: a surrogate is none") from None
