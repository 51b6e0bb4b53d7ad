"""Credentials, and what a yes to them may say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Who somebody says they are, and how they prove it.

    :ivar mechanism: such as ``"PLAIN"``.
    :ivar username: the authentication identity; it has no control characters.  ``""``: the token
        says who it is.
    :ivar password: the proof; it is in no repr, log or transcript.  Octets that are no UTF-8 stand
        as surrogate escapes: ``password.encode("utf-8", "surrogateescape")`` has them again.
    :ivar authorization_id: whom they want to act as (RFC 4616 §2), or ``""``: themselves.
    :ivar proven: the mechanism has checked a proof already, against a stored secret or a
        certificate; there is no password, and the question is only whether they may log in.
    :ivar token: what an OAuth server has given them (RFC 6750), in place of a password; it is
        for you to check, and in no repr, log or transcript.  ``None``: the mechanism has no tokens.
    """

    mechanism: str
    username: str
    password: str = field(repr=False)
    authorization_id: str = ""
    proven: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A yes from an authenticator that knows more than the name.

    :ivar identity: becomes ``connection.identity``.
    :ivar release: called when the login is over: at the end of the connection, or after STARTTLS.
    :raises TypeError: the identity is ``None``, which means that nobody has logged in, or the
        release cannot be called.
    """

    identity: object
    release: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        if self.identity is None:
            raise TypeError("Authenticated(None) is nobody: False says that")
        if self.release is not None and not callable(self.release):
            kind = type(self.release).__name__
            raise TypeError(f"release of Authenticated is called at the end, not {kind}")
