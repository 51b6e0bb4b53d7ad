"""
One header field, written so that it is one field, whatever is in it.

ASCII goes as it is, folded at blanks: encoded-words in a field that others read by machine
(List-Unsubscribe, a signature) would break it.  What is no ASCII is written as encoded-words
by `email` (RFC 2047), so that any server takes it; only an address that is no ASCII has to stand
in UTF-8, and then the message needs SMTPUTF8 (RFC 6532).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from email.errors import NonASCIILocalPartDefect, ObsoleteHeaderDefect
from email.headerregistry import Address, AddressHeader, HeaderRegistry
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, TypeAlias

from smtpcb.client._lines import MOST_LINE_OCTETS
from smtpcb.smtp import AddressError, Path, printable
from smtpcb.smtp import _grammar as grammar

Mailbox: TypeAlias = str | tuple[str, str] | Address | Path
FieldValue: TypeAlias = Mailbox | datetime | Iterable[Mailbox]

_REGISTRY: Any = HeaderRegistry()
_REGISTRY.map_to_type("disposition-notification-to", AddressHeader)
_POLICY = SMTP.clone(header_factory=_REGISTRY)

# A dot in a display name; an address that needs SMTPUTF8.
_TAKEN = (ObsoleteHeaderDefect, NonASCIILocalPartDefect)

# Fields of addresses; all but Sender take several.
ADDRESSES = frozenset({"from", "sender", "reply-to", "to", "cc", "disposition-notification-to"})
_NAME = re.compile(r"[!-9;-~]{1,77}")
# Tab is a blank.  Surrogates are octets that were no text; the others end lines, for some.
_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DOMAIN = re.compile(f"{grammar.DOMAIN}|{grammar.ADDRESS_LITERAL}")
_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")
_WORD = re.compile("[ \t]*[^ \t]+")
_FOLD = re.compile(r"\r\n(?=[ \t])")
_WRITTEN = re.compile(r"[^\r\n\0]*(?:\r\n[ \t]+[^ \t\r\n\0][^\r\n\0]*)*\r\n")
_PREFERRED_CHARACTERS = 78  # of a line, RFC 5322 §2.1.1


def lower_name(name: str) -> str:
    """
    Return a field's name in lower case, as names are compared.

    :raises ValueError: there is no such name (RFC 5322 §3.6.8).
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a header field is a str, not {name!r:.40}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a header field: '{printable(name, 40)}'")
    return name.lower()


def is_domain(text: str) -> bool:
    """Whether it is what stands behind the ``@`` of a Message-ID: ASCII, and nothing else."""
    fits = _DOMAIN.fullmatch(text) and _MESSAGE_ID.fullmatch(f"<x@{text}>")
    return text.isascii() and fits is not None


def written_field(name: str, value: FieldValue) -> bytes:
    """
    Return a field as it stands in a message, folded, with its last CRLF.

    :param value: text; a `datetime` with a time zone; for a field of addresses an address, a pair
        of display name and address, `email.headerregistry.Address`, a path of ours, or several of
        these.
    :raises ValueError: it cannot be such a field: a CR, LF, NUL or another control is in it (it
        would be two, and the second one a stranger's), an address or a date is none, or a word is
        longer than a line may be.
    :raises TypeError: it is a value of another kind.
    """
    known = lower_name(name)
    if known in ADDRESSES or known == "bcc":
        return _written_addresses(name, value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name}: a time needs its time zone")
        return _folded(name, format_datetime(value))
    text = _clean(name, value)
    if known == "date" and _read(name, text).defects:
        raise ValueError(f"{name}: no date: '{printable(text, 80)}'")
    if known == "message-id" and not _MESSAGE_ID.fullmatch(text):
        raise ValueError(f"{name}: not <unique@domain>: '{printable(text, 80)}'")
    return _folded(name, text) if text.isascii() else _encoded(name, text)


def narrowed_field(source: bytes) -> bytes:
    """
    Return a field that has octets above 127 in ASCII, with its last CRLF.

    :param source: as it came, without its last CRLF.
    :raises ValueError: it cannot be: it is no UTF-8, or an address in it is no ASCII.
    """
    name, _, value = source.decode("utf-8").partition(":")
    name = name.rstrip(" \t")
    text = _clean(name, _FOLD.sub("", value).strip(" \t"))
    header = _read(name, text)
    if any(not one.addr_spec.isascii() for one in getattr(header, "addresses", ())):
        raise ValueError(f"{name}: an address that is no ASCII needs SMTPUTF8")
    return _encoded(name, text)


def listed(value: Any) -> list[Any]:
    """Return the values that somebody gave as one or as several."""
    one = isinstance(value, (str, bytes, bytearray, Address, Path)) or _is_pair(value)
    return [value] if one or not isinstance(value, Iterable) else list(value)


def _written_addresses(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        text, addresses = _clean(name, value), _parsed(name, value)
    else:
        addresses = _several(name, value)
        text = ", ".join(map(str, addresses))
    if name.lower() == "sender" and len(addresses) != 1:
        raise ValueError(f"{name}: one address, not {len(addresses)}")
    # An address is never encoded (RFC 2047 §5), a display name is.
    wide = any(not one.addr_spec.isascii() for one in addresses)
    return _folded(name, text) if wide or text.isascii() else _encoded(name, text)


def _several(name: str, value: Any) -> tuple[Address, ...]:
    values = listed(value)
    if not values:
        raise ValueError(f"{name}: no address at all")
    return tuple(address for each in values for address in _mailboxes(name, each))


def _is_pair(value: object) -> bool:
    """
    Whether it is a display name and an address.

    So are two texts in a tuple in any case: what a stranger is called may look like an address.
    """
    return (
        isinstance(value, tuple) and len(value) == 2 and all(isinstance(one, str) for one in value)
    )


def _mailboxes(name: str, value: object) -> tuple[Address, ...]:
    if isinstance(value, str):
        return _parsed(name, _clean(name, value))
    if isinstance(value, Path):
        # As in a command, so that nothing gets in here that RCPT would not take.
        try:
            _ = value.wire
        except AddressError as error:
            raise ValueError(f"{name}: no address: '{printable(str(value), 80)}'") from error
        parts = ("", value.local_part, value.domain)
    elif isinstance(value, Address):
        parts = (value.display_name, value.username, value.domain)
    elif isinstance(value, tuple) and _is_pair(value):
        found = _parsed(name, _clean(name, value[1]))
        if len(found) != 1 or found[0].display_name:
            raise ValueError(f"{name}: no address: '{printable(value[1], 80)}'")
        parts = (_clean(name, value[0]), found[0].username, found[0].domain)
    else:
        raise TypeError(f"{name}: no address: {value!r:.40}")
    _clean(name, "".join(parts))
    address = Address(parts[0], parts[1], parts[2])
    _parsed(name, address.addr_spec)
    return (address,)


def _parsed(name: str, text: str) -> tuple[Address, ...]:
    """
    Return the addresses in a field.

    :raises ValueError: one of them is none, or there is none at all.
    """
    header = _read(name, text)
    wrong = [str(one) for one in header.defects if not isinstance(one, _TAKEN)]
    if not wrong and not (header.groups and all(a.username and a.domain for a in header.addresses)):
        wrong = ["not local-part@domain"]
    if wrong:
        raise ValueError(f"{name}: no address: '{printable(text, 80)}' ({wrong[0]})")
    return tuple(header.addresses)


def _clean(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: the value of a header field is a str, not {value!r:.40}")
    if _FORBIDDEN.search(value):
        raise ValueError(f"{name}: a control character in '{printable(value, 80)}'")
    return value


def _folded(name: str, text: str) -> bytes:
    """Fold a text at its blanks, which all stay: unfolded it is the same."""
    lines, line = [], f"{name}: "
    for number, word in enumerate(_WORD.findall(text.strip(" \t"))):
        if number and len(line) + len(word) > _PREFERRED_CHARACTERS:
            lines.append(line)
            line = ""
        line += word
    return _checked(name, "\r\n".join([*lines, line, ""]))


def _encoded(name: str, text: str) -> bytes:
    header = _read(name, text)
    # Encoded-words that are in the text already have been read, whatever they hold.
    _clean(name, str(header))
    return _checked(name, header.fold(policy=_POLICY))


def _read(name: str, text: str) -> Any:
    """Let `email` read a field; it trips over a few texts instead of telling what is wrong."""
    try:
        return _POLICY.header_factory(name, text)
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"{name}: cannot be read: '{printable(text, 80)}' ({error})") from error


def _checked(name: str, written: str) -> bytes:
    """Return the octets of a field that is one, and no more than one."""
    octets = written.encode()
    if not _WRITTEN.fullmatch(written) or not written.startswith(f"{name}:"):
        raise ValueError(f"{name}: more than one field: '{printable(written, 80)}'")
    if max(map(len, octets.split(b"\r\n"))) > MOST_LINE_OCTETS:
        raise ValueError(f"{name}: a word too long for a line of {MOST_LINE_OCTETS} octets")
    return octets
