"""
Ports that are asked for in both families, IPv4 and IPv6 (``tcp:25`` and ``tcp6:25``).

The IPv6 socket must be for IPv6 alone then: left to itself it takes IPv4 clients as well on Linux,
and one of the two cannot be bound.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort

from smtpcb.server._direct import DirectReactor
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


def for_ipv6_alone(description: str, ports: set[int], reactor: Any, *, direct: bool) -> Any:
    """
    Return the reactor for an endpoint: one that opens sockets for IPv6 alone, where it must be.

    :param ports: what `ports_of_both_families` has found.
    :param reactor: that it would have otherwise.
    :param direct: its connections write at once.
    """
    if not must_be_alone(description, ports):
        return reactor
    return _IPv6AloneDirectReactor(reactor) if direct else _IPv6AloneReactor(reactor)


def must_be_alone(description: str, ports: set[int]) -> bool:
    """Whether an endpoint is one of IPv6 and its port is asked for in IPv4 too."""
    return _number_of(description) in ports and is_ipv6(description)


def _number_of(description: str) -> int | None:
    match = _PORT.match(description)
    return None if match is None else int(match[2])


def leave_ipv4(opened: socket.socket) -> None:
    """Let a socket be for IPv6 alone, before it is bound."""
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


class _IPv6AlonePort(tcp.Port):
    """A port that leaves IPv4 to another one."""

    def createInternetSocket(self) -> socket.socket:
        """Open the socket."""
        opened: socket.socket = super().createInternetSocket()
        leave_ipv4(opened)
        return opened


class _IPv6AloneDirectPort(_IPv6AlonePort, DirectPort):
    """The same, and its connections write at once."""


class _IPv6AloneDirectReactor(DirectReactor):
    """A reactor as endpoints see it, whose IPv6 ports are for IPv6 alone, and write at once."""

    _port = _IPv6AloneDirectPort


class _IPv6AloneReactor:
    """The same with Twisted's own connections."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Listen; the same as `IReactorTCP.listenTCP`."""
        listening = _IPv6AlonePort(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening
