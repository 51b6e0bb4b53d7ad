"""A transport that writes at once, and is Twisted's in everything else."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from smtpcb.server import _port as ports
from smtpcb.server import _transport as direct


class Peer(Protocol):
    """Says when it is connected, has got something, and is gone."""

    def __init__(self) -> None:
        self.connected_: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.received = b""

    def connectionMade(self) -> None:
        self.connected_.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(None)


async def pair() -> tuple[Peer, socket.socket, Any]:
    """Connect a plain socket to a direct port."""
    from twisted.internet import reactor

    peer = Peer()
    factory = Factory.forProtocol(lambda: peer)
    factory.noisy = False
    endpoint = serverFromString(
        ports.DirectReactor(reactor),
        "tcp:0:interface=127.0.0.1",  # type: ignore[arg-type]
    )
    port = await endpoint.listen(factory)
    client = socket.create_connection(("127.0.0.1", port.getHost().port))
    client.settimeout(10)
    await peer.connected_
    return peer, client, port


async def end(peer: Peer, client: socket.socket, port: Any) -> None:
    client.close()
    if not peer.gone.called:
        await peer.gone
    await port.stopListening()


def turns() -> Deferred[None]:
    from twisted.internet import reactor

    return deferLater(reactor, 0.001, lambda: None)


async def until_the_end(client: socket.socket) -> bytes:
    """Read until the server closes its side, without keeping it from that."""
    client.setblocking(False)
    got = b""
    while True:
        try:
            piece = client.recv(65536)
        except BlockingIOError:
            await turns()
        else:
            if not piece:
                return got
            got += piece


def test_this_twisted_has_what_it_looks_at() -> None:
    """With another one `twistd smtpcb` falls back to plain writes; here it must not."""
    assert ports.is_supported()


def test_another_twisted_is_told_from_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that is gone is seen before a client is."""
    monkeypatch.delattr(tcp.Port, "transport")
    assert not ports.is_supported()


@pytest_twisted.ensureDeferred
async def test_a_reply_is_there_before_the_reactor_turns() -> None:
    """What fits into the socket leaves at once."""
    peer, client, port = await pair()
    assert isinstance(peer.transport, direct.DirectServer)
    peer.transport.write(b"220 hello\r\n")
    assert client.recv(100) == b"220 hello\r\n"  # this call blocks the reactor
    peer.transport.write(b"")
    await end(peer, client, port)


@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_queued_in_order() -> None:
    """A partial send loses nothing, and what is written behind it stays behind it."""
    peer, client, port = await pair()
    transport: Any = peer.transport
    transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    sent = b""
    for number in range(200):
        piece = b"%d\r\n" % number * 2000
        transport.write(piece)
        sent += piece
    assert transport.dataBuffer or transport._tempDataBuffer
    got = bytearray()
    client.setblocking(False)
    while len(got) < len(sent):
        try:
            got += client.recv(65536)
        except BlockingIOError:
            await turns()
    assert bytes(got) == sent
    await end(peer, client, port)


@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_and_resumed() -> None:
    """Back-pressure is Twisted's: the queue is."""
    peer, client, port = await pair()

    class Producer:
        said: list[str] = []

        def pauseProducing(self) -> None:
            self.said.append("pause")

        def resumeProducing(self) -> None:
            self.said.append("resume")

        def stopProducing(self) -> None:
            self.said.append("stop")

    producer = Producer()
    transport: Any = peer.transport
    transport.registerProducer(producer, True)
    size = 20_000_000
    transport.write(b"x" * size)
    assert producer.said == ["pause"]
    client.setblocking(False)
    got = 0
    while got < size:
        try:
            got += len(client.recv(1 << 20))
        except BlockingIOError:
            await turns()
    await turns()
    assert producer.said == ["pause", "resume"]
    transport.unregisterProducer()
    await end(peer, client, port)


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_gone_is_found_out_by_the_reactor() -> None:
    """A send that fails raises nothing; the protocol hears of it in its own way."""
    peer, client, port = await pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    for _ in range(3):
        peer.transport.write(b"250 OK\r\n")
    await peer.gone
    peer.transport.write(b"250 nobody there\r\n")
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_the_last_words_arrive_before_the_end() -> None:
    """write, then loseConnection: the client reads all of it, then the end."""
    peer, client, port = await pair()
    transport: Any = peer.transport
    transport.write(b"221 bye\r\n")
    transport.loseConnection()
    assert await until_the_end(client) == b"221 bye\r\n"
    await end(peer, client, port)


@pytest_twisted.ensureDeferred
async def test_what_was_said_arrives_before_a_half_close() -> None:
    """write, then loseWriteConnection: only then is our side closed."""
    peer, client, port = await pair()
    transport: Any = peer.transport
    transport.write(b"554 no\r\n")
    transport.loseWriteConnection()
    assert await until_the_end(client) == b"554 no\r\n"
    await end(peer, client, port)


def test_what_is_not_listening_is_the_reactors() -> None:
    """The rest of a reactor is reached through it."""
    from twisted.internet import reactor

    assert ports.DirectReactor(reactor).seconds == reactor.seconds  # type: ignore[attr-defined]
