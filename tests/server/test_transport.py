"""Transports that work at once, alone and nested, and are Twisted's in everything else."""

from __future__ import annotations

import gc
import socket
import weakref
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.server import _nest
from smtpcb.server._direct import DirectReactor
from smtpcb.server._nest import NestedServer
from smtpcb.server._transport import DirectServer

DONE = Failure(ConnectionDone())


class Peer(Protocol):
    """Says when it is connected, has got something, and is gone."""

    transport: Any

    def __init__(self) -> None:
        self.connected_: Deferred[None] = Deferred()
        self.gone: Deferred[Any] = Deferred()
        self.received = b""
        self.fault: Exception | None = None
        self.then: Any = None

    def connectionMade(self) -> None:
        self.connected_.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.then is not None:
            self.then(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(reason.value)
        if self.fault is not None:
            raise self.fault


@implementer(IHalfCloseableProtocol)
class HalfPeer(Peer):
    """One that goes on when the client has said all that it wanted."""

    halves = ""

    def readConnectionLost(self) -> None:
        self.halves += "r"

    def writeConnectionLost(self) -> None:
        self.halves += "w"


class Server:
    """A port of the kind that is tested, and its connections."""

    def __init__(self, nested: bool, kind: type[Peer] = Peer, interface: str = "127.0.0.1"):
        from twisted.internet import reactor

        self.peers: list[Peer] = []
        self.clients: list[socket.socket] = []
        self._kind = kind
        factory = Factory.forProtocol(self._build)
        factory.noisy = False
        self.port: Any = DirectReactor(reactor, nested=nested).listenTCP(
            0, factory, interface=interface
        )

    def _build(self) -> Peer:
        self.peers.append(self._kind())
        return self.peers[-1]

    async def connect(self) -> tuple[Any, socket.socket]:
        number = len(self.peers)
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        client.settimeout(10)
        self.clients.append(client)
        while len(self.peers) == number:
            await turns()
        return self.peers[number], client

    async def stop(self) -> None:
        for client in self.clients:
            client.close()
        for peer in self.peers:
            if not peer.gone.called:
                await peer.gone
        await maybeDeferred(self.port.stopListening)


@pytest.fixture(params=[False, True], ids=["alone", "nested"])
def nested(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest_twisted.async_yield_fixture
async def server(nested: bool) -> Any:
    one = Server(nested)
    yield one
    await one.stop()


@pytest_twisted.async_yield_fixture
async def half(nested: bool) -> Any:
    one = Server(nested, HalfPeer)
    yield one
    await one.stop()


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


async def read(client: socket.socket, octets: int) -> bytes:
    client.setblocking(False)
    got = bytearray()
    while len(got) < octets:
        try:
            got += client.recv(1 << 20)
        except BlockingIOError:
            await turns()
    return bytes(got)


async def received(peer: Peer, octets: bytes) -> None:
    while peer.received != octets:
        await turns()


@pytest_twisted.ensureDeferred
async def test_a_reply_is_there_before_the_reactor_turns(server: Server, nested: bool) -> None:
    """What fits into the socket leaves at once."""
    peer, client = await server.connect()
    assert type(peer.transport) is (NestedServer if nested else DirectServer)
    peer.transport.write(b"220 hello\r\n")
    assert client.recv(100) == b"220 hello\r\n"  # this call blocks the reactor
    peer.transport.writeSequence([b"250 ", b"OK\r\n"])
    assert client.recv(100) == b"250 OK\r\n"
    peer.transport.write(b"")


@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_queued_in_order(server: Server) -> None:
    """A partial send loses nothing, and what is written behind it stays behind it."""
    peer, client = await server.connect()
    transport = peer.transport
    transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    sent = b""
    for number in range(200):
        piece = b"%d\r\n" % number * 2000
        transport.write(piece)
        sent += piece
    assert transport.dataBuffer or transport._tempDataBuffer
    assert await read(client, len(sent)) == sent
    await turns()
    transport.write(b"at once again")
    client.setblocking(True)
    assert client.recv(100) == b"at once again"


@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_and_resumed(server: Server) -> None:
    """Back-pressure is Twisted's: the queue is."""
    peer, client = await server.connect()

    class Producer:
        said: list[str] = []

        def pauseProducing(self) -> None:
            self.said.append("pause")

        def resumeProducing(self) -> None:
            self.said.append("resume")

        def stopProducing(self) -> None:
            self.said.append("stop")

    producer = Producer()
    peer.transport.registerProducer(producer, True)
    peer.transport.write(b"x" * 20_000_000)
    assert producer.said == ["pause"]
    await read(client, 20_000_000)
    await turns()
    assert producer.said == ["pause", "resume"]
    peer.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_gone_is_found_out_by_the_reactor(server: Server) -> None:
    """A send that fails raises nothing; the protocol hears of it in its own way."""
    peer, client = await server.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    for _ in range(3):
        peer.transport.write(b"250 OK\r\n")
    await peer.gone
    peer.transport.write(b"250 nobody there\r\n")


@pytest_twisted.ensureDeferred
async def test_the_last_words_arrive_before_the_end(server: Server) -> None:
    """write, then loseConnection: the client reads all of it, then the end."""
    peer, client = await server.connect()
    peer.transport.write(b"221 bye\r\n")
    peer.transport.loseConnection()
    assert await until_the_end(client) == b"221 bye\r\n"
    assert isinstance(await peer.gone, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_connection_ends_with_the_read_that_ends_it(server: Server) -> None:
    """A QUIT is answered and the connection closed; the protocol's own call is over by then."""
    peer, client = await server.connect()
    told: list[bool] = []

    def leave(data: bytes) -> None:
        peer.transport.write(b"221 bye\r\n")
        peer.transport.loseConnection()
        peer.transport.loseConnection()
        told.append(peer.gone.called)

    peer.then = leave
    client.sendall(b"QUIT\r\n")
    assert await until_the_end(client) == b"221 bye\r\n"
    assert told == [False]
    assert peer.gone.called
    assert peer.transport.disconnected


@pytest_twisted.ensureDeferred
async def test_what_is_written_behind_the_end_still_arrives(server: Server) -> None:
    """As with Twisted: loseConnection waits for what is written before it has happened."""
    peer, client = await server.connect()

    def leave(data: bytes) -> None:
        peer.transport.loseConnection()
        peer.transport.write(b"221 bye\r\n")

    peer.then = leave
    client.sendall(b"QUIT\r\n")
    assert await until_the_end(client) == b"221 bye\r\n"


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_to_be_aborted_is(server: Server) -> None:
    """An abort in the same read as a loseConnection is an abort."""
    peer, client = await server.connect()

    def leave(data: bytes) -> None:
        peer.transport.loseConnection()
        peer.transport.abortConnection()
        peer.transport.abortConnection()
        peer.transport.write(b"not heard")

    peer.then = leave
    client.sendall(b"QUIT\r\n")
    assert isinstance(await peer.gone, ConnectionAborted)
    with pytest.raises(ConnectionResetError):
        client.recv(100)


@pytest_twisted.ensureDeferred
async def test_what_was_said_arrives_before_a_half_close(half: Server) -> None:
    """write, then loseWriteConnection: only then is our side closed, and the client's is not."""
    peer, client = await half.connect()
    peer.transport.write(b"554 no\r\n")
    peer.transport.loseWriteConnection()
    assert await until_the_end(client) == b"554 no\r\n"
    client.setblocking(True)
    client.sendall(b"what?")
    await received(peer, b"what?")
    assert peer.halves == "w"
    peer.transport.write(b"nothing more can be said")
    peer.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_said_all_still_hears(half: Server) -> None:
    """A client that closes its sending side is told the rest, if the protocol wants that."""
    peer, client = await half.connect()
    client.sendall(b"DATA")
    client.shutdown(socket.SHUT_WR)
    while not peer.halves:
        await turns()
    assert peer.received == b"DATA"
    assert not peer.gone.called
    peer.transport.write(b"250 OK\r\n")
    peer.transport.loseConnection()
    assert await until_the_end(client) == b"250 OK\r\n"
    assert isinstance(await peer.gone, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_protocol_without_halves_ends_with_the_client(server: Server) -> None:
    """Without `IHalfCloseableProtocol` a client that closes is gone."""
    peer, client = await server.connect()
    client.close()
    assert isinstance(await peer.gone, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_who_is_not_read_waits(server: Server) -> None:
    """pauseProducing stops the reading, resumeProducing lets it go on; both may come twice."""
    peer, client = await server.connect()
    for _ in range(2):
        peer.transport.pauseProducing()
    client.sendall(b"hello")
    for _ in range(5):
        await turns()
    assert peer.received == b""
    for _ in range(2):
        peer.transport.resumeProducing()
    await received(peer, b"hello")


@pytest_twisted.ensureDeferred
async def test_a_reset_while_only_writing_is_a_loss(server: Server) -> None:
    """What cannot be sent any more is a lost connection, not a client's end."""
    peer, client = await server.connect()
    peer.transport.pauseProducing()
    peer.transport.write(b"x" * 20_000_000)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert isinstance(await peer.gone, ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_a_fault_ends_one_connection_only(
    server: Server, clean_reactor: list[LogEvent], nested: bool
) -> None:
    """An exception out of a protocol is logged and closes its connection; others go on."""
    peer, client = await server.connect()
    other, other_client = await server.connect()

    def fail(data: bytes) -> None:
        raise ArithmeticError("no")

    peer.then = fail
    peer.fault = LookupError("nor at the end")
    client.sendall(b"x")
    assert isinstance(await peer.gone, ArithmeticError)
    other_client.sendall(b"y")
    await received(other, b"y")
    if nested:  # else it is the reactor's to log
        logged = [type(event["log_failure"].value) for event in clean_reactor]
        assert logged == [ArithmeticError, LookupError]
    clean_reactor.clear()


@pytest_twisted.ensureDeferred
async def test_both_addresses_are_those_of_the_socket(nested: bool) -> None:
    """Looked up once a port where all connections have the same, else of each."""
    for interface in ("127.0.0.1", ""):
        server = Server(nested, interface=interface)
        peer, client = await server.connect()
        host, mine = peer.transport.getHost(), peer.transport.getPeer()
        assert (host.host, host.port) == client.getpeername()
        assert (mine.host, mine.port) == client.getsockname()
        assert f"Peer #0 on {server.port.getHost().port}" in repr(peer.transport)
        assert peer.transport.logPrefix() == "Peer,0,127.0.0.1"
        assert peer.transport.getTcpNoDelay()
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_reset_while_reading_is_a_loss(server: Server) -> None:
    """A client that breaks off has not just closed."""
    peer, client = await server.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert isinstance(await peer.gone, ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_one_connection_may_end_another(server: Server) -> None:
    """What has happened to one that is gone by now does not matter any more."""
    (one, first), (other, second) = [await server.connect() for _ in range(2)]
    one.then = lambda data: other.transport.connectionLost(DONE)
    other.then = lambda data: one.transport.connectionLost(DONE)
    first.sendall(b"x")
    second.sendall(b"y")
    while not (one.gone.called or other.gone.called):
        await turns()
    await turns()
    assert one.gone.called != other.gone.called


@pytest_twisted.ensureDeferred
async def test_many_are_served_by_turns(
    server: Server, monkeypatch: pytest.MonkeyPatch, nested: bool
) -> None:
    """More connections than are seen to in one turn: all are, and nobody twice before others."""
    monkeypatch.setattr(_nest, "EVENTS_A_TURN", 3)
    pairs = [await server.connect() for _ in range(10)]
    order: list[int] = []
    for number, (peer, client) in enumerate(pairs):
        peer.then = lambda data, number=number: order.append(number)
        peer.transport.bufferSize = 1
        client.sendall(b"xy")
    while len(order) < 20:
        await turns()
    if nested:
        assert sorted(order[:10]) == list(range(10))


@pytest_twisted.ensureDeferred
async def test_the_end_of_the_reactor_is_the_end_of_all() -> None:
    """What the reactor lets go of lets go of the connections that it stands for."""
    server = Server(True)
    pairs = [await server.connect() for _ in range(3)]
    assert server.port.nest.logPrefix() == "smtpcb"
    server.port.nest.connectionLost(Failure(ConnectionLost()))
    assert [type(await peer.gone) for peer, _ in pairs] == [ConnectionLost] * 3
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_connections_outlive_their_port(server: Server, nested: bool) -> None:
    """A port that is closed takes nobody any more; who is there goes on, then all is closed."""
    peer, client = await server.connect()
    await server.port.stopListening()
    client.sendall(b"still here")
    await received(peer, b"still here")
    client.close()
    await peer.gone
    if nested:
        with pytest.raises(ValueError, match="closed epoll"):
            server.port.nest.fileno()


@pytest_twisted.ensureDeferred
async def test_one_that_nothing_is_awaited_of_outlives_its_port(server: Server) -> None:
    """It goes on when it is read from again: a handler was at work when the port was closed."""
    peer, client = await server.connect()
    peer.transport.pauseProducing()
    await server.port.stopListening()
    client.sendall(b"still here")
    peer.transport.resumeProducing()
    await received(peer, b"still here")


@pytest_twisted.ensureDeferred
async def test_a_finished_connection_is_freed_at_once(server: Server) -> None:
    """Without a garbage collection: nothing refers in a circle."""
    peer, client = await server.connect()
    gc.disable()
    try:
        client.close()
        await peer.gone
        kept = weakref.ref(peer.transport)
        peer.transport = None
        await turns()
        await turns()
        assert kept() is None
    finally:
        gc.enable()
