"""
TLS between a transport and a protocol that joins its replies itself.

Twisted's layer declares interfaces that nobody asks a connection for after STARTTLS, which takes a
fifth of the time of such a connection; it begins the handshake before there is anything to read,
looks after each read and each write for octets to send, and joins what is written in one turn of
the reactor, which the protocol has done already.  And it ends a connection whose client has closed
its own side only (close_notify, RFC 8446 §6.1), though that one waits for the rest of its replies.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL.SSL import SENT_SHUTDOWN, Error, WantReadError, ZeroReturnError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)
from twisted.python.failure import Failure
from zope.interface import implementer

# What one record holds (RFC 8446 §5.1): more is never had at once, or sent as one.
RECORD_OCTETS: Final = 16_384


@implementer(IHalfCloseableProtocol)
class HalfClosing(TLSMemoryBIOProtocol):
    """TLS whose client may close its own side and read on, if the protocol knows what to do."""

    _client_closed = False

    def readConnectionLost(self) -> None:
        """
        The client has closed its side of the connection beneath.

        Without a close_notify before it that may be anybody's doing (RFC 8446 §6.1): it is lost.
        """
        if not self._client_closed:
            beneath: Any = self.transport
            beneath.connectionLost(Failure(ConnectionDone()))

    def writeConnectionLost(self) -> None:
        """Do nothing: it was us who closed that side."""

    def _flushReceiveBIO(self) -> None:
        self._read(self._tlsConnection)
        self._flushSendBIO()

    def _read(self, connection: Any) -> None:
        while not self._lostTLSConnection:
            try:
                octets = connection.recv(RECORD_OCTETS)
            except WantReadError:
                return
            except ZeroReturnError:
                self._closed_by_client(connection)
                return
            except Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    ProtocolWrapper.dataReceived(self, octets)

    def _closed_by_client(self, connection: Any) -> None:
        protocol = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if self._client_closed:
            return
        if protocol is None or self._aborted or connection.get_shutdown() & SENT_SHUTDOWN:
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        else:
            self._client_closed = True
            protocol.readConnectionLost()


class PortLayer(HalfClosing, BufferingTLSTransport):
    """The same for connections that begin with TLS."""


class TlsLayer(HalfClosing):
    """
    The server's side of TLS on a connection whose protocol is there already.

    What is written while a read is seen to is sent at its end, together.
    """

    _reading = False

    def makeConnection(self, transport: Any) -> None:
        """Wait for the client, which speaks first."""
        self._tlsConnection = self.factory._creatorCallable(self)
        self._appSendBuffer: list[bytes] = []
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)

    def dataReceived(self, data: bytes) -> None:
        """Take octets of TLS."""
        connection: Any = self._tlsConnection
        connection.bio_write(data)
        if not self._handshakeDone:
            self._checkHandshakeStatus()
            if not self._handshakeDone:
                return
        if self._appSendBuffer:
            self._unbufferPendingWrites()
        self._reading = True
        try:
            self._read(connection)
        finally:
            self._reading = False
        self._flushSendBIO()

    def _write(self, octets: bytes) -> None:
        if not self._reading or self._lostTLSConnection or len(octets) > RECORD_OCTETS:
            super()._write(octets)
            return
        try:
            self._tlsConnection.send(octets)
        except WantReadError:
            self._bufferedWrite(octets)
        except Error:
            self._tlsShutdownFinished(Failure())


def close_halves(port: Any) -> None:
    """
    Have the clients of a port that begins with TLS heard to their end, whatever made the port.

    :param port: one that listens; one without TLS is as it was.
    """
    factory = getattr(port, "factory", None)
    if (
        isinstance(factory, TLSMemoryBIOFactory)
        and factory.protocol is TLSMemoryBIOFactory.protocol
    ):
        factory.protocol = PortLayer


def factory_of(creator: Any, reactor: Any) -> TLSMemoryBIOFactory:
    """
    Return what a layer belongs to.

    :param creator: of connections: what ``startTLS`` takes.
    """
    # A layer is never built by it, so there is no factory within, which its type asks for.
    return TLSMemoryBIOFactory(creator, False, None, reactor)  # type: ignore[arg-type]
