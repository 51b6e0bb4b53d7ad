"""Sessions that no client would hold break nothing, and what would be broken is seen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from smtpcb.engine._envelope import Recipient
from smtpcb.engine._lmtp import ReplyToEach
from smtpcb.server._protocol import SmtpServerProtocol
from smtpcb.smtp._reply import Reply

from . import replies
from .handlers import Mood
from .ledger import Ledger
from .run import sessions
from .session import Session, is_ours

SESSIONS = 300


def is_told(complaint: str, failures: list[Any], count: int = SESSIONS) -> bool:
    """Hold sessions with a server that is broken, and say if one of them complains of it."""
    wrong = dict(sessions("suite", 0, count))
    failures.clear()
    return any(complaint in text for texts in wrong.values() for text in texts)


def test_no_session_breaks_anything(clean_reactor: list[Any]) -> None:
    """
    Whatever a client sends, and whenever and whatever the handler answers.

    Nothing is raised, replies are well formed, each accepted mail has one end, and nothing stays:
    no connection, no timer, no file.
    """
    wrong = dict(sessions("suite", 0, SESSIONS))
    # What else is logged are the handler's own mistakes.
    clean_reactor[:] = [event for event in clean_reactor if is_ours(event)]
    assert not wrong


def test_a_client_that_closes_its_sending_side_hears_what_others_hear(
    clean_reactor: list[Any], tmp_path: Path
) -> None:
    """What has been received is answered to its end, however late the handler decides."""
    for number in range(SESSIONS):
        heard = [
            Session(f"suite:{number}", tmp_path).run_calmly(half_closing=half_closing)
            for half_closing in (False, True)
        ]
        clean_reactor.clear()
        assert heard[0] == heard[1], f"suite:{number}"


def test_a_fault_of_the_server_is_seen(
    clean_reactor: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that fails in its own code is not taken for a handler that does."""

    def fail(self: SmtpServerProtocol, line: bytes) -> None:
        raise IndexError("planted")

    monkeypatch.setattr(SmtpServerProtocol, "lineReceived", fail)
    assert is_told("planted", clean_reactor, 20)


def test_a_timer_that_is_left_is_seen(
    clean_reactor: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is never forgotten is told of."""
    monkeypatch.setattr(SmtpServerProtocol, "connectionLost", lambda self, reason: None)
    assert is_told("a connection is left", clean_reactor, 20)


def test_content_that_nobody_sent_is_seen(
    clean_reactor: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the handler reads of a message is what came over the wire."""
    read = Mood.read
    monkeypatch.setattr(
        Mood, "read", lambda self, envelope: (read(self, envelope), self.lines.add(b"never"))
    )
    assert is_told("nobody sent b'never'", clean_reactor)


def test_a_recipient_that_nobody_answers_for_is_seen(
    clean_reactor: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In LMTP a reply too few would be taken from the next message (RFC 2033 §4.2)."""
    init = ReplyToEach.__init__

    def forget(self: ReplyToEach, each: Iterable[tuple[Recipient, Reply]]) -> None:
        first, *others = each
        init(self, others or [first])

    monkeypatch.setattr(ReplyToEach, "__init__", forget)
    assert is_told("1 replies, 2 recipients", clean_reactor)


def test_a_client_in_the_place_of_another_is_one_of_its_own(
    clean_reactor: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind XCLIENT a handler that is not told that the first one has gone is told of."""
    called = Ledger.called
    monkeypatch.setattr(
        Ledger, "called", lambda self, name: name == "disconnected" or called(self, name)
    )
    assert is_told("connected twice", clean_reactor)


def test_clients_that_know_their_mechanism_get_in(clean_reactor: list[Any], tmp_path: Path) -> None:
    """Or nothing would have been tried behind a login by a digest, a proof or a token."""
    let_in = set()
    for number in range(4 * SESSIONS):
        session = Session(f"suite:{number}", tmp_path)
        session.run()
        let_in |= session.let_in
    clean_reactor.clear()
    assert let_in >= {"CRAM-MD5", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2"}


def test_a_session_is_the_same_in_each_run(clean_reactor: list[Any], tmp_path: Path) -> None:
    """Or nobody could look at what was wrong with it."""
    for number in range(30):
        first, second = (Session(f"suite:{number}", tmp_path) for _ in range(2))
        assert first.run() == second.run()
        assert first.calls == second.calls
    clean_reactor.clear()


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (b"220 a", "half a line"),
        (b"220-a\r\n", "half a reply"),
        (b"220-a\r\n250 b\r\n", "goes on as"),
        (b"2500 a\r\n", "no reply"),
        (b"250 a\x00\r\n", "no reply"),
        (b"250 a\nb\r\n", "no reply"),
        (b"250 gr\xc3\xbc\xc3\x9fe\r\n", "not ASCII"),
        (b"250 " + b"x" * 507 + b"\r\n", "513 octets"),
        (b"550 2.0.0 a\r\n", "another class"),
        (b"220 a\r\n250 b\r\n221 c\r\n250 d\r\n", "4 replies to 1 lines"),
    ],
)
def test_what_is_no_reply(wire: bytes, complaint: str) -> None:
    """What RFC 5321 §4.2 does not allow is told of."""
    [found] = replies.complaints(wire, b"NOOP\r\n")
    assert complaint in found


def test_what_is_a_reply() -> None:
    """Lines of several kinds, one reply for each line that was sent, the greeting, a farewell."""
    wire = b"220 a b\r\n250-a\r\n250 SIZE 1\r\n550 5.1.1 no\r\n421 4.3.2 bye\r\n"
    assert not list(replies.complaints(wire, b"EHLO x\r\nNOOP\r\n"))


@pytest.mark.parametrize(
    ("calls", "complaint"),
    [
        ("mail", "mail before connected"),
        ("connected connected", "connected twice"),
        ("connected disconnected disconnected", "disconnected twice"),
        ("connected disconnected rcpt", "rcpt after disconnected"),
        ("connected message", "message without an accepted mail"),
        ("connected mail:yes message aborted", "aborted without an accepted mail"),
        ("connected mail:yes mail", "mail within a transaction"),
        ("connected mail:yes disconnected", "ended in neither"),
        ("connected rcpt:later rcpt", "rcpt during ['rcpt']"),
        ("connected hello", "is the last call"),
    ],
)
def test_calls_that_may_not_come(calls: str, complaint: str) -> None:
    """What a handler may rely on is looked at with each call."""
    ledger = Ledger(concurrent=False)
    for call in calls.split():
        name, _, answer = call.partition(":")
        ledger.called(name)
        if answer == "yes":
            ledger.accepted(name)
        if answer == "later":
            ledger.began(name)
    ledger.conclude()
    assert complaint in "\n".join(ledger.complaints)


@pytest.mark.parametrize("succeeded", [True, False])
def test_calls_for_a_client_and_the_next_over_the_same_transport(succeeded: bool) -> None:
    """Where XCLIENT is spoken the next one begins anew; elsewhere nobody comes twice."""
    ledger = Ledger(concurrent=False, succeeded=succeeded)
    for name in ("connected", "disconnected", "connected", "hello", "disconnected"):
        ledger.called(name)
    ledger.conclude()
    assert bool(ledger.complaints) is not succeeded


def test_calls_as_they_should_be() -> None:
    """Two transactions, and recipients that are decided together."""
    ledger = Ledger(concurrent=True)
    for name in ("connected", "hello", "mail"):
        ledger.called(name)
    ledger.accepted("mail")
    for _ in range(2):
        ledger.called("rcpt")
        ledger.began("rcpt")
    for _ in range(2):
        ledger.ended("rcpt")
    for name in ("message", "disconnected"):
        ledger.called(name)
    ledger.conclude()
    assert not ledger.complaints
