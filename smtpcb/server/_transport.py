"""
A transport that reads, writes and closes at once.

Twisted's `write` only remembers the octets, has the reactor watch the socket, and sends in its
next turn: two system calls and a turn of the loop for each reply of a few octets, to a client that
has been waiting for nothing else.  Here they go to the socket at once when nothing is queued before
them; what the socket does not take, and any error, is left to Twisted's own way.  The same holds
for what TLS makes of them, and for the end of a connection that has nothing left to send.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from smtpcb.server._tls_layer import TlsLayer, factory_of

_DONE: Final = Failure(ConnectionDone())

# What is its TLS layer's while a connection has one.
_OF_THE_LAYER: Final = ("write", "writeSequence", "getHandle", "getPeerCertificate")


class DirectServer(tcp.Server):
    """
    The server's side of a TCP connection.

    It is made without what nobody may ever look at: names for the log, the address of our side.

    :ivar server: the `DirectPort` that has accepted it.
    """

    server: Any

    # Nothing is queued and nobody has begun to close: what is written may go to the socket.
    _free = False
    # `doRead` is at work, and will close if it is told to.
    _in_read = False
    _closes_after_read = False

    def __init__(
        self,
        accepted: socket.socket,
        protocol: Any,
        client: tuple[Any, ...],
        server: Any,
        number: int,
        reactor: Any,
    ) -> None:
        # The constructors of three classes of Twisted's, less what is made when asked for.
        self.reactor = reactor
        self._tempDataBuffer = []
        self._tempDataLen = 0
        accepted.setblocking(False)
        self.socket = accepted
        self.fileno = accepted.fileno
        self.protocol = protocol
        self.server = server
        self.client = client
        self.sessionno = number
        self._addressType = server._addressType
        self.startReading()
        self.connected = 1
        self._free = True

    # An attribute there; to make the text here is nothing that each connection should pay for.
    @property
    def hostname(self) -> str:  # type: ignore[override]
        """The client's address as text."""
        return str(self.client[0])

    def logPrefix(self) -> str:
        """Return what the log shows beside what happens here."""
        protocol = getattr(self, "protocol", None)
        return f"{self._getLogPrefix(protocol)},{self.sessionno},{self.hostname}"

    def __repr__(self) -> str:
        name = type(getattr(self, "protocol", None)).__name__
        return f"<{name} #{self.sessionno} on {self.server._realPortNumber}>"

    def getHost(self) -> Any:
        """Return the address of our side, which is the port's unless that listens on several."""
        return self.server.host or super().getHost()

    def doRead(self) -> Any:
        """Hand what has arrived to the protocol."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self._in_read = True
        self.protocol.dataReceived(data)
        self._in_read = False
        if self._closes_after_read:
            self._close_after_read()
        return None

    def write(self, data: bytes) -> None:
        """Send, or queue what cannot be sent now; under TLS an attribute stands before it."""
        if self._free:
            try:
                sent = self.socket.send(data)
            except OSError:
                # It would block, or the client has gone: the reactor finds out which.
                sent = 0
            if sent == len(data):
                return
            self._free = False
            data = data[sent:]
        FileDescriptor.write(self, data)

    def writeSequence(self, iovec: Any) -> None:
        """Send, or queue; the same as `ITransport.writeSequence`."""
        self.write(b"".join(iovec))

    def doWrite(self) -> Any:
        """Send what is queued."""
        why = super().doWrite()
        if why is None and not self._queued() and self.connected:
            self._free = not (
                self.disconnecting or self._writeDisconnecting or self._writeDisconnected
            )
        return why

    def loseConnection(self) -> None:
        """Close when all that was written has been sent."""
        if self.TLS:
            super().loseConnection()
        else:
            self._close()

    def loseWriteConnection(self) -> None:
        """Close our side when all that was written has been sent."""
        self._free = False
        super().loseWriteConnection()

    def abortConnection(self) -> None:
        """Close without sending what is queued."""
        self._free = self._closes_after_read = False
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Tell the protocol that it is over."""
        self._free = self._closes_after_read = False
        super().connectionLost(reason)
        if self.TLS:
            # The layer knows us and we know it; apart, both are freed at once.
            for name in _OF_THE_LAYER:
                self.__dict__.pop(name, None)

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """
        Put TLS between us and the protocol; the same as `ITLSTransport.startTLS`.

        :raises ValueError: we are to be the client of it; nobody needs that.
        """
        if not normal:
            raise ValueError("the server of a connection is the server of its TLS")
        producer, streaming = self.producer, self.streamingProducer
        if producer is not None:
            self.unregisterProducer()
        layer = TlsLayer(factory_of(ctx, self.reactor), self.protocol, False)
        self.protocol = layer
        directlyProvides(self, ISSLTransport)
        self.TLS = True
        for name in _OF_THE_LAYER:
            setattr(self, name, getattr(layer, name))
        layer.makeConnection(_Beneath(self))
        if producer is not None:
            self.registerProducer(producer, streaming)

    def _queued(self) -> bool:
        return bool(self.dataBuffer or self._tempDataBuffer)

    def _close(self) -> None:
        if self._free and self._in_read and (self.producer is None or self.streamingProducer):
            self.disconnecting = 1
            self._free = False
            self._closes_after_read = True
        else:
            self._free = False
            FileDescriptor.loseConnection(self)

    def _close_after_read(self) -> None:
        self._closes_after_read = False
        if self._queued():  # it has said something more
            self.stopReading()
        else:
            self.connectionLost(_DONE)


class _Beneath:
    """
    The connection that a TLS layer is on: what that writes is not to go through TLS again.

    The same as Twisted's own way round the layer, but for what it writes at once.
    """

    def __init__(self, connection: DirectServer) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        if name == "__provides__":
            # The layer asks for it on its own behalf: what it provides is its own matter.
            raise AttributeError(name)
        return getattr(self._connection, name)

    def write(self, data: bytes) -> None:
        DirectServer.write(self._connection, data)

    def writeSequence(self, iovec: Any) -> None:
        DirectServer.write(self._connection, b"".join(iovec))

    def loseConnection(self) -> None:
        self._connection._close()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        FileDescriptor.registerProducer(self._connection, producer, streaming)

    def unregisterProducer(self) -> None:
        FileDescriptor.unregisterProducer(self._connection)
