"""TLS between a transport and a protocol, for replies that are one write each."""

from __future__ import annotations

from twisted.protocols.tls import TLSMemoryBIOProtocol


class TlsLayer(TLSMemoryBIOProtocol):
    """Twisted's, without the buffer that joins what is written in one turn: we have done that."""
