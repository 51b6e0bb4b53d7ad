"""A connection in memory: what is on its way, who waits, and who has left."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport, IStreamClientEndpoint, ITLSTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

# As much as waits to be sent before whoever writes is paused.
MOST_WAITING_OCTETS = 65_536


class Handle:
    """What is known of a handshake that has only been said to have taken place."""

    def get_certificate(self, *, as_cryptography: bool = False) -> None:
        """Have none."""

    def get_servername(self) -> None:
        """Have said none."""

    def get_verify_mode(self) -> int:
        """Ask for none."""
        return SSL.VERIFY_NONE

    def get_protocol_version_name(self) -> str:
        """Have the newest."""
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        """Have a good one."""
        return "TLS_AES_256_GCM_SHA384"

    def get_cipher_bits(self) -> int:
        """Have many."""
        return 256

    def export_keying_material(self, *_: object) -> bytes:
        """Share a secret."""
        return b"the channel"


@implementer(ITLSTransport)
class Wire:
    """
    The client's transport.

    :ivar to_server: what the server has not read yet, in TLS or not.
    :ivar clear: all that was written outside TLS.
    :ivar closed: how the client has closed it: ``"lose"`` or ``"abort"``.
    :ivar lost: the client has been told that it is over.
    """

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.to_server: deque[bytes] = deque()
        self.waiting_octets = 0
        self.most_waiting_octets = 0
        self.clear = b""
        self.closed = ""
        self.lost = self.shaking = self.secure = False
        self._producer: Any = None
        self._paused = False

    # What the client's protocol asks.

    def write(self, octets: bytes) -> None:
        """See `ITransport`."""
        if self.closed or self.lost:
            return
        assert not self.shaking, f"written in the midst of a handshake: {octets!r:.80}"
        if not self.secure:
            self.clear += octets
        self.to_server.append(octets)
        self.waiting_octets += len(octets)
        self.most_waiting_octets = max(self.most_waiting_octets, self.waiting_octets)
        if self.waiting_octets > MOST_WAITING_OCTETS and self._producer and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

    def startTLS(self, creator: object) -> None:
        """See `ITLSTransport`."""
        assert not self.secure, "TLS inside TLS"
        self.shaking = True
        alsoProvides(self, ISSLTransport)

    def getHost(self) -> IPv4Address:
        """See `ITransport`."""
        return IPv4Address("TCP", "192.0.2.1", 50000)

    def getPeer(self) -> IPv4Address:
        """See `ITransport`."""
        return IPv4Address("TCP", "192.0.2.2", 25)

    def getHandle(self) -> Handle:
        """See `ISystemHandle`."""
        handle = self._handle = Handle()
        return handle

    def loseConnection(self) -> None:
        """See `ITransport`."""
        # Inside TLS it is closed only when whoever produces has said that there is no more.
        if not self.closed and not (self.secure and self._producer):
            self.closed = "lose"

    def abortConnection(self) -> None:
        """See `IAbortingTransport`."""
        self.closed = "abort"
        self.to_server.clear()

    # What happens to it.

    def read(self, random: Random) -> bytes:
        """Take some of what was sent."""
        if not self.to_server:
            return b""
        octets = self.to_server.popleft()
        if random.random() < 0.5:
            cut = random.randrange(len(octets) + 1)
            if octets[cut:]:
                self.to_server.appendleft(octets[cut:])
            octets = octets[:cut]
        self._taken(len(octets))
        return octets

    def read_all(self) -> bytes:
        """Take all that was sent."""
        octets = b"".join(self.to_server)
        self.to_server.clear()
        self._taken(len(octets))
        return octets

    def _taken(self, octets: int) -> None:
        self.waiting_octets -= octets
        if self.waiting_octets == 0 and self._paused:
            self._paused = False
            if self._producer is not None and not self.lost:
                self._producer.resumeProducing()

    def say(self, octets: bytes) -> None:
        """Let something come from the server."""
        if not self.lost and self.closed != "abort":
            self.protocol.dataReceived(octets)

    def shake_hands(self) -> None:
        """Let the handshake succeed."""
        self.shaking, self.secure = False, True
        self.protocol.handshakeCompleted()

    def lose(self, reason: BaseException) -> None:
        """Tell the client that it is over."""
        if not self.lost:
            self.lost = True
            if self._producer is not None:
                self._producer.stopProducing()
            self.protocol.connectionLost(Failure(reason))

    def settle(self, random: Random) -> None:
        """Let what the client has asked for happen."""
        if self.closed == "abort":
            self.lose(ConnectionAborted())
            return
        # Inside TLS the server has to close its side too, and may not.
        soon = random.random() < (0.15 if self.secure else 0.5)
        if self.closed == "lose" and not self.to_server and soon:
            self.lose(ConnectionDone())


def lost(random: Random) -> BaseException:
    """Return why a connection is over."""
    return random.choice((ConnectionDone, ConnectionLost, ConnectionAborted))()


@implementer(IStreamClientEndpoint)
class Endpoint:
    """
    Connects to a server in memory.

    :param random: when, and whether at all; ``None``: at once.
    :param met: is called with each connection.
    :param implicit: it begins with TLS.
    """

    def __init__(
        self, random: Random | None, clock: Any, met: Any, *, implicit: bool = False
    ) -> None:
        self._random = random
        self._clock = clock
        self._met = met
        self._implicit = implicit

    def connect(self, factory: Any) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        seconds = 0.0
        if self._random is not None:
            if self._random.random() < 0.02:
                return fail(ConnectionLost("nobody there"))
            seconds = self._random.choice((0, 0, 0.1, 10, 10, 29.9))
        connecting: Deferred[Any] = Deferred(lambda _: call.cancel())

        def made() -> None:
            protocol = factory.buildProtocol(None)
            if protocol is None:
                return
            wire = Wire(protocol)
            if self._implicit:
                alsoProvides(wire, ISSLTransport)
                wire.shaking = True
            protocol.makeConnection(wire)
            self._met(wire)
            connecting.callback(protocol)

        call = self._clock.callLater(seconds, made)
        return connecting
