"""
OAUTHBEARER (RFC 7628) and XOAUTH2: a token in place of a password.

What a token is worth, whoever has issued it can say: it is handed over.  A client whose token is
refused is told so in JSON and answers that, and then only it hears the no (RFC 7628 §3.2.3).
"""

from __future__ import annotations

import re

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp.sasl._credentials import Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    Challenge,
    ClientExchange,
    Decide,
    LoginRefused,
    Mechanism,
    ServerExchange,
    first_response,
    read_identity,
)

# Pairs, each ended by a control character, and one more at the end (RFC 7628 §3.1).
_PAIRS = rb"(?P<pairs>(?:[A-Za-z]+=[\t\r\n -~\x80-\xff]*\x01)*)\x01"
_BEARER = re.compile(_PAIRS)
_GS2 = re.compile(rb"[ny],(?:a=(?P<name>(?:[^\0\x01,=]|=2C|=3D)+))?,\x01" + _PAIRS)
_TOKEN = re.compile(rb"bearer +(?P<token>[!-~]+)", re.IGNORECASE)

# As RFC 7628 §3.2.2 has it, and as the programs of those who have invented XOAUTH2 read it.
_INVALID = b'{"status":"invalid_token"}'
_INVALID_XOAUTH2 = b'{"status":"401","schemes":"bearer","scope":"mail"}'


def _values(pairs: bytes) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for pair in pairs.split(b"\x01")[:-1]:
        key, _, value = pair.partition(b"=")
        values.setdefault(key.lower(), value)
    return values


def _token(values: dict[bytes, bytes]) -> str:
    match = _TOKEN.fullmatch(values.get(b"auth", b""))
    if match is None:
        raise PeerProtocolError(MALFORMED)
    return match["token"].decode("ascii")


def _decide(credentials: Credentials, status: bytes) -> ServerExchange:
    try:
        yield Decide(credentials)
    except LoginRefused as no:
        if no.reply.code < 500:  # the token may be as good as any
            raise
        yield Challenge(status)  # whatever it answers


def _oauthbearer(initial: bytes | None) -> ServerExchange:
    match = _GS2.fullmatch((yield from first_response(initial)))
    if match is None:
        raise PeerProtocolError(MALFORMED)
    name = (match["name"] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
    token = _token(_values(match["pairs"]))
    username = read_identity(name)
    yield from _decide(Credentials("OAUTHBEARER", username, "", token=token), _INVALID)


def _xoauth2(initial: bytes | None) -> ServerExchange:
    match = _BEARER.fullmatch((yield from first_response(initial)))
    values = {} if match is None else _values(match["pairs"])
    if not values.get(b"user"):
        raise PeerProtocolError(MALFORMED)
    token = _token(values)
    username = read_identity(values[b"user"])
    yield from _decide(Credentials("XOAUTH2", username, "", token=token), _INVALID_XOAUTH2)


def _oauthbearer_client(credentials: Credentials) -> ClientExchange:
    name = credentials.username.encode().replace(b"=", b"=3D").replace(b",", b"=2C")
    yield b"n,%b,\x01auth=Bearer %b\x01\x01" % (b"a=" + name if name else b"", _of(credentials))
    yield b"\x01"  # it was refused, and what was said of it is read


def _xoauth2_client(credentials: Credentials) -> ClientExchange:
    user = credentials.username.encode()
    yield b"user=%b\x01auth=Bearer %b\x01\x01" % (user, _of(credentials))
    yield b""


def _of(credentials: Credentials) -> bytes:
    return (credentials.token or "").encode("ascii")


OAUTHBEARER = Mechanism("OAUTHBEARER", _oauthbearer, _oauthbearer_client, plaintext=True)
"""A token of OAuth 2 (RFC 7628)."""

XOAUTH2 = Mechanism("XOAUTH2", _xoauth2, _xoauth2_client, plaintext=True)
"""The same as mail programs spoke it before there was an RFC."""
