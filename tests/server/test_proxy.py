"""The header of the PROXY protocol: byte vectors of both versions, good and bad, cut anywhere."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, strategies

from smtpcb.engine import ProxyTls
from smtpcb.server._proxy import End, Header, WrongHeader, crc32c, read_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
REST = b"EHLO client.example\r\n"

CLIENT, SERVER = End("192.0.2.7", 51234), End("198.51.100.25", 25)
CLIENT6, SERVER6 = End("2001:db8::7", 51234), End("2001:db8::25", 25)


def v2(
    rest: bytes = b"", *, command: int = 0x21, family: int = 0x11, length: int | None = None
) -> bytes:
    """Write a header of version 2; its length is that of what follows unless it is said."""
    size = len(rest) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + rest


def value(kind: int, octets: bytes) -> bytes:
    """Write one of the values behind the addresses."""
    return struct.pack("!BH", kind, len(octets)) + octets


def addresses(source: End, destination: End) -> bytes:
    """Write the addresses of IPv4 or IPv6."""
    packed = ip_address(source.address).packed + ip_address(destination.address).packed
    return packed + struct.pack("!HH", source.port, destination.port)


INET, INET6 = addresses(CLIENT, SERVER), addresses(CLIENT6, SERVER6)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
LONGEST = (b"PROXY UNKNOWN " + b"f" * 200)[:105] + b"\r\n"

GOOD: dict[str, tuple[bytes, End | None, End | None]] = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.7 198.51.100.25 51234 25\r\n", CLIENT, SERVER),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 2001:DB8:0::25 51234 25\r\n", CLIENT6, SERVER6),
    "v1 IPv4 within IPv6": (
        b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.25 51234 25\r\n",
        CLIENT,
        SERVER,
    ),
    "v1 the least": (
        b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
        End("0.0.0.0"),
        End("0.0.0.0"),
    ),
    "v1 the greatest": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        End("255.255.255.255", 65535),
        End("255.255.255.255", 65535),
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None, None),
    "v1 unknown, and something": (
        b"PROXY UNKNOWN 1.2.3.4 junk \xc3\r\n"[:-3] + b"\r\n",
        None,
        None,
    ),
    "v1 the longest": (LONGEST, None, None),
    "v2 IPv4": (v2(INET), CLIENT, SERVER),
    "v2 IPv6": (v2(INET6, family=0x21), CLIENT6, SERVER6),
    "v2 UNIX": (v2(UNIX, family=0x31), End("/run/client"), End("/run/server")),
    "v2 no transport said": (v2(INET, family=0x10), CLIENT, SERVER),
    "v2 of nobody": (v2(family=0x00), None, None),
    "v2 of nobody, and something": (v2(value(0x04, b"12"), family=0x00), None, None),
    "v2 local": (v2(command=0x20, family=0x00), None, None),
    "v2 local, addresses all the same": (v2(INET, command=0x20), None, None),
    "v2 local, a family of its own": (v2(b"12345", command=0x20, family=0xFF), None, None),
    "v2 values": (v2(INET + value(0x04, b"") + value(0xEA, b"x" * 300)), CLIENT, SERVER),
    "v2 a value of nothing, the last": (v2(INET + value(0x04, b"")), CLIENT, SERVER),
    "v2 the longest unique id": (v2(INET + value(0x05, b"x" * 128)), CLIENT, SERVER),
    "v2 the longest": (v2(INET + value(0xEA, b"x" * (65535 - 15))), CLIENT, SERVER),
}

BAD = {
    "a client": b"EHLO client.example\r\n",
    "almost": b"PROXZ TCP4 192.0.2.7 198.51.100.25 51234 25\r\n",
    "lower case": b"proxy TCP4 192.0.2.7 198.51.100.25 51234 25\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "v1 no family": b"PROXY \r\n",
    "v1 another family": b"PROXY UDP4 192.0.2.7 198.51.100.25 51234 25\r\n",
    "v1 another family, with IPv6": b"PROXY TCP5 2001:db8::7 2001:db8::25 51234 25\r\n",
    "v1 LF": b"PROXY TCP4 192.0.2.7 198.51.100.25 51234 25\n",
    "v1 too long": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v1 no end": b"PROXY UNKNOWN " + b"f" * 93,
    "v1 no port": b"PROXY TCP4 192.0.2.7 198.51.100.25 51234\r\n",
    "v1 too much": b"PROXY TCP4 192.0.2.7 198.51.100.25 51234 25 7\r\n",
    "v1 two blanks": b"PROXY TCP4  192.0.2.7 198.51.100.25 51234 25\r\n",
    "v1 a blank behind it": b"PROXY TCP4 192.0.2.7 198.51.100.25 51234 25 \r\n",
    "v1 a tab": b"PROXY TCP4\t192.0.2.7 198.51.100.25 51234 25\r\n",
    "v1 no address": b"PROXY TCP4 999.1.1.1 198.51.100.25 51234 25\r\n",
    "v1 zeros before it": b"PROXY TCP4 192.0.02.7 198.51.100.25 51234 25\r\n",
    "v1 a short address": b"PROXY TCP4 192.7 198.51.100.25 51234 25\r\n",
    "v1 a name": b"PROXY TCP4 localhost 198.51.100.25 51234 25\r\n",
    "v1 the other family": b"PROXY TCP4 2001:db8::7 2001:db8::25 51234 25\r\n",
    "v1 the other family, too": b"PROXY TCP6 192.0.2.7 198.51.100.25 51234 25\r\n",
    "v1 a link": b"PROXY TCP6 fe80::1%eth0 2001:db8::25 51234 25\r\n",
    "v1 brackets": b"PROXY TCP6 [2001:db8::7] 2001:db8::25 51234 25\r\n",
    "v1 a port too great": b"PROXY TCP4 192.0.2.7 198.51.100.25 65536 25\r\n",
    "v1 a port too long": b"PROXY TCP4 192.0.2.7 198.51.100.25 44444444 25\r\n",
    "v1 a port below 0": b"PROXY TCP4 192.0.2.7 198.51.100.25 -1 25\r\n",
    "v1 a port with a sign": b"PROXY TCP4 192.0.2.7 198.51.100.25 +1 25\r\n",
    "v1 a port with a zero": b"PROXY TCP4 192.0.2.7 198.51.100.25 025 25\r\n",
    "v1 no ASCII": b"PROXY TCP4 192.0.2.7 198.51.100.25 5\xef\xbc\x91 25\r\n",
    "v2 version 1": v2(INET, command=0x11),
    "v2 version 3": v2(INET, command=0x31),
    "v2 another command": v2(INET, command=0x22),
    "v2 another family": v2(INET, family=0x41),
    "v2 another transport": v2(INET, family=0x13),
    "v2 a datagram": v2(INET, family=0x12),
    "v2 IPv4 too short": v2(INET[:-1]),
    "v2 IPv6 too short": v2(INET6[:-1], family=0x21),
    "v2 UNIX too short": v2(UNIX[:-1], family=0x31),
    "v2 half a value": v2(INET + b"\1\0"),
    "v2 a value cut off": v2(INET + b"\1\0\2x"),
    "v2 TLS cut off": v2(INET + value(0x20, b"\1\0\0\0")),
    "v2 a value of TLS cut off": v2(INET + value(0x20, b"\1\0\0\0\0\x21\0\2x")),
    "v2 a unique id too long": v2(INET + value(0x05, b"x" * 129)),
    "v2 a checksum too short": v2(INET + value(0x03, b"123")),
    "v2 a wrong checksum": v2(INET + value(0x03, b"1234")),
}


def read_piecemeal(octets: bytes) -> Header | None:
    """Read octets as they come one by one; the header must come with its last one."""
    header = None
    for end in range(1, len(octets) + 1):
        assert header is None
        header = read_header(bytearray(octets[:end]))
    return header


@pytest.mark.parametrize(("octets", "source", "destination"), GOOD.values(), ids=GOOD)
def test_a_header_says_who_the_client_is(
    octets: bytes, source: End | None, destination: End | None
) -> None:
    """However it is cut, and not an octet of what is behind it is part of it (P33)."""
    header = read_header(octets + REST)
    assert header is not None
    assert (header.octets, header.source, header.destination) == (len(octets), source, destination)
    assert header.version == (1 if octets.startswith(b"PROXY") else 2)
    assert header.unix is (octets[13:14] == b"\x31" and source is not None)
    if len(octets) < 1000:
        assert read_piecemeal(octets) == header


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_what_is_no_header_is_known_to_be_none(octets: bytes) -> None:
    """With the octet that makes it wrong at the latest, whatever may come (P33)."""
    with pytest.raises(WrongHeader):
        read_header(octets)
    with pytest.raises(WrongHeader):
        read_piecemeal(octets)


def test_a_header_is_not_guessed_from_its_beginning() -> None:
    """Where one octet is enough to tell that none will come, no second one is waited for."""
    for octet in set(range(256)) - {b"P"[0], b"\r"[0]}:
        with pytest.raises(WrongHeader):
            read_header(bytes([octet]))
    assert read_header(b"") is None
    assert read_header(b"P") is None
    assert read_header(b"\r") is None


def test_a_checksum_is_verified() -> None:
    """A header that has one and does not fit it has been changed on its way."""
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4
    before, behind = INET + value(0x04, b"\3\0\4"), value(0x02, b"mail.example.org")
    blank = v2(before + value(0x03, bytes(4)) + behind)
    right = crc32c(blank).to_bytes(4, "big")
    whole = v2(before + value(0x03, right) + behind)
    header = read_header(whole)
    assert header is not None
    assert header.server_name == "mail.example.org"
    for at in set(range(16, len(whole))) - {16 + len(before)}:  # without it there is no checksum
        changed = bytearray(whole)
        changed[at] ^= 1
        with pytest.raises(WrongHeader):
            read_header(changed)


def test_what_else_a_header_says() -> None:
    """The name that the client asked for, its certificate, and the balancer's own name for it."""
    tls = b"\7\0\0\0\0" + value(0x21, b"TLSv1.3") + value(0x22, "Änne".encode())
    tls += value(0x23, b"TLS_AES_256_GCM_SHA384") + value(0x25, b"RSA2048")
    kept = [(0x02, b"mail.example.org"), (0x05, b"abc\0"), (0x20, tls), (0xEA, b"\1vpce-1")]
    header = read_header(v2(INET + b"".join(value(*one) for one in kept)))
    assert header is not None
    assert header.values == tuple(kept)
    assert (header.server_name, header.unique_id) == ("mail.example.org", b"abc\0")
    assert header.tls == ProxyTls("TLSv1.3", "TLS_AES_256_GCM_SHA384", "Änne", verified=True)
    bare = read_header(v2(INET))
    assert bare is not None
    assert (bare.server_name, bare.unique_id, bare.tls) == (None, b"", None)


@pytest.mark.parametrize(
    ("said", "tls"),
    [
        (b"\0\0\0\0\0", None),
        (b"\1\0\0\0\0", ProxyTls()),
        (b"\1\0\0\0\1", ProxyTls()),
        (b"\3\0\0\0\0" + value(0x22, b"anne"), ProxyTls(common_name="anne", verified=True)),
        (b"\5\0\0\0\0" + value(0x22, b"anne"), ProxyTls(common_name="anne", verified=True)),
        (b"\3\0\0\0\1" + value(0x22, b"anne"), ProxyTls(common_name="anne")),
        (b"\1\0\0\0\0" + value(0x22, b"anne"), ProxyTls(common_name="anne")),
        (b"\1\0\0\0\0" + value(0x22, b"a\nb\x1b\xff"), ProxyTls(common_name=r"a\x0ab\x1b\xff")),
    ],
)
def test_who_has_verified_what(said: bytes, tls: ProxyTls | None) -> None:
    """A certificate is verified where one was shown and the balancer says so; texts are safe."""
    header = read_header(v2(INET + value(0x20, said)))
    assert header is not None
    assert header.tls == tls


@given(strategies.binary(max_size=300))
def test_no_octets_make_it_fail(octets: bytes) -> None:
    """Whatever comes is a header, the beginning of one, or none."""
    for begun in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0"):
        try:
            header = read_header(begun + octets)
        except WrongHeader:
            continue
        assert header is None or 0 < header.octets <= len(begun + octets)
