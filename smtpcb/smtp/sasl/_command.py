"""The argument of AUTH: a mechanism, and perhaps the first response to it (RFC 4954 §4)."""

from __future__ import annotations

import re
from typing import NamedTuple

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl._base64 import decode, encode

AUTH_SYNTAX = Reply(501, "Syntax: AUTH mechanism [initial-response]", status="5.5.4")

_ARGUMENT = re.compile(
    rb"[ \t]*+(?P<mechanism>[!-~]++)(?:[ \t]++(?P<initial>[^ \t].*+))?+", re.DOTALL
)


class AuthCommand(NamedTuple):
    """
    What AUTH says.

    :ivar mechanism: in upper case.
    :ivar initial: the initial response in base64, still to be decoded by `initial_response`.
    """

    mechanism: str
    initial: bytes | None

    def initial_response(self) -> bytes | None:
        """
        Return the initial response, ``None`` if there is none; ``=`` is an empty one.

        :raises PeerProtocolError: it is no base64 (501).
        """
        if self.initial is None:
            return None
        return b"" if self.initial == b"=" else decode(self.initial)


def read_auth(argument: bytes) -> AuthCommand:
    """
    Read the argument of AUTH; blanks around its parts harm nobody.

    Whether there is such a mechanism comes before whether the response is one: decode it then.

    :raises PeerProtocolError: no mechanism is named (501).
    """
    match = _ARGUMENT.fullmatch(argument.rstrip(b" \t"))
    if match is None:
        raise PeerProtocolError(AUTH_SYNTAX)
    return AuthCommand(match["mechanism"].upper().decode("ascii"), match["initial"])


def write_auth(mechanism: str, initial: bytes | None) -> str:
    """Return the argument of AUTH; an empty initial response is written as ``=``."""
    if initial is None:
        return mechanism
    return f"{mechanism} {encode(initial).decode('ascii') or '='}"
