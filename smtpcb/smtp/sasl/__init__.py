"""SASL: mechanisms as challenges and responses, a file each, both sides (RFC 4422, RFC 4954)."""

from __future__ import annotations

from collections.abc import Mapping

from smtpcb.smtp.sasl._base64 import NOT_BASE64, challenge_line, decode, encode
from smtpcb.smtp.sasl._command import AuthCommand, read_auth, write_auth
from smtpcb.smtp.sasl._credentials import Authenticated, Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    Challenge,
    ClientExchange,
    Decide,
    Mechanism,
    Request,
    ServerExchange,
    StoredSecret,
)
from smtpcb.smtp.sasl._login import LOGIN
from smtpcb.smtp.sasl._plain import PLAIN

MECHANISMS: Mapping[str, Mechanism] = {row.name: row for row in (PLAIN, LOGIN)}
"""Those that are offered, by name."""

__all__ = [
    "LOGIN",
    "MALFORMED",
    "MECHANISMS",
    "NOT_BASE64",
    "PLAIN",
    "AuthCommand",
    "Authenticated",
    "Challenge",
    "ClientExchange",
    "Credentials",
    "Decide",
    "Mechanism",
    "Request",
    "ServerExchange",
    "StoredSecret",
    "challenge_line",
    "decode",
    "encode",
    "read_auth",
    "write_auth",
]
