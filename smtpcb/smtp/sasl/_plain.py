"""PLAIN (RFC 4616): whom to act as, name and password in one response, NULs between them."""

from __future__ import annotations

from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp.sasl._credentials import Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    ClientExchange,
    Decide,
    Mechanism,
    ServerExchange,
    first_response,
    read_identity,
    read_password,
    write_password,
)


def _server(initial: bytes | None) -> ServerExchange:
    response = yield from first_response(initial)
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise PeerProtocolError(MALFORMED)
    authorization_id, username = map(read_identity, parts[:2])
    yield Decide(Credentials("PLAIN", username, read_password(parts[2]), authorization_id))


def _client(credentials: Credentials) -> ClientExchange:
    parts = [
        credentials.authorization_id.encode(),
        credentials.username.encode(),
        write_password(credentials.password),
    ]
    if any(b"\0" in part for part in parts):
        raise LocalProtocolError("PLAIN cannot say NUL (RFC 4616 §2)")
    yield b"\0".join(parts)


PLAIN = Mechanism("PLAIN", _server, _client, plaintext=True)
"""Name and password in one response (RFC 4616)."""
