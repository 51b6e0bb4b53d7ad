"""MAIL and RCPT parameters, one row per keyword: what it may say and what it means."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply

SYNTAX_OF_PATH = Reply(501, "5.5.4", "A blank stands between path and parameters")
SYNTAX_OF_PARAMETERS = Reply(501, "5.5.4", "Syntax error in parameters")
PARAMETER_UNKNOWN = Reply(555, "5.5.4", "Parameter not recognised")  # RFC 5321 §4.1.1.11

Parameters = Mapping[str, object]
"""Decoded values by keyword in upper case; a keyword that was not given is not there."""

NO_PARAMETERS: Parameters = MappingProxyType({})


class BodyType(enum.Enum):
    """What the octets of a message are, as the client declares it."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"  # RFC 6152 §2


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    One row.

    :ivar extension: the EHLO keyword that must have been offered.
    :ivar decode: makes the value of its text, ``None`` where no ``=`` stood; ValueError if it
        cannot.
    """

    extension: str
    decode: Callable[[str | None], object]


def octets(text: str | None) -> int:
    """Decode a number of octets (RFC 1870 §3: 1*20DIGIT)."""
    if text is None or not re.fullmatch("[0-9]{1,20}", text):
        raise ValueError("a number of octets")
    return int(text)


def body_type(text: str | None) -> BodyType:
    """Decode a body type."""
    return BodyType((text or "").upper())


def no_value(text: str | None) -> bool:
    """Decode a keyword that stands alone."""
    if text is not None:
        raise ValueError("no value")
    return True


_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")


def xtext(text: str | None) -> str:
    """Decode xtext (RFC 3461 §4); what it hides must be printable."""
    if text is None or not _XTEXT.fullmatch(text):
        raise ValueError("xtext")
    decoded = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
    if not (decoded.isascii() and decoded.isprintable()):
        raise ValueError("printable text in xtext")
    return decoded


def submitter(text: str | None) -> str | None:
    """Decode who submitted a message first (RFC 4954 §5); ``<>`` is ``None``: nobody known."""
    decoded = xtext(text)
    if decoded == "<>":
        return None
    if not grammar.MAILBOX_PATTERN.fullmatch(decoded):
        raise ValueError("a mailbox or <>")
    return decoded


def _one_of(*words: str) -> Callable[[str | None], str]:
    def decode(text: str | None) -> str:
        word = (text or "").upper()
        if word not in words:
            raise ValueError(" or ".join(words))
        return word

    return decode


def notify(text: str | None) -> frozenset[str]:
    """Decode when to report on a recipient (RFC 3461 §4.1); NEVER stands alone."""
    words = (text or "").upper().split(",")
    events = frozenset(words)
    if len(events) != len(words) or (
        events != {"NEVER"} and not events <= {"SUCCESS", "FAILURE", "DELAY"}
    ):
        raise ValueError("NEVER, or SUCCESS, FAILURE and DELAY")
    return events


def original_recipient(text: str | None) -> tuple[str, str]:
    """Decode address type and address (RFC 3461 §4.2)."""
    kind, semicolon, address = (text or "").partition(";")
    if not semicolon or not re.fullmatch("[A-Za-z0-9-]+", kind):
        raise ValueError("type;address")
    return kind, xtext(address)


MAIL_PARAMETERS: Mapping[str, Parameter] = {
    "SIZE": Parameter("SIZE", octets),  # RFC 1870 §6
    "BODY": Parameter("8BITMIME", body_type),  # RFC 6152 §2
    "SMTPUTF8": Parameter("SMTPUTF8", no_value),  # RFC 6531 §3.4
    "AUTH": Parameter("AUTH", submitter),  # RFC 4954 §5
    "RET": Parameter("DSN", _one_of("FULL", "HDRS")),  # RFC 3461 §4.3
    "ENVID": Parameter("DSN", xtext),  # RFC 3461 §4.4
}

RCPT_PARAMETERS: Mapping[str, Parameter] = {
    "NOTIFY": Parameter("DSN", notify),  # RFC 3461 §4.1
    "ORCPT": Parameter("DSN", original_recipient),  # RFC 3461 §4.2
}


def read_parameters(
    text: str, rows: Mapping[str, Parameter], offered: Collection[str]
) -> Parameters:
    """
    Read what stands behind a path.

    :param text: begins with a blank, unless it is empty.
    :param offered: the EHLO keywords in force.
    :raises PeerProtocolError: a parameter is unknown or not offered (555, RFC 5321 §4.1.1.11),
        stands twice, or has no such value (501).
    """
    if not text:
        return NO_PARAMETERS
    if text[0] != " ":
        raise PeerProtocolError(SYNTAX_OF_PATH)
    values: dict[str, object] = {}
    for word in text.split():
        match = grammar.PARAMETER.fullmatch(word)
        if match is None:
            raise PeerProtocolError(SYNTAX_OF_PARAMETERS)
        keyword = match["keyword"].upper()
        row = rows.get(keyword)
        if row is None or row.extension not in offered:
            raise PeerProtocolError(PARAMETER_UNKNOWN)
        if keyword in values:
            raise PeerProtocolError(Reply(501, "5.5.4", f"{keyword} given twice"))
        try:
            values[keyword] = row.decode(match["value"])
        except ValueError:
            raise PeerProtocolError(Reply(501, "5.5.4", f"Bad value of {keyword}")) from None
    return MappingProxyType(values) if values else NO_PARAMETERS
