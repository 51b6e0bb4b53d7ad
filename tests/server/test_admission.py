"""Who may come in, and who makes room when all places are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface import directlyProvides

from smtpcb.engine import Settings
from smtpcb.server._admission import Admission, Ticket, shares_of
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Client, Recorder, Transport

Connect = Callable[..., Client]


class Door:
    """A server, and clients from anywhere."""

    def __init__(self, connect: Connect, handler: Any = None, **limits: Any) -> None:
        self.clock = Clock()
        self.handler = Recorder() if handler is None else handler
        self.factory = SmtpServerFactory(
            self.handler, Settings(limits=Limits(**limits)), reactor=self.clock, log_messages=False
        )
        self._connect = connect

    def arrive(self, host: str = "192.0.2.1", **options: Any) -> Client:
        kind = IPv6Address if ":" in host else IPv4Address
        return self._connect(
            factory=self.factory, clock=self.clock, address=kind("TCP", host, 1), **options
        )


@pytest.fixture
def door(connect: Connect) -> Callable[..., Door]:
    return lambda *arguments, **limits: Door(connect, *arguments, **limits)


Open = Callable[..., Door]


@pytest.mark.parametrize(
    ("address", "shares"),
    [
        ("192.0.2.1", ("192.0.2.1",)),
        ("2001:db8:1:2::3", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("fe80::1%eth0", ("fe80::/64", "fe80::/48")),
        ("::ffff:c000:201", ("192.0.2.1",)),
        ("127.0.0.1", ()),
        ("::1", ()),
        ("", ()),
        ("/run/socket", ()),
    ],
)
def test_what_an_address_counts_for(address: str, shares: tuple[str, ...]) -> None:
    """An IPv4 address for itself, an IPv6 one for its /64 and its /48, loopback for nothing."""
    assert shares_of(address) == shares


def test_a_ticket_is_given_back_once() -> None:
    """However often somebody says so, and to the last trace."""
    admission = Admission(Limits(connections_per_address=1))
    ticket = admission.admit("192.0.2.1")
    assert isinstance(ticket, Ticket)
    assert not isinstance(admission.admit("192.0.2.1"), Ticket)
    ticket.give_back()
    ticket.give_back()
    assert admission.count == 0
    assert not admission._by_share
    assert isinstance(admission.admit("192.0.2.1"), Ticket)


def test_no_limits_are_none() -> None:
    """None is no limit."""
    admission = Admission(
        Limits(connections=None, connections_per_address=None, connections_per_network=None)
    )
    assert all(isinstance(admission.admit("2001:db8::1"), Ticket) for _ in range(5000))
    assert not admission.is_full()


def test_a_network_has_its_share(door: Open) -> None:
    """Whoever has a /48 has 65,536 networks, and does not get all places by them."""
    here = door(connections_per_network=5, connections_per_address=2)
    codes = [here.arrive(f"2001:db8:0:{number:x}::1").codes() for number in range(7)]
    assert codes == [[220]] * 5 + [[421]] * 2
    assert here.arrive("2001:db8:1::1").codes() == [220]
    assert here.arrive("192.0.2.1").codes() == [220]


def test_by_default_a_network_leaves_places_to_others(door: Open) -> None:
    """Ten /64 of a hundred clients each would be all that there are."""
    here = door()
    for number in range(10):
        for client in range(100):
            here.arrive(f"2001:db8:0:{number:x}::{client:x}")
    assert here.factory.admission.count == 400
    assert here.arrive("2001:db8:1::1").codes() == [220]


def test_the_one_that_is_idle_for_longest_makes_room(door: Open) -> None:
    """It hears why; who comes is served at once, though the other is not gone yet."""
    here = door(connections=3)
    first, second, third = (here.arrive() for _ in range(3))
    here.clock.advance(20)
    for client in (first, third):
        client.send(HELLO)
    here.clock.advance(30)
    assert here.arrive().codes() == [220]
    assert second.codes() == [220, 421]
    assert second.closing
    assert not first.closing
    assert not third.closing
    assert here.factory.admission.count == 3
    second.leave()
    assert here.factory.admission.count == 3


def test_nobody_makes_room_who_was_there_just_now(door: Open) -> None:
    """A client may think for some seconds between two commands."""
    here = door(connections=2)
    clients = [here.arrive() for _ in range(2)]
    here.clock.advance(9)
    assert here.arrive().codes() == [421]
    assert not any(client.closing for client in clients)
    here.clock.advance(1)
    assert here.arrive().codes() == [220]


@pytest.mark.parametrize("session_seconds", [100, 320])
def test_the_end_of_a_session_makes_nobody_idle(session_seconds: float, door: Open) -> None:
    """A client at work is not taken for an idle one because its session is soon over."""
    here = door(connections=1, session_seconds=session_seconds)
    client = here.arrive()
    client.send(HELLO)
    for _ in range(2):
        here.clock.advance((session_seconds - 11) / 2)
        client.send(b"NOOP\r\n")
    here.clock.advance(5)
    assert here.arrive().codes() == [421]
    assert client.codes(b"NOOP\r\n") == [250]


@pytest.mark.parametrize(
    "octets", [MAIL, MAIL + RCPT, MAIL + RCPT + b"DATA\r\n", MESSAGE, b"VRFY x\r\n", b"half a li"]
)
def test_who_is_at_work_makes_no_room(octets: bytes, door: Open) -> None:
    """In a transaction, in mail data, while a handler decides, within a line."""
    waiting: Deferred[None] = Deferred()
    handler = Recorder(message=lambda _: waiting, verify=lambda _: waiting)
    here = door(handler, connections=1)
    client = here.arrive()
    client.send(HELLO + octets)
    here.clock.advance(50)
    assert here.arrive().codes() == [421]
    assert not client.closing
    if not waiting.called:
        waiting.callback(None)


def test_nobody_makes_room_for_one_who_may_not_come_in(door: Open) -> None:
    """An address that has its share cannot drive out the others by trying."""
    here = door(connections=3, connections_per_address=2)
    honest = here.arrive("198.51.100.7")
    for _ in range(2):
        here.arrive("192.0.2.66")
    here.clock.advance(100)
    for _ in range(5):
        assert here.arrive("192.0.2.66").codes() == [421]
    assert not honest.closing
    assert here.arrive("203.0.113.9").codes() == [220]


def test_each_newcomer_takes_one_place(door: Open) -> None:
    """No more are sent away than come."""
    here = door(connections=10)
    before = [here.arrive() for _ in range(10)]
    here.clock.advance(60)
    for _ in range(4):
        assert here.arrive().codes() == [220]
    assert sum(client.closing for client in before) == 4
    assert [client.closing for client in before[:4]] == [True] * 4


def test_no_places_at_all(door: Open) -> None:
    """Nobody is there who could make room."""
    here = door(connections=0)
    assert here.arrive().codes() == [421]
    assert here.handler.names() == []


def test_one_too_many_inside_tls_is_cut_off_at_once(door: Open) -> None:
    """Nothing can be said before a handshake, and none is waited for: it holds no descriptor."""
    here = door(connections=0)
    transport = Transport()
    directlyProvides(transport, ISSLTransport)
    client = here.arrive(transport=transport)
    assert transport.aborted
    assert client.replies() == []
    assert client.timers == 0


def test_one_that_comes_while_the_server_stops_is_cut_off_too(door: Open) -> None:
    """Inside TLS; in the clear it hears why."""
    here = door()
    here.factory.drain()
    transport = Transport()
    directlyProvides(transport, ISSLTransport)
    here.arrive(transport=transport)
    assert transport.aborted
    assert here.arrive().send() == ["421 4.3.2 Service shutting down"]


def test_the_log_says_so_once_a_minute(door: Open) -> None:
    """An operator learns why clients hear 421, and nobody fills the log by coming again."""
    here = door(connections=0)
    with capturedLogs() as events:
        for seconds in (0.0, 1.0, 1.0, 58.0):
            here.clock.advance(seconds)
            here.arrive()
    assert [formatEvent(event) for event in events] == [
        "too many connections: 1 turned away, the last one from 192.0.2.1",
        "too many connections: 3 turned away, the last one from 192.0.2.1",
    ]


def test_who_is_turned_away_hears_no_status_where_there_are_none(connect: Connect) -> None:
    """With ENHANCEDSTATUSCODES switched off no reply has one, not even the only one."""
    settings = Settings(limits=Limits(connections=0), without=frozenset({"ENHANCEDSTATUSCODES"}))
    clock = Clock()
    factory = SmtpServerFactory(Recorder(), settings, reactor=clock, log_messages=False)
    address = IPv4Address("TCP", "192.0.2.1", 1)
    client = connect(factory=factory, clock=clock, address=address)
    assert client.send() == ["421 Too many connections, try again later"]
