"""Octets, time and TLS of one connection; no handler can be hurt by a client (P59)."""

from __future__ import annotations

import base64
import itertools
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent
from zope.interface import directlyProvides

from smtpcb.engine import Reason, Settings
from smtpcb.engine._connection import TlsInformation
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated
from smtpcb.transcript import TranscriptFolder, TranscriptSettings
from tests.server.client import (
    HELLO,
    MAIL,
    MESSAGE,
    RCPT,
    Client,
    Observer,
    Recorder,
    Secure,
    Transport,
    pieces,
)

Connect = Callable[..., Client]
TLS_OBJECT: Any = Secure()
INSIDE = TlsInformation("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, "mx.example.org")


# Cutting lines.

WHOLE = (
    HELLO
    + b"AUTH LOGIN\r\nYQ==\r\nYg==\r\n"
    + MESSAGE
    + b"X" * 3000
    + b"\r\nNOOP\r\n"
    + b"Y" * 13000
    + b"\r\nRSET\r\n"
    + MAIL
    + RCPT
    + b"BDAT 3\r\na\r\nBDAT 2 LAST\r\n\r\nQUIT\r\n"
)


class Open(Recorder):
    def authenticate(self, credentials: Any, connection: Any) -> bool:
        return True


def test_octet_by_octet_is_the_same_as_whole(connect: Connect) -> None:
    """However the network cuts a dialogue, it is the same dialogue (P5)."""
    whole, cut = connect(Open()), connect(Open())
    replies = whole.send(WHOLE)
    assert [reply[:3] for reply in replies[-3:]] == ["250", "250", "221"]
    assert cut.send(*pieces(WHOLE)) == replies


@pytest.mark.parametrize("cut", [1, 2, 12286, 12287, 12288, 12289, 12290, 14999, 15000, 15001])
@pytest.mark.parametrize("ending", [b"\r\n", b"\r\r\n"])
def test_an_overlong_line_is_one_500_at_every_cut(
    ending: bytes, cut: int, connect: Connect
) -> None:
    """It is thrown away to its CRLF; what stands behind it is run, what is in it is not (P24)."""
    client = connect(Recorder())
    client.send(HELLO)
    line = b"MAIL FROM:<" + b"x" * 14988 + b"\n\rQ" + ending + b"NOOP\r\nVRFY x\r\n"
    assert client.codes(line[:cut], line[cut:]) == [500, 250, 252]


def test_a_line_without_end_is_a_421(connect: Connect) -> None:
    """After a megabyte without CRLF nobody waits for the rest (P24)."""
    client = connect(Recorder())
    client.replies()
    for _ in range(16):
        assert client.send(b"x" * 65536) == []
    assert client.codes(b"x") == [421]
    assert client.closing
    assert client.send(b"\r\nNOOP\r\n") == []
    client.leave()


def test_an_auth_response_of_12288_octets_is_taken(connect: Connect) -> None:
    """RFC 4954 §4.5: that long, and no longer (P13)."""
    seen: list[Any] = []

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> bool:
            seen.append(len(credentials.password))
            return True

    client = connect(Login())
    client.send(HELLO)
    response = base64.b64encode(b"\0user\0" + b"p" * 9205)
    response = response[:12284]
    assert client.codes(b"AUTH PLAIN\r\n", response + b"\r\n") == [334, 235]
    assert seen
    client = connect(Login())
    client.send(HELLO)
    too_long = b"A" * 12288 + b"\r\n"
    assert client.send(b"AUTH PLAIN\r\n", too_long + b"NOOP\r\n") == [
        "334 ",
        "500 5.5.6 Response too long",
        "250 2.0.0 OK",
    ]


# STARTTLS.


@pytest.mark.parametrize("behind", [b"NOOP\r\n", MAIL, b"x", b"\x16\x03\x01", b"\r"])
def test_anything_behind_starttls_closes(behind: bytes, connect: Connect) -> None:
    """Whoever sends before the handshake may be anybody: 554, and none of it is run (P7)."""
    handler = Observer()
    client = connect(handler, tls=TLS_OBJECT)
    client.send(HELLO)
    assert client.codes(b"STARTTLS\r\n" + behind) == [554]
    assert client.closing
    assert client.transport.secured_by == []
    assert client.send(b"NOOP\r\n") == []
    client.leave()
    assert handler.said("disconnected") == [(Reason.INJECTED,)]
    assert [call[0].name for call in handler.said("command")] == ["EHLO", "STARTTLS"]


def test_what_comes_while_starttls_is_being_observed_is_behind_it(connect: Connect) -> None:
    """An observer that takes its time opens no gap (P7)."""
    waiting: Deferred[None] = Deferred()
    handler = Observer(command=lambda c: waiting if c.name == "STARTTLS" else None)
    client = connect(handler, tls=TLS_OBJECT)
    client.send(HELLO)
    assert client.send(b"STARTTLS\r\n", b"NOOP\r\n") == []
    waiting.callback(None)
    assert client.codes() == [554]
    assert client.transport.secured_by == []


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS without TLS."""
    monkeypatch.setattr("smtpcb.server._protocol.tls.describe", lambda handle: INSIDE)
    monkeypatch.setattr(Transport, "getHandle", lambda self: None, raising=False)


def test_starttls_begins_a_new_session(described: None, connect: Connect) -> None:
    """EHLO, login and extensions are those of a new connection (RFC 3207 §4.2, P8)."""
    released: list[int] = []

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Authenticated:
            return Authenticated("me", release=lambda: released.append(1))

    handler = Login()
    client = connect(handler, tls=TLS_OBJECT)
    assert "STARTTLS" in client.send(HELLO)[-1]
    assert client.codes(b"AUTH PLAIN AGEAYg==\r\n") == [235]
    connection = client.protocol.connection
    assert connection.identity == "me"
    assert client.codes(b"STARTTLS\r\n") == [220]
    assert client.transport.secured_by == [TLS_OBJECT]
    client.protocol.handshakeCompleted()
    assert handler.said("secured") == [(INSIDE,)]
    assert released == [1]
    assert connection.identity is None
    assert client.codes(MAIL, b"STARTTLS\r\n") == [503, 503]
    assert "STARTTLS" not in client.send(HELLO)[0]
    assert client.codes(MESSAGE) == [250, 250, 354, 250]
    client.protocol.handshakeCompleted()  # a second one says nothing
    assert client.codes(b"NOOP\r\n") == [250]
    assert client.timers == 1


def test_a_refused_handshake_leaves_nothing_but_quit(described: None, connect: Connect) -> None:
    """A no in secured answers every further command (RFC 3207 §4.1)."""
    client = connect(Recorder(secured=lambda tls: False), tls=TLS_OBJECT)
    client.send(HELLO, b"STARTTLS\r\n")
    client.protocol.handshakeCompleted()
    assert client.codes(HELLO, MAIL, b"QUIT\r\n") == [554, 554, 221]


@pytest.mark.parametrize("verdict", [None, False])
def test_implicit_tls_greets_after_the_handshake(
    verdict: Any, described: None, connect: Connect
) -> None:
    """On a port of its own TLS comes first; a no in secured is said in place of a greeting."""
    handler = Recorder(secured=lambda tls: verdict)
    transport = Transport()
    directlyProvides(transport, ISSLTransport)
    client = connect(handler, transport=transport, tls=TLS_OBJECT)
    assert handler.names() == []
    assert client.timers == 1
    client.protocol.handshakeCompleted()
    assert client.codes() == ([220] if verdict is None else [554])
    assert handler.names() == ["connected", "secured"]
    assert client.closing is (verdict is False)
    client.leave()


@pytest.mark.parametrize("implicit", [False, True])
def test_a_handshake_that_does_not_come(implicit: bool, connect: Connect) -> None:
    """Thirty seconds, and never back to the clear (P9)."""
    handler = Recorder()
    transport = Transport()
    if implicit:
        directlyProvides(transport, ISSLTransport)
    client = connect(handler, transport=transport, tls=TLS_OBJECT)
    if not implicit:
        client.send(HELLO, b"STARTTLS\r\n")
    client.clock.advance(29)
    assert not transport.aborted
    client.clock.advance(1)
    assert transport.aborted
    assert client.replies() == []
    client.protocol.handshakeCompleted()  # too late
    client.leave()
    if implicit:
        assert handler.names() == []
    else:
        assert handler.said("disconnected") == [(Reason.TLS_FAILED,)]


def test_a_failed_handshake_is_told(connect: Connect) -> None:
    """Garbage in place of a handshake ends the connection (P9)."""
    handler = Recorder()
    client = connect(handler, tls=TLS_OBJECT)
    client.send(HELLO, b"STARTTLS\r\n")
    client.leave(SSL.Error([("SSL routines", "", "wrong version number")]))
    assert handler.said("disconnected") == [(Reason.TLS_FAILED,)]


def test_no_starttls_where_the_transport_cannot(connect: Connect) -> None:
    """A UNIX socket cannot start TLS, so it is not offered there."""
    client = connect(Recorder(), tls=TLS_OBJECT, transport=StringTransport())
    assert "STARTTLS" not in client.send(HELLO)[-1]
    assert client.codes(b"STARTTLS\r\n") == [502]


def test_a_slow_reader_that_starts_tls_is_read_on(connect: Connect) -> None:
    """Nobody else says afterwards that it has taken our replies."""

    class Full(Transport):
        def write(self, data: bytes) -> None:
            super().write(data)
            if data.endswith(b"TLS\r\n"):
                self.producer.pauseProducing()

    client = connect(Recorder(), tls=TLS_OBJECT, transport=Full())
    client.send(HELLO)
    client.send(b"NOOP\r\n" * 10 + b"STARTTLS\r\n")
    assert client.transport.reading


# Time.


def test_an_idle_client_hears_421(connect: Connect) -> None:
    """Five minutes without a command; single octets are none (P28)."""
    handler = Recorder()
    client = connect(handler)
    client.send(HELLO + MAIL)
    for octet in b"NOOP NOOP ":
        client.clock.advance(29)
        assert client.send(bytes([octet])) == []
        assert client.timers == 1
    client.clock.advance(10)
    assert client.send() == ["421 4.4.2 Timed out waiting for you"]
    assert handler.said("aborted") == [(Reason.TIMEOUT,)]
    assert client.closing
    client.clock.advance(5)
    assert client.transport.aborted
    client.leave()


def test_a_command_starts_the_time_anew(connect: Connect) -> None:
    """NOOP is a sign of life (P28)."""
    client = connect(Recorder())
    client.send(HELLO)
    for _ in range(5):
        client.clock.advance(299)
        assert client.codes(b"NOOP\r\n") == [250]
    assert client.timers == 1


@pytest.mark.parametrize("slow", [False, True])
def test_content_that_trickles_is_a_421(slow: bool, connect: Connect) -> None:
    """A hundred octets a second over a minute; a slow chunk callback is not held against it,
    and does not help it either (P28)."""
    clock = Clock()

    def later(octets: bytes) -> Any:
        if not slow:
            return None
        answer: Deferred[None] = Deferred()
        clock.callLater(0.1, answer.callback, None)
        return answer

    handler = Observer(chunk=later)
    client = connect(handler, clock=clock)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    for _ in range(3):  # fast enough
        client.send(b"x" * 5998 + b"\r\n")
        clock.advance(0.1)
        clock.advance(59.9)
        assert client.replies() == []
    for _second in range(90):
        client.send(b"x")
        clock.advance(0.1)
        clock.advance(0.9)
        assert client.timers == 1
        if client.closing:
            break
    assert client.send() == ["421 4.4.2 Message comes too slowly"]
    assert 50 <= _second <= 80
    assert handler.said("aborted") == [(Reason.TIMEOUT,)]


def test_a_slow_handler_is_not_the_clients_fault(connect: Connect) -> None:
    """The time a chunk takes you is not counted as slowness of the client."""
    waiting: list[Deferred[None]] = []

    def later(octets: bytes) -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    client = connect(Observer(chunk=later))
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    for _ in range(3):
        client.send(b"x\r\n")
        client.clock.advance(200)
        waiting.pop().callback(None)
    assert client.send(b".\r\n")[-1].startswith("250")


def test_no_pace_no_limit(connect: Connect) -> None:
    """content_octets_per_second=None lets a text trickle."""
    client = connect(Recorder(), limits=Limits(content_octets_per_second=None))
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    client.clock.pump([60] * 20)
    assert client.codes(b".\r\n") == [250]


@pytest.mark.parametrize("during", ["idle", "content", "decision", "handshake", "no dialogue"])
def test_a_session_has_an_end(during: str, connect: Connect) -> None:
    """An hour, whatever it does (P28)."""
    handler = Recorder(verify=lambda text: Deferred())
    transport = Transport()
    limits = Limits(session_seconds=20)
    if during == "no dialogue":
        directlyProvides(transport, ISSLTransport)
    client = connect(handler, limits=limits, transport=transport, tls=TLS_OBJECT)
    if during != "no dialogue":
        client.send(HELLO)
    if during == "content":
        client.send(MAIL + RCPT + b"DATA\r\n")
    elif during == "decision":
        client.send(b"VRFY x\r\n")
    elif during == "handshake":
        client.send(b"STARTTLS\r\n")
    client.clock.advance(20)
    if during in ("handshake", "no dialogue"):
        assert transport.aborted
        assert client.replies() == []
    else:
        assert client.replies() == ["421 4.4.2 Session too long"]
        assert client.closing
    client.leave()


def test_the_end_of_a_session_waits_for_a_message_that_is_complete(connect: Connect) -> None:
    """Its sender is about to hear that it is safe."""
    waiting: Deferred[Any] = Deferred()
    client = connect(Recorder(message=lambda _: waiting), limits=Limits(session_seconds=20))
    client.send(HELLO + MESSAGE)
    client.clock.advance(20)
    assert client.replies() == []
    client.clock.advance(70)
    waiting.callback(None)
    assert client.codes() == [250]
    client.clock.advance(60)
    assert client.codes() == [421]


def test_a_session_may_be_without_end(connect: Connect) -> None:
    """session_seconds=None."""
    client = connect(Recorder(), limits=Limits(session_seconds=None))
    for _ in range(100):
        client.clock.advance(200)
        client.send(b"NOOP\r\n")
    assert client.codes(b"NOOP\r\n") == [250]


def test_errors_are_answered_slowly_and_then_not_at_all(connect: Connect) -> None:
    """From the eleventh on each waits a second, the twentieth closes (P29)."""
    client = connect(Recorder())
    client.send(HELLO)
    assert client.codes(b"WHAT\r\n" * 10) == [500] * 10
    for _ in range(9):
        assert client.send(b"WHAT\r\n", b"NOOP\r\n") == []
        assert client.timers == 2
        client.clock.advance(1)
        assert client.codes() == [500, 250]
        assert client.timers == 1
    assert client.codes(b"WHAT\r\n") == [421]
    assert client.closing
    assert client.timers == 1


def test_a_wrong_password_is_answered_slowly(connect: Connect) -> None:
    """A second each, five in all (P15)."""

    class Closed(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> bool:
            return False

    client = connect(Closed())
    client.send(HELLO)
    for _ in range(4):
        assert client.send(b"AUTH PLAIN AGEAYg==\r\n") == []
        client.clock.advance(1)
        assert client.codes() == [535]
    assert client.codes(b"AUTH PLAIN AGEAYg==\r\n") == [421]


def test_leaving_in_a_penalty_or_between_two_slices(connect: Connect) -> None:
    """No timer outlives its connection (P60)."""
    client = connect(Recorder(), limits=Limits(free_errors=0))
    client.send(b"WHAT\r\n")
    assert client.timers == 2
    client.leave()
    assert client.timers == 0


@pytest.mark.parametrize("how", ["leave", "half close", "silence"])
def test_after_quit(how: str, connect: Connect) -> None:
    """221, and the client goes; or is made to after five seconds (P60)."""
    handler = Recorder()
    client = connect(handler)
    assert client.codes(b"QUIT\r\nNOOP\r\n") == [220, 221]
    assert client.transport.disconnecting
    assert client.send(b"NOOP\r\n") == []
    if how == "half close":
        client.protocol.readConnectionLost()
    elif how == "silence":
        client.clock.advance(5)
        assert client.transport.aborted
    client.leave()
    assert handler.said("disconnected") == [(Reason.QUIT,)]


def test_closing_lets_the_client_read_why(connect: Connect) -> None:
    """Closing with input unread resets the connection, and the 421 may be lost."""
    client = connect(Recorder(hello=lambda _: Reply(421, "Later", status="4.3.0")))
    assert client.codes(HELLO + b"NOOP\r\n" * 10) == [220, 421]
    assert client.transport.half_closed
    assert not client.transport.disconnecting
    client.protocol.writeConnectionLost()
    client.protocol.readConnectionLost()
    assert client.transport.disconnecting


def test_a_client_that_closes_its_side(connect: Connect) -> None:
    """It has said all; it gets the replies that are due, and is gone (P46)."""
    handler = Recorder()
    client = connect(handler)
    client.send(HELLO + MAIL)
    client.protocol.readConnectionLost()
    assert client.transport.disconnecting
    assert handler.said("aborted") == [(Reason.DISCONNECTED,)]
    assert client.timers == 1
    client.clock.advance(5)  # it does not take our replies
    assert client.transport.aborted
    client.leave()
    assert handler.names()[-1] == "disconnected"


# Flow.


def test_a_client_that_does_not_read_is_not_read(connect: Connect) -> None:
    """And is dropped, when it takes nothing for five minutes (P28, P31)."""
    handler = Recorder()
    client = connect(handler)
    client.send(HELLO)
    for _ in range(2):
        client.transport.producer.pauseProducing()  # as the transport does for each write
    assert not client.transport.reading
    assert client.send(b"NOOP\r\n") == []
    client.transport.producer.resumeProducing()
    client.transport.producer.resumeProducing()
    assert client.transport.reading
    assert client.codes() == [250]
    client.transport.producer.pauseProducing()
    client.clock.advance(299)
    assert not client.transport.aborted
    client.clock.advance(1)
    assert client.transport.aborted
    client.leave()
    assert handler.said("disconnected") == [(Reason.TIMEOUT,)]


@pytest.mark.parametrize("resume", [False, True])
def test_pausing_and_resuming_within_a_write(resume: bool, connect: Connect) -> None:
    """A transport may call back at any time; no reply is lost or doubled, nobody stays paused."""

    class Nervous(Transport):
        def write(self, data: bytes) -> None:
            super().write(data)
            if self.producer is not None:
                self.producer.pauseProducing()
                if resume:
                    self.producer.resumeProducing()

    handler = Recorder()
    client = connect(handler, transport=Nervous())
    codes = client.codes(HELLO + MESSAGE + b"NOOP\r\nQUIT\r\n")
    for _ in range(10):
        if not resume and client.transport.producer is not None:
            client.transport.producer.resumeProducing()
        codes += client.codes()
    assert codes == [220, 250, 250, 250, 354, 250, 250, 221]
    assert client.transport.disconnecting


def test_content_is_not_read_faster_than_it_is_taken(connect: Connect) -> None:
    """While a chunk is under way the client waits; memory is bounded (P23, P31)."""
    waiting: list[Deferred[None]] = []

    def later(octets: bytes) -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    handler = Observer(chunk=later)
    client = connect(handler)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    text = b"".join(b"%099d\n" % number for number in range(5000)).replace(b"\n", b"\r\n")
    sent, most = 0, 0
    while sent < len(text) or waiting:
        if client.transport.reading and sent < len(text):
            client.send(text[sent : sent + 65536])
            sent += 65536
        else:
            waiting.pop(0).callback(None)
        most = max(most, len(client.protocol._buffer))
        assert len(waiting) <= 1
    assert most < 32768 + 65536
    client.send(b".\r\n")
    assert b"".join(octets for (octets,) in handler.said("chunk")) == text


def test_commands_wait_while_a_decision_is_open(connect: Connect) -> None:
    """What is pipelined behind it is kept, to a bound, and runs in order (P23, P35)."""
    waiting: Deferred[Any] = Deferred()
    client = connect(Recorder(verify=lambda text: waiting))
    client.send(HELLO)
    client.send(b"VRFY x\r\n")
    assert client.transport.reading  # so that we see it leave
    sent = 0
    while client.transport.reading:
        client.send(b"NOOP\r\n" * 100)
        sent += 100
    assert len(client.protocol._buffer) < 32768 + 65536
    waiting.callback(None)
    assert client.codes() == [252] + [250] * min(sent, 998) + [421]


# Many at once.


class Ticking(Clock):
    """A clock that goes while we work."""

    def seconds(self) -> float:
        return time.perf_counter()


def depth() -> int:
    frame, found = sys._getframe(), 0
    while frame.f_back is not None:
        frame, found = frame.f_back, found + 1
    return found


@pytest.mark.parametrize("how", ["def", "fired", "coroutine"])
def test_100000_pipelined_commands(how: str, connect: Connect) -> None:
    """The stack does not grow, and the reactor gets its turns (P30)."""
    depths: set[int] = set()
    calls = itertools.count()

    def look() -> None:
        if not next(calls) % 97:
            depths.add(depth())

    class Plain:
        discards_content = True

        def verify(self, text: Any, connection: Any) -> Any:
            look()
            return succeed(None) if how == "fired" else None

    class Coroutine:
        discards_content = True

        async def verify(self, text: Any, connection: Any) -> None:
            look()

    clock = Ticking()
    handler = Coroutine() if how == "coroutine" else Plain()
    limits = Limits(idle_commands=None, session_seconds=None)
    client = connect(handler, clock=clock, limits=limits)
    client.send(HELLO)
    commands = b"VRFY x\r\n" * 100_000
    turns = replies = 0
    for at in range(0, len(commands), 65536):
        client.protocol.dataReceived(commands[at : at + 65536])
        for _ in range(1000):
            due = [c for c in clock.getDelayedCalls() if c.getTime() <= clock.seconds()]
            if not due:
                break
            turns += 1
            clock.advance(0)
        replies += len(client.replies())
    assert replies == 100_000
    assert max(depths) - min(depths) < 12
    assert turns > 3


# When it is us who are broken.


@pytest.mark.parametrize("lost", [False, True])
def test_a_fault_of_our_own_closes_the_connection(
    lost: bool, connect: Connect, monkeypatch: pytest.MonkeyPatch, failures: list[LogEvent]
) -> None:
    """It is logged, the client is asked to come again, and nothing stays behind (P59)."""

    def broken(*arguments: Any) -> None:
        raise AssertionError("a bug")

    client = connect(Recorder())
    client.send(HELLO)
    with monkeypatch.context() as patch:
        patch.setattr("smtpcb.engine._server.ServerDialogue.line", broken)
        patch.setattr("smtpcb.engine._server.ServerDialogue.end", broken)
        if lost:
            client.protocol.connectionLost()
            client.gone = True
        else:
            assert client.codes(b"NOOP\r\n") == [421]
            assert client.transport.disconnecting
            assert client.send(b"NOOP\r\n") == []
            client.leave()
    assert len(failures) == (1 if lost else 2)


# Transcripts.


def transcript_of(folder: Path) -> str:
    (path,) = folder.rglob("*.txt")
    lines = path.read_text().splitlines()
    return "\n".join(line[10:] for line in lines if not line.startswith("#"))


def recorded(connect: Connect, tmp_path: Path, handler: object, **options: Any) -> Client:
    clock = Clock()
    folder = TranscriptFolder(TranscriptSettings(tmp_path, sessions="all"), clock)
    client = connect(handler, clock=clock, transcripts=folder, tls=TLS_OBJECT, **options)
    client.protocol.folder = folder
    return client


def test_both_sides_are_recorded(described: None, connect: Connect, tmp_path: Path) -> None:
    """Commands, replies, content, TLS and the end, in order."""
    client = recorded(connect, tmp_path, Recorder())
    client.send(HELLO)
    client.send(b"STARTTLS\r\n")
    client.protocol.handshakeCompleted()
    client.send(b"EHLO again.example\r\n")
    client.send(MAIL + RCPT + b"DATA\r\n", b"..dot\r\n", b".\r\n")
    client.send(b"Z" * 20000 + b"\r\n")
    client.send(b"QUIT\r\n")
    client.leave()
    client.protocol.folder.close()
    assert client.protocol.folder.flush()
    got = re.sub(r"S: 250[- ][A-Z0-9]+( \d+)?\n", "", transcript_of(tmp_path))
    for line in (
        "S: 220 localhost ESMTP",
        "C: STARTTLS",
        "S: 220 2.0.0 Ready to start TLS",
        "*: TLS TLSv1.3 TLS_AES_256_GCM_SHA384",
        "C: EHLO again.example",
        "C: DATA",
        "S: 354 ",
        "C: ..dot",
        "C: .",
        "S: 250 2.0.0 Message accepted",
        "*: too long a line: 20000 octets",
        "S: 500 5.5.2 Line too long",
        "C: QUIT",
        "S: 221 ",
        "*: closed: the client has quit",
    ):
        assert line in got
        got = got[got.index(line) :]


def test_implicit_tls_is_recorded(described: None, connect: Connect, tmp_path: Path) -> None:
    """The first line says that there was TLS."""
    transport = Transport()
    directlyProvides(transport, ISSLTransport)
    client = recorded(connect, tmp_path, Recorder(), transport=transport)
    client.protocol.handshakeCompleted()
    client.leave()
    client.protocol.folder.close()
    assert client.protocol.folder.flush()
    assert transcript_of(tmp_path).startswith("*: TLS TLSv1.3")


def test_a_transcript_that_fails_hurts_nobody(
    connect: Connect, tmp_path: Path, log: list[str]
) -> None:
    """The dialogue is the same without it (P49)."""
    (tmp_path / "file").write_text("")
    client = recorded(connect, tmp_path / "file", Recorder())
    assert client.codes(HELLO + MESSAGE + b"QUIT\r\n") == [220, 250, 250, 250, 354, 250, 221]
    client.leave()
    client.protocol.folder.close()
    assert client.protocol.folder.flush()
    assert any("transcript is cut or lost" in text for text in log)


# Secrets.

MARKER = "Tr0ub4dor-and-3"


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


def forms() -> list[str]:
    alignments = [base64.b64encode(b"x" * at + MARKER.encode())[4:-4].decode() for at in range(3)]
    return [MARKER, *alignments]


@pytest.mark.parametrize("outcome", ["yes", "no", "raise", "fail", "nonsense", "late", "cancel"])
@pytest.mark.parametrize(
    "dialogue",
    [
        [b"AUTH PLAIN " + b64(f"\0u\0{MARKER}")],
        [b"AUTH PLAIN", b64(f"\0u\0{MARKER}")],
        [b"AUTH LOGIN", b64("u"), b64(MARKER)],
        [b"auth login " + b64("u"), b64(MARKER)],
        [b"AUTH LOGIN", b64("u"), b64(MARKER)[:-3]],
        [b"AUTH PLAIN", b64(f"\0u\0{MARKER}") + b"*"],
        [b"AUTH LOGIN", b64("u"), b"*", b64(MARKER)],
        [b"AUTH PLAIN " + b64(f"\0u\0{MARKER}" + "y" * 20000)],
        [b"AUTH PLAIN", b64(f"\0u\0{MARKER}" + "y" * 20000)],
        [b"AUTH WHAT " + b64(MARKER)],
        [b"AUTH " + MARKER.encode()],
    ],
)
def test_no_secret_is_ever_written_down(
    outcome: str,
    dialogue: list[bytes],
    connect: Connect,
    tmp_path: Path,
    log: list[str],
    failures: list[LogEvent],
) -> None:
    """In no log, transcript or repr, whatever happens to the login (P14)."""
    seen: list[str] = []

    class Login(Observer):
        def authenticate(self, credentials: Any, connection: Any) -> Any:
            seen.append(repr(credentials))
            if outcome == "raise":
                raise RuntimeError(f"no such password: {credentials.password}")
            if outcome == "fail":
                failed: Deferred[Any] = Deferred()
                failed.errback(ValueError(credentials.password))
                return failed
            if outcome == "nonsense":
                return (250, credentials.password)
            if outcome in ("late", "cancel"):

                def canceller(_: Any) -> None:
                    raise ValueError(credentials.password)

                return Deferred(canceller)
            return outcome == "yes"

    handler = Login()
    client = recorded(connect, tmp_path, handler)
    client.send(HELLO)
    for line in dialogue:
        client.send(line + b"\r\n")
        client.clock.advance(1)
    if outcome == "late":
        client.clock.advance(300)
    if outcome != "cancel":
        client.send(b"NOOP\r\n")
    client.send(b64(MARKER)[:7])
    client.leave()
    client.protocol.folder.close()
    assert client.protocol.folder.flush()
    written = "\n".join(
        [*log, *seen, transcript_of(tmp_path), repr(handler.calls), repr(client.protocol)]
    )
    assert "C: EHLO client.example" in written
    for form in forms():
        assert form not in written


# Everything at once.

LINES = [
    HELLO,
    b"HELO x.example\r\n",
    MAIL,
    RCPT,
    b"RCPT TO:<no@example.org>\r\n",
    b"DATA\r\n",
    b"text\r\n.\r\n",
    b"..\r\n",
    b"a\nb\r\n.\r\n",
    b"BDAT 5\r\n12\r\n3",
    b"BDAT 0 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY x\r\n",
    b"WHAT\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH LOGIN\r\n",
    b"YQ==\r\n",
    b"*\r\n",
    b"z" * 13000 + b"\r\n",
    b"HELP\r\n",
    b"QUIT\r\n",
    b"x\r",
    b"\n",
    b".\r\n",
]


class Chaotic(Observer):
    """Answers after as many seconds as the numbers say."""

    def __init__(self, clock: Any, delays: list[float], concurrent: bool) -> None:
        super().__init__()
        self.clock = clock
        self.delays = delays
        self.concurrent_recipients = concurrent

    def authenticate(self, credentials: Any, connection: Any) -> Any:
        return self._hear("authenticate", True)

    def _hear(self, name: str, *arguments: Any) -> Any:
        super()._hear(name, *arguments)
        answer: Any = True if name == "authenticate" else None
        if name == "rcpt" and str(arguments[0]).startswith(("no@", "<no@")):
            answer = False
        delay = self.delays.pop() if self.delays else 0
        if not delay:
            return answer
        later: Deferred[Any] = Deferred()
        call = self.clock.callLater(delay, later.callback, answer)
        later.addErrback(lambda failure: (call.cancel() if call.active() else None, failure)[1])
        return later


def play(octets: bytes, cuts: list[int], delays: list[float], concurrent: bool) -> Any:
    clock = Clock()
    handler = Chaotic(clock, delays, concurrent)
    client = Client(handler, clock=clock, limits=Limits(free_errors=None))
    at = 0
    for cut in [*cuts, len(octets)]:
        client.protocol.dataReceived(octets[at : at + cut])
        at += cut
        clock.advance(0.3)
    clock.pump([1] * 150)
    replies = client.replies()
    assert client.timers <= 1
    client.leave()
    clock.pump([1] * 100)
    assert client.timers == 0
    assert client.factory.protocols == {}
    content = b"".join(given[0] for given in handler.said("chunk"))
    return replies, handler.names("chunk"), content


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(LINES), max_size=25),
    st.lists(st.integers(1, 40), max_size=30),
    st.lists(st.sampled_from([0, 0, 0.2, 0.5, 1, 3]), max_size=40),
    st.booleans(),
)
def test_cuts_and_delays_change_no_reply(
    lines: list[bytes], cuts: list[int], delays: list[float], concurrent: bool
) -> None:
    """Whatever a client says, however it is cut, and whenever you answer (P5, P35, P42)."""
    octets = HELLO + b"".join(lines)
    at_once = play(octets, [], [], concurrent=False)
    delayed = play(octets, list(cuts), list(delays), concurrent)
    assert delayed[0] == at_once[0]
    assert delayed[2] == at_once[2]
    if not concurrent:
        assert delayed[1] == at_once[1]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=60)), max_size=12),
    st.lists(st.sampled_from([0, 0.2, 1, 400]), max_size=20),
    st.integers(0, 2000),
    st.sampled_from(["leave", "half", "cut", "drain", "nothing"]),
)
def test_no_input_and_no_end_raises(
    lines: list[bytes], delays: list[float], when: int, end: str
) -> None:
    """No network input raises, and none leaves a timer or a connection behind (P59, P60)."""
    octets = b"".join(lines)
    clock = Clock()
    handler = Chaotic(clock, list(delays), concurrent=True)
    client = Client(handler, clock=clock)
    client.protocol.dataReceived(octets[:when])
    if end == "half":
        client.protocol.readConnectionLost()
    elif end == "cut":
        client.factory.cut()
    elif end == "drain":
        client.factory.drain()
    client.protocol.dataReceived(octets[when:])
    clock.advance(0.5)
    client.replies()
    client.leave()
    clock.pump([50] * 200)
    assert client.timers == 0
    assert client.factory.protocols == {}
    names = handler.names()
    assert names[0] == "connected"
    assert names[-1] == "disconnected"
    assert names.count("disconnected") == 1


def test_an_address_without_port(connect: Connect) -> None:
    """Settings and addresses of any kind make a connection."""
    client = connect(
        Recorder(), settings=Settings(hostname="[192.0.2.1]"), address=IPv4Address("TCP", "::1", 0)
    )
    assert client.codes() == [220]


def test_a_client_that_closes_its_side_hears_of_its_message(connect: Connect) -> None:
    """It has said all, and may still read: without the 250 it would send the message again."""
    stored: Deferred[None] = Deferred()
    handler = Recorder(message=lambda _: stored)
    client = connect(handler)
    client.codes(HELLO)
    assert client.codes(MESSAGE + b"QUIT\r\n") == [250, 250, 354]
    client.protocol.readConnectionLost()
    assert not client.transport.disconnecting
    stored.callback(None)
    assert client.codes() == [250, 221]
    assert client.transport.disconnecting
    client.leave()
    assert handler.said("disconnected") == [(Reason.QUIT,)]


def test_a_client_that_closes_its_side_without_quit(connect: Connect, log: list[str]) -> None:
    """It hears of its message, and then there is nothing more to say."""
    stored: Deferred[None] = Deferred()
    handler = Recorder(message=lambda _: stored)
    client = connect(handler)
    client.codes(HELLO)
    client.codes(MESSAGE)
    client.protocol.readConnectionLost()
    stored.callback(None)
    assert client.codes() == [250]
    assert client.transport.disconnecting
    client.leave()
    assert not any("not delivered" in line for line in log)
    assert handler.said("disconnected") == [(Reason.DISCONNECTED,)]


def test_a_client_that_closes_its_side_hears_all_that_it_asked(connect: Connect) -> None:
    """Some send all they have, close their side, and wait: each decision is waited for."""
    asked: list[Deferred[None]] = []

    def look_up(*_: Any) -> Deferred[None]:
        asked.append(Deferred())
        return asked[-1]

    handler = Recorder(rcpt=look_up)
    client = connect(handler)
    client.send(HELLO)
    client.protocol.dataReceived(MAIL + RCPT + b"BDAT 4 LAST\r\nab\r\nQUIT\r\n")
    client.protocol.readConnectionLost()
    assert not client.transport.disconnecting
    asked[0].callback(None)
    assert client.codes() == [250, 250, 250, 221]
    assert client.transport.disconnecting
    client.leave()
    assert len(handler.said("message")) == 1


def test_a_decision_for_a_client_that_has_closed_its_side_has_its_time(connect: Connect) -> None:
    """Nobody is waited for longer than for others."""
    handler = Recorder(rcpt=lambda *_: Deferred())
    client = connect(handler)
    client.send(HELLO + MAIL + RCPT + b"NOOP\r\n")
    client.protocol.readConnectionLost()
    client.clock.advance(300)
    assert client.codes() == [451, 250]
    assert client.transport.disconnecting
    client.leave()
    assert handler.said("aborted") == [(Reason.DISCONNECTED,)]


def test_what_was_answered_is_not_said_to_be_lost(connect: Connect, log: list[str]) -> None:
    """The line that explains duplicates must not stand where there is none (P46)."""
    handler = Recorder(message=lambda _: Reply(250, "Kept", status="2.0.0").closing())
    client = connect(handler)
    client.send(HELLO + MESSAGE)
    client.leave()
    assert handler.names()[-1] == "disconnected"
    assert not any("not delivered" in line for line in log)
