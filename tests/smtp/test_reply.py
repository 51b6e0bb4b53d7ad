"""A reply that exists is well formed."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.engine import _replies as replies
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError, Refusal, SMTPError
from smtpcb.smtp._reply import DEFAULTS, Reply

# RFC 5321 §4.2, as strict as a client could read it.
WIRE = re.compile(
    rb"(?:([2-5][0-5][0-9])-[\t\x20-\x7e]*\r\n)*([2-5][0-5][0-9])(?: [\t\x20-\x7e]*)?\r\n"
)


def test_each_line_has_the_code_and_the_status() -> None:
    """RFC 5321 §4.2.1, RFC 2034 §4: all lines of a reply begin alike."""
    reply = Reply(250, "2.1.0", ("one", "two"))
    assert reply.wire == b"250-2.1.0 one\r\n250 2.1.0 two\r\n"
    assert (reply.positive, reply.closes, reply.text) == (True, False, "250 2.1.0 one two")
    assert Reply(354, None, "Go").text == "354 Go"
    assert not Reply(450).positive


@pytest.mark.parametrize(
    "arguments",
    [
        (199,),
        (600,),
        (260,),
        (25,),
        (True,),
        ("250",),
        (250, "5.0.0"),
        (250, "2.0"),
        (250, "2.00.0"),
        (250, "2.0.0\n"),
        (250, 2),
        (354, "3.0.0"),
        (250, None, "two\r\nlines"),
        (250, None, "bare\rCR"),
        (250, None, "line\n"),
        (250, None, "NUL\0"),
        (250, None, "ESC\x1b[2J"),
        (250, None, "DEL\x7f"),
        (250, None, "é"),
        (250, None, b"octets"),
        (250, None, 7),
        (250, None, ["fine", 7]),
        (250, None, "x" * 507),
        (250, "2.0.0", "x" * 501),
    ],
)
def test_an_impossible_reply_cannot_be_made(arguments: Any) -> None:
    """So it can never add a line, or a second reply, to a dialogue (P17, P18)."""
    with pytest.raises(ValueError, match=r"."):
        Reply(*arguments)


def test_a_line_may_have_512_octets() -> None:
    """RFC 5321 §4.5.3.1.5, with the code and the CRLF."""
    assert len(Reply(250, None, "x" * 506).wire) == 512


def test_221_and_421_close() -> None:
    """It is what they say (§4.2.2); others close where it is asked for."""
    assert Reply(221).closes
    assert Reply(421).closes
    assert not Reply(554).closes
    assert Reply(554).closing() == Reply(554, closes=True) != Reply(554)


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (None, True),
        (True, True),
        (False, False),
        (Reply(250), Reply(250)),
        (550, Reply(550, "5.7.1", "Refused by policy")),
        (450, Reply(450, "4.2.0")),
        (459, Reply(459, "4.0.0", "")),
        (354, Reply(354)),
        ((550, "No"), Reply(550, "5.7.1", "No")),
        ((459, ("a", "b")), Reply(459, "4.0.0", ("a", "b"))),
        (HTTPStatus.OK, Reply(200, "2.0.0", "")),
    ],
)
def test_what_a_handler_returns_becomes_a_reply(verdict: object, reply: object) -> None:
    """Nothing, yes, no, a code, a code and text."""
    assert Reply.from_verdict(verdict) == reply


@pytest.mark.parametrize("verdict", ["250 ok", b"250", 2.5, (), (1, 2, 3), (True, "x"), ("x", 1)])
def test_anything_else_is_no_verdict(verdict: object) -> None:
    """A wrong type is a fault of the handler, never an answer (P40)."""
    with pytest.raises(TypeError):
        Reply.from_verdict(verdict)


@pytest.mark.parametrize("verdict", [0, 999, -1, (250, "a\r\n250 b"), (250, 7)])
def test_a_verdict_must_make_a_reply(verdict: object) -> None:
    """The right type is not enough (P17)."""
    with pytest.raises(ValueError, match=r"."):
        Reply.from_verdict(verdict)


@given(
    st.one_of(
        st.integers(-10, 1000),
        st.tuples(
            st.integers(150, 650),
            st.one_of(st.text(max_size=20), st.lists(st.text("ab \r\n\0", max_size=5), max_size=4)),
        ),
    )
)
def test_the_wire_has_one_reply_whatever_a_handler_returns(verdict: object) -> None:
    """It is read back strictly, and lines are counted (P17)."""
    try:
        reply = Reply.from_verdict(verdict)
    except ValueError:
        return
    assert isinstance(reply, Reply)
    assert WIRE.fullmatch(reply.wire)
    assert reply.wire.count(b"\n") == len(reply.lines)


def test_our_own_replies_keep_the_rules() -> None:
    """RFC 2034 §4: a status in each reply, but for the greeting, the answer to EHLO, and 3yz."""
    ours = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert len(ours) > 40
    for reply in [*ours, *map(Reply, DEFAULTS), replies.exhausted("X"), replies.incident("1")]:
        assert WIRE.fullmatch(reply.wire)
        assert reply.text
    bare = [replies.START_MAIL_INPUT, replies.NO_SERVICE, replies.HELLO_REFUSED]
    assert [reply for reply in ours if reply.status is None] == bare
    for code, (status, text) in DEFAULTS.items():
        assert Reply(code, status).lines == (text,)


def test_errors_say_whose_fault_it_was() -> None:
    """A refusal carries the verdict, a peer's fault the reply."""
    assert Refusal(550).reply == 550
    assert PeerProtocolError(replies.NO_HELP).reply is replies.NO_HELP
    assert str(PeerProtocolError(replies.NO_HELP)) == "504 5.5.4 No help on that"
    assert issubclass(LocalProtocolError, SMTPError)


def test_a_reply_has_the_status_that_fits_unless_told_otherwise() -> None:
    """ENHANCEDSTATUSCODES is offered, so a reply without one breaks a promise (RFC 2034 §4)."""
    assert Reply(550).wire == b"550 5.7.1 Refused by policy\r\n"
    assert Reply(441, lines="Hm").wire == b"441 4.0.0 Hm\r\n"
    assert Reply(550, None, "Bare").wire == b"550 Bare\r\n"
    assert Reply(354).status is None
