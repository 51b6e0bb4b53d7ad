"""Delivery status notifications: ENVID, NOTIFY, ORCPT and RET, both ways (RFC 3461, RFC 6533)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from smtpcb.smtp._text import CONTROL, upper

MAXIMUM_ENVID_OCTETS = 100  # RFC 3461 §4.4
MAXIMUM_ORCPT_OCTETS = 500  # RFC 3461 §4.2

# RFC 3461 §4: xtext.
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")
_NOT_XCHAR = re.compile(rb"[^!-*,-<>-~]")
# RFC 6533 §3: utf-8-addr-xtext and utf-8-addr-unitext, and xtext, which is in use for it too.
_UNITEXT = re.compile(
    r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-Fa-f]{2,6}\}|\+[0-9A-F]{2})*+"
)
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")
_ADDRESS_TYPE = re.compile("[A-Za-z0-9-]++")


class Ret(enum.StrEnum):
    """How much of a message a report about it returns (RFC 3461 §4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(enum.StrEnum):
    """When to report on a recipient (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class OriginalRecipient:
    """
    Whom the first client meant (RFC 3461 §4.2).

    :ivar type: such as ``"rfc822"`` or ``"utf-8"``, as it was written.
    :ivar address: decoded; it has no control characters.
    """

    type: str
    address: str


def read_xtext(text: str | None) -> str:
    """
    Decode xtext (RFC 3461 §4).

    What it hides is UTF-8 without control characters.  RFC 3461 says ASCII; real servers hide UTF-8
    in it, and their mail would bounce.

    :raises ValueError: it is none.
    """
    if text is None or not _XTEXT.fullmatch(text):
        raise ValueError("xtext")
    return _plain(_octets(text))


def write_xtext(text: str) -> str:
    """
    Encode text as xtext (RFC 3461 §4).

    :raises ValueError: a control character is in it, which whoever decodes it would have again; or
        it is no text.
    """
    octets = _plain(text).encode()
    return _NOT_XCHAR.sub(lambda match: b"+%02X" % match[0][0], octets).decode("ascii")


def _octets(text: str) -> str:
    return _HEXCHAR.sub(lambda match: bytes((int(match[1], 16),)), text.encode()).decode()


def _plain(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("text without control characters")
    return text


def read_envid(text: str | None) -> str:
    """Decode an envelope identifier (RFC 3461 §4.4)."""
    decoded = read_xtext(text)
    if not decoded or len(decoded.encode()) > MAXIMUM_ENVID_OCTETS:
        raise ValueError("1 to 100 octets")
    return decoded


def read_ret(text: str | None) -> Ret:
    """Decode what to return (RFC 3461 §4.3)."""
    return Ret(upper(text or ""))


def read_notify(text: str | None) -> frozenset[str]:
    """Decode when to report on a recipient (RFC 3461 §4.1); NEVER stands alone."""
    events = frozenset(map(Notify, upper(text or "").split(",")))
    if Notify.NEVER in events and len(events) > 1:
        raise ValueError("NEVER alone")
    return events


def write_notify(events: frozenset[str]) -> str:
    """Encode when to report on a recipient, always in the same order."""
    if isinstance(events, str) or not frozenset(Notify).issuperset(events):
        raise ValueError("a set of Notify")
    return ",".join(event for event in Notify if event in events)


def read_original_recipient(text: str | None) -> OriginalRecipient:
    """Decode address type and address (RFC 3461 §4.2); of type utf-8 by RFC 6533 §3."""
    kind, semicolon, address = (text or "").partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(kind) or not address:
        raise ValueError("type;address")
    if len((text or "").encode()) > MAXIMUM_ORCPT_OCTETS:
        raise ValueError("at most 500 octets")
    if kind.lower() == "utf-8":
        return OriginalRecipient(kind, _read_unitext(address))
    return OriginalRecipient(kind, read_xtext(address))


def _read_unitext(text: str) -> str:
    if not _UNITEXT.fullmatch(text):
        raise ValueError("unitext")
    # The octets first: no backslash of an embedded character can come out of them.
    if "+" in text and "\\" in text:
        raise ValueError("one encoding or the other")
    decoded = _octets(text) if "+" in text else _EMBEDDED.sub(_embedded, text)
    return _plain(decoded)


def _embedded(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
        raise ValueError("a character of Unicode")
    return chr(point)


def write_original_recipient(recipient: OriginalRecipient) -> str:
    """Encode address type and address in ASCII, which needs no SMTPUTF8 (RFC 6533 §3)."""
    if not _ADDRESS_TYPE.fullmatch(recipient.type):
        raise ValueError("a type, such as rfc822")
    if recipient.type.lower() == "utf-8":
        address = _NOT_QCHAR.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", recipient.address)
    else:
        address = write_xtext(recipient.address)
    return f"{recipient.type};{address}"
