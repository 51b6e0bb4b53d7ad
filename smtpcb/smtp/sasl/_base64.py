"""Base64 as AUTH has it: strict, a line each (RFC 4954 §4)."""

from __future__ import annotations

import base64
import binascii

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply

NOT_BASE64 = Reply(501, "Not base64", status="5.5.2")
"""To a response that is no base64 (RFC 4954 §4)."""


def decode(response: bytes) -> bytes:
    """
    Undo base64 strictly: no character is skipped, no padding made up.

    Blanks at the end of the line are none of it (RFC 5321 §4.1.1).

    :raises PeerProtocolError: it is none.
    """
    response = response.rstrip(b" \t")
    try:
        octets = binascii.a2b_base64(response)
    except binascii.Error:
        octets = b""
    # Python's own strict mode lets needless padding pass.
    if base64.b64encode(octets) != response:
        raise PeerProtocolError(NOT_BASE64)
    return octets


def encode(octets: bytes) -> bytes:
    """Return octets in base64, without a line end."""
    return base64.b64encode(octets)


def challenge_line(challenge: bytes) -> bytes:
    """Return the 334 reply that carries a challenge."""
    return b"334 " + encode(challenge) + b"\r\n"
