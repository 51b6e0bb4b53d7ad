"""Whatever a server says, the client comes to an end that is true; what is not would be seen."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.client import ClientProtocol, ClientTimes
from smtpcb.client._session import Message
from smtpcb.engine import Destination, Outcome
from smtpcb.engine._client._observer import Watched
from smtpcb.smtp import Reply
from smtpcb.smtp._content import DotStuffer

from .run import sessions

SESSIONS = 250


def is_told(complaint: str, failures: list[Any], count: int = SESSIONS) -> bool:
    """Hold sessions with a client that is broken, and say if one of them complains of it."""
    wrong = (text for _, texts in sessions("suite", 0, count) for text in texts)
    found = any(complaint in text for text in wrong)
    failures.clear()
    return found


def test_no_server_breaks_anything(clean_reactor: list[Any]) -> None:
    """
    Whatever a server says or does, and whenever the caller cancels (P52, P53, P55).

    Every session comes to an end; what is said to be delivered was taken, octet for octet; nothing
    is said behind a reply that is none; and no timer, connection or source stays.
    """
    delivered: list[int] = []
    assert dict(sessions("suite", 0, SESSIONS, delivered)) == {}
    assert sum(delivered) > SESSIONS // 10


def test_a_server_that_is_waited_for_for_ever_is_seen(
    monkeypatch: pytest.MonkeyPatch, clean_reactor: list[Any]
) -> None:
    """One that says nothing any more."""
    monkeypatch.setattr(ClientTimes, "of", lambda self, stage: 1e12)
    assert is_told("it has come to no end", clean_reactor)


def test_dots_that_are_not_stuffed_are_seen(
    monkeypatch: pytest.MonkeyPatch, clean_reactor: list[Any]
) -> None:
    """By what the server takes for the message, or for commands."""
    monkeypatch.setattr(DotStuffer, "stuff", lambda self, octets: octets)
    assert is_told("another content was taken", clean_reactor)


def test_an_end_that_nobody_is_told_is_seen(
    monkeypatch: pytest.MonkeyPatch, clean_reactor: list[Any]
) -> None:
    """Each connection that an observer is told of has its end, and so has each message."""
    monkeypatch.setattr(ClientProtocol, "_part", lambda self: None)
    assert is_told("no end of a connection", clean_reactor)
    monkeypatch.undo()
    monkeypatch.setattr(Watched, "finished", lambda self, transaction: None)
    assert is_told("no end of a message", clean_reactor)


def test_a_success_that_is_made_up_is_seen(
    monkeypatch: pytest.MonkeyPatch, clean_reactor: list[Any]
) -> None:
    """A message of which nobody has said that it was taken."""
    fail = Destination.fail

    def failing(self: Destination, failure: Any, outcome: Outcome) -> None:
        fail(self, failure, outcome)
        if outcome is Outcome.DEFERRED:
            self.outcome = Outcome.DELIVERED

    monkeypatch.setattr(Destination, "fail", failing)
    assert is_told("delivered, and nobody has taken it", clean_reactor)


def test_a_source_that_stays_open_is_seen(
    monkeypatch: pytest.MonkeyPatch, clean_reactor: list[Any]
) -> None:
    """One that nobody can send any more."""

    async def close(messages: list[Message]) -> None:
        pass

    monkeypatch.setattr("smtpcb.client._session._close", close)
    assert is_told("a source is left", clean_reactor, 600)


def test_no_server_makes_a_relay_promise_what_it_has_not(clean_reactor: list[Any]) -> None:
    """
    A 250 of the relay's is one of the server's behind it, whatever that says or does (P51, P53).

    Each client gets an answer, and nothing stays of it.
    """
    accepted: list[int] = []
    wrong = dict(sessions("suite", 0, SESSIONS // 2, accepted, relayed=True))
    assert wrong == {}
    assert sum(accepted) > SESSIONS // 10


def test_a_relay_that_promises_too_much_is_seen(
    monkeypatch: pytest.MonkeyPatch, clean_reactor: list[Any]
) -> None:
    """One that says 250 where the next server has not answered."""
    monkeypatch.setattr("smtpcb.handlers.relay._replies.LOST", Reply(250, "2.0.0", "It will do"))
    wrong = sessions("suite", 0, SESSIONS // 2, relayed=True)
    assert any("a 250 to what nobody has taken" in text for _, texts in wrong for text in texts)
    clean_reactor.clear()
