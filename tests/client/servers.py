"""Servers that say what they were told to, and a host with as many addresses as a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

READY = (b"220 here\r\n", b"250 here\r\n")
"""A greeting, and the answer to EHLO."""

_END = b"\r\n.\r\n"


class Scripted(Protocol):
    """Says the next thing at each read, after 354 at the final dot; leaves at None and QUIT."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.left = list(server.script)
        self.got = b""
        self.said: bytes | None = b""

    def connectionMade(self) -> None:
        """Greet."""
        self.server.came += 1
        self.server.open.append(self)
        self._next()

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        self.server.got += data
        self.got += data
        if self.said is None or not self.said.startswith(b"354") or self.got.endswith(_END):
            self._next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget it."""
        self.server.open.remove(self)

    def _next(self) -> None:
        said = self.said = self.left.pop(0) if self.left else b""
        if said is None or self.got.endswith(b"QUIT\r\n"):
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self.transport.write(said)  # type: ignore[union-attr]


class ScriptedServer(Factory):
    """
    One that listens on an address of this machine.

    :ivar came: how many connections there were.
    :ivar got: all that they have sent.
    :ivar open: the connections that are.
    """

    noisy = False

    def __init__(self, *script: bytes | None) -> None:
        self.script = script
        self.came = 0
        self.got = b""
        self.open: list[Scripted] = []
        self.listening: Any = None

    def buildProtocol(self, addr: object) -> Scripted:
        """Return one for a connection."""
        return Scripted(self)

    def listen(self, address: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; return the port."""
        self.listening = reactor.listenTCP(port, self, interface=address)  # type: ignore[attr-defined]
        return int(self.listening.getHost().port)

    async def stop(self) -> None:
        """Leave everybody."""
        if self.listening is not None:
            await self.listening.stopListening()
        for one in list(self.open):
            one.transport.abortConnection()  # type: ignore[union-attr]


@implementer(IHostnameResolver)
class Hosts:
    """
    Knows some hosts.

    :ivar asked: the names that were asked for.
    """

    def __init__(self, **hosts: list[str]) -> None:
        self._hosts = {name.replace("_", "."): found for name, found in hosts.items()}
        self.asked: list[str] = []

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *_: Any, **__: Any
    ) -> Any:
        """See `IHostnameResolver`."""
        self.asked.append(hostName)
        resolutionReceiver.resolutionBegan(None)
        for one in self._hosts.get(hostName, ()):
            kind = IPv6Address if ":" in one else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", one, portNumber))
        resolutionReceiver.resolutionComplete()
        return None


@contextmanager
def known(hosts: Hosts) -> Iterator[Hosts]:
    """Have the reactor know them and no others, for a while."""
    before = reactor.installNameResolver(hosts)  # type: ignore[attr-defined]
    try:
        yield hosts
    finally:
        reactor.installNameResolver(before)  # type: ignore[attr-defined]
