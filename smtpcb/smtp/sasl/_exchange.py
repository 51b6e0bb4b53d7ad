"""
Mechanism, and the exchange that each of them is: a generator on either side.

A server's exchange yields what it wants and is sent the answer:

- `Challenge`: sent the client's response, without base64.
- `AskSession`: sent what is known of the connection, a `Session`.
- `StoredSecret`: sent what is stored for that user, or ``None``: nobody of that name is known.
- `Decide`: sent nothing (``None``), and only if the answer was yes.  After a no, `LoginRefused` is
  thrown into it; one that catches that may challenge once more, as those of OAuth do, before the
  client hears the no.
- `WrongProof`: sent nothing, and never goes on: the proof was wrong, so there is nothing to decide.

It returns when the login is complete.  What the client did wrong it raises, as a
`PeerProtocolError` with the reply.  It may challenge once more after the yes, as SCRAM does; an
exchange that returns without having asked for the verdict is a bug, and nobody is logged in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import Any

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL
from smtpcb.smtp.sasl._credentials import Credentials

MALFORMED = Reply(501, "Malformed response", status="5.5.2")
"""To a response that no client of that mechanism sends."""

_NAME = re.compile("[A-Z0-9_-]{1,20}")


class LoginRefused(Exception):  # noqa: N818 - it is what became of a login
    """
    The verdict was no.

    :ivar reply: what the client will hear.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.code)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Challenge:
    """The client is to be asked this; the octets go out in base64."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class AskSession:
    """What is known of the connection is wanted: a `Session`."""


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


@dataclass(frozen=True, slots=True)
class WrongProof:
    """The proof of these credentials was wrong."""

    credentials: Credentials


Request = Challenge | AskSession | StoredSecret | Decide | WrongProof
"""What the server's side of an exchange may want."""

ServerExchange = Generator[Request, Any, None]
"""Yields what it wants and is sent the answer: responses without base64, secrets, or nothing."""

ClientExchange = Generator[bytes | AskSession | None, Any, None]
"""Yields responses and is sent challenges, without base64; the first response goes out with AUTH,
``None`` if the server is to speak first.  It may ask for the `Session` before.

When the server says yes it is sent ``None``: one that wants a proof of the server's and has not
seen it raises, as SCRAM does; of any other, that was the end."""


def _unbound(kind: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Session:
    """
    What a mechanism may want to know of the connection.

    :ivar hostname: the server's name.
    :ivar offered: the mechanisms that may be used on it now.
    :ivar certificate: the client's certificate in DER, verified, or ``None``.
    :ivar certificate_name: whose that is.
    :ivar bind: returns the channel binding of a type such as ``"tls-exporter"`` (RFC 5056, RFC
        9266), or ``None``: the connection has none.
    """

    hostname: str = "localhost"
    offered: Collection[str] = ()
    certificate: bytes | None = field(default=None, repr=False)
    certificate_name: str | None = None
    bind: Callable[[str], bytes | None] = field(default=_unbound, repr=False)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """
    A SASL mechanism (RFC 4422); one of your own stands in ``Settings.mechanisms``.

    :ivar name: as EHLO says it, in upper case.
    :ivar server: begins an exchange; its argument is the initial response or ``None``.
    :ivar client: begins an exchange with these credentials.
    :ivar plaintext: whoever reads the connection learns the password, or can try guesses at it; so
        it is for TLS only, unless ``allow_insecure_auth`` is set.
    :ivar binds: it binds to the channel, so it is for TLS that has something to bind to.
    :ivar certificate: it is for clients that have given a certificate.
    :raises ValueError: the name is none (RFC 4422 §3.1).
    """

    name: str
    server: Callable[[bytes | None], ServerExchange]
    client: Callable[[Credentials], ClientExchange]
    plaintext: bool
    binds: bool = False
    certificate: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a mechanism's name is 1 to 20 of A-Z, 0-9, - and _, not {self.name!r:.40}"
            )


def first_response(initial: bytes | None) -> Generator[Request, Any, bytes]:
    """Return the initial response, and ask for it with an empty challenge if it did not come."""
    if initial is not None:
        return initial
    response: bytes = yield Challenge(b"")
    return response


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
