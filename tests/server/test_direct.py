"""Which ports work at once: of descriptions, of endpoints, of shared sockets; and which cannot."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOProtocol

from smtpcb.server import _direct as direct
from smtpcb.server._direct import DirectReactor, SharingReactor, at_once
from smtpcb.server._nest import NestedServer
from smtpcb.server._port import DirectPort
from smtpcb.server._transport import DirectServer

FACTORY = Factory.forProtocol(Protocol)
FACTORY.noisy = False


def installed() -> Any:
    from twisted.internet import reactor

    return reactor


def listen(endpoint: Any) -> Any:
    port: Any = None

    def opened(one: Any) -> None:
        nonlocal port
        port = one

    endpoint.listen(FACTORY).addCallback(opened)
    port.stopListening()
    return port


def test_this_twisted_has_what_is_looked_at() -> None:
    """With another one a server falls back to plain writes; here it must not."""
    assert direct.is_supported()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (tcp.Port, "transport"),
        (tcp.Server, "_writeDisconnecting"),
        (TLSMemoryBIOProtocol, "_flushSendBIO"),
    ],
)
def test_another_twisted_is_told_from_this_one(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str
) -> None:
    """An attribute that is gone is seen before a client is, and Twisted's own ports are used."""
    owner = next(one for one in kind.__mro__ if name in vars(one))
    monkeypatch.delattr(owner, name)
    assert not direct.is_supported()
    endpoint = TCP4ServerEndpoint(installed(), 0)
    assert at_once(endpoint, installed()) is endpoint
    assert at_once("tcp:0", installed())._reactor is installed()


@pytest.mark.parametrize("text", ["tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1"])
def test_a_description_of_tcp_works_at_once(text: str) -> None:
    """`tcp:` and `tcp6:` alike."""
    port = listen(at_once(text, installed()))
    assert type(port) is DirectPort
    assert port.transport is NestedServer


def test_an_endpoint_of_tcp_works_at_once_and_its_owners_is_as_it_was() -> None:
    """What an application has made is copied, not changed."""
    for endpoint in (
        TCP4ServerEndpoint(installed(), 0, interface="127.0.0.1"),
        TCP6ServerEndpoint(installed(), 0, interface="::1"),
    ):
        assert type(listen(at_once(endpoint, installed()))) is DirectPort
        assert type(listen(endpoint)) is tcp.Port


def test_other_endpoints_stay_what_they_are() -> None:
    """UNIX sockets, and reactors that are not Twisted's own: tests have such."""
    for endpoint in (
        UNIXServerEndpoint(installed(), "/nowhere"),
        TCP4ServerEndpoint(MemoryReactorClock(), 25),
        object(),
    ):
        assert at_once(endpoint, installed()) is endpoint


def test_a_description_that_means_nothing_is_refused() -> None:
    """As `serverFromString` does."""
    with pytest.raises(ValueError, match="Unknown endpoint type"):
        at_once("tpc:25", installed())


def test_without_epoll_each_connection_is_the_reactors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no descriptor for many, they are watched one by one."""
    monkeypatch.delattr(select, "epoll")
    assert not direct.can_nest()
    port: Any = DirectReactor(installed()).listenTCP(0, FACTORY, interface="127.0.0.1")
    assert port.transport is DirectServer
    port.stopListening()


@pytest.mark.parametrize(
    ("options", "transport"),
    [
        ({"direct": False}, tcp.Server),
        ({"direct": True}, NestedServer),
        ({"direct": True, "nested": False}, DirectServer),
    ],
)
def test_a_shared_socket_works_at_once_too(options: Any, transport: type) -> None:
    """One that another process has opened, and that is not shut down for others."""
    with socket.create_server(("127.0.0.1", 0)) as shared:
        shared.setblocking(False)
        port: Any = SharingReactor(installed(), **options).adoptStreamPort(
            shared.fileno(), shared.family, FACTORY
        )
        assert port.transport is transport
        assert port.accepts == 1
        assert port.getHost().port == shared.getsockname()[1]
        port.stopListening()


def test_what_is_not_listening_is_the_reactors() -> None:
    """The rest of a reactor is reached through it."""
    assert DirectReactor(installed()).seconds == installed().seconds


ECHO = """
import socket, sys, threading
from twisted.internet import {module}
{module}.install()
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from smtpcb.server._direct import DirectReactor

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)
        if data.endswith(b"."):
            self.transport.loseConnection()

factory = Factory.forProtocol(Echo)
factory.noisy = False
port = DirectReactor(reactor).listenTCP(0, factory, interface="127.0.0.1")
number = port.getHost().port

def talk(octets):
    with socket.create_connection(("127.0.0.1", number)) as client:
        client.settimeout(20)
        client.sendall(octets)
        got = b""
        while piece := client.recv(65536):
            got += piece
        return got == octets

def clients():
    good = [talk(b"x" * size + b".") for size in (1, 1000, 3_000_000)]
    print(type(reactor).__name__, port.transport.__name__, good)
    reactor.callFromThread(reactor.stop)

reactor.callInThread(clients)
reactor.run()
"""


@pytest.mark.parametrize("module", ["epollreactor", "pollreactor", "selectreactor"])
def test_every_reactor_can_watch_a_nest(module: str) -> None:
    """A descriptor that stands for many is one as any other."""
    assert_echoes(ECHO.format(module=module))


def test_the_asyncio_reactor_can_watch_a_nest() -> None:
    """The loop of asyncio watches it too."""
    assert_echoes(ECHO.format(module="asyncioreactor"))


def assert_echoes(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "NestedServer [True, True, True]" in done.stdout, done.stdout + done.stderr
