"""Ports that accept with little ado, and wait when this process has no descriptors left."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.server._nest import Nest, NestedServer
from smtpcb.server._transport import DirectServer

try:
    import resource
except ImportError:  # pragma: no cover - a system without limits
    resource = None  # type: ignore[assignment]  # asked for as such before it is used

# How many connections are accepted before others have their turn.
ACCEPTS_A_TURN = 32
# When nothing can be accepted, it is tried again so much later, and said so seldom.
PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 60.0

# What one client's connection has come to (accept(2)); the next one's may be well.
_OF_ONE_CLIENT = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN"),
        *("EHOSTUNREACH", "ENONET", "ENOPROTOOPT", "EOPNOTSUPP"),
    )
    if hasattr(errno, name)  # not every system has all of them
)

_log = Logger(namespace="smtpcb.server")


class PatientPort(tcp.Port):
    """
    A TCP port that stops accepting for a while when it cannot.

    Who comes meanwhile waits in the system's queue and is served late.  Twisted accepts them and
    closes without a word, so that their mail waits for a retry.

    As long as there are as many descriptors left as there are connections, others are let in at
    once, and then one a second: whoever has been let in needs some for what it sends.  What the
    application has open for itself is neither.

    :ivar accepts: how many connections it takes in one turn of the reactor.
    :ivar connections: returns how many there are; ``None``: all that is open is taken for some.
    """

    reactor: Any
    accepts = ACCEPTS_A_TURN
    _pause: IDelayedCall | None = None
    _silent_until = float("-inf")
    connections: Callable[[], int] | None = None
    _most = sys.maxsize

    def startListening(self) -> None:
        """Bind, and listen."""
        super().startListening()
        if resource is not None:
            most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            if most != resource.RLIM_INFINITY:
                self._most = most

    def doRead(self) -> None:
        """Accept those that wait, or some of them."""
        for _ in range(self.accepts):
            try:
                accepted, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OF_ONE_CLIENT:
                    continue
                self._wait(error)
                return
            few = self._has_few_left(accepted.fileno())
            try:
                self._take(accepted, address)
            except KeyboardInterrupt:
                raise
            except BaseException:  # the port goes on, whatever has failed
                _log.failure("a connection failed at its start")
                accepted.close()
            if few:
                self._wait(OSError(errno.EMFILE, "few open files are left for what clients send"))
                return

    def loseConnection(self, *arguments: Any) -> Any:
        """Stop listening."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        return super().loseConnection(*arguments)

    stopListening = loseConnection

    def _has_few_left(self, number: int) -> bool:
        # The system gives the lowest number that is free, so at least as many are open.
        opened = number + 1
        connections = opened if self.connections is None else self.connections() + 1
        return self._most - opened < connections

    def _take(self, accepted: socket.socket, address: tuple[Any, ...]) -> None:
        if len(address) == 4 and address[3]:
            # A link-local address means something only with the name of its link.
            flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            address = (socket.getnameinfo(address, flags)[0], *address[1:])
        factory: Any = self.factory
        protocol = factory.buildProtocol(self._buildAddr(address))
        if protocol is None:
            accepted.close()
            return
        number = self.sessionno
        self.sessionno = number + 1
        transport = self.transport(accepted, protocol, address, self, number, self.reactor)
        try:
            protocol.makeConnection(transport)
        except BaseException:
            transport.abortConnection()
            raise

    def _wait(self, error: OSError) -> None:
        if self.disconnecting:
            return  # who has just been let in has had it closed: there is nothing to go on with
        self.stopReading()
        self._pause = self.reactor.callLater(PAUSE_SECONDS, self._go_on)
        now = self.reactor.seconds()
        if now >= self._silent_until:
            self._silent_until = now + SILENCE_SECONDS
            _log.warn(
                "port {port}: new connections have to wait: {error}",
                port=self._realPortNumber,
                error=error.strerror,
            )

    def _go_on(self) -> None:
        self._pause = None
        self.startReading()


class DirectPort(PatientPort):
    """
    A TCP port whose connections are `DirectServer`.

    :ivar host: the address of our side of every connection; ``None``: it must be asked of each.
    :ivar nest: what watches them, if they are `NestedServer`.
    """

    transport: Any = DirectServer
    host: Any = None
    nest: Nest | None = None

    def startListening(self) -> None:
        """Bind, and listen."""
        super().startListening()
        # Connections inherit it.  Each reply is one write, and a second one, of a handler that
        # has answered later, must not wait for the client to acknowledge the first.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = self.getHost()
        if host.host not in ("0.0.0.0", "::"):  # noqa: S104 - nothing is bound
            self.host = host

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket; connections go on."""
        super().connectionLost(reason)
        if self.nest is not None:
            self.nest.close()

    def nest_connections(self) -> None:
        """Let all connections be one descriptor to the reactor."""
        self.nest = Nest(self.reactor)
        self.transport = NestedServer


class SharedPort(PatientPort):
    """
    A port whose socket other processes accept from as well.

    Each turn of the reactor takes one connection and not all that wait, so that who has less to
    do takes more of them.
    """

    accepts = 1


class SharedDirectPort(SharedPort, DirectPort):
    """The same, and its connections are `DirectServer`."""
