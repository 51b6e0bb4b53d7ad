"""
The header of the PROXY protocol: which client a balancer has connected for.

Versions 1 and 2, as HAProxy's ``doc/proxy-protocol.txt`` (2020) has them; its sections are named.
Octets go in as they come, and the header comes out when it is whole.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from smtpcb.engine._connection import ProxyTls
from smtpcb.smtp import printable

MOST_V1_OCTETS = 107  # §2.1, CRLF included
_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")  # §2.2

_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_DATAGRAM = 2
_ADDRESS_OCTETS = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}

# §2.2.1 and following: what may stand behind the addresses.
_AUTHORITY, _CRC32C, _UNIQUE_ID, _SSL = 0x02, 0x03, 0x05, 0x20
_SSL_VERSION, _SSL_CN, _SSL_CIPHER = 0x21, 0x22, 0x23
_CLIENT_SSL, _CLIENT_CERTIFICATE = 0x01, 0x06  # on this connection, or in this TLS session
_MOST_UNIQUE_ID_OCTETS = 128
_MOST_TEXT = 256


class WrongHeader(ValueError):  # noqa: N818 - it is what has come
    """What has come is no header of the PROXY protocol; the text says why."""


@dataclass(frozen=True, slots=True)
class End:
    """
    One end of the client's connection to the balancer.

    :ivar address: an IP address as text, or the path of a UNIX socket.
    """

    address: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """
    One header.

    :ivar octets: how long it is; what is behind it is the client's.
    :ivar version: 1 or 2.
    :ivar source: the client; ``None``: it is the balancer itself, or not known.
    :ivar destination: what the client has connected to; ``None`` as well.
    :ivar unix: both are UNIX sockets.
    :ivar values: what else version 2 says: type and value, in order.
    """

    octets: int
    version: int
    source: End | None = None
    destination: End | None = None
    unix: bool = False
    values: tuple[tuple[int, bytes], ...] = ()

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for in its TLS handshake, or ``None``."""
        name = dict(self.values).get(_AUTHORITY)
        return None if name is None else _text(name)

    @property
    def unique_id(self) -> bytes:
        """The balancer's name of the connection, or nothing."""
        return dict(self.values).get(_UNIQUE_ID, b"")

    @property
    def tls(self) -> ProxyTls | None:
        """What it says of the client's TLS; ``None``: there is none, or it does not say so."""
        said = dict(self.values).get(_SSL)
        return None if said is None else _tls(said)


def read_header(octets: bytes | bytearray) -> Header | None:
    """
    Read the header that a connection begins with.

    :param octets: all that has come so far.
    :return: ``None``: it is not whole yet.
    :raises WrongHeader: it is none, whatever may come.
    """
    start = bytes(octets[: len(_V2)])
    if _V1.startswith(start[: len(_V1)]):
        return _read_v1(octets) if len(octets) >= len(_V1) else None
    if _V2.startswith(start):
        return _read_v2(octets) if len(octets) >= _FIXED.size else None
    raise WrongHeader("it does not begin with a header")


# Version 1: one line of text (§2.1).


def _read_v1(octets: bytes | bytearray) -> Header | None:
    end = octets.find(b"\r\n", 0, MOST_V1_OCTETS)
    if end < 0:
        if len(octets) >= MOST_V1_OCTETS or b"\n" in octets:
            raise WrongHeader("a line of at most 107 octets that ends in CRLF is wanted")
        return None
    try:
        words = octets[:end].decode("ascii").split(" ")[1:]
    except UnicodeDecodeError:
        raise WrongHeader("a line of ASCII is wanted") from None
    if words[0] == "UNKNOWN":  # whatever follows
        return Header(end + 2, 1)
    if words[0] not in ("TCP4", "TCP6") or len(words) != 5:
        raise WrongHeader("TCP4 or TCP6, two addresses and two ports are wanted, or UNKNOWN")
    address = ipaddress.IPv4Address if words[0] == "TCP4" else ipaddress.IPv6Address
    source, destination = (_end_v1(address, *words[at::2]) for at in (1, 2))
    return Header(end + 2, 1, source, destination)


def _end_v1(
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], address: str, port: str
) -> End:
    try:
        if "%" in address:  # of a link of another machine
            raise ValueError
        parsed = kind(address)
    except ValueError:
        raise WrongHeader("an address is none of its family") from None
    if not port.isdigit() or len(port) > 5 or int(port) > 65535 or str(int(port)) != port:
        raise WrongHeader("a port is a number up to 65535")
    return End(_as_text(parsed), int(port))


# Version 2: a block of octets (§2.2).


def _read_v2(octets: bytes | bytearray) -> Header | None:
    _, version_and_command, family_and_protocol, length = _FIXED.unpack_from(octets)
    version, command = version_and_command >> 4, version_and_command & 15
    family, protocol = family_and_protocol >> 4, family_and_protocol & 15
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise WrongHeader("its version or command is unknown")
    if command == _PROXY:
        if family not in _ADDRESS_OCTETS or protocol > _DATAGRAM:
            raise WrongHeader("its address family or transport is unknown")
        if protocol == _DATAGRAM:
            raise WrongHeader("a connection is no datagram")
        if length < _ADDRESS_OCTETS[family]:
            raise WrongHeader("it is too short for its addresses")
    whole = _FIXED.size + length
    if len(octets) < whole:
        return None
    if command == _LOCAL:  # "must discard the protocol block including the family"
        return Header(whole, 2)
    start = _FIXED.size + _ADDRESS_OCTETS[family]
    values = tuple(_values(bytes(octets[start:whole])))
    _check(bytes(octets[:whole]), start, values)
    source, destination = _ends(family, bytes(octets[_FIXED.size : start]))
    return Header(whole, 2, source, destination, unix=family == _UNIX, values=values)


def _ends(family: int, octets: bytes) -> tuple[End | None, End | None]:
    if family == _UNSPEC:
        return None, None
    if family == _UNIX:
        source, destination = struct.unpack("!108s108s", octets)
        return _path(source), _path(destination)
    if family == _INET:
        source, destination, from_port, to_port = struct.unpack("!4s4sHH", octets)
    else:
        source, destination, from_port, to_port = struct.unpack("!16s16sHH", octets)
    return (
        End(_as_text(ipaddress.ip_address(source)), from_port),
        End(_as_text(ipaddress.ip_address(destination)), to_port),
    )


def _path(octets: bytes) -> End:
    return End(_text(octets.partition(b"\0")[0]))


def _values(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Divide what stands behind the addresses (§2.2.1)."""
    at = 0
    while at < len(octets):
        if len(octets) < at + 3:
            raise WrongHeader("what follows its addresses is cut off")
        kind, length = struct.unpack_from("!BH", octets, at)
        at += 3 + length
        if len(octets) < at:
            raise WrongHeader("what follows its addresses is cut off")
        yield kind, octets[at - length : at]


def _check(header: bytes, at: int, values: tuple[tuple[int, bytes], ...]) -> None:
    """
    See that what is said can be, and that the checksum is right, if there is one (§2.2.3).

    :param at: where the values begin.
    """
    for kind, value in values:
        at += 3 + len(value)
        if kind == _UNIQUE_ID and len(value) > _MOST_UNIQUE_ID_OCTETS:
            raise WrongHeader("its unique id is longer than 128 octets")
        if kind == _SSL:
            _tls(value)
        if kind == _CRC32C:
            # It is reckoned with its own four octets as zeros.
            blank = header[: at - 4] + bytes(4) + header[at:]
            if len(value) != 4 or crc32c(blank) != int.from_bytes(value, "big"):
                raise WrongHeader("its checksum is wrong")


def _tls(said: bytes) -> ProxyTls | None:
    """Read what is said of TLS (§2.2.5): flags, whether it is verified, and more values."""
    if len(said) < 5:
        raise WrongHeader("what it says of TLS is cut off")
    client, unverified = struct.unpack_from("!BI", said)
    more = dict(_values(said[5:]))
    if not client & _CLIENT_SSL:
        return None
    name = more.get(_SSL_CN)
    return ProxyTls(
        _text(more.get(_SSL_VERSION, b"")),
        _text(more.get(_SSL_CIPHER, b"")),
        None if name is None else _text(name),
        verified=not unverified and bool(client & _CLIENT_CERTIFICATE),
    )


def _text(octets: bytes) -> str:
    """Return a text as it may be shown: a client has chosen it, of whom nobody knows anything."""
    return printable(octets, _MOST_TEXT)


def _as_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as the system would: an IPv4 client of an IPv6 socket is an IPv4 client."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


# RFC 3720 §12.1, appendix B.4: the polynomial of Castagnoli, its bits reversed.
_POLYNOMIAL = 0x82F63B78


def _row(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (_POLYNOMIAL if index & 1 else 0)
    return index


_TABLE = tuple(_row(index) for index in range(256))


def crc32c(octets: bytes) -> int:
    """Return the checksum CRC-32C of some octets."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 255]
    return crc ^ 0xFFFFFFFF
