"""SASL: mechanisms as challenges and responses, a file each, both sides (RFC 4422, RFC 4954)."""

from __future__ import annotations

from collections.abc import Mapping

from smtpcb.smtp.sasl._base64 import NOT_BASE64, challenge_line, decode, encode
from smtpcb.smtp.sasl._command import AuthCommand, read_auth, write_auth
from smtpcb.smtp.sasl._cram_md5 import CRAM_MD5
from smtpcb.smtp.sasl._credentials import Authenticated, Credentials
from smtpcb.smtp.sasl._exchange import (
    MALFORMED,
    AskSession,
    Challenge,
    ClientExchange,
    Decide,
    LoginRefused,
    Mechanism,
    Request,
    ServerExchange,
    Session,
    StoredSecret,
    WrongProof,
)
from smtpcb.smtp.sasl._external import EXTERNAL
from smtpcb.smtp.sasl._login import LOGIN
from smtpcb.smtp.sasl._oauth import OAUTHBEARER, XOAUTH2
from smtpcb.smtp.sasl._plain import PLAIN
from smtpcb.smtp.sasl._scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS
from smtpcb.smtp.sasl._scram_secret import ScramSecret

MECHANISMS: Mapping[str, Mechanism] = {
    row.name: row
    for row in (
        *(SCRAM_SHA_256_PLUS, SCRAM_SHA_256, PLAIN, LOGIN),
        *(CRAM_MD5, OAUTHBEARER, XOAUTH2, EXTERNAL),
    )
}
"""Those that we speak, by name, in the order in which they are offered."""

BY_PASSWORD = ("PLAIN", "LOGIN")
"""What whoever can tell a right password from a wrong one can decide on."""

BY_SECRET = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5")
"""What whoever gives stored secrets can decide on."""

__all__ = [
    "BY_PASSWORD",
    "BY_SECRET",
    "CRAM_MD5",
    "EXTERNAL",
    "LOGIN",
    "MALFORMED",
    "MECHANISMS",
    "NOT_BASE64",
    "OAUTHBEARER",
    "PLAIN",
    "SCRAM_SHA_256",
    "SCRAM_SHA_256_PLUS",
    "XOAUTH2",
    "AskSession",
    "AuthCommand",
    "Authenticated",
    "Challenge",
    "ClientExchange",
    "Credentials",
    "Decide",
    "LoginRefused",
    "Mechanism",
    "Request",
    "ScramSecret",
    "ServerExchange",
    "Session",
    "StoredSecret",
    "WrongProof",
    "challenge_line",
    "decode",
    "encode",
    "read_auth",
    "write_auth",
]
