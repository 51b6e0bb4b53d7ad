"""XCLIENT on Twisted: another client takes over a transport, with place and handler of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText

from smtpcb import TranscriptFolder, TranscriptSettings
from smtpcb.engine import Reason, Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.smtp import Limits
from smtpcb.transcript._replay import load
from tests.server.client import HELLO, MESSAGE, Client, Recorder, pieces

PROXY = IPv4Address("TCP", "10.0.0.1", 4000)
NAMED = b"XCLIENT ADDR=192.0.2.7 PORT=51234\r\n"

Connect = Callable[..., Client]


class Remembering(Recorder):
    """A handler of one connection, of which the class knows all."""

    made: list[Remembering]
    parting: Any = None

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.connection = connection
        type(self).made.append(self)

    def disconnected(self, reason: Any, connection: Any) -> Any:
        super().disconnected(reason, connection)
        return type(self).parting


@pytest.fixture
def handlers() -> type[Remembering]:
    """A class of handlers of one test."""
    return type("Handlers", (Remembering,), {"made": [], "parting": None})


class Proxied:
    """A server that trusts a proxy, and its connections."""

    def __init__(self, connect: Connect, handlers: Any, **options: Any) -> None:
        self.clock = Clock()
        self._connect = connect
        limits = Limits(**options.pop("limits", {}))
        trusted = {"xclient_from": ("10.0.0.0/8",), "xforward_from": ("10.0.0.0/8",)}
        self.server = SmtpServerFactory(
            handlers,
            Settings(limits=limits, **trusted),
            reactor=self.clock,
            **{"log_messages": False, **options},
        )
        handlers.made.clear()  # one was made to see what it can do

    def connect(self) -> Client:
        """Let the proxy connect."""
        return self._connect(factory=self.server, clock=self.clock, address=PROXY)

    def say(self, client: Client, *octets: bytes) -> list[int]:
        """Let it say something, and give the server its turns."""
        codes = client.codes(*octets)
        for _ in range(20):
            self.clock.advance(0)
            codes += client.codes()
        return codes


@pytest.fixture
def proxied(connect: Connect, handlers: Any) -> Callable[..., Proxied]:
    """Make servers."""
    return lambda **options: Proxied(connect, handlers, **options)


Make = Callable[..., Proxied]


@pytest.mark.parametrize("cut", [False, True])
def test_another_handler_for_another_client(proxied: Make, handlers: Any, cut: bool) -> None:
    """The old one hears that its client is gone, and why; what is pipelined is the new one's."""
    here = proxied()
    client = here.connect()
    said = HELLO + NAMED + HELLO + MESSAGE + b"QUIT\r\n"
    codes = here.say(client, *(pieces(said) if cut else [said]))
    assert codes == [220, 250, 220, 250, 250, 250, 354, 250, 221]
    old, new = handlers.made
    assert (old.connection.peer_address, new.connection.peer_address) == ("10.0.0.1", "192.0.2.7")
    assert old.connection.id != new.connection.id
    assert old.said("disconnected") == [(Reason.XCLIENT,)]
    assert old.names() == ["connected", "hello", "disconnected"]
    assert new.names()[:2] == ["connected", "hello"]
    assert new.said("content")
    client.leave()
    assert new.said("disconnected") == [(Reason.QUIT,)]


def test_its_place_is_the_new_clients(proxied: Make) -> None:
    """The limits are about that one, and no ticket is lost or given back twice."""
    here = proxied(limits={"connections_per_address": 1, "connections": 3})
    admission = here.server.admission
    first, second = here.connect(), None
    assert here.say(first, NAMED) == [220, 220]
    assert (admission.count, dict(admission._by_share)) == (1, {"192.0.2.7": 1})
    second = here.connect()
    assert here.say(second, HELLO + NAMED + b"NOOP\r\n") == [220, 250, 421]
    assert second.closing
    # Who has been turned away has no place any more, and the proxy may come again.
    assert dict(admission._by_share) == {"192.0.2.7": 1}
    third = here.connect()
    assert here.say(third, b"XCLIENT ADDR=192.0.2.8\r\n") == [220, 220]
    assert admission.count == 2
    assert here.say(third, b"XCLIENT ADDR=192.0.2.9\r\n") == [220]
    assert dict(admission._by_share) == {"192.0.2.7": 1, "192.0.2.9": 1}
    for client in (first, second, third):
        client.leave()
    assert (admission.count, dict(admission._by_share)) == (0, {})


@pytest.mark.parametrize("answered", [True, False])
def test_a_handler_that_takes_its_time_to_part(
    proxied: Make, handlers: Any, answered: bool
) -> None:
    """Nobody is greeted before it has heard all, or its time is up."""
    handlers.parting = parting = Deferred()
    here = proxied(limits={"session_seconds": 3000, "decision_seconds": 2000})
    client = here.connect()
    assert here.say(client, NAMED + HELLO) == [220]
    handlers.parting = None
    if answered:
        parting.callback(None)
    else:
        here.clock.pump([100] * 21)
    assert here.say(client) == [220, 250]
    client.leave()
    if not answered:
        assert here.server.platform.incidents is not None


def test_the_end_of_a_session_is_that_of_the_transport(
    proxied: Make, handlers: Any, failures: Any
) -> None:
    """A proxy does not prolong it by naming clients; a handler's time runs out all the same."""
    handlers.parting = Deferred()
    here = proxied(limits={"session_seconds": 30, "decision_seconds": 60})
    client = here.connect()
    assert here.say(client, NAMED) == [220]
    handlers.parting = None
    here.clock.pump([10] * 7)
    assert here.say(client) == [220, 421]


@pytest.mark.parametrize("how", ["leave", "stop", "cut"])
@pytest.mark.parametrize("parting", [True, False])
def test_the_end_may_come_meanwhile(proxied: Make, handlers: Any, parting: bool, how: str) -> None:
    """Whoever leaves or stops while a client takes over leaves nothing behind."""
    handlers.parting = Deferred() if parting else None
    here = proxied(limits={"grace_seconds": 5})
    client = here.connect()
    client.send(HELLO + NAMED)
    if how == "leave":
        client.leave()
    else:
        gone = here.server.drain()
        if how == "cut":
            here.server.cut()
    if parting:
        handlers.parting.callback(None)
        handlers.parting = None
    here.clock.pump([1] * 12)
    client.leave()
    assert here.server.admission.count == 0
    if how != "leave":
        assert gone.called
    assert [made.names()[-1] for made in handlers.made] == ["disconnected"] * len(handlers.made)


def test_a_thousand_of_them_in_one_read(proxied: Make, handlers: Any) -> None:
    """Each has its turn, and all others have theirs between (P30)."""
    here = proxied()
    client = here.connect()
    client.send(b"XCLIENT PORT=7\r\n" * 1000)
    here.clock.pump([0] * 1001)
    assert client.codes() == [220] * 1000
    assert len(handlers.made) == 1001


def test_a_transcript_for_each(proxied: Make, handlers: Any, tmp_path: Path) -> None:
    """The first says why it ends; the second says for whom it is, and who says so."""
    folder = TranscriptFolder(TranscriptSettings(tmp_path), Clock())
    here = proxied(transcripts=folder)
    here.server.begin()
    client = here.connect()
    here.say(client, HELLO, b"XCLIENT ADDR=192.0.2.7 PORT=51234 LOGIN=anne\r\n", HELLO)
    client.leave()
    folder.close()
    assert folder.flush()
    files = sorted(
        (load(path) for path in tmp_path.rglob("*.txt")), key=lambda one: len(one.fields)
    )
    first, second = files
    assert "proxy" not in first.fields
    assert first.lines[-1].octets == b"closed: XCLIENT has named another client"
    assert any(line.octets.endswith(b"LOGIN=anne") for line in first.lines)
    assert second.fields["peer"] == "192.0.2.7:51234"
    assert second.fields["proxy"] == "10.0.0.1 by XCLIENT, login anne"
    assert second.lines[0].octets == b"220 localhost ESMTP"


def test_the_log_says_whose_a_message_is(proxied: Make) -> None:
    """The client that XCLIENT has named, or the one that XFORWARD has."""
    here = proxied(log_messages=True)
    forwarding, naming = here.connect(), here.connect()
    with capturedLogs() as logged:
        said = b"XFORWARD ADDR=IPV6:2001:db8::7 IDENT=4ABC\r\n"
        here.say(forwarding, HELLO + said + MESSAGE + MESSAGE)
        here.say(forwarding, b"XFORWARD NAME=[UNAVAILABLE]\r\n" + MESSAGE)
        here.say(naming, NAMED + HELLO + MESSAGE)
        here.clock.advance(1)
    lines = [
        line
        for event in logged
        for line in eventAsText(event).splitlines()
        if "Message accepted" in line
    ]
    assert [line.partition("client ")[2] for line in lines] == [
        "10.0.0.1, for 2001:db8::7 as 4ABC)",
        "10.0.0.1)",
        "10.0.0.1, for -)",
        "192.0.2.7)",
    ]
