"""Where a session is opened: every address of a host, and the next one where that may help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv6Address
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from smtpcb.client import Candidate, ClientTimes, NoSession, Server, open_session
from smtpcb.client._addresses import addresses_of, interleaved
from smtpcb.client._race import HEAD_START_SECONDS, Race
from smtpcb.engine import Cause, ClientFailure, ClientObserver, ClientSettings, Stage
from tests.client.servers import READY, Hosts, ScriptedServer, known

PLAIN = ClientSettings(hostname="client.example.org", starttls="off")
ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
HOST = "mail.example.org"

Start = Callable[..., list[ScriptedServer]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers on the same port of 127.0.0.1, 127.0.0.2, and so on; None is nobody."""
    servers: list[ScriptedServer] = []

    def begin(*scripts: tuple[bytes | None, ...] | None) -> list[ScriptedServer]:
        port = 0
        for address, script in zip(ADDRESSES, scripts, strict=False):
            server = ScriptedServer(*(script or ()))
            servers.append(server)
            if script is not None:
                port = server.listen(address, port)
        return servers

    yield begin
    for one in servers:
        pytest_twisted.blockon(ensureDeferred(one.stop()))


def port_of(servers: list[ScriptedServer]) -> int:
    [port, *_] = [one.listening.getHost().port for one in servers if one.listening is not None]
    return int(port)


async def opened(*places: Any, settings: ClientSettings = PLAIN, **options: Any) -> Any:
    return await open_session(places, settings, reactor=reactor, **options)


class Notes(ClientObserver):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def note(self, text: str) -> None:
        self.noted.append(text)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "first",
    [
        None,
        (None,),
        (b"554 not today\r\n",),
        (b"421 busy\r\n",),
        (b"HTTP/1.1 400 Bad Request\r\n",),
        (b"220 here\r\n", b"421 later\r\n"),
        (b"220 here\r\n", b"450 later\r\n"),
        (b"220 here\r\n", None),
        (b"220 here\r\n", b"502 what?\r\n", b"550 no\r\n"),
    ],
)
async def test_the_next_address_of_a_host_is_tried(start: Start, first: Any) -> None:
    """Nobody there, no greeting of 220, EHLO put off, no HELO either: another may do better."""
    servers = start(first, READY)
    notes = Notes()
    with known(Hosts(mail_example_org=ADDRESSES[:2])) as hosts:
        protocol = await opened(Server(HOST, port_of(servers)), observer=notes)
    assert hosts.asked == [HOST]
    assert protocol.where == f"{HOST}[127.0.0.2]:{port_of(servers)}"
    assert f"connected to {protocol.where}" in notes.noted
    if first is None:
        assert notes.noted[0].startswith(f"{HOST}[127.0.0.1]:{port_of(servers)}: greeting: ")
    assert [one.came for one in servers] == [0 if first is None else 1, 1]
    await protocol.quit()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("first", "settings"),
    [
        ((b"220 here\r\n", b"550 not you\r\n"), PLAIN),
        (READY, ClientSettings(starttls="required")),
        (READY, ClientSettings(starttls="off", login="required")),
        (READY, ClientSettings(starttls="off", require=frozenset({"DSN"}))),
    ],
)
async def test_what_all_servers_of_a_host_would_say_is_said_once(
    start: Start, first: Any, settings: ClientSettings
) -> None:
    """EHLO refused for good, and whatever is later, is no reason to ask the next address."""
    servers = start(first, READY)
    port = port_of(servers)
    with known(Hosts(mail_example_org=ADDRESSES[:2])), pytest.raises(NoSession) as told:
        await opened(Server(HOST, port), Server("127.0.0.2", port), settings=settings)
    assert [where for where, _ in told.value.failures] == [f"{HOST}[127.0.0.1]:{port}"]
    assert [one.came for one in servers] == [1, 0]


@pytest_twisted.ensureDeferred
async def test_every_failure_is_told_by_host_and_address(start: Start) -> None:
    """In the order in which they were tried, over all servers."""
    servers = start(None, (b"421 busy\r\n",), (b"554 no\r\n",))
    port = port_of(servers)
    with (
        known(Hosts(mail_example_org=ADDRESSES[:2], other_example_org=["127.0.0.3"])),
        pytest.raises(NoSession) as told,
    ):
        await opened(
            Server(HOST, port), Server("nowhere.example.org"), Server("other.example.org", port)
        )
    assert [where for where, _ in told.value.failures] == [
        f"{HOST}[127.0.0.1]:{port}",
        f"{HOST}[127.0.0.2]:{port}",
        "nowhere.example.org:587",
        f"other.example.org[127.0.0.3]:{port}",
    ]
    assert "no address of nowhere.example.org is known" in str(told.value)
    assert "421 busy" in str(told.value)
    assert told.value.temporary


@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_the_session_that_is_being_opened(start: Start) -> None:
    """At once, and nobody else is tried."""
    servers = start((b"220 here\r\n",), READY)
    with known(Hosts(mail_example_org=ADDRESSES[:2])):
        opening = ensureDeferred(opened(Server(HOST, port_of(servers))))
        while not servers[0].got:
            await turn()
        opening.cancel()
        with pytest.raises(CancelledError):
            await opening
        while servers[0].open:
            await turn()
    assert [one.came for one in servers] == [1, 0]


async def turn() -> None:
    """Let the reactor work."""
    waiting: Deferred[None] = Deferred()
    reactor.callLater(0.001, waiting.callback, None)  # type: ignore[attr-defined]
    await waiting


@pytest_twisted.ensureDeferred
async def test_addresses_that_do_not_come_are_waited_for_so_long_as_a_connection() -> None:
    """Whatever the resolver does, there is an end."""
    clock: Any = Clock()

    class Silent(Hosts):
        def resolveHostName(self, *arguments: Any, **options: Any) -> Any:
            self.receiver = arguments[0]

    clock.nameResolver = Silent()
    looking = ensureDeferred(addresses_of(HOST, 7, clock))
    clock.advance(7)
    with pytest.raises(ClientFailure, match=r"no addresses of mail.example.org within 7 s") as no:
        await looking
    assert (no.value.cause, no.value.elsewhere) == (Cause.TIMEOUT, True)
    clock.nameResolver.receiver.resolutionComplete()  # nobody cares any more


@pytest_twisted.ensureDeferred
async def test_an_address_of_this_link_is_told_with_its_link() -> None:
    """Without it nobody could be connected to there (RFC 4007 §11)."""
    clock: Any = Clock()

    class Link(Hosts):
        def resolveHostName(self, receiver: Any, *_: Any, **__: Any) -> None:
            receiver.addressResolved(IPv6Address("TCP", "fe80::1", 0, 0, 3))
            receiver.addressResolved(IPv6Address("TCP", "fe80::2%eth0", 0, 0, 3))
            receiver.addressResolved(IPv6Address("TCP", "2001:db8::1", 0))
            receiver.resolutionComplete()

    clock.nameResolver = Link()
    found = await addresses_of(HOST, 7, clock)
    assert found == ["fe80::1%3", "fe80::2%eth0", "2001:db8::1"]
    assert await addresses_of("192.0.2.1", 7, clock) == ["192.0.2.1"]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("known", "order"),
    [
        ([], []),
        (["::1", "::2", "::3", "192.0.2.1"], ["::1", "192.0.2.1", "::2", "::3"]),
        (["192.0.2.1", "::1", "::2"], ["192.0.2.1", "::1", "::2"]),
        (["::1", "192.0.2.1", "::1", "192.0.2.2"], ["::1", "192.0.2.1", "192.0.2.2"]),
    ],
)
def test_both_families_take_turns(known: list[str], order: list[str]) -> None:
    """Where IPv6 leads nowhere, the second attempt is IPv4 (RFC 8305 §4)."""
    assert interleaved(known) == order


def test_a_server_is_said_by_host_and_port() -> None:
    """Nothing is this machine, and a port may be the name of a service."""
    assert Server("").name == "localhost:587"
    assert Server("mail.example.org", "smtp").name == "mail.example.org:25"
    assert Server("2001:db8::1", "465").name == Server("[2001:db8::1]", 465).name
    with pytest.raises(ValueError, match="no such service: 'submit'"):
        Server("mail.example.org", "submit")
    with pytest.raises(ValueError, match="from 1 to 65535, not 0"):
        Server("mail.example.org", 0)


@pytest.mark.parametrize(
    "host",
    ["a b", "a..b", ".", "a.", "x" * 64 + ".org", "x." * 127 + "x", "-a", "a\0b", "\u00fc" * 64],
)
def test_what_is_no_name_is_told_at_once(host: str) -> None:
    """Or a resolver would never say a word about it."""
    if host == "a.":
        assert Server(host).name == "a.:587"
    else:
        with pytest.raises(ValueError, match="is no name"):
            Server(host)


@pytest_twisted.ensureDeferred
async def test_endpoints_and_their_descriptions(start: Start) -> None:
    """Each is one address, by its name; with TLS it must be said whose certificate it has."""
    servers = start(READY)
    port = port_of(servers)
    described = f"tcp:127.0.0.1:{port}"
    for place in (Server(described), Server(clientFromString(reactor, described), hostname=HOST)):
        protocol = await opened(place)
        assert protocol.where == place.name
        await protocol.quit()
    with pytest.raises(ValueError, match="unix:/run/smtp: TLS needs the hostname"):
        Server("unix:/run/smtp", implicit_tls=True)
    assert Server("unix:/run/smtp").creator is None


@implementer(IStreamClientEndpoint)
class Hand:
    """An endpoint that connects when it is told to."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf = deaf
        self.factory: Any = None
        self.connecting: Deferred[Any] | None = None
        self.cancelled = False

    def connect(self, factory: Any) -> Any:
        self.factory = factory
        self.cancelled = False
        self.connecting = Deferred(self._cancel)
        return self.connecting

    def _cancel(self, connecting: Deferred[Any]) -> None:
        self.cancelled = True

    def succeed(self) -> Any:
        connecting, self.connecting = self.connecting, None
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        assert connecting is not None
        connecting.callback(protocol)
        return protocol

    def fail(self) -> None:
        connecting, self.connecting = self.connecting, None
        assert connecting is not None
        connecting.errback(ConnectionRefusedError())


class Runs:
    """A race by hand, of two endpoints or more."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.hands = [Hand() for _ in range(count)]
        self.failed: list[tuple[str, Cause]] = []
        candidates = [Candidate(str(number), one) for number, one in enumerate(self.hands)]
        self.race = Race(candidates, self.make, self.lost, 30, self.clock)

    def make(self, candidate: Candidate) -> Any:
        return Protocol()

    def lost(self, name: str, failure: ClientFailure) -> None:
        self.failed.append((name, failure.cause))

    @property
    def running(self) -> list[int]:
        return [
            number
            for number, one in enumerate(self.hands)
            if one.connecting is not None and not one.cancelled
        ]

    def won(self) -> Deferred[str | None]:
        async def name() -> str | None:
            found = await self.race.winner()
            return None if found is None else found[0].name

        return ensureDeferred(name())


def test_an_address_that_hangs_holds_up_the_next_by_a_moment() -> None:
    """Not by all the time that a connection may take (RFC 8305 §5)."""
    runs = Runs(3)
    winner = runs.won()
    assert runs.running == [0]
    runs.clock.advance(HEAD_START_SECONDS)
    assert runs.running == [0, 1]
    runs.hands[1].fail()
    assert runs.running == [0, 2]  # at once
    runs.hands[2].succeed()
    assert winner.result == "2"
    assert runs.running == []
    assert runs.hands[0].cancelled
    assert runs.clock.getDelayedCalls() == []
    assert runs.failed == [("1", Cause.LOST)]


def test_who_has_only_lost_a_race_runs_again() -> None:
    """It was not tried to its end, and whoever has won may have no session."""
    runs = Runs(2)
    winner = runs.won()
    runs.clock.advance(HEAD_START_SECONDS)
    runs.hands[1].succeed()
    assert winner.result == "1"
    again = runs.won()
    assert runs.running == [0]
    runs.hands[0].fail()
    assert again.result is None
    assert runs.won().result is None
    assert runs.clock.getDelayedCalls() == []


def test_nobody_answers() -> None:
    """Each has all its time, and then all are told of."""
    runs = Runs(2)
    winner = runs.won()
    runs.clock.pump([HEAD_START_SECONDS, 29.75])
    assert runs.failed == [("0", Cause.TIMEOUT)]
    runs.clock.advance(HEAD_START_SECONDS)
    assert runs.failed == [("0", Cause.TIMEOUT), ("1", Cause.TIMEOUT)]
    assert winner.result is None
    assert runs.clock.getDelayedCalls() == []


def test_cancelling_stops_all_that_run() -> None:
    """And no clock goes on."""
    runs = Runs(3)
    winner = runs.won()
    winner.addErrback(lambda reason: reason.trap(CancelledError))
    runs.clock.advance(HEAD_START_SECONDS)
    winner.cancel()
    assert runs.running == []
    assert runs.clock.getDelayedCalls() == []


def test_an_endpoint_that_cannot_be_cancelled_is_left_when_it_connects() -> None:
    """It has no session, and no connection either."""
    runs = Runs(2)
    winner = runs.won()
    runs.clock.advance(HEAD_START_SECONDS)
    slow = runs.hands[0].factory
    runs.hands[1].succeed()
    assert winner.result == "1"
    assert slow.buildProtocol(None) is None


@pytest_twisted.ensureDeferred
async def test_a_connection_that_begins_with_tls_and_is_dropped_is_like_one_refused(
    start: Start,
) -> None:
    """Nobody has greeted us; the next address is tried."""
    servers = start((None,), (None,))
    with known(Hosts(mail_example_org=ADDRESSES[:2])), pytest.raises(NoSession) as told:
        await opened(Server(HOST, port_of(servers), implicit_tls=True))
    assert [failure.stage for _, failure in told.value.failures] == [Stage.TLS] * 2
    assert [one.came for one in servers] == [1, 1]
    silent = ClientTimes(greeting=0.05)
    servers[0].script = servers[1].script = (b"",)
    with known(Hosts(mail_example_org=ADDRESSES[:2])), pytest.raises(NoSession) as told:
        await opened(Server(HOST, port_of(servers), implicit_tls=True), times=silent)
    assert [failure.cause for _, failure in told.value.failures] == [Cause.TIMEOUT] * 2
