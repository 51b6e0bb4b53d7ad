"""Reason: why something ended."""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """Why a transaction ended without a message, or a connection ended."""

    RESET = "RSET"
    HELLO = "a new HELO, EHLO or LHLO"
    QUIT = "the client has quit"
    TOO_BIG = "message too big"
    BARE_NEWLINE = "bare CR or LF in the message"
    REFUSED = "refused"
    FAILED = "the handler failed"
    LIMIT = "a limit was reached"
    DISCONNECTED = "the client has gone"
    TIMEOUT = "timed out"
    TLS_FAILED = "the TLS handshake failed"
    INJECTED = "data behind STARTTLS in the clear"
    XCLIENT = "XCLIENT has named another client"
    SHUTDOWN = "the server is stopping"
    CLOSED = "closed by the handler"

    __hash__ = object.__hash__
