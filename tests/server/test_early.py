"""A greeting that is held back, and who speaks before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import ssl
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import capturedLogs
from zope.interface import directlyProvides

from smtpcb.smtp import Limits
from tests.server.client import HELLO, MESSAGE, Client, Recorder, Transport

Connect = Callable[..., Client]

HELD = Limits(greeting_seconds=5)


def test_by_default_the_greeting_comes_at_once(connect: Connect) -> None:
    """And who has spoken already is not told off."""
    client = connect(Recorder())
    assert client.codes() == [220]
    assert client.timers <= 1


def test_the_greeting_is_held_back(connect: Connect) -> None:
    """Whoever waits for it is served as ever."""
    client = connect(handler := Recorder(), limits=HELD)
    client.clock.advance(4.9)
    assert client.codes() == []
    assert handler.calls == []
    client.clock.advance(0.1)
    assert client.codes() == [220]
    assert client.codes(HELLO, MESSAGE) == [250, 250, 250, 354, 250]
    client.leave()
    assert handler.names()[0] == "connected"
    assert handler.names()[-1] == "disconnected"


@pytest.mark.parametrize("octets", [HELLO, b"E", b"GET / HTTP/1.1\r\n", b"\r\n", MESSAGE * 3])
def test_who_speaks_before_it_is_refused(octets: bytes, connect: Connect) -> None:
    """554 in place of the greeting; nothing of it is a command, and no handler hears of it."""
    client = connect(handler := Recorder(), limits=HELD)
    client.clock.advance(1)
    assert client.send(octets) == ["554 You spoke before the greeting"]
    assert client.closing
    assert client.send(HELLO, MESSAGE) == []
    client.clock.advance(5)
    assert client.replies() == []
    client.leave()
    assert handler.calls == []
    assert client.factory.counters.turned_away == {"early": 1}
    assert client.factory.counters.octets_out > 0


def test_who_is_refused_and_does_not_go(connect: Connect) -> None:
    """Is cut off a moment later."""
    client = connect(Recorder(), limits=HELD)
    client.send(HELLO)
    client.clock.advance(5)
    assert client.transport.aborted


def test_who_leaves_while_it_is_held_back(connect: Connect) -> None:
    """Leaves nothing behind, by closing both sides or one."""
    client = connect(handler := Recorder(), limits=HELD)
    client.leave()
    client.finish()
    client = connect(handler, limits=HELD)
    client.protocol.readConnectionLost()
    assert client.closing
    assert handler.calls == []


def test_a_server_that_stops_waits_for_nobody(connect: Connect) -> None:
    """421 in place of the greeting."""
    client = connect(handler := Recorder(), limits=HELD)
    gone = client.factory.drain()
    assert client.send() == ["421 4.3.2 Service shutting down"]
    client.leave()
    assert gone.called
    assert handler.calls == []


def test_a_server_that_is_cut_short_cuts_it_off(connect: Connect) -> None:
    """Without a word."""
    client = connect(Recorder(), limits=HELD)
    client.factory.cut()
    assert client.transport.aborted


def test_a_client_that_does_not_read_is_still_seen(connect: Connect) -> None:
    """A transport may say so, and say that it reads again, before the greeting."""
    client = connect(Recorder(), limits=HELD)
    client.protocol.pauseProducing()
    client.protocol.resumeProducing()
    client.clock.advance(5)
    assert client.codes() == [220]


def test_inside_tls_it_is_held_back_after_the_handshake(connect: Connect) -> None:
    """What comes before the greeting comes early there too, however long the handshake was."""
    transport: Any = Transport()
    directlyProvides(transport, ISSLTransport)
    with capturedLogs():
        client = connect(handler := Recorder(), limits=HELD, transport=transport)
    client.clock.advance(20)
    transport.getHandle = lambda: ssl.SSL.Connection(ssl.SSL.Context(ssl.SSL.TLS_METHOD), None)
    client.protocol.handshakeCompleted()
    client.clock.advance(4.9)
    assert client.replies() == []
    assert client.send(HELLO) == ["554 You spoke before the greeting"]
    client.leave()
    assert handler.calls == []
