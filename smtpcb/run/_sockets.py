"""
The sockets that workers share, where Twisted's own ports will not do.

Nobody accepts from them in the process that opened them.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError

from smtpcb.server import _families as families


def for_ipv6_alone(description: str, ports: set[int], reactor: Any, *, direct: bool = False) -> Any:
    """Return the reactor for an endpoint; see `smtpcb.server._families.for_ipv6_alone`."""
    if isinstance(reactor, SocketReactor) and families.must_be_alone(description, ports):
        return SocketReactor(ipv6_alone=True)
    return families.for_ipv6_alone(description, ports, reactor, direct=direct)


class SharedSocket:
    """A socket that listens, and that nobody accepts from in this process."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return where it listens."""
        name = self.socket.getsockname()
        kind = IPv6Address if self.socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name)


class SocketReactor:
    """
    A reactor as TCP endpoints see it, which opens sockets and does nothing with them.

    They are not Twisted's own ports, which are shut down when they are closed, for all processes
    at once.

    :param ipv6_alone: an IPv6 socket leaves IPv4 to another one.
    """

    def __init__(self, *, ipv6_alone: bool = False) -> None:
        self._ipv6_alone = ipv6_alone

    def listenTCP(
        self, port: int, factory: object, backlog: int = 50, interface: str = ""
    ) -> SharedSocket:
        """
        Open a socket.

        :raises CannotListenError: it cannot be.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            opened = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # this machine has no IPv6
            raise CannotListenError(interface, port, error) from None
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                if self._ipv6_alone:
                    families.leave_ipv4(opened)
                # With the number of the interface that a link-local address is of.
                found = socket.getaddrinfo(interface, port, family, socket.SOCK_STREAM)
                opened.bind(found[0][4])
            else:
                opened.bind((interface, port))
            opened.listen(backlog)
            opened.setblocking(False)
        except OSError as error:
            opened.close()
            raise CannotListenError(interface, port, error) from None
        return SharedSocket(opened)
