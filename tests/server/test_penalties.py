"""What too many mistakes cost: the later replies wait, those that were earned before do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Client, Recorder

Connect = Callable[..., Client]
BAD = b"WHAT\r\n"


def test_what_was_earned_before_the_penalty_is_said_at_once(connect: Connect) -> None:
    """A client that pipelines hears of each command as soon as its own penalties are over."""
    client = connect(Recorder())
    client.send(HELLO)
    assert client.codes(b"NOOP\r\n" + BAD * 19 + b"NOOP\r\nQUIT\r\n") == [250, *[500] * 10]
    for _ in range(8):
        client.clock.advance(1)
        assert client.codes() == [500]
    client.clock.advance(1)
    assert client.codes() == [500, 250, 221]


@pytest.mark.parametrize("cut", [1, 7, 40, 4000])
def test_a_penalty_is_the_same_at_every_cut(cut: int, connect: Connect) -> None:
    """In one packet or in many, in the same second."""
    client = connect(Recorder(), limits=Limits(free_errors=1))
    client.send(HELLO)
    octets = MESSAGE + BAD * 3 + b"RSET\r\n" + MESSAGE + b"QUIT\r\n"
    got = client.codes(*[octets[at : at + cut] for at in range(0, len(octets), cut)])
    assert got == [250, 250, 354, 250, 500]
    client.clock.advance(1)
    assert client.codes() == [500]
    client.clock.advance(1)
    assert client.codes() == [500, 250, 250, 250, 354, 250, 221]


def test_a_message_accepted_before_a_penalty_is_told(connect: Connect) -> None:
    """Its sender would send it again if it lost patience."""
    client = connect(Recorder(), limits=Limits(free_errors=0))
    client.send(HELLO)
    assert client.codes(MESSAGE + BAD + b"NOOP\r\n") == [250, 250, 354, 250]
    client.clock.advance(1)
    assert client.codes() == [500, 250]


def test_lookups_under_way_are_answered_before_the_penalty(connect: Connect) -> None:
    """Those of recipients that are asked together, too; the order is that of the commands."""
    asked: list[Deferred[Any]] = []

    def look_up(*_: Any) -> Deferred[Any]:
        asked.append(Deferred())
        return asked[-1]

    handler = Recorder(rcpt=look_up)
    handler.concurrent_recipients = True
    client = connect(handler, limits=Limits(free_errors=0))
    client.send(HELLO)
    assert client.codes(MAIL + RCPT + RCPT + b"RCPT TO:<no path\r\n" + RCPT) == [250]
    for one in asked:
        one.callback(None)
    assert client.codes() == [250, 250]
    client.clock.advance(1)
    assert client.codes()[0] == 501


def test_a_wrong_password_holds_back_nothing_from_before(connect: Connect) -> None:
    """The 535 waits for its second, the NOOP before it does not."""

    class Closed(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> bool:
            return False

    client = connect(Closed())
    client.send(HELLO)
    assert client.codes(b"NOOP\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\n") == [250]
    client.clock.advance(1)
    assert client.codes() == [535, 250]


def test_a_broken_line_is_held_back_as_well(connect: Connect) -> None:
    """Too long, or ended by LF alone: it is a mistake like others, in its place."""
    client = connect(Recorder(), limits=Limits(free_errors=0))
    client.send(HELLO)
    assert client.codes(b"NOOP\r\n" + b"x" * 20_000 + b"\r\nNOOP\r\n") == [250]
    client.clock.advance(1)
    assert client.codes() == [500, 250]
    assert client.codes(b"NOOP\r\nWHAT\nNOOP\n") == [250]
    client.clock.advance(1)
    assert client.codes() == [500]


def test_a_half_closed_client_sits_out_its_penalty(connect: Connect) -> None:
    """It has sent all, and hears all of it, in its time."""
    client = connect(Recorder(), limits=Limits(free_errors=0))
    client.send(HELLO)
    client.protocol.dataReceived(b"NOOP\r\n" + BAD + BAD + b"QUIT\r\n")
    client.protocol.readConnectionLost()
    assert client.codes() == [250]
    assert not client.closing
    client.clock.advance(1)
    assert client.codes() == [500]
    client.clock.advance(1)
    assert client.codes() == [500, 221]
    assert client.transport.disconnecting
