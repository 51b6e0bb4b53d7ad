"""
Octets that go to the socket at once.

Twisted's `write` only remembers them, has the reactor watch the socket, and sends in its next turn:
two system calls and a turn of the loop for each command.  What the socket does not take, and any
error, is left to Twisted's own way.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp


def prepare(transport: Any) -> None:
    """
    Have short writes leave at once, too.

    What ends a long message is a few octets behind many: the system would keep them back until the
    server has acknowledged the others (Nagle), and that waits for more (delayed ACK).
    """
    if type(transport) is tcp.Client:
        transport.setTcpNoDelay(True)


def send(transport: Any, octets: bytes) -> None:
    """Send, or queue what cannot be sent now."""
    if type(transport) is tcp.Client and not (
        transport.TLS
        or transport.dataBuffer
        or transport._tempDataBuffer
        or transport.disconnecting
        or transport.disconnected
    ):
        try:
            sent = transport.socket.send(octets)
        except OSError:
            sent = 0  # it would block, or the server has gone: the reactor finds out which
        if sent == len(octets):
            return
        octets = octets[sent:]
    transport.write(octets)
