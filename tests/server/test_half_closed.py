"""
Clients that have said all they had to say and wait for the rest; and ends that keep nobody waiting.

Over sockets, in the clear and inside TLS, on Twisted's transport and on ours.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.task import deferLater

from smtpcb.engine import Reason, Settings
from smtpcb.server import SmtpServerFactory, SmtpService
from smtpcb.smtp import Limits
from smtpcb.tls import ServerTls
from tests.certificates import make_identity, unchecked
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Recorder

ISSUED = make_identity(["mx.example.org"])
CHUNKED = MAIL + RCPT + b"BDAT 6 LAST\r\nA: b\r\nQUIT\r\n"


def turns(seconds: float = 0.001) -> Deferred[None]:
    from twisted.internet import reactor

    return deferLater(reactor, seconds, lambda: None)


class Slow(Recorder):
    """Each decision takes some turns of the reactor."""

    def __init__(self, seconds: float = 0.02) -> None:
        super().__init__()
        self.over: Deferred[Any] = Deferred()
        self.seconds = seconds

    async def rcpt(self, recipient: Any, envelope: Any) -> None:
        await turns(self.seconds)

    async def message(self, envelope: Any) -> None:
        await turns(self.seconds)
        super().message(envelope)

    def disconnected(self, reason: Any, connection: Any) -> None:
        super().disconnected(reason, connection)
        self.over.callback(reason)


class Peer:
    """A client on a socket of its own; nothing in it blocks."""

    def __init__(self, port: int) -> None:
        self.socket: Any = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.heard = b""

    async def patiently(self, step: Callable[[], Any]) -> Any:
        for _ in range(5000):
            try:
                return step()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                await turns()
        raise TimeoutError

    async def until(self, ending: bytes, send: bytes = b"") -> None:
        if send:
            await self.patiently(lambda: self.socket.send(send))
        while ending not in self.heard:
            got = await self.patiently(lambda: self.socket.recv(65536))
            if not got:
                raise EOFError(self.heard)
            self.heard += got
        self.heard = self.heard.partition(ending)[2]

    async def rest(self) -> bytes:
        """Everything up to the end."""
        while got := await self.patiently(lambda: self.socket.recv(65536)):
            self.heard += got
        return self.heard


class SecurePeer(Peer):
    """
    The same inside TLS, by hand: Python's own sockets close both ways at once.
    """

    def begin(self, version: ssl.TLSVersion) -> None:
        context = unchecked()
        context.minimum_version = context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.raw = self.socket
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.socket = self

    def step(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        finally:
            while self.outgoing.pending:
                self.raw.setblocking(True)
                self.raw.sendall(self.outgoing.read())
                self.raw.setblocking(False)

    def fill(self) -> None:
        got = self.raw.recv(65536)
        if got:
            self.incoming.write(got)
        else:
            self.incoming.write_eof()

    def shake_hands(self) -> None:
        self._act(self.tls.do_handshake)

    def send(self, octets: bytes) -> int:
        return self.step(lambda: self.tls.write(octets))

    def recv(self, size: int) -> bytes:
        try:
            return self._act(lambda: self.tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def _act(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return self.step(act)
            except ssl.SSLWantReadError:
                self.fill()

    def close_notify(self) -> None:
        """Say that nothing more will come, and go on reading."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.step(self.tls.unwrap)

    def close(self) -> None:
        self.raw.close()


class Listening:
    """A service with a port in the clear and one that begins with TLS."""

    def __init__(self, handler: Any, *, direct: bool, **limits: Any) -> None:
        from twisted.internet import reactor

        creator = ServerTls(lambda: [ISSUED.identity])
        factory = SmtpServerFactory(
            handler, Settings(limits=Limits(**limits)), reactor=reactor, tls=creator
        )
        clear, inside = (TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1") for _ in range(2))
        self.service = SmtpService([clear, wrapServerTLS(creator, inside)], factory, direct=direct)
        self.service.startService()
        self.ports: list[Any] = [port.getHost().port for port in self.service.ports]


Open = Callable[..., Listening]


@pytest.fixture(params=[True, False], ids=["direct", "Twisted's"])
def direct(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest_twisted.async_yield_fixture
async def listen(direct: bool) -> AsyncIterator[Open]:
    there: list[Listening] = []

    def opened(handler: Any, **limits: Any) -> Listening:
        there.append(Listening(handler, direct=direct, **limits))
        return there[-1]

    yield opened
    for one in there:
        one.service.cut()
        await one.service.stopService()


def inside(how: str, direct: bool) -> None:
    """Leave out the layer that Twisted puts on a connection of its own."""
    if how == "starttls" and not direct:
        pytest.skip("Twisted's own layer ends both sides at once")


async def connected(
    listening: Listening, how: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Any:
    """Connect, up to the reply to EHLO."""
    if how == "clear":
        peer: Any = Peer(listening.ports[0])
        await peer.until(b"220 localhost ESMTP\r\n")
    else:
        peer = SecurePeer(listening.ports[how == "implicit"])
        if how == "starttls":
            await peer.until(b"220 localhost ESMTP\r\n")
            await peer.until(b"HELP\r\n", HELLO)
            await peer.until(b"Ready to start TLS\r\n", b"STARTTLS\r\n")
        peer.begin(version)
        await peer.patiently(peer.shake_hands)
        if how == "implicit":
            await peer.until(b"220 localhost ESMTP\r\n")
    await peer.until(b"250 HELP\r\n", HELLO)
    return peer


@pytest_twisted.ensureDeferred
async def test_a_client_that_closes_its_side_hears_everything(listen: Open) -> None:
    """In the clear: it pipelines all it has, shuts down its side, and reads (Exim does)."""
    handler = Slow()
    peer = await connected(listen(handler), "clear")
    peer.socket.send(CHUNKED)
    peer.socket.shutdown(socket.SHUT_WR)
    heard = await peer.rest()
    assert [line[:3] for line in heard.splitlines()] == [b"250", b"250", b"250", b"221"]
    assert await handler.over is Reason.QUIT
    assert len(handler.said("message")) == 1
    peer.socket.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["starttls", "implicit"])
@pytest.mark.parametrize("tcp_too", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_close_notify_ends_only_one_side(
    tcp_too: bool, how: str, version: ssl.TLSVersion, direct: bool, listen: Open
) -> None:
    """Inside TLS likewise, also where TCP's side is closed behind it (RFC 8446 §6.1)."""
    inside(how, direct)
    handler = Slow()
    peer = await connected(listen(handler), how, version)
    peer.send(CHUNKED)
    peer.close_notify()
    if tcp_too:
        peer.raw.shutdown(socket.SHUT_WR)
    assert await handler.over is Reason.QUIT
    assert len(handler.said("message")) == 1
    if version is ssl.TLSVersion.TLSv1_3:
        heard = await peer.rest()
        assert [line[:3] for line in heard.splitlines()] == [b"250", b"250", b"250", b"221"]
    peer.close()


@pytest.mark.parametrize("how", ["clear", "starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_without_quit_it_is_over_when_all_is_said(
    how: str, direct: bool, listen: Open
) -> None:
    """And the transaction that it has begun is none."""
    inside(how, direct)
    handler = Slow()
    peer = await connected(listen(handler), how)
    peer.socket.send(MESSAGE + MAIL + RCPT)
    if how == "clear":
        peer.socket.shutdown(socket.SHUT_WR)
    else:
        peer.close_notify()
    assert await handler.over is Reason.DISCONNECTED
    assert len(handler.said("message")) == 1
    assert handler.said("aborted")[0][0] is Reason.DISCONNECTED
    heard = await peer.rest()
    assert heard.count(b"250 ") == 5
    peer.socket.close()


@pytest.mark.parametrize("how", ["clear", "starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_each_decision_keeps_its_time(how: str, direct: bool, listen: Open) -> None:
    """A handler that never answers keeps a half-closed client no longer than others."""
    inside(how, direct)
    handler = Slow(seconds=3600)
    peer = await connected(listen(handler, decision_seconds=0.05), how)
    peer.socket.send(MAIL + RCPT + b"QUIT\r\n")
    if how == "clear":
        peer.socket.shutdown(socket.SHUT_WR)
    else:
        peer.close_notify()
    heard = await peer.rest()
    assert [line[:3] for line in heard.splitlines()] == [b"250", b"451", b"221"]
    await handler.over
    peer.socket.close()


@pytest.mark.parametrize("how", ["starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_without_close_notify_it_is_cut_off(how: str, listen: Open) -> None:
    """Inside TLS a bare end of TCP may be anybody's doing: no decision is waited for (P38)."""
    handler = Slow(seconds=3600)
    peer = await connected(listen(handler), how)
    peer.send(MAIL + RCPT)
    await turns(0.05)
    peer.raw.shutdown(socket.SHUT_WR)
    assert await handler.over is Reason.DISCONNECTED
    peer.close()


@pytest.mark.parametrize("how", ["clear", "starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_one_that_has_gone_altogether_keeps_its_message(how: str, listen: Open) -> None:
    """It was complete, so it is kept; everything else is called off."""
    handler = Slow()
    peer = await connected(listen(handler), how)
    await peer.until(b"354 ", MAIL + RCPT + b"DATA\r\n")
    peer.socket.send(b"A: b\r\n.\r\n")
    if how != "clear":
        peer.close_notify()
    peer.socket.close()
    await handler.over
    assert len(handler.said("message")) == 1


@pytest.mark.parametrize("how", ["clear", "starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_a_handler_may_cut_the_service_from_within(
    how: str, listen: Open, clean_reactor: list[Any]
) -> None:
    """The last thing it is told may be the last there is."""
    handler = Slow()
    listening = listen(handler)
    told = handler.disconnected

    def disconnected(reason: Any, connection: Any) -> None:
        listening.service.cut()
        told(reason, connection)

    handler.disconnected = disconnected
    peer = await connected(listening, how)
    await peer.until(b"354 ", MAIL + RCPT + b"DATA\r\n")
    peer.socket.send(b"A: b\r\n.\r\n")
    peer.socket.close()
    await handler.over
    await listening.service.stopService()
    assert not clean_reactor


@pytest.mark.parametrize("how", ["clear", "starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_an_idle_client_does_not_keep_a_server_that_stops(
    how: str, listen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears 421, and nobody waits for it to go, nor for its close_notify."""
    # Who waited would do so for longer than a test may take.
    monkeypatch.setattr("smtpcb.server._protocol.LINGER_SECONDS", 3600)
    handler = Slow()
    listening = listen(handler, grace_seconds=3600)
    peer = await connected(listening, how)
    await listening.service.stopService()
    assert handler.over.called
    assert (await peer.rest()).startswith(b"421 4.3.2 ")
    peer.socket.close()


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_more_to_say_can_read_why_we_go(listen: Open) -> None:
    """A close with input unread resets the connection: ours waits until it has gone."""
    listening = listen(Slow())
    peer = await connected(listening, "clear")
    peer.socket.send(b"NOOP\r\n" * 100_00)
    stopped = listening.service.stopService()
    assert b"421 4.3.2 " in await peer.rest()
    peer.socket.close()
    await stopped
