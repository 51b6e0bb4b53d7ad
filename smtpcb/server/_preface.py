"""
The balancer's word before the client's first: a protocol that reads it and steps aside.

A balancer that speaks the PROXY protocol connects, says in a header which client it does so for,
and then passes on what both sides say.  Nothing may be decided before that is known: neither a
limit nor a greeting, and TLS begins behind it.  So the header is read by a protocol of its own on
the bare connection; what the port would have made of a client is then made of the real one, and
gets the same transport.

Who is no balancer could claim any address, so only those who are named are listened to, and they
have to begin with a header (§2 of the protocol: nobody guesses whether there is one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.engine import Connection, ProxyInformation
from smtpcb.server._admission import SILENCE_SECONDS, normal
from smtpcb.server._proxy import Header, WrongHeader, read_header

if TYPE_CHECKING:
    from smtpcb.server._connections import Doorway
    from smtpcb.smtp._networks import Networks

# How long a balancer may take for its header, which it sends with its first octets.
HEADER_SECONDS = 5.0

_NEVER = float("inf")

_log = Logger(namespace="smtpcb.server")


@implementer(IAddress)
class ProxiedAddress:
    """
    Where a client is, whom a balancer has connected for.

    :ivar host: the client's address.  The balancer's, if that is not known.
    :ivar destination: what the client has connected to; ``None``: what the balancer has.
    :ivar counts_for: the address whose share of connections it takes, ``""`` for nobody's.
    """

    def __init__(self, header: Header, proxy: ProxyInformation) -> None:
        source = header.source
        self.proxy = proxy
        self.destination = header.destination
        if source is None:
            # All health checks, and all whom it does not know, come from this one address.
            self.host, self.port, self.counts_for = proxy.address, proxy.port, ""
        elif header.unix:
            self.host, self.port, self.counts_for = "", 0, ""
        else:
            self.host, self.port, self.counts_for = source.address, source.port, source.address

    def describe(self, connection: Connection) -> None:
        """Tell a connection what is known of it."""
        connection.proxy = self.proxy
        if self.destination is not None:
            connection.host_address = self.destination.address
            connection.host_port = self.destination.port

    def __repr__(self) -> str:
        return f"<{self.host or 'a UNIX socket'} by way of {self.proxy.address or 'unix'}>"


class PrefaceFactory(Factory):
    """
    Stands before the factory of a port: first the header, then what the port makes of a client.

    :param port_factory: of the port; TLS may be part of it.
    :param doorway: through which its clients come.
    :param trusted: who speaks the PROXY protocol.
    """

    noisy = False

    def __init__(self, port_factory: Any, doorway: Doorway, trusted: Networks) -> None:
        self.port_factory = port_factory
        self.doorway = doorway
        self._trusted = trusted
        self._silent_until: dict[str, float] = {}

    def logPrefix(self) -> str:
        """Return what Twisted calls us when it logs that a port is open."""
        return str(self.port_factory.logPrefix())

    def doStart(self) -> None:
        """Do nothing: the port has started its own factory."""

    def doStop(self) -> None:
        """Stop what the port has started."""
        self.port_factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Return what reads a header; ``None``, for whom nobody trusts: closed at once."""
        address = normal(getattr(addr, "host", None) or "")
        if address not in self._trusted:
            self.complain(address, "is not among the networks of proxy_from: closed")
            return None
        preface = Preface(self, address, getattr(addr, "port", 0) or 0)
        refused = self.doorway.server.await_header(preface, address, self.doorway)
        if refused is None:
            return preface
        # Within TLS it would be no reply.
        return None if isinstance(self.port_factory, TLSMemoryBIOFactory) else refused

    def complain(self, address: str, what: str) -> None:
        """Log what is wrong with a connection, each kind of it once a minute at most."""
        now = self.doorway.server.seconds()
        if now >= self._silent_until.get(what, -_NEVER):
            self._silent_until[what] = now + SILENCE_SECONDS
            _log.warn(
                "PROXY protocol: {address} {what}", address=address or "a UNIX socket", what=what
            )


class Preface(Protocol):
    """
    One connection until its header is there.

    :ivar deadline: when that is too late.
    """

    transport: Any

    def __init__(self, factory: PrefaceFactory, address: str, port: int) -> None:
        self._prefaces = factory
        self._address = address
        self._port = port
        self._octets = bytearray()
        self._over = False
        self.deadline = _NEVER
        self.factory: Any = factory.doorway  # who hears that it has left

    def connectionMade(self) -> None:
        """Let the time run."""
        server = self._prefaces.doorway.server
        self.deadline = server.seconds() + HEADER_SECONDS
        server.deadlines.by(self.deadline)

    def dataReceived(self, data: bytes) -> None:
        """Take some of the header."""
        if self._over:
            return
        self._octets += data
        try:
            header = read_header(self._octets)
        except WrongHeader as error:
            self._give_up(f"sends no header that can be read ({error}): closed")
            return
        if header is not None:
            self._step_aside(header)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave; who comes and goes without a word only looks whether somebody is there."""
        self._leave()

    def late(self, now: float) -> None:
        """Its deadline has passed."""
        self._give_up(f"has sent no header within {HEADER_SECONDS:g} s: closed")

    def shut_down(self) -> None:
        """Go: nobody has been greeted."""
        self.cut_short()

    def cut_short(self) -> None:
        """Go at once."""
        if not self._over:
            self._over = True
            self.deadline = _NEVER
            self.transport.abortConnection()

    def _give_up(self, why: str) -> None:
        if not self._over:
            self._prefaces.complain(self._address, why)
            self.cut_short()

    def _leave(self) -> None:
        self._over = True
        self._prefaces.doorway.server.left(self)

    def _step_aside(self, header: Header) -> None:
        """Give the connection to whom it is for."""
        rest = bytes(self._octets[header.octets :])
        proxy = ProxyInformation(
            self._address,
            self._port,
            header.version,
            header.source is not None,
            header.server_name,
            header.unique_id,
            header.tls,
            header.values,
        )
        transport = self.transport
        # Its place goes to the one who comes, who may have none: limits are about real clients.
        self._leave()
        real = self._prefaces.port_factory.buildProtocol(ProxiedAddress(header, proxy))
        transport.protocol = real
        real.makeConnection(transport)
        if rest:
            transport.protocol.dataReceived(rest)


def behind_prefaces(port: Any, doorway: Doorway, trusted: Networks) -> None:
    """
    Have a header read before each connection of a port, whatever made the port.

    :param port: one that listens, and has accepted nobody yet.
    :raises ValueError: it is of a kind that has no factory that could be stood before.
    """
    factory = getattr(port, "factory", None)
    if factory is None:
        raise ValueError(f"proxy_from: no PROXY header can be read on {port!r:.80}")
    port.factory = PrefaceFactory(factory, doorway, trusted)
