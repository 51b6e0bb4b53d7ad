"""PLAIN and LOGIN as challenges and responses (RFC 4954); one row per mechanism."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply

MALFORMED = Reply(501, "5.5.2", "Malformed response")
NOT_BASE64 = Reply(501, "5.5.2", "Not base64")


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Who somebody says they are, and how they prove it.

    :ivar mechanism: such as ``"PLAIN"``.
    :ivar username: the authentication identity.
    :ivar password: the proof; it is in no repr, log or transcript.
    :ivar authorization_id: whom they want to act as (RFC 4616 §2), or ``""``: themselves.
    """

    mechanism: str
    username: str
    password: str = field(repr=False)
    authorization_id: str = ""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A yes from an authenticator that knows more than the name.

    :ivar identity: becomes ``connection.identity``.
    :ivar release: called when the login is over: at the end of the connection, or after STARTTLS.
    """

    identity: object
    release: Callable[[], object] | None = None


Exchange = Generator[bytes, bytes, Credentials]
"""Yields challenges, is sent responses, returns credentials; all without base64."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """
    One row.

    :ivar exchange: begins an exchange; its argument is the initial response or ``None``.
    :ivar plaintext: the password can be read by whoever reads the connection.
    """

    exchange: Callable[[bytes | None], Exchange]
    plaintext: bool


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise PeerProtocolError(MALFORMED) from None
    if "\0" in text:
        raise PeerProtocolError(MALFORMED)
    return text


def plain(initial: bytes | None) -> Exchange:
    """PLAIN (RFC 4616 §2): authorization identity, name and password between NULs."""
    response = (yield b"") if initial is None else initial
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise PeerProtocolError(MALFORMED)
    authorization_id, username, password = map(_text, parts)
    return Credentials("PLAIN", username, password, authorization_id)


def login(initial: bytes | None) -> Exchange:
    """LOGIN: never became an RFC; clients wait for just these two prompts."""
    username = (yield b"Username:") if initial is None else initial
    password = yield b"Password:"
    return Credentials("LOGIN", _text(username), _text(password))


MECHANISMS: Mapping[str, Mechanism] = {
    "PLAIN": Mechanism(plain, plaintext=True),
    "LOGIN": Mechanism(login, plaintext=True),
}


def decode(response: bytes) -> bytes:
    """
    Undo base64 strictly (RFC 4954 §4: no character is skipped).

    :raises PeerProtocolError: it is none.
    """
    try:
        octets = binascii.a2b_base64(response)
    except binascii.Error:
        octets = b""
    # Python's own strict mode lets needless padding pass.
    if base64.b64encode(octets) != response:
        raise PeerProtocolError(NOT_BASE64)
    return octets


def challenge_line(challenge: bytes) -> bytes:
    """Return the 334 reply that carries a challenge (RFC 4954 §4)."""
    return b"334 " + base64.b64encode(challenge) + b"\r\n"
