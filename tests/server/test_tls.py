"""TLS for real, over loopback: what the handler sees, and what a bad handshake comes to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate
from twisted.protocols.tls import TLSMemoryBIOFactory

from smtpcb.engine import Reason, Settings
from smtpcb.server._direct import DirectReactor
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.smtp._limits import Limits
from smtpcb.tls import ServerTls
from tests.certificates import make_authority, make_identity, write_pem
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Recorder

AUTHORITY = make_authority()
SERVER = make_identity(["mx.example.org"], AUTHORITY)
CLIENT = make_identity(["client.example"], AUTHORITY, client=True)


def trust() -> Any:
    return ssl.trustRootFromCertificates(
        [Certificate.loadPEM(AUTHORITY.certificate.public_bytes(_pem()))]
    )


def _pem() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM


class Wire(Protocol):
    """A client that reads replies."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Deferred[Any] = Deferred()
        self._waiting: tuple[bytes, Deferred[bytes]] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self._look()

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)

    def _look(self) -> None:
        if self._waiting is not None and self._waiting[0] in self.heard:
            (ending, found), self._waiting = self._waiting, None
            got, _, self.heard = self.heard.partition(ending)
            found.callback(got + ending)

    def until(self, ending: bytes, send: bytes = b"") -> Deferred[bytes]:
        from twisted.internet import reactor

        found: Deferred[bytes] = Deferred()
        self._waiting = ending, found
        if send:
            self.transport.write(send)
        self._look()
        return found.addTimeout(10, reactor)


class Told(Recorder):
    """Says when the connection is over."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.over: Deferred[None] = Deferred()

    def disconnected(self, reason: Any, connection: Any) -> None:
        super().disconnected(reason, connection)
        self.over.callback(None)


Open = Callable[..., Any]


@pytest.fixture(params=["Twisted's", "direct", "nested"])
def listening(request: pytest.FixtureRequest) -> Any:
    """A reactor that listens with Twisted's own ports, with ours, or with nested ones."""
    from twisted.internet import reactor

    if request.param == "Twisted's":
        return reactor
    return DirectReactor(reactor, nested=request.param == "nested")


@pytest_twisted.async_yield_fixture
async def serve(listening: Any) -> AsyncIterator[Open]:
    """Listen for one connection and connect to it; everything is gone afterwards."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    ports: list[Any] = []
    wires: list[Wire] = []

    async def opened(handler: Any, *, implicit: bool = False, **options: Any) -> Any:
        creator = ServerTls(
            lambda: [SERVER.identity], client_authorities=options.pop("client_authorities", None)
        )
        limits = options.pop("limits", Limits())
        factory: Any = SmtpServerFactory(
            handler, Settings(limits=limits), reactor=reactor, tls=creator
        )
        listener = TLSMemoryBIOFactory(creator, False, factory) if implicit else factory
        port = listening.listenTCP(0, listener, interface="127.0.0.1")
        ports.append(port)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        wire = Wire()
        wires.append(wire)
        if implicit and not options.get("plain"):
            wrapped = TLSMemoryBIOFactory(
                client_options(options.get("certificate")), True, Factory.forProtocol(lambda: wire)
            )
            await endpoint.connect(wrapped)
        else:
            await connectProtocol(endpoint, wire)
        return wire

    yield opened
    for wire in wires:
        if not wire.lost.called:
            wire.transport.abortConnection()
            await wire.lost
    for port in ports:
        await port.stopListening()


async def ask_for_tls(wire: Any) -> None:
    """Say EHLO and STARTTLS in the clear; the handshake is next."""
    await wire.until(b"250 HELP\r\n", HELLO)
    await wire.until(b"Ready to start TLS\r\n", b"STARTTLS\r\n")


def client_options(certificate: Any = None) -> Any:
    pair = None
    if certificate is not None:
        from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

        pem = certificate.private_key.private_bytes(
            _pem(), PrivateFormat.PKCS8, NoEncryption()
        ) + certificate.certificate.public_bytes(_pem())
        pair = ssl.PrivateCertificate.loadPEM(pem)
    return ssl.optionsForClientTLS("mx.example.org", trustRoot=trust(), clientCertificate=pair)


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("implicit", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_handler_sees_what_was_negotiated(serve: Open, implicit: bool) -> None:
    """Version, cipher and server name, after STARTTLS and on a port of its own."""
    handler = Told()
    wire = await serve(handler, implicit=implicit)
    await wire.until(b"220 localhost ESMTP\r\n")
    if not implicit:
        await ask_for_tls(wire)
        wire.transport.startTLS(client_options())
    heard = await wire.until(b"250 HELP\r\n", HELLO)
    assert b"STARTTLS" not in heard
    await wire.until(b"250 2.0.0 Message accepted\r\n", MESSAGE)
    await wire.until(b"221 ", b"QUIT\r\n")
    await handler.over
    ((tls,),) = handler.said("secured")
    assert tls.version == "TLSv1.3"
    assert tls.cipher.startswith("TLS_")
    assert tls.server_name == "mx.example.org"
    assert tls.client_certificate is None
    assert handler.said("disconnected") == [(Reason.QUIT,)]


@pytest_twisted.ensureDeferred
async def test_the_handler_sees_the_clients_certificate(serve: Open, tmp_path: Path) -> None:
    """Where authorities for clients are configured."""
    handler = Told()
    authorities = write_pem(tmp_path / "authorities.pem", AUTHORITY.certificate)
    wire = await serve(
        handler,
        implicit=True,
        client_authorities=authorities,
        certificate=CLIENT,
    )
    await wire.until(b"220 localhost ESMTP\r\n")
    ((tls,),) = handler.said("secured")
    assert tls.client_certificate == CLIENT.der


@pytest_twisted.ensureDeferred
async def test_a_no_in_secured_is_heard_inside_tls(serve: Open) -> None:
    """554 in place of the greeting, and the connection is closed (RFC 3207 §4.1)."""
    handler = Told(secured=lambda tls: False)
    wire = await serve(handler, implicit=True)
    await wire.until(b"554 5.7.0 Security level not sufficient\r\n")
    await wire.lost
    await handler.over


@pytest.mark.parametrize("implicit", [False, True])
@pytest_twisted.ensureDeferred
async def test_garbage_in_place_of_a_handshake(serve: Open, implicit: bool) -> None:
    """It ends the connection; nothing is answered in the clear again (P9)."""
    handler = Told()
    wire = await serve(handler, implicit=implicit, plain=True)
    if not implicit:
        await ask_for_tls(wire)
    wire.transport.write(b"EHLO in.the.clear\r\nNOOP\r\n")
    await wire.lost
    assert b"250" not in wire.heard
    if not implicit:
        await handler.over
        assert handler.said("disconnected") == [(Reason.TLS_FAILED,)]
    else:
        assert handler.names() == []


@pytest.mark.parametrize("implicit", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_client_that_never_shakes_hands(serve: Open, implicit: bool) -> None:
    """It is cut off when the time for it is over (P9)."""
    handler = Told()
    wire = await serve(
        handler, implicit=implicit, plain=True, limits=Limits(handshake_seconds=0.05)
    )
    if not implicit:
        await ask_for_tls(wire)
    await wire.lost
    if not implicit:
        await handler.over
        assert handler.said("disconnected") == [(Reason.TLS_FAILED,)]


@pytest_twisted.ensureDeferred
async def test_commands_behind_starttls_over_a_socket(serve: Open) -> None:
    """554 in the clear, and the connection is closed (P7)."""
    handler = Told()
    wire = await serve(handler)
    await wire.until(b"250 HELP\r\n", HELLO)
    await wire.until(b"554 5.5.1 Data behind STARTTLS\r\n", b"STARTTLS\r\nNOOP\r\n")
    wire.transport.loseConnection()
    await wire.lost
    await handler.over
    assert handler.said("disconnected") == [(Reason.INJECTED,)]


@pytest_twisted.ensureDeferred
async def test_replies_waiting_when_tls_begins(serve: Open) -> None:
    """Many replies may be waiting to be read when STARTTLS comes: the handshake goes on."""
    handler = Told()
    wire = await serve(handler, limits=Limits(idle_commands=None))
    wire.transport.pauseProducing()
    wire.transport.write(HELLO + b"NOOP\r\n" * 20_000)
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0.1)
    wire.transport.write(b"STARTTLS\r\n")
    wire.transport.resumeProducing()
    await wire.until(b"Ready to start TLS\r\n")
    wire.transport.startTLS(client_options())
    await wire.until(b"250 HELP\r\n", HELLO)
    await wire.until(b"221 ", b"QUIT\r\n")
    await handler.over


@pytest.mark.parametrize("how", ["garbage", "end", "reset"])
@pytest.mark.parametrize("by", ["DATA", "BDAT"])
@pytest.mark.parametrize("implicit", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_message_that_is_cut_off_inside_tls(
    serve: Open, how: str, by: str, *, implicit: bool
) -> None:
    """An end without close_notify, or what is no TLS, is as a reset: there is no message (P38)."""
    handler = Told()
    wire = await serve(handler, implicit=implicit)
    await wire.until(b"220 localhost ESMTP\r\n")
    if not implicit:
        await ask_for_tls(wire)
        wire.transport.startTLS(client_options())
    await wire.until(b"250 HELP\r\n", HELLO)
    if by == "DATA":
        await wire.until(b"354 ", MAIL + RCPT + b"DATA\r\n")
        wire.transport.write(b"Subject: half\r\n\r\nof it\r\n")
    else:
        # One chunk is whole, and of the last one an octet is missing.
        chunk = MAIL + RCPT + b"BDAT 9\r\nA: half\r\n"
        await wire.until(b"250 2.0.0", chunk)
        wire.transport.write(b"BDAT 8 LAST\r\n\r\nof it")
    beneath = wire.transport
    while not hasattr(beneath, "socket"):
        beneath = beneath.transport
    if how == "garbage":
        beneath.socket.send(b"\r\n.\r\nQUIT\r\n")
    elif how == "reset":
        beneath.abortConnection()
    else:
        beneath.socket.shutdown(socket.SHUT_WR)
    await handler.over
    assert not handler.said("message")
    assert len(handler.said("aborted")) == 1


@pytest_twisted.ensureDeferred
async def test_one_too_many_on_a_port_of_its_own(serve: Open) -> None:
    """Nothing can be said before a handshake, so none is waited for: it is cut off (P32)."""
    handler = Recorder()
    wire = await serve(handler, implicit=True, plain=True, limits=Limits(connections=0))
    await wire.lost
    assert wire.heard == b""
    assert handler.names() == []
