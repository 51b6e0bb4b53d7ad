"""What a server knows of what it has done."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Client, Recorder, Secure

Connect = Callable[..., Client]


class Inbox(Recorder):
    def authenticate(self, credentials: Any, connection: Any) -> Any:
        return self._hear("authenticate", credentials)


def server(clock: Clock, handler: object, **options: Any) -> SmtpServerFactory:
    settings = Settings(allow_insecure_auth=True, limits=Limits(connections=2))
    return SmtpServerFactory(handler, settings, reactor=clock, log_messages=False, **options)


def test_a_server_counts_what_it_does(connect: Connect, failures: Any) -> None:
    """Connections that are there count like those that are gone; each thing counts once."""
    clock = Clock()
    login = b"AUTH PLAIN " + base64.b64encode(b"\0anne\0tim") + b"\r\n"
    verdicts = iter([None, False])
    logins = iter([True, False])
    handler = Inbox(
        message=lambda envelope: next(verdicts),
        authenticate=lambda credentials: next(logins),
        verify=lambda text: 1 / 0,
        rcpt=lambda recipient, envelope: recipient.local_part != "x",
    )
    factory = server(clock, handler)
    assert str(factory.counters) == "nothing"
    first = connect(factory=factory, clock=clock)
    first.send(HELLO, login, MESSAGE, MESSAGE, b"VRFY x\r\n")
    before = factory.counters
    second = connect(factory=factory, clock=clock)
    second.send(HELLO, login)
    clock.advance(1)
    second.send(MAIL, RCPT, RCPT, b"RCPT TO:<x@example.org>\r\n", b"RSET\r\n")
    connect(factory=factory, clock=clock)
    for client in (first, second):
        sent = client.protocol.connection.octets_in, client.protocol.connection.octets_out
        assert min(sent) > 100
    there = factory.counters
    first.leave()
    second.leave()
    gone = factory.counters
    assert there.connections == 2
    assert gone.connections == 0
    assert there.octets_in == gone.octets_in > before.octets_in
    for counters in (there, gone):
        assert counters.arrived == 2
        assert counters.turned_away == {"connections": 1}
        assert (counters.messages_accepted, counters.messages_refused) == (1, 1)
        assert counters.transactions_aborted == 1
        assert (counters.recipients_accepted, counters.recipients_refused) == (4, 1)
        assert (counters.logins_accepted, counters.logins_failed) == (1, 1)
        assert counters.incidents == 1
        assert (counters.handshakes_done, counters.handshakes_failed) == (0, 0)
        assert counters.since <= datetime.now(UTC)
    assert str(gone).startswith("arrived 2, octets in ")
    assert str(gone).endswith("incidents 1, turned away (connections) 1")


def test_a_handshake_that_fails_counts(connect: Connect) -> None:
    """Whether it was begun by STARTTLS or by the port, and however it ended."""
    clock = Clock()
    factory = server(clock, Recorder(), tls=Secure())
    client = connect(factory=factory, clock=clock)
    client.send(HELLO, b"STARTTLS\r\n")
    client.leave(ConnectionLost())
    assert factory.counters.handshakes_failed == 1


def test_one_who_comes_while_the_server_stops_counts_too(connect: Connect) -> None:
    """By that reason."""
    clock = Clock()
    factory = server(clock, Recorder())
    factory.drain()
    connect(factory=factory, clock=clock)
    assert factory.counters.turned_away == {"stopping": 1}
    assert factory.counters.arrived == 0


def test_a_server_says_what_it_has_done_when_it_stops(connect: Connect) -> None:
    """In one line; nothing, if nobody came."""
    clock = Clock()
    factory = server(clock, Recorder())
    with capturedLogs() as events:
        factory.begin()
        factory.end()
        assert events == []
        factory.begin()
        connect(factory=factory, clock=clock).leave()
        factory.end()
    (line,) = [formatEvent(event) for event in events]
    assert line.startswith("served since 20")
    assert ": arrived 1, octets out " in line
