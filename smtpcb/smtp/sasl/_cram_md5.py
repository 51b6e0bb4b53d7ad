"""CRAM-MD5 (RFC 2195): a digest of the password and a challenge, so both sides must know it."""

from __future__ import annotations

import hmac
import secrets

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl._credentials import Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    AskSession,
    Challenge,
    ClientExchange,
    Decide,
    Mechanism,
    ServerExchange,
    StoredSecret,
    WrongProof,
    read_identity,
    write_password,
)

NO_INITIAL_RESPONSE = Reply(501, "CRAM-MD5 has no initial response", status="5.7.0")
"""RFC 4954 §4: where the server speaks first."""


def _digest(password: bytes, challenge: bytes) -> bytes:
    return hmac.digest(password, challenge, "md5").hex().encode("ascii")


def _server(initial: bytes | None) -> ServerExchange:
    if initial is not None:
        raise PeerProtocolError(NO_INITIAL_RESPONSE)
    session = yield AskSession()
    # RFC 2195 §2 has a time in it as well, so that no two are the same: so do random octets.
    challenge = f"<{secrets.token_hex(16)}@{session.hostname}>".encode()
    response = yield Challenge(challenge)
    name, blank, digest = response.rpartition(b" ")
    if not (name and blank):
        raise PeerProtocolError(MALFORMED)
    username = read_identity(name)
    stored = yield StoredSecret("CRAM-MD5", username)
    # Compared even so: how long it takes must not tell which names there are.
    password = secrets.token_bytes(16) if stored is None else _octets(stored)
    credentials = Credentials("CRAM-MD5", username, "", proven=True)
    same = hmac.compare_digest(_digest(password, challenge), digest.lower())
    yield Decide(credentials) if same and stored is not None else WrongProof(credentials)


def _octets(stored: object) -> bytes:
    if isinstance(stored, str):
        return write_password(stored)
    if isinstance(stored, bytes):
        return stored
    raise TypeError(f"CRAM-MD5 wants the password itself, not {type(stored).__name__}")


def _client(credentials: Credentials) -> ClientExchange:
    challenge = yield None
    digest = _digest(write_password(credentials.password), challenge)
    yield credentials.username.encode() + b" " + digest


CRAM_MD5 = Mechanism("CRAM-MD5", _server, _client, plaintext=True)
"""A digest in place of the password, which the server must know as it is (RFC 2195)."""
