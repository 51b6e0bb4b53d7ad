"""Behind a balancer: what is decided about the real client, and when."""

from __future__ import annotations

import os
import socket
import ssl as standard_ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import succeed
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, eventAsText
from zope.interface import implementer

from smtpcb import SmtpServerFactory, SmtpService, TranscriptFolder, TranscriptSettings
from smtpcb.engine import ProxyTls, Reason, Settings
from smtpcb.server._preface import HEADER_SECONDS, PrefaceFactory
from smtpcb.server._protocol import SmtpServerProtocol
from smtpcb.smtp import Limits
from smtpcb.smtp._networks import Networks
from smtpcb.tls import ServerTls
from smtpcb.transcript._replay import load
from tests.certificates import make_authority, make_identity, unchecked
from tests.server.client import HELLO, MESSAGE, Client, Recorder, Secure, Transport, pieces

from .test_proxy import BAD, CLIENT, GOOD, INET, UNIX, v2, value

BALANCER = IPv4Address("TCP", "10.0.0.1", 40000)
HEADER = GOOD["v1 IPv4"][0]
LOCAL = GOOD["v2 local"][0]


def header(host: str, port: int = 51234) -> bytes:
    """Write the header of a client."""
    return f"PROXY TCP4 {host} 198.51.100.25 {port} 25\r\n".encode()


class Behind(Client):
    """A connection of a balancer."""

    def __init__(self, prefaces: PrefaceFactory, clock: Clock, address: Any = BALANCER) -> None:
        transport = Transport()
        super().__init__(
            factory=prefaces,  # type: ignore[arg-type]  # it makes protocols too
            clock=clock,
            transport=transport,
            address=address,
        )
        self.factory = prefaces.doorway.server

    @property
    def protocol(self) -> Any:
        """Who has the transport now."""
        return self.transport.protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self.transport.protocol = protocol


class Balanced:
    """A server behind balancers, and its clients."""

    def __init__(self, handler: Any = None, *trusted: str, **limits: Any) -> None:
        self.clock = Clock()
        self.handler = Recorder() if handler is None else handler
        self.server = SmtpServerFactory(
            self.handler,
            Settings(limits=Limits(**limits)),
            reactor=self.clock,
            tls=Secure(),
            log_messages=False,
        )
        networks = Networks(trusted or ("10.0.0.0/8",))
        self.prefaces = PrefaceFactory(self.server, self.server, networks)
        self.clients: list[Behind] = []

    def connect(self, *octets: bytes, address: Any = BALANCER) -> Behind:
        """Let the balancer connect, and send something."""
        client = Behind(self.prefaces, self.clock, address)
        self.clients.append(client)
        for some in octets:
            client.protocol.dataReceived(some)
        return client

    def finish(self) -> None:
        """See that nothing stays behind."""
        for client in self.clients:
            client.leave()
        admission = self.server.admission
        assert (admission.count, dict(admission._by_share)) == (0, {})
        assert self.clock.getDelayedCalls() == []
        assert self.server.protocols == {}
        assert self.server.everybody == {}


@pytest.fixture
def balanced() -> Iterator[Callable[..., Balanced]]:
    """Make servers that have nothing left after the test."""
    made: list[Balanced] = []

    def make(*arguments: Any, **limits: Any) -> Balanced:
        made.append(Balanced(*arguments, **limits))
        return made[-1]

    yield make
    for one in made:
        one.finish()


Make = Callable[..., Balanced]


def texts(logged: Any) -> list[str]:
    """Return what was logged of the PROXY protocol."""
    said = [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in logged]
    return [text for text in said if "PROXY" in text]


def test_a_handler_sees_the_real_client(balanced: Make) -> None:
    """Its address and port, what it has connected to, and which balancer says so (P33)."""
    here = balanced()
    client = here.connect(HEADER)
    assert client.replies() == ["220 localhost ESMTP"]
    ((connection,),) = here.handler.said("connected")
    assert (connection.peer_address, connection.peer_port) == ("192.0.2.7", 51234)
    assert (connection.host_address, connection.host_port) == ("198.51.100.25", 25)
    proxy = connection.proxy
    assert (proxy.address, proxy.port, proxy.version) == ("10.0.0.1", 40000, 1)
    assert proxy.client_known
    assert (proxy.server_name, proxy.unique_id, proxy.tls, proxy.values) == (None, b"", None, ())
    assert client.codes(HELLO, MESSAGE)[-1] == 250


def test_nothing_is_said_before_the_header(balanced: Make) -> None:
    """Neither a greeting nor a call of the handler, wherever it is cut (P33)."""
    here = balanced()
    for octets, source, _ in GOOD.values():
        if len(octets) > 1000:
            continue
        before = len(here.handler.calls)
        client = here.connect()
        for octet in pieces(octets[:-1]):
            assert client.send(octet) == []
            assert len(here.handler.calls) == before
        # What is behind it in the same segment is the client's first command.
        assert client.codes(octets[-1:] + b"NOOP\r\n") == [220, 250]
        assert here.server.admission.count == len(here.clients)
        assert isinstance(client.protocol, SmtpServerProtocol)
        assert (source is None) is (client.protocol.connection.proxy.client_known is False)


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_who_sends_no_header_is_closed_without_a_word(octets: bytes, balanced: Make) -> None:
    """Nobody guesses what it meant, and no handler hears of it (P33)."""
    here = balanced()
    client = here.connect()
    with capturedLogs() as logged:
        client.protocol.dataReceived(octets)
    assert client.transport.aborted
    assert client.replies() == []
    (said,) = texts(logged)
    assert said.startswith("PROXY protocol: 10.0.0.1 sends no header that can be read (")
    # It may go on speaking until it is gone.
    assert client.send(HEADER) == []
    client.leave()
    assert here.handler.calls == []
    assert here.server.admission.count == 0


def test_only_who_is_trusted_is_let_in(balanced: Make) -> None:
    """Anybody else could claim any address; the log says so once a minute (P33)."""
    here = balanced(None, "10.0.0.0/8", "2001:db8::/64")
    strangers = [
        IPv4Address("TCP", "192.0.2.1", 1),
        IPv6Address("TCP", "2001:db8:0:1::1", 1),
        IPv4Address("TCP", "127.0.0.1", 1),
        UNIXAddress(None),
        None,
    ]
    with capturedLogs() as logged:
        for address in strangers * 2:
            assert here.prefaces.buildProtocol(address) is None
        here.clock.advance(60)
        here.prefaces.buildProtocol(strangers[1])
    assert texts(logged) == [
        f"PROXY protocol: {address} is not among the networks of proxy_from: closed"
        for address in ("192.0.2.1", "2001:db8:0:1::1")
    ]
    assert here.server.admission.count == 0
    for trusted in ("10.255.0.1", "::ffff:10.0.0.1", "2001:db8::1"):
        kind = IPv6Address if ":" in trusted else IPv4Address
        client = here.connect(HEADER, address=kind("TCP", trusted, 1))
        assert client.codes() == [220]
        assert client.protocol.connection.proxy.address == trusted.removeprefix("::ffff:")


def test_a_balancer_has_five_seconds(balanced: Make) -> None:
    """It sends its header with its first octets; one a second does not make it come (P33)."""
    here = balanced()
    silent, slow, prompt = here.connect(), here.connect(HEADER[:1]), here.connect(HEADER)
    with capturedLogs() as logged:
        for at in range(1, 5):
            here.clock.advance(1)
            slow.send(HEADER[at : at + 1])
        assert not silent.transport.aborted
        here.clock.advance(HEADER_SECONDS - 4)
    assert silent.transport.aborted
    assert slow.transport.aborted
    assert not prompt.closing
    assert texts(logged) == ["PROXY protocol: 10.0.0.1 has sent no header within 5 s: closed"]
    # Once its client is there, the time is that of a client.
    here.clock.advance(200)
    assert prompt.codes(HELLO) == [220, 250]


def test_a_look_whether_somebody_is_there_is_nothing_to_tell(balanced: Make) -> None:
    """A health check that connects and closes is no client, no log line and no fault."""
    here = balanced()
    with capturedLogs() as logged:
        for _ in range(3):
            here.connect().leave()
        here.connect(HEADER[:9]).leave()
        here.clock.advance(10)
    assert texts(logged) == []
    assert here.handler.calls == []


def test_limits_are_those_of_real_clients(balanced: Make) -> None:
    """A balancer may have many, each client its share; no ticket leaks or is given back twice."""
    here = balanced(connections_per_address=2, connections=10)
    admission = here.server.admission
    clients = [here.connect(header("192.0.2.7")) for _ in range(3)]
    assert [client.codes() for client in clients] == [[220], [220], [421]]
    others = [here.connect(header(f"192.0.2.{number}")) for number in range(10, 15)]
    assert [client.codes() for client in others] == [[220]] * 5
    assert admission.count == 7
    assert admission._by_share["192.0.2.7"] == 2
    assert "10.0.0.1" not in admission._by_share
    for client in (clients[0], clients[2], others[0]):
        client.leave()
    assert admission.count == 5
    assert here.connect(header("192.0.2.7")).codes() == [220]
    for _ in range(4):
        here.connect()
    assert admission.count == 10


def test_who_sends_no_header_takes_a_place_too(balanced: Make) -> None:
    """Connections whose client is not known yet are bounded, and one more hears why (P32, P33)."""
    here = balanced(connections=3)
    waiting = [here.connect() for _ in range(3)]
    assert here.connect().codes() == [421]
    # Those that wait keep their place for the one they are for.
    assert [client.codes(header("192.0.2.7")) for client in waiting] == [[220]] * 3
    assert here.server.admission.count == 3
    assert here.connect().codes() == [421]
    waiting[0].leave()
    assert here.connect(HEADER).codes() == [220]


def test_within_tls_there_is_no_word_for_one_too_many(balanced: Make) -> None:
    """A reply in the clear is none to who begins a handshake: it is closed."""
    from twisted.protocols.tls import TLSMemoryBIOFactory

    here = balanced(connections=1)
    creator = ServerTls(lambda: [IDENTITY.identity])
    secure = TLSMemoryBIOFactory(creator, False, here.server)
    prefaces = PrefaceFactory(secure, here.server, Networks(("10.0.0.0/8",)))
    here.connect()
    assert prefaces.buildProtocol(BALANCER) is None


@pytest.mark.parametrize(
    "octets", [LOCAL, GOOD["v1 unknown"][0], GOOD["v2 of nobody"][0]], ids=["LOCAL", "v1", "v2"]
)
def test_who_names_no_client_is_the_balancer_itself(octets: bytes, balanced: Make) -> None:
    """Its address is kept, and however many health checks it makes, no limit is in their way."""
    here = balanced(connections_per_address=1)
    checks = [here.connect(octets) for _ in range(4)]
    assert [check.codes() for check in checks] == [[220]] * 4
    connection = checks[0].protocol.connection
    assert (connection.peer_address, connection.peer_port) == ("10.0.0.1", 40000)
    assert (connection.host_address, connection.host_port) == ("10.0.0.1", 12345)
    assert not connection.proxy.client_known
    assert not here.server.admission._by_share


def test_clients_of_a_unix_socket_have_no_address(balanced: Make) -> None:
    """Neither the balancer's, where it is trusted by the word unix, nor those it speaks for."""
    here = balanced(None, "unix")
    client = here.connect(v2(UNIX, family=0x31), address=UNIXAddress(None))
    assert client.codes() == [220]
    connection = client.protocol.connection
    assert (connection.peer_address, connection.peer_port) == ("", 0)
    assert connection.host_address == "/run/server"
    assert connection.proxy.address == ""
    assert here.connect(HEADER, address=UNIXAddress(b"/run/x")).codes() == [220]


def test_an_idle_client_makes_room_for_a_balancer_too(balanced: Make) -> None:
    """Where all places are taken, as it does for anybody else who comes."""
    here = balanced(connections=2)
    idle, busy = here.connect(HEADER), here.connect(HEADER)
    here.clock.advance(20)
    busy.send(HELLO)
    assert here.connect(header("192.0.2.9")).codes() == [220]
    assert idle.codes() == [220, 421]
    # Who has no header yet is never the idle one.
    fresh = balanced(connections=1)
    fresh.connect()
    assert fresh.connect().codes() == [421]


@pytest.mark.parametrize("cut", [False, True])
def test_a_server_that_stops_waits_for_no_header(cut: bool, balanced: Make) -> None:
    """Nobody has been greeted yet: it is closed, and what comes is told that we stop."""
    here = balanced()
    client = here.connect(HEADER[:9])
    gone = here.server.drain()
    assert client.transport.aborted
    if cut:
        here.server.cut()
    assert client.send(HEADER[9:]) == []
    assert here.connect().codes() == [421]
    client.leave()
    assert gone.called


def test_a_client_may_leave_at_any_time(balanced: Make) -> None:
    """Before, within and behind the header, with an error or without; its place is free again."""
    here = balanced(connections=2)
    for error in (None, ConnectionResetError("gone")):
        for end in range(len(HEADER) + 3):
            client = here.connect((HEADER + HELLO)[:end])
            client.leave(error)
            assert here.server.admission.count == 0
            assert here.server.everybody == {}


def test_without_the_option_a_header_is_no_command() -> None:
    """Nobody's word is taken for who he is (P33)."""
    client = Client(Recorder())
    assert client.codes() == [220]
    codes = client.codes(HEADER, v2(INET) + b"\r\n", HELLO)
    assert set(codes[:-1]) == {500}
    assert codes[-1] == 250
    assert client.protocol.connection.peer_address == "192.0.2.1"
    assert client.protocol.connection.proxy is None
    client.leave()


@pytest.mark.parametrize(
    ("networks", "error", "text"),
    [
        (("10.0.0.1/8",), ValueError, "did you mean 10.0.0.0/8"),
        (("balancer",), ValueError, "'balancer' is no network such as"),
        ((7,), TypeError, "a network is a text"),
        ("10.0.0.0/8", TypeError, "networks are a list of texts"),
        (None, TypeError, "networks are a list of texts"),
    ],
)
def test_a_wrong_network_is_told_before_anything_is_bound(
    networks: Any, error: type[Exception], text: str
) -> None:
    """In one line that names the argument."""
    with pytest.raises(error, match=rf"\Aproxy_from: .*{text}"):
        SmtpService("tcp:0", SmtpServerFactory(Recorder()), proxy_from=networks)


# On real sockets.

AUTHORITY = make_authority()
IDENTITY = make_identity(["mx.example.org"], AUTHORITY)


class Blocking:
    """A balancer on real sockets, for a thread: a header, then whatever its client says."""

    def __init__(self, address: Any) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(10)
        self.socket.connect(address)

    def secure(self) -> None:
        """Begin TLS, without looking at the server's name."""
        self.socket = unchecked().wrap_socket(self.socket, server_hostname="mx.example.org")

    def say(self, octets: bytes, end: bytes = b"") -> bytes:
        """Send something, and read up to some octets."""
        self.socket.sendall(octets)
        heard = b""
        while not heard.endswith(end):
            some = self.socket.recv(65536)
            assert some, heard
            heard += some
        return heard


Talk = Callable[[Blocking], None]


async def talk(endpoint: Any, handler: Any, talk: Talk, **options: Any) -> None:
    """Run a server behind a balancer that talks to it from a thread."""
    from twisted.internet import reactor

    secure = ServerTls(lambda: [IDENTITY.identity])
    factory = SmtpServerFactory(
        handler,
        reactor=reactor,
        tls=secure,
        log_messages=False,
        transcripts=options.pop("transcripts", None),
    )
    if options.pop("implicit", False):
        endpoint = wrapServerTLS(secure, serverFromString(reactor, endpoint))
    service = SmtpService(endpoint, factory, proxy_from=("127.0.0.1", "unix"), **options)
    service.privilegedStartService()
    service.startService()
    host: Any = service.ports[0].getHost()
    path = getattr(host, "name", None)
    address = (host.host, host.port) if path is None else os.fsdecode(path)

    def in_thread() -> None:
        balancer = Blocking(address)
        try:
            talk(balancer)
        finally:
            balancer.socket.close()

    try:
        await deferToThread(in_thread)
    finally:
        await service.stopService()


class Told(Recorder):
    """Keeps the connection."""

    connection: Any = None

    def connected(self, connection: Any) -> Any:
        self.connection = connection


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_session_behind_a_balancer(at_once: bool, direct: bool, tmp_path: Path) -> None:
    """Over a real socket, the header alone or with the first commands, up to STARTTLS and mail."""
    from twisted.internet import reactor

    handler = Told()
    folder = TranscriptFolder(TranscriptSettings(tmp_path), reactor)

    def session(balancer: Blocking) -> None:
        if at_once:
            balancer.say(HEADER + HELLO + b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")
        else:
            balancer.say(HEADER, b"ESMTP\r\n")
            balancer.say(HELLO, b"250 HELP\r\n")
            balancer.say(b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")
        balancer.secure()
        balancer.say(HELLO, b"250 HELP\r\n")
        balancer.say(MESSAGE, b"250 2.0.0 Message accepted\r\n")
        balancer.say(b"QUIT\r\n", b"221 2.0.0 Closing connection\r\n")

    await talk("tcp:0:interface=127.0.0.1", handler, session, direct=direct, transcripts=folder)
    assert handler.connection.peer_address == "192.0.2.7"
    assert handler.connection.tls.version == "TLSv1.3"
    assert handler.said("disconnected")[-1] == (Reason.QUIT,)
    (path,) = tmp_path.rglob("*.txt")
    fields = load(path).fields
    assert fields["peer"] == "192.0.2.7:51234"
    assert fields["host"] == "198.51.100.25:25"
    assert fields["proxy"].startswith("127.0.0.1:")
    assert fields["proxy"].endswith(" by PROXY v1")


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest_twisted.ensureDeferred
async def test_tls_begins_behind_the_header(at_once: bool, direct: bool) -> None:
    """On a port with TLS of its own; what the balancer says of TLS is beside what we have seen."""
    handler = Told()
    said = v2(INET + value(0x02, b"imap.example.org") + value(0x20, b"\1\0\0\0\0"))

    def session(balancer: Blocking) -> None:
        if at_once:
            # The first octets of TLS are in the same segment as the header.
            incoming, outgoing = standard_ssl.MemoryBIO(), standard_ssl.MemoryBIO()
            tls = unchecked().wrap_bio(incoming, outgoing, server_hostname="mx.example.org")
            with pytest.raises(standard_ssl.SSLWantReadError):
                tls.do_handshake()
            heard = balancer.say(said + outgoing.read())
            assert heard == b""
            incoming.write(balancer.socket.recv(65536))
            tls.do_handshake()
        else:
            balancer.say(said)
            balancer.secure()
            balancer.say(b"", b"ESMTP\r\n")
            balancer.say(HELLO + MESSAGE, b"250 2.0.0 Message accepted\r\n")

    await talk("tcp:0:interface=127.0.0.1", handler, session, direct=direct, implicit=True)
    if not at_once:
        assert handler.connection.peer_address == CLIENT.address
        assert handler.connection.tls.server_name == "mx.example.org"
        assert handler.connection.proxy.server_name == "imap.example.org"
        assert handler.connection.proxy.tls == ProxyTls()


@pytest_twisted.ensureDeferred
async def test_a_balancer_on_a_unix_socket(tmp_path: Path) -> None:
    """The word unix trusts whoever may open it, which its mode says."""
    handler = Told()

    def session(balancer: Blocking) -> None:
        balancer.say(HEADER + HELLO + b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")
        balancer.secure()
        balancer.say(HELLO, b"250 HELP\r\n")

    await talk(f"unix:{tmp_path / 'smtp'}", handler, session)
    assert handler.connection.peer_address == "192.0.2.7"
    assert handler.connection.proxy.address == ""


@pytest_twisted.ensureDeferred
async def test_garbage_on_a_real_port_is_closed() -> None:
    """The port goes on."""
    handler = Told()

    def session(balancer: Blocking) -> None:
        address = balancer.socket.getpeername()
        with suppress(ConnectionResetError):
            balancer.socket.sendall(HELLO)
            assert balancer.socket.recv(65536) == b""
        again = Blocking(address)
        again.say(HEADER, b"ESMTP\r\n")
        again.socket.close()

    await talk("tcp:0:interface=127.0.0.1", handler, session)


@pytest_twisted.ensureDeferred
async def test_a_port_that_cannot_be_stood_before_is_refused() -> None:
    """An endpoint of somebody's own may make ports of any kind."""
    from twisted.internet import reactor

    @implementer(IStreamServerEndpoint)
    class Odd:
        def listen(self, factory: Any) -> Any:
            return succeed(Closable())

    class Closable:
        closed = False

        def stopListening(self) -> None:
            Closable.closed = True

    factory = SmtpServerFactory(Recorder(), reactor=reactor)
    service = SmtpService(Odd(), factory, proxy_from=("127.0.0.1",))
    with pytest.raises(ValueError, match="no PROXY header can be read on"):
        service.privilegedStartService()
    assert Closable.closed
    assert service.ports == []
