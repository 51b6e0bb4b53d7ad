"""
SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides prove that they know the password, and say neither.

With ``-PLUS`` they prove as well that they are the two ends of the same TLS connection: whoever
stands between two of them has two.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl._base64 import decode, encode
from smtpcb.smtp.sasl._credentials import Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    AskSession,
    Challenge,
    ClientExchange,
    Decide,
    Mechanism,
    ServerExchange,
    Session,
    StoredSecret,
    WrongProof,
    first_response,
    read_identity,
    write_password,
)
from smtpcb.smtp.sasl._scram_secret import LEAST_ITERATIONS, ScramSecret, salted, sign

BINDINGS = ("tls-exporter", "tls-server-end-point")
"""The channel bindings that can be had, the best first (RFC 9266, RFC 5929 §4)."""

# A server that asks for more keeps its client busy on purpose.
_MOST_ITERATIONS = 1_000_000
# Of this process: salts for passwords that are stored as they are, and for names that nobody has.
_KEY = secrets.token_bytes(32)

# RFC 5802 §7; an `m=` is an extension that must be understood, and there is none.
_NAME = rb"(?:[^\0,=]|=2C|=3D)+"
_FIRST = re.compile(
    rb"(?P<header>(?P<flag>n|y|p=(?P<kind>[A-Za-z0-9.-]+)),(?:a=(?P<acting>" + _NAME + rb"))?,)"
    rb"(?P<bare>n=(?P<name>" + _NAME + rb"),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^\0,]+)*)"
)
_FINAL = re.compile(
    rb"(?P<unproven>c=(?P<channel>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^\0,]+)*)"
    rb",p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_SERVER_FIRST = re.compile(
    rb"r=(?P<nonce>[!-+\--~]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<count>[1-9][0-9]{0,8})(?:,.*)?"
)
_NOT_THE_SERVER = Reply(535, "The server does not know the password", status="5.7.8")


@dataclass(frozen=True, slots=True)
class _First:
    """The client's first message, read."""

    header: bytes
    flag: bytes
    binding: str | None
    bare: bytes
    nonce: bytes
    username: str
    authorization_id: str


def _read_first(message: bytes) -> _First:
    match = _FIRST.fullmatch(message)
    if match is None:
        raise PeerProtocolError(MALFORMED)
    kind = match["kind"]
    return _First(
        match["header"],
        match["flag"][:1],
        None if kind is None else kind.decode("ascii"),
        match["bare"],
        match["nonce"],
        _read_name(match["name"]),
        _read_name(match["acting"] or b""),
    )


def _read_name(name: bytes) -> str:
    return read_identity(name.replace(b"=2C", b",").replace(b"=3D", b"="))


def _write_name(name: str) -> bytes:
    return name.encode().replace(b"=", b"=3D").replace(b",", b"=2C")


def _channel(first: _First, name: str, session: Session) -> bytes | None:
    """Return what the client has to say of the channel; ``None``: this client has to be refused."""
    if first.flag == b"p":
        assert first.binding is not None
        data = session.bind(first.binding) if first.binding in BINDINGS else None
        return None if data is None else first.header + data
    # It believes that we cannot bind, and we have said that we can: somebody has changed that on
    # the way (RFC 5802 §6).
    if first.flag == b"y" and f"{name}-PLUS" in session.offered:
        return None
    return first.header


def _keys(stored: object, username: str) -> ScramSecret:
    """Return the keys; of somebody unknown they take as long as those of a password."""
    if isinstance(stored, ScramSecret):
        return stored
    if stored is None:
        stored = secrets.token_hex()
    elif isinstance(stored, bytes):
        stored = stored.decode("utf-8", "surrogateescape")
    if not isinstance(stored, str):
        raise TypeError(f"SCRAM wants a ScramSecret or a password, not {type(stored).__name__}")
    salt = ScramSecret.imaginary(username, _KEY).salt
    return ScramSecret.of(stored, salt=salt, iterations=LEAST_ITERATIONS)


def _serve(name: str, *, plus: bool) -> Callable[[bytes | None], ServerExchange]:
    called = f"{name}-PLUS" if plus else name

    def server(initial: bytes | None) -> ServerExchange:
        first = _read_first((yield from first_response(initial)))
        if plus is not (first.flag == b"p"):
            raise PeerProtocolError(MALFORMED)
        channel = _channel(first, name, (yield AskSession()))
        credentials = Credentials(called, first.username, "", first.authorization_id, proven=True)
        if channel is None:
            yield WrongProof(credentials)
        keys = _keys(
            (yield StoredSecret(called, first.username, first.authorization_id)), first.username
        )
        nonce = first.nonce + secrets.token_urlsafe(18).encode("ascii")
        asked = b"r=%b,s=%b,i=%d" % (nonce, encode(keys.salt), keys.iterations)
        final = _FINAL.fullmatch((yield Challenge(asked)))
        if final is None:
            raise PeerProtocolError(MALFORMED)
        text = b",".join((first.bare, asked, final["unproven"]))
        said = final["nonce"] == nonce and decode(final["channel"]) == channel
        if not (said and is_proof(decode(final["proof"]), keys, text)):
            yield WrongProof(credentials)
        yield Decide(credentials)
        # RFC 4954 §4: a last word of the server's goes out as a challenge.
        if (yield Challenge(b"v=" + encode(sign(keys.server_key, text)))):
            raise PeerProtocolError(MALFORMED)

    return server


def is_proof(proof: bytes, keys: ScramSecret, text: bytes) -> bool:
    """Tell whether a proof of the password fits what was said (RFC 5802 §3)."""
    signature = sign(keys.stored_key, text)
    if len(proof) != len(signature):
        return False
    key = _xor(proof, signature)
    return hmac.compare_digest(hashlib.sha256(key).digest(), keys.stored_key)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _ask(name: str, *, plus: bool) -> Callable[[Credentials], ClientExchange]:
    def client(credentials: Credentials) -> ClientExchange:
        session: Any = yield AskSession()
        header, data = _bound(session) if plus else (b"n", b"")
        acting = credentials.authorization_id
        header += b",%b," % (b"a=" + _write_name(acting) if acting else b"")
        nonce = secrets.token_urlsafe(18).encode("ascii")
        bare = b"n=%b,r=%b" % (_write_name(credentials.username), nonce)
        asked: Any = yield header + bare
        match = _SERVER_FIRST.fullmatch(asked)
        if match is None or not match["nonce"].startswith(nonce):
            raise PeerProtocolError(MALFORMED)
        count = int(match["count"])
        if match["nonce"] == nonce or not LEAST_ITERATIONS <= count <= _MOST_ITERATIONS:
            raise PeerProtocolError(MALFORMED)
        password = write_password(credentials.password).decode("utf-8", "surrogateescape")
        key = salted(password, decode(match["salt"]), count)
        unproven = b"c=%b,r=%b" % (encode(header + data), match["nonce"])
        text = b",".join((bare, asked, unproven))
        client_key = sign(key, b"Client Key")
        signature = sign(hashlib.sha256(client_key).digest(), text)
        verdict: Any = yield b"%b,p=%b" % (unproven, encode(_xor(client_key, signature)))
        proof = base64.b64encode(sign(sign(key, b"Server Key"), text))
        # A server that says yes before it has proved anything may be anybody's.
        if verdict is None or not hmac.compare_digest(verdict, b"v=" + proof):
            raise PeerProtocolError(_NOT_THE_SERVER)
        yield b""

    return client


def _bound(session: Session) -> tuple[bytes, bytes]:
    """Return the flag and the data of the best channel binding there is."""
    for kind in BINDINGS:
        data = session.bind(kind)
        if data is not None:
            return b"p=" + kind.encode("ascii"), data
    raise LocalProtocolError("there is no TLS to bind to")


SCRAM_SHA_256 = Mechanism(
    "SCRAM-SHA-256",
    _serve("SCRAM-SHA-256", plus=False),
    _ask("SCRAM-SHA-256", plus=False),
    plaintext=True,
)
"""Proofs in place of the password, which the server need not know (RFC 7677)."""

SCRAM_SHA_256_PLUS = Mechanism(
    "SCRAM-SHA-256-PLUS",
    _serve("SCRAM-SHA-256", plus=True),
    _ask("SCRAM-SHA-256", plus=True),
    plaintext=True,
    binds=True,
)
"""The same, bound to the TLS connection (RFC 5802 §6)."""
