"""
How a server comes by ports that write at once: a reactor, or an endpoint, that makes them.

Nothing of the installed reactor is changed, and what is not TCP is as it was.
"""

from __future__ import annotations

import copy
import select
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.protocols.tls import TLSMemoryBIOProtocol

from smtpcb.server._port import DirectPort, SharedDirectPort, SharedPort

# What our classes look at that Twisted promises nobody.
_LOOKED_AT: dict[type, tuple[str, ...]] = {
    tcp.Port: ("transport", "doRead", "_buildAddr", "_addressType", "_fromListeningDescriptor"),
    tcp.Server: (
        *("dataBuffer", "_writeDisconnected", "_writeDisconnecting", "TLS", "_getLogPrefix"),
        *("doRead", "doWrite", "bufferSize", "_addressType"),
    ),
    TLSMemoryBIOProtocol: (
        *("_handshakeDone", "_lostTLSConnection", "_aborted", "_checkHandshakeStatus"),
        *("_flushSendBIO", "_shutdownTLS", "_tlsShutdownFinished", "_unbufferPendingWrites"),
        *("_bufferedWrite", "_write"),
    ),
}


class DirectReactor:
    """
    A reactor as endpoints see it: what they listen on with `listenTCP` writes at once.

    ``serverFromString(DirectReactor(reactor), "tcp:10025")``; endpoints that listen in another way
    (UNIX sockets, sockets of systemd) are as they were.

    :param nested: whether the connections of a port are one descriptor to the reactor; by default
        if the system can.
    """

    _port: type[DirectPort] = DirectPort

    def __init__(self, reactor: Any, *, nested: bool | None = None) -> None:
        self._reactor = reactor
        self._nested = can_nest() if nested is None else nested

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Listen; the same as `IReactorTCP.listenTCP`."""
        listening = self._port(port, factory, backlog, interface, self._reactor)
        if self._nested:
            listening.nest_connections()
        listening.startListening()
        return listening


class SharingReactor:
    """
    A reactor as `AdoptedStreamServerEndpoint` sees it, for sockets that processes share.

    :param direct: whether their connections write at once.
    :param nested: as with `DirectReactor`.
    """

    def __init__(self, reactor: Any, *, direct: bool, nested: bool | None = None) -> None:
        self._reactor = reactor
        self._direct = direct
        self._nested = direct and (can_nest() if nested is None else nested)

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> IListeningPort:
        """Listen; the same as `IReactorSocket.adoptStreamPort`."""
        kind = SharedDirectPort if self._direct else SharedPort
        listening: Any = kind._fromListeningDescriptor(self._reactor, descriptor, family, factory)
        if self._nested:
            listening.nest_connections()
        listening.startListening()
        port: IListeningPort = listening
        return port


def can_nest() -> bool:
    """Whether the system has a descriptor that stands for many (epoll(7))."""
    return hasattr(select, "epoll")


def at_once(
    endpoint: IStreamServerEndpoint | str, reactor: Any, *, nested: bool | None = None
) -> IStreamServerEndpoint:
    """
    Return an endpoint whose connections write at once, if it is one of TCP.

    :param endpoint: or its description, such as ``"tcp:25"``.  An endpoint of another kind, or of
        a reactor that is not Twisted's own, is returned as it is; one of TCP is copied.
    :param reactor: for descriptions.
    :param nested: as with `DirectReactor`.
    :raises ValueError: a description means nothing.
    """
    if isinstance(endpoint, str):
        if is_supported() and isinstance(reactor, PosixReactorBase):
            reactor = DirectReactor(reactor, nested=nested)
        described: IStreamServerEndpoint = serverFromString(reactor, endpoint)
        return described
    mine = getattr(endpoint, "_reactor", None)
    if (
        type(endpoint) not in (TCP4ServerEndpoint, TCP6ServerEndpoint)
        or not isinstance(mine, PosixReactorBase)
        or not is_supported()
    ):
        return endpoint
    direct: Any = copy.copy(endpoint)
    direct._reactor = DirectReactor(mine, nested=nested)
    made: IStreamServerEndpoint = direct
    return made


def is_supported() -> bool:
    """Whether this Twisted has what our ports look at: some of it is Twisted's own."""
    descriptor = FileDescriptor(object())  # type: ignore[arg-type]  # it is only looked at
    return hasattr(descriptor, "_tempDataBuffer") and all(
        hasattr(kind, name) for kind, names in _LOOKED_AT.items() for name in names
    )
