"""TLS on connections that work at once: octets, flow, ends, and nothing left behind."""

from __future__ import annotations

import gc
import socket
import ssl
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from OpenSSL.SSL import Error, WantReadError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from zope.interface import implementer

from smtpcb.tls import ServerTls, load_pem
from tests.certificates import make_identity, unchecked, write_pem
from tests.server.test_transport import Peer, Server, turns

ISSUED = make_identity(["mx.example.org"])
BIG = bytes(range(256)) * 4096


@implementer(IHandshakeListener)
class Secured(Peer):
    """Begins TLS when it is told to; closes when the client has."""

    shaken = False

    def handshakeCompleted(self) -> None:
        self.shaken = True


@pytest.fixture(params=[False, True], ids=["alone", "nested"])
def nested(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest_twisted.async_yield_fixture
async def server(nested: bool) -> Any:
    one = Server(nested, Secured)
    yield one
    await one.stop()


@pytest.fixture
def creator(tmp_path: Path) -> ServerTls:
    certificate = write_pem(tmp_path / "c.pem", *ISSUED.chain)
    key = write_pem(tmp_path / "k.pem", ISSUED.private_key)
    return ServerTls(lambda: [load_pem(certificate, key)])


async def patiently(step: Callable[[], Any]) -> Any:
    """Do something with a socket that does not block, once it can be done."""
    while True:
        try:
            return step()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            await turns()


async def shake_hands(client: socket.socket) -> ssl.SSLSocket:
    client.setblocking(False)
    secure = unchecked().wrap_socket(client, do_handshake_on_connect=False)
    await patiently(secure.do_handshake)
    return secure


async def receive(client: ssl.SSLSocket, octets: int) -> bytes:
    got = b""
    while len(got) < octets:
        got += await patiently(lambda: client.recv(1 << 16))
    return got


async def secured(server: Server, creator: ServerTls) -> tuple[Any, ssl.SSLSocket]:
    peer, client = await server.connect()
    peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    peer.transport.startTLS(creator)
    secure = await shake_hands(client)
    server.clients.append(secure)
    while not peer.shaken:
        await turns()
    return peer, secure


@pytest_twisted.ensureDeferred
async def test_both_sides_hear_each_other(server: Server, creator: ServerTls) -> None:
    """The protocol is told of the handshake, and its transport says that it is TLS."""
    peer, client = await secured(server, creator)
    assert ISSLTransport.providedBy(peer.transport)
    assert peer.transport.getHandle().get_protocol_version_name() == client.version()
    assert peer.transport.getPeerCertificate() is None
    peer.then = lambda data: peer.transport.writeSequence([b"250 ", data])
    await patiently(lambda: client.send(b"hello"))
    assert await receive(client, 9) == b"250 hello"
    peer.transport.write(b"unasked")
    assert await receive(client, 7) == b"unasked"


@pytest_twisted.ensureDeferred
async def test_what_is_long_arrives_whole(server: Server, creator: ServerTls) -> None:
    """Many records both ways, also written in a read; the producer is told to wait."""
    peer, client = await secured(server, creator)
    said: list[str] = []

    class Producer:
        def pauseProducing(self) -> None:
            said.append("pause")

        def resumeProducing(self) -> None:
            said.append("resume")

        def stopProducing(self) -> None:
            said.append("stop")

    peer.transport.registerProducer(Producer(), True)
    peer.then = lambda data: peer.transport.write(BIG) if data == b"go" else None
    await patiently(lambda: client.send(b"go"))
    peer.received = b""
    while "pause" not in said:
        await turns()
    assert await receive(client, len(BIG)) == BIG
    while said[-1] != "resume":
        await turns()
    peer.received = b""
    left = memoryview(BIG)
    while left:
        left = left[await patiently(partial(client.send, left[:65536])) :]
    while len(peer.received) < len(BIG):
        await turns()
    assert peer.received == BIG
    peer.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_a_producer_from_before_stays_one(server: Server, creator: ServerTls) -> None:
    """Who has been registered in the clear is told to wait inside TLS as well."""
    peer, client = await server.connect()

    class Producer:
        paused = 0

        def pauseProducing(self) -> None:
            self.paused += 1

        def resumeProducing(self) -> None: ...

        def stopProducing(self) -> None: ...

    producer = Producer()
    peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    peer.transport.registerProducer(producer, True)
    peer.transport.startTLS(creator)
    secure = await shake_hands(client)
    server.clients.append(secure)
    peer.transport.write(BIG * 2)
    assert producer.paused
    assert await receive(secure, 2 * len(BIG)) == BIG * 2
    peer.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_what_is_said_before_the_handshake_waits_for_it(
    server: Server, creator: ServerTls
) -> None:
    """Nothing leaves in the clear once TLS has begun."""
    peer, client = await server.connect()
    peer.transport.startTLS(creator)
    peer.transport.write(b"secret")
    secure = await shake_hands(client)
    server.clients.append(secure)
    assert await receive(secure, 6) == b"secret"


@pytest_twisted.ensureDeferred
async def test_the_last_words_and_the_end_are_told(server: Server, creator: ServerTls) -> None:
    """A QUIT inside TLS: the reply, then close_notify, then the end of the connection."""
    peer, client = await secured(server, creator)

    def leave(data: bytes) -> None:
        peer.transport.write(b"221 bye\r\n")
        peer.transport.loseConnection()

    peer.then = leave
    await patiently(lambda: client.send(b"QUIT\r\n"))
    assert await receive(client, 9) == b"221 bye\r\n"
    assert await patiently(lambda: client.recv(100)) == b""  # an error without close_notify
    server.clients.append(await patiently(client.unwrap))
    assert isinstance(await peer.gone, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_politely_is_done(server: Server, creator: ServerTls) -> None:
    """close_notify of the client's ends the connection."""
    peer, client = await secured(server, creator)
    await patiently(lambda: client.send(b"last"))
    raw = await patiently(client.unwrap)
    server.clients.append(raw)
    assert isinstance(await peer.gone, ConnectionDone)
    assert peer.received == b"last"


@pytest_twisted.ensureDeferred
async def test_a_client_that_just_goes_is_lost(server: Server, creator: ServerTls) -> None:
    """Without close_notify it may have been cut off by anybody."""
    peer, client = await secured(server, creator)
    client.close()
    assert isinstance(await peer.gone, (ConnectionLost, ConnectionDone))


@pytest_twisted.ensureDeferred
async def test_what_is_no_tls_is_said_to_be_none(server: Server, creator: ServerTls) -> None:
    """A client that goes on in the clear: the reason is OpenSSL's."""
    peer, client = await server.connect()
    peer.transport.startTLS(creator)
    client.sendall(b"EHLO what?\r\n")
    assert isinstance(await peer.gone, Error)


@pytest_twisted.ensureDeferred
async def test_octets_that_are_damaged_end_it(server: Server, creator: ServerTls) -> None:
    """What cannot be decrypted is not handed on."""
    peer, client = await secured(server, creator)
    raw = socket.socket(fileno=client.detach())
    raw.settimeout(10)
    server.clients.append(raw)
    raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert isinstance(await peer.gone, Error)
    assert peer.received == b""


@pytest_twisted.ensureDeferred
async def test_an_abort_says_nothing_more(server: Server, creator: ServerTls) -> None:
    """What is aborted is gone, with octets of the client's unread."""
    peer, client = await secured(server, creator)
    peer.then = lambda data: peer.transport.abortConnection()
    await patiently(lambda: client.send(b"x"))
    await peer.gone
    peer.transport.write(b"to nobody")


class Refusing:
    """A connection of OpenSSL's that takes nothing, once."""

    def __init__(self, layer: Any, error: Exception) -> None:
        self._real = layer._tlsConnection
        self._layer = layer
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def send(self, octets: bytes) -> int:
        self._layer._tlsConnection = self._real
        raise self._error


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_sent_yet_is_sent_later(server: Server, creator: ServerTls) -> None:
    """TLS may have to read before it can write: nothing is lost by that."""
    peer, client = await secured(server, creator)
    layer = peer.transport.protocol

    def answer(data: bytes) -> None:
        if peer.received == data:
            layer._tlsConnection = Refusing(layer, WantReadError())
        peer.transport.write(data)

    peer.then = answer
    await patiently(lambda: client.send(b"one "))
    await turns()
    await patiently(lambda: client.send(b"two"))
    assert await receive(client, 7) == b"one two"


@pytest_twisted.ensureDeferred
async def test_a_fault_in_writing_ends_the_connection(server: Server, creator: ServerTls) -> None:
    """And the reason says what has happened."""
    peer, client = await secured(server, creator)
    layer = peer.transport.protocol

    def answer(data: bytes) -> None:
        layer._tlsConnection = Refusing(layer, Error([("SSL routines", "", "bad write")]))
        peer.transport.write(data)

    peer.then = answer
    await patiently(lambda: client.send(b"x"))
    reason = await peer.gone
    assert isinstance(reason, Error)
    assert reason.args[0][-1][2] == "bad write"


@pytest_twisted.ensureDeferred
async def test_we_are_the_server(server: Server, creator: ServerTls) -> None:
    """TLS the other way round is refused before anything is changed."""
    peer, _ = await server.connect()
    with pytest.raises(ValueError, match="is the server of its TLS"):
        peer.transport.startTLS(creator, False)
    assert not ISSLTransport.providedBy(peer.transport)


@pytest_twisted.ensureDeferred
async def test_a_finished_connection_is_freed_at_once(server: Server, creator: ServerTls) -> None:
    """Without a garbage collection: the layer and the connection let go of each other."""
    peer, client = await secured(server, creator)
    gc.collect()
    gc.disable()
    try:
        raw = await patiently(client.unwrap)
        server.clients.append(raw)
        await peer.gone
        kept = weakref.ref(peer.transport)
        peer.transport = None
        await turns()
        await turns()
        assert kept() is None
    finally:
        gc.enable()
