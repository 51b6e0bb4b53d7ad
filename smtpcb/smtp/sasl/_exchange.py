"""
Mechanism, and the exchange that each of them is: a generator on either side.

A server's exchange yields what it wants and is sent the answer:

- `Challenge`: sent the client's response, without base64.
- `StoredSecret`: sent what is stored for that user, or ``None``.
- `Decide`: sent nothing (``None``), and only if the answer was yes.  After a no, whoever leads the
  exchange closes it and gives the client the no.

It returns when the login is complete.  What the client did wrong it raises, as a
`PeerProtocolError` with the reply.  It may challenge once more after the yes, as SCRAM does; an
exchange that returns without having asked for the verdict is a bug, and nobody is logged in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL
from smtpcb.smtp.sasl._credentials import Credentials

MALFORMED = Reply(501, "Malformed response", status="5.5.2")
"""To a response that no client of that mechanism sends."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The client is to be asked this; the octets go out in base64."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """What is stored to check a user's proof is wanted; what that is, the mechanism defines."""

    mechanism: str
    username: str
    authorization_id: str = ""


@dataclass(frozen=True, slots=True)
class Decide:
    """The verdict is wanted: whether these credentials log in."""

    credentials: Credentials


Request = Challenge | StoredSecret | Decide
"""What the server's side of an exchange may want."""

ServerExchange = Generator[Request, Any, None]
"""Yields what it wants and is sent the answer: responses without base64, secrets, or nothing."""

ClientExchange = Generator[bytes | None, bytes, None]
"""Yields responses and is sent challenges, without base64; the first response goes out with AUTH,
``None`` if the server is to speak first."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """
    A SASL mechanism (RFC 4422).

    :ivar name: as EHLO says it.
    :ivar server: begins an exchange; its argument is the initial response or ``None``.
    :ivar client: begins an exchange with these credentials.
    :ivar plaintext: the password can be read by whoever reads the connection.
    """

    name: str
    server: Callable[[bytes | None], ServerExchange]
    client: Callable[[Credentials], ClientExchange]
    plaintext: bool


def read_identity(octets: bytes) -> str:
    """
    Return the name of a user, which gets into logs, replies and file names.

    :raises PeerProtocolError: it is no UTF-8, or has a control character in it.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise PeerProtocolError(MALFORMED) from None
    if CONTROL.search(text):
        raise PeerProtocolError(MALFORMED)
    return text


def read_password(octets: bytes) -> str:
    """
    Return a password.

    Old programs send Latin-1.  Whether that is the password, only who knows it can say; so octets
    that are no UTF-8 go on, as surrogate escapes.

    :raises PeerProtocolError: NUL is in it (RFC 4616 §2).
    """
    if b"\0" in octets:
        raise PeerProtocolError(MALFORMED)
    return octets.decode("utf-8", "surrogateescape")


def write_password(password: str) -> bytes:
    """Return the octets of a password that `read_password` reads so."""
    return password.encode("utf-8", "surrogateescape")
