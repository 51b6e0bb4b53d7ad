"""
XCLIENT and XFORWARD: what a proxy says of the client that it speaks for.

As Postfix has them (XCLIENT_README, XFORWARD_README): ``NAME=value`` with values in xtext.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from smtpcb.smtp._dsn import read_xtext, write_xtext
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply

MOST_VALUE_OCTETS = 255

# The proxy knows that it does not know: for good, or for now.
_UNAVAILABLE = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})

# What DNS says, which has names that RFC 5321 would not take.
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV6 = "IPV6:"


@dataclass(frozen=True, slots=True)
class XClient:
    """
    What a trusted proxy says of its client by XCLIENT.

    ``None`` is what it has not spoken of; ``""``, or 0 for a port, what it says it does not know.

    :ivar proxy_address: that of the proxy, ``""`` for a UNIX socket.
    :ivar name: the client's name in DNS.
    :ivar address: the client's IP address, which is `Connection.peer_address` then.
    :ivar port: the client's port.
    :ivar protocol: ``"SMTP"`` or ``"ESMTP"``.
    :ivar hello: what the client has said to the proxy in HELO or EHLO.
    :ivar login: as whom it has logged in there, which is `Connection.identity` then.
    :ivar destination_address: the address that the client has connected to.
    :ivar destination_port: and the port.
    """

    proxy_address: str = ""
    name: str | None = None
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    hello: str | None = None
    login: str | None = None
    destination_address: str | None = None
    destination_port: int | None = None


@dataclass(frozen=True, slots=True)
class XForward:
    """
    What a trusted server says by XFORWARD of the client from whom it has the next message.

    ``None`` is what it has not spoken of; ``""``, or 0 for a port, what it says it does not know.

    :ivar name: the client's name in DNS.
    :ivar address: the client's IP address.
    :ivar port: the client's port.
    :ivar protocol: how it came, such as ``"ESMTP"``.
    :ivar hello: what the client has said in HELO or EHLO.
    :ivar identifier: that server's name of the message, such as its queue ID.
    :ivar source: ``"LOCAL"`` or ``"REMOTE"``: whether the client is of the site itself.
    """

    name: str | None = None
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    hello: str | None = None
    identifier: str | None = None
    source: str | None = None


def _text(value: str) -> str:
    return value


def _name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value):
        raise ValueError
    return value


def _address(value: str) -> str:
    if value[:5].upper() == _IPV6:
        value = value[5:]
        if ":" not in value:
            raise ValueError
    if "%" in value:  # of a link of another machine
        raise ValueError
    parsed = ipaddress.ip_address(value)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _port(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535):
        raise ValueError
    return int(value)


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.upper() not in words:
            raise ValueError
        return value.upper()

    return read


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    One attribute.

    :ivar field: of `XClient` or `XForward`.
    :ivar read: makes its value of a text; ValueError if it cannot.
    :ivar unknown: its value where the proxy says that it does not know.
    """

    field: str
    read: Callable[[str], Any]
    unknown: str | int = ""


XCLIENT: Mapping[str, Attribute] = {
    "NAME": Attribute("name", _name),
    "ADDR": Attribute("address", _address),
    "PORT": Attribute("port", _port, 0),
    "PROTO": Attribute("protocol", _one_of("SMTP", "ESMTP")),
    "HELO": Attribute("hello", _text),
    "LOGIN": Attribute("login", _text),
    "DESTADDR": Attribute("destination_address", _address),
    "DESTPORT": Attribute("destination_port", _port, 0),
}
XFORWARD: Mapping[str, Attribute] = {
    "NAME": Attribute("name", _name),
    "ADDR": Attribute("address", _address),
    "PORT": Attribute("port", _port, 0),
    "PROTO": Attribute("protocol", _text),
    "HELO": Attribute("hello", _text),
    "IDENT": Attribute("identifier", _text),
    "SOURCE": Attribute("source", _one_of("LOCAL", "REMOTE")),
}


def read_attributes(argument: str, known: Mapping[str, Attribute]) -> dict[str, Any]:
    """
    Read what stands behind XCLIENT or XFORWARD.

    :param known: the attributes that there are.
    :return: the values, by field.
    :raises PeerProtocolError: one is unknown, given twice, or no such value (501).
    """
    words = [word for word in re.split("[ \t]", argument) if word]
    if not words:
        raise _wrong("Syntax: NAME=value ...")
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        attribute = known.get(name.upper() if name.isascii() else name)
        if attribute is None or not equals:
            raise _wrong("An attribute is not known here")
        said = name.upper()
        if attribute.field in found:
            raise _wrong(f"{said} is given twice")
        try:
            decoded = read_xtext(value)
            if not decoded or len(decoded.encode()) > MOST_VALUE_OCTETS:
                raise ValueError
            unavailable = decoded.upper() in _UNAVAILABLE
            found[attribute.field] = attribute.unknown if unavailable else attribute.read(decoded)
        except ValueError:
            raise _wrong(f"Bad value of {said}") from None
    return found


def write_attributes(
    said: XClient | XForward, known: Mapping[str, Attribute], offered: Collection[str]
) -> str:
    """
    Return what stands behind XCLIENT or XFORWARD.

    :param known: the attributes that there are.
    :param offered: those that the server has named; no other one is written.
    :return: empty if there is nothing to say.
    """
    words = []
    for name, attribute in known.items():
        value = getattr(said, attribute.field)
        if value is None or name not in offered:
            continue
        if not value:
            words.append(f"{name}=[UNAVAILABLE]")
            continue
        text = f"IPV6:{value}" if attribute.read is _address and ":" in value else str(value)
        cut = text.encode()[:MOST_VALUE_OCTETS].decode("utf-8", "ignore")
        words.append(f"{name}={write_xtext(cut)}")
    return " ".join(words)


def _wrong(why: str) -> PeerProtocolError:
    return PeerProtocolError(Reply(501, why, status="5.5.4"))
