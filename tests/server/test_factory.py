"""Limits over all connections, and how a server stops (P32, P50)."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from zope.interface import directlyProvides, provider

from smtpcb.engine import Reason, Settings
from smtpcb.engine._connection import Connection
from smtpcb.interfaces import ISmtpHandlerFactory
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.smtp._limits import Limits
from tests.server.client import (
    HELLO,
    MAIL,
    MESSAGE,
    RCPT,
    TEXT,
    Client,
    Observer,
    Recorder,
    Transport,
)

Connect = Callable[..., Client]


def server(handler: object, **limits: Any) -> SmtpServerFactory:
    return SmtpServerFactory(handler, Settings(limits=Limits(**limits)), reactor=Clock())


def arrive(connect: Connect, factory: SmtpServerFactory, address: Any) -> Client:
    return connect(factory=factory, clock=factory.reactor, address=address)


def v4(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 1)


def v6(host: str) -> IPv6Address:
    return IPv6Address("TCP", host, 1)


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (v4("192.0.2.1"), v4("192.0.2.1"), True),
        (v4("192.0.2.1"), v4("192.0.2.2"), False),
        (v6("2001:db8::1"), v6("2001:db8::ffff:2"), True),
        (v6("2001:db8::1"), v6("2001:db8:0:1::1"), False),
        (v6("::ffff:192.0.2.1"), v4("192.0.2.1"), True),
        (v6("fe80::1%eth0"), v6("fe80::2%eth0"), True),
        (v4("127.0.0.1"), v4("127.0.0.1"), False),
        (v6("::1"), v6("::1"), False),
        (v6("::ffff:127.0.0.1"), v4("127.0.0.1"), False),
        (UNIXAddress(b"/x"), UNIXAddress(b"/x"), False),
    ],
)
def test_connections_per_address(first: Any, second: Any, shared: bool, connect: Connect) -> None:
    """An IPv6 client counts by its /64; loopback and UNIX sockets are not counted (P32)."""
    handler = Recorder()
    factory = server(handler, connections_per_address=1)
    one = arrive(connect, factory, first)
    assert one.codes() == [220]
    two = arrive(connect, factory, second)
    assert two.codes() == ([421] if shared else [220])
    assert len(handler.said("connected")) == (1 if shared else 2)
    one.leave()
    two.leave()
    assert arrive(connect, factory, second).codes() == [220]


def test_connections_in_all(connect: Connect) -> None:
    """One too many hears 421 and is closed, and no callback runs (P32)."""
    handler = Recorder()
    factory = server(handler, connections=2)
    clients = [arrive(connect, factory, v4(f"192.0.2.{number}")) for number in range(1, 4)]
    assert [client.codes() for client in clients] == [[220], [220], [421]]
    assert clients[2].closing
    assert clients[2].send(HELLO) == []
    assert len(handler.said("connected")) == 2


def test_one_that_is_turned_away_and_stays_is_cut_off(connect: Connect) -> None:
    """Inside TLS a close is waited for, but not for ever (P32, P60)."""
    factory = server(Recorder(), connections=0)
    client = arrive(connect, factory, None)
    assert not client.transport.aborted
    factory.reactor.advance(5)
    assert client.transport.aborted


def test_ids_are_unique_and_no_clients_doing(connect: Connect) -> None:
    """Each connection has a name that can name a file (P22)."""
    handler = Recorder()
    factory = server(handler)
    for _ in range(3):
        arrive(connect, factory, v4("192.0.2.7"))
    ids = {connection.id for (connection,) in handler.said("connected")}
    assert len(ids) == 3


def test_the_connection_knows_both_ends(connect: Connect) -> None:
    """Handlers and transcripts see who talks to whom."""
    handler = Recorder()
    connect(handler, address=v4("192.0.2.7"))
    ((connection,),) = handler.said("connected")
    assert (connection.peer_address, connection.peer_port) == ("192.0.2.7", 1)
    assert connection.host_address == "10.0.0.1"
    assert connection.host_port


# Stopping.


def test_stopping_without_connections_is_done_at_once() -> None:
    """There is nothing to wait for (P50)."""
    factory = server(Recorder())
    assert factory.drain().called
    assert factory.drain().called


def test_idle_sessions_hear_421_at_once(connect: Connect) -> None:
    """Between transactions a session ends when the server stops (RFC 5321 §3.8, P50)."""
    handler = Recorder()
    factory = server(handler)
    client = arrive(connect, factory, None)
    client.send(HELLO)
    gone = factory.drain()
    assert client.codes() == [421]
    assert client.closing
    assert not gone.called
    assert arrive(connect, factory, None).codes() == [421]
    client.leave()
    assert gone.called
    assert handler.said("disconnected") == [(Reason.SHUTDOWN,)]
    factory.resume()
    assert arrive(connect, factory, None).codes() == [220]


def test_a_transaction_may_end_when_the_server_stops(connect: Connect) -> None:
    """Mail under way gets its 250, and then 421 (P50)."""
    factory = server(Recorder())
    client = arrive(connect, factory, None)
    client.send(HELLO + MAIL)
    factory.drain()
    assert client.codes(RCPT, b"DATA\r\n", TEXT) == [250, 354]
    assert client.codes(b".\r\n") == [250, 421]
    assert client.closing


def test_a_slow_answer_is_waited_for_when_the_server_stops(connect: Connect) -> None:
    """A message in your hands gets its reply within the grace time (P50)."""
    waiting: Deferred[Any] = Deferred()
    factory = server(Recorder(message=lambda _: waiting))
    client = arrive(connect, factory, None)
    client.send(HELLO + MESSAGE)
    factory.drain()
    assert client.replies() == []
    factory.reactor.advance(29)
    waiting.callback(None)
    assert client.codes() == [250, 421]


@pytest.mark.parametrize("kind", [Recorder, Observer])
def test_text_cut_by_shutdown_is_aborted(kind: Any, connect: Connect) -> None:
    """After the grace time half a message is never taken for one (P50)."""
    handler = kind()
    factory = server(handler)
    client = arrive(connect, factory, None)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n" + TEXT)
    gone = factory.drain()
    assert client.replies() == []
    factory.reactor.advance(30)
    assert client.codes() == [421]
    assert handler.said("aborted") == [(Reason.SHUTDOWN,)]
    assert not client.transport.aborted  # the 421 must have the time to leave
    factory.reactor.advance(1)
    assert client.transport.aborted
    client.leave()
    assert gone.called
    assert "message" not in handler.names()


def test_cutting_does_not_wait_for_the_grace_time(connect: Connect) -> None:
    """421 at once; and at the second time not even that is waited for (P50)."""
    factory = server(Recorder())
    client = arrive(connect, factory, None)
    client.send(HELLO + MAIL)
    first, second = factory.drain(), factory.drain()
    factory.cut()
    assert client.codes() == [421]
    assert not client.transport.aborted
    factory.cut()
    assert client.transport.aborted
    client.leave()
    assert first.called
    assert second.called


@pytest.mark.parametrize("event", ["rcpt", "message", "chunk", "header", "disconnected"])
@pytest.mark.parametrize("gone_first", [False, True])
def test_what_is_under_way_when_the_server_is_cut(
    gone_first: bool, event: str, connect: Connect
) -> None:
    """Whatever hangs is cancelled; nothing is delivered that is not whole (P42, P50)."""
    seen: list[Any] = []

    def hang(*arguments: Any) -> Any:
        answer: Deferred[Any] = Deferred()
        answer.addErrback(lambda f: seen.append(f.type))
        return answer

    handler = Observer(**{event: hang})
    factory = server(handler)
    client = arrive(connect, factory, None)
    client.send(HELLO + MESSAGE.replace(b"Subject: hi\r\n\r\nA text\r\n", b"A: b\r\n"))
    if gone_first or event == "disconnected":
        client.leave()
    gone = factory.drain()
    factory.reactor.advance(30)
    client.leave()
    if event == "disconnected" and not gone.called:
        factory.cut()
    assert gone.called
    assert (CancelledError in seen) is (event != "rcpt" or not gone_first) or seen
    assert handler.names()[-1] == "disconnected"
    assert len(handler.said("aborted")) + len(handler.said("message")) == 1
    if event in ("chunk", "header"):
        # Gone already, the message was waited for; there it is refused.
        assert handler.said("aborted") == [(Reason.SHUTDOWN,)]


def test_a_handshake_under_way_is_cut_by_shutdown(connect: Connect) -> None:
    """There is no dialogue yet in which to say anything (P50)."""
    transport = Transport()
    directlyProvides(transport, ISSLTransport)
    client = connect(Recorder(), transport=transport)
    client.factory.drain()
    assert transport.aborted
    client.factory.cut()
    client.leave()


def test_a_lookup_in_a_session_without_transaction(connect: Connect) -> None:
    """The answer leaves first, then 421 (P50)."""
    waiting: Deferred[Any] = Deferred()
    factory = server(Recorder(hello=lambda _: waiting))
    client = arrive(connect, factory, None)
    client.send(HELLO)
    factory.drain()
    assert client.replies() == []
    waiting.callback(None)
    assert client.codes() == [250, 421]


def test_held_back_replies_leave_with_the_421(connect: Connect) -> None:
    """A penalty does not swallow replies when the server stops."""
    client = connect(Recorder(), limits=Limits(free_errors=0))
    client.send(HELLO)
    assert client.send(b"WHAT\r\n") == []
    client.factory.drain()
    assert client.codes() == [500, 421]
    assert client.timers == 2  # lingering, and the grace time


def test_the_reactor_is_the_installed_one_by_default() -> None:
    """An application need not name it."""
    from twisted.internet import reactor

    assert SmtpServerFactory(Recorder()).reactor is reactor


def test_a_handler_that_is_none_is_refused_when_the_server_is_made() -> None:
    """And not by the first client."""
    with pytest.raises(TypeError, match="neither message"):
        SmtpServerFactory(object())
    with pytest.raises(TypeError, match="authenticate"):
        SmtpServerFactory(Recorder(), authenticator=object())


def test_what_instances_say_for_themselves_is_asked_of_each() -> None:
    """A property, a slot or an attribute of its own may differ from one connection to the next."""

    class ByProperty:
        def __init__(self, connection: Connection) -> None:
            self.port = connection.peer_port

        @property
        def concurrent_recipients(self) -> bool:
            return self.port == 1

        def message(self, envelope: Any) -> None: ...

    class BySlot:
        __slots__ = ("extensions",)

        def __init__(self, connection: Connection) -> None:
            self.extensions = {"DSN"} if connection.peer_port == 1 else set()

        def message(self, envelope: Any) -> None: ...

    class ByAttribute:
        def __init__(self, connection: Connection) -> None:
            if connection.peer_port == 1:
                self.rcpt = lambda recipient, envelope: None

        def message(self, envelope: Any) -> None: ...

    for kind in (ByProperty, BySlot, ByAttribute):
        factory = SmtpServerFactory(kind, reactor=Clock())
        seen = []
        for port in (1, 2, 1, 2):
            handler = factory.handlers.make(Connection("x", peer_port=port))
            found = factory.known.handler(handler, tls=False)
            abilities = found.abilities
            seen.append((set(found.methods), abilities.concurrent_recipients, abilities.extensions))
        assert seen[0] != seen[1], kind
        assert seen[:2] == seen[2:], kind


def test_classes_that_come_and_go_are_not_kept() -> None:
    """A factory function may define its class inside; what is known of it goes with it."""

    def make(connection: Connection) -> object:
        class Inside:
            def message(self, envelope: Any) -> None: ...

        return Inside()

    factory = SmtpServerFactory(provider(ISmtpHandlerFactory)(make), reactor=Clock())
    for _ in range(10):
        factory.known.handler(factory.handlers.make(Connection("x")), tls=False)
    gc.collect()
    assert len(factory.known._classes) == 0
