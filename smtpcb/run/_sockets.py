"""
The sockets that we listen on, where Twisted's own ports will not do.

Workers share sockets that nobody accepts from in the process that opened them.  And where a port
is asked for in both families (``tcp:25`` and ``tcp6:25``), its IPv6 socket must be for IPv6 alone:
left to itself it takes IPv4 clients as well on Linux, and then one of the two cannot be bound.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from smtpcb.server._direct import can_nest
from smtpcb.server._port import DirectPort

_PORT = re.compile(r"(tcp6?):(?:port=)?([0-9]{1,5})(?=:|\Z)")
# Colons within an argument are written with a backslash.
_IPV6_INTERFACE = re.compile(r":interface=[^:]*\\:")


def ports_of_both_families(descriptions: Iterable[str]) -> set[int]:
    """Return the port numbers that TCP endpoints ask for both on IPv4 and on IPv6."""
    asked: dict[int, set[bool]] = {}
    for description in descriptions:
        if (number := _number_of(description)) is not None:
            asked.setdefault(number, set()).add(is_ipv6(description))
    return {number for number, families in asked.items() if len(families) == 2 and number}


def is_ipv6(description: str) -> bool:
    """Whether an endpoint is one of IPv6: by its kind, or by the interface it names."""
    return description.startswith("tcp6:") or _IPV6_INTERFACE.search(description) is not None


def for_ipv6_alone(description: str, ports: set[int], reactor: Any, *, direct: bool = False) -> Any:
    """
    Return the reactor for an endpoint: one that opens sockets for IPv6 alone, where it must be.

    :param ports: what `ports_of_both_families` has found.
    :param reactor: that it would have otherwise.
    :param direct: its connections write at once.
    """
    if _number_of(description) not in ports or not is_ipv6(description):
        return reactor
    if isinstance(reactor, SocketReactor):
        return SocketReactor(ipv6_alone=True)
    return _IPv6AloneReactor(reactor, direct=direct)


def _number_of(description: str) -> int | None:
    match = _PORT.match(description)
    return None if match is None else int(match[2])


def _ipv6_alone(opened: socket.socket) -> None:
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


class _IPv6AlonePort(tcp.Port):
    """A port that leaves IPv4 to another one."""

    def createInternetSocket(self) -> socket.socket:
        """Open the socket."""
        opened: socket.socket = super().createInternetSocket()
        _ipv6_alone(opened)
        return opened


class _IPv6AloneDirectPort(_IPv6AlonePort, DirectPort):
    """The same, and its connections write at once."""


class _IPv6AloneReactor:
    """A reactor as endpoints see it, whose IPv6 ports are for IPv6 alone."""

    def __init__(self, reactor: Any, *, direct: bool) -> None:
        self._reactor = reactor
        self._direct = direct

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Listen; the same as `IReactorTCP.listenTCP`."""
        kind = _IPv6AloneDirectPort if self._direct else _IPv6AlonePort
        listening = kind(port, factory, backlog, interface, self._reactor)
        if isinstance(listening, DirectPort) and can_nest():
            listening.nest_connections()
        listening.startListening()
        return listening


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
                    _ipv6_alone(opened)
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
