"""
A transport that writes at once.

Twisted's `write` only remembers the octets, has the reactor watch the socket, and sends in its
next turn: two system calls and a turn of the loop for each reply of a few octets, to a client that
has been waiting for nothing else.  Here they go to the socket at once when nothing is queued before
them; what the socket does not take, and any error, is left to Twisted's own way.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IListeningPort


class DirectServer(tcp.Server):
    """The server's side of a TCP connection."""

    def write(self, data: bytes) -> None:
        """
        Send, or queue what cannot be sent now.

        Under TLS it is Twisted's: there the octets are not what goes to the socket.
        """
        if (
            data
            and not self.TLS
            and not self.dataBuffer
            and not self._tempDataBuffer
            and self.connected
            and not self.disconnecting
            and not self._writeDisconnected
            and not self._writeDisconnecting
        ):
            try:
                sent = self.socket.send(data)
            except OSError:
                # It would block, or the client has gone: the reactor finds out which.
                sent = 0
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
        super().write(data)


class DirectPort(tcp.Port):
    """A TCP port whose connections are `DirectServer`."""

    transport = DirectServer


class SharedPort(tcp.Port):
    """
    A port whose socket other processes accept from as well.

    Each turn of the reactor takes one connection and not all that wait, so that who has less to
    do takes more of them.
    """

    def doRead(self) -> None:
        """Accept one connection."""
        self.numberAccepts = 1
        super().doRead()


class SharedDirectPort(SharedPort):
    """The same, and its connections are `DirectServer`."""

    transport = DirectServer


class DirectReactor:
    """
    A reactor as endpoints see it: what they listen on with `listenTCP` writes at once.

    ``serverFromString(DirectReactor(reactor), "tcp:10025")``; endpoints that listen in another way
    (UNIX sockets, sockets of systemd) are as they were.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Listen; the same as `IReactorTCP.listenTCP`."""
        listening = DirectPort(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening


class SharingReactor:
    """
    A reactor as `AdoptedStreamServerEndpoint` sees it, for sockets that processes share.

    :param direct: whether their connections write at once.
    """

    def __init__(self, reactor: Any, *, direct: bool) -> None:
        self._reactor = reactor
        self._port = SharedDirectPort if direct else SharedPort

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> IListeningPort:
        """Listen; the same as `IReactorSocket.adoptStreamPort`."""
        listening: tcp.Port = self._port._fromListeningDescriptor(
            self._reactor, descriptor, family, factory
        )
        listening.startListening()
        return listening


def is_supported() -> bool:
    """Whether this Twisted has what the classes here look at: some of it is Twisted's own."""
    descriptor = FileDescriptor(object())  # type: ignore[arg-type]  # it is only looked at
    return (
        hasattr(descriptor, "_tempDataBuffer")
        and all(
            hasattr(tcp.Port, name) for name in ("transport", "doRead", "_fromListeningDescriptor")
        )
        and all(
            hasattr(tcp.Server, name)
            for name in ("dataBuffer", "_writeDisconnected", "_writeDisconnecting", "TLS")
        )
    )
