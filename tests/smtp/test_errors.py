"""Errors say whose fault it was."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from smtpcb.engine import _replies as replies
from smtpcb.smtp import LocalProtocolError, PeerProtocolError, Refusal, Reply, SMTPError


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ((), False),
        ((False,), False),
        ((550,), Reply(550)),
        ((550, "No"), Reply(550, "No")),
        ((550, ["a", "b"]), Reply(550, ("a", "b"))),
        ((550, "5.1.1", "No"), Reply(550, "No", status="5.1.1")),
        (((550, "No"),), Reply(550, "No")),
        (((550, "5.1.1", "No"),), Reply(550, "No", status="5.1.1")),
        ((Reply(450, "Later"),), Reply(450, "Later")),
    ],
)
def test_a_refusal_is_written_like_any_other_answer(arguments: Any, answer: object) -> None:
    """One grammar: what a handler may return, it may raise."""
    refusal = Refusal(*arguments)
    assert refusal.answer == answer
    assert pickle.loads(pickle.dumps(refusal)).answer == answer


@pytest.mark.parametrize(
    "arguments", [(250,), (True,), (None,), (Reply(354),), (99,), (550, "no", "5.1.1"), ("no",)]
)
def test_a_refusal_that_is_none_is_a_mistake_where_it_is_made(arguments: Any) -> None:
    """The traceback shows the line; a yes that was raised must not accept anything."""
    with pytest.raises((ValueError, TypeError)):
        Refusal(*arguments)


def test_the_text_of_an_error_is_its_reply() -> None:
    """A refusal carries the verdict, a peer's fault the reply."""
    assert str(Refusal(550, "No")) == "550 5.7.1 No"
    assert str(Refusal()) == "refused"
    assert PeerProtocolError(replies.NO_HELP).reply is replies.NO_HELP
    assert str(PeerProtocolError(replies.NO_HELP)) == "504 5.5.4 No help on that"
    assert issubclass(LocalProtocolError, SMTPError)


def test_a_refusal_takes_the_status_of_the_event() -> None:
    """Raised from ``rcpt``, a bare 550 is 5.1.1 just as if it were returned."""
    refuse = Reply(550, "Recipient refused", status="5.1.1")
    reply = Reply.from_verdict(Refusal(550, "No").answer, refuse)
    assert isinstance(reply, Reply)
    assert reply.status == "5.1.1"
