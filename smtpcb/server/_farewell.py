"""Closing so that the client can still read why (RFC 5321 §3.8; RFC 1122 §4.2.2.13)."""

from __future__ import annotations

import socket
from typing import Any

from twisted.protocols.tls import TLSMemoryBIOProtocol

# How long a client that has been told to go may take to go, where nobody is in a hurry.
LINGER_SECONDS = 5.0


def close_gently(transport: Any, *, unread: bool, tls: bool) -> None:
    """
    Close a connection whose last reply has been written.

    Closing with input unread resets the connection, and the reply that says why may never be seen:
    so where there is some only our side is closed, and what still comes is read and thrown away
    until the client goes or somebody loses patience.  Where there is none, nothing is waited for.

    :param unread: some input has been read by us, and not been acted on.
    """
    half_close = getattr(transport, "loseWriteConnection", None)
    unread = unread or _has_unread(transport)
    if half_close is None or tls or not unread:
        transport.loseConnection()
        if tls and not unread:
            _close_beneath(transport)
    else:
        half_close()


def _close_beneath(transport: Any) -> None:
    """Close without the client's close_notify, which need not be waited for (RFC 8446 §6.1)."""
    layer = transport
    if not isinstance(layer, TLSMemoryBIOProtocol):  # since STARTTLS, it is the connection's
        layer = getattr(transport, "protocol", None)
    if isinstance(layer, TLSMemoryBIOProtocol) and layer.transport is not None:
        layer.transport.loseConnection()


def _has_unread(transport: Any) -> bool:
    """Whether the system holds octets for us, as far as it can be known."""
    connection = getattr(transport, "socket", None)
    if connection is None:
        return True
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False
