"""A reply that exists is well formed, whatever its text was."""

from __future__ import annotations

import pickle
import re
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.engine import _replies as replies
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sendable import MOST_LINES
from smtpcb.smtp._status import DEFAULTS

# RFC 5321 §4.2, as strict as a client could read it.
WIRE = re.compile(
    rb"(?:([2-5][0-5][0-9])-[\t\x20-\x7e]*\r\n)*([2-5][0-5][0-9])(?: [\t\x20-\x7e]*)?\r\n"
)


def test_each_line_has_the_code_and_the_status() -> None:
    """RFC 5321 §4.2.1, RFC 2034 §4: all lines of a reply begin alike."""
    reply = Reply(250, ("one", "two"), status="2.1.0")
    assert reply.wire == b"250-2.1.0 one\r\n250 2.1.0 two\r\n"
    assert (reply.positive, reply.closes, reply.text) == (True, False, "250 2.1.0 one two")
    assert Reply(354, "Go").text == "354 Go"
    assert not Reply(450).positive
    assert Reply(550, (line for line in ["a", "b"])).lines == ("a", "b")
    assert Reply(550, "").wire == b"550 5.7.1 \r\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (199, None),
        (600, None),
        (260, None),
        (25, None),
        (-250, None),
        pytest.param(10**5000, None, id="huge"),
        (250, "5.0.0"),
        (250, "2.0"),
        (250, "2.00.0"),
        (250, "2.0.0\n"),
        (354, "3.0.0"),
    ],
)
def test_a_code_or_status_that_does_not_exist_raises(code: int, status: str | None) -> None:
    """They come from a programmer, never from a stranger; so it is a mistake to be seen."""
    with pytest.raises(ValueError, match=r"RFC"):
        Reply(code, status=status)


@pytest.mark.parametrize(
    "arguments",
    [
        {"code": True},
        {"code": "250"},
        {"code": 250.0},
        {"code": None},
        {"code": 250, "text": 7},
        {"code": 250, "text": None},
        {"code": 250, "text": b"octets"},
        {"code": 250, "text": ["fine", 7]},
        {"code": 250, "status": 2},
    ],
)
def test_an_argument_of_another_type_raises(arguments: dict[str, Any]) -> None:
    """A wrong type is a mistake too."""
    with pytest.raises(TypeError):
        Reply(**arguments)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("two\r\nlines", ("two", "lines")),
        ("three\rkinds\nof end\r\n", ("three", "kinds", "of end")),
        ("\n", ("",)),
        ("NUL\0", ("NUL ",)),
        ("ESC\x1b[2J", ("ESC [2J",)),
        ("DEL\x7f C1\x9b", ("DEL  C1 ",)),
        ("a\ttab", ("a\ttab",)),
        ("sep\u2028ara\u2029tors", ("sep ara tors",)),
        ("octet \udcff", ("octet ?",)),
        (["a", "b\nc"], ("a", "b", "c")),
        ("jörg 用户", ("jörg 用户",)),
    ],
)
def test_any_text_is_made_sendable(text: Any, lines: tuple[str, ...]) -> None:
    """A reply often quotes what a client said: that must not fail, nor add a reply (P17)."""
    reply = Reply(550, text)
    assert reply.lines == lines
    assert WIRE.fullmatch(reply.wire)
    assert reply.encoded(utf8=False) is reply.wire
    assert reply.encoded(utf8=True).decode().count("\r\n") == len(lines)


def test_utf_8_is_for_clients_that_read_it() -> None:
    """SMTPUTF8 says so (RFC 6531 §3.7.4.1); others see question marks."""
    reply = Reply(550, "No such user: jörg@example.org", status="5.1.1")
    assert reply.wire == b"550 5.1.1 No such user: j?rg@example.org\r\n"
    assert reply.encoded(utf8=True) == "550 5.1.1 No such user: jörg@example.org\r\n".encode()
    ascii_reply = Reply(250)
    assert ascii_reply.encoded(utf8=True) is ascii_reply.wire


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 1000, "ä" * 3000, "\U0001f600" * 900])
def test_what_does_not_fit_into_a_line_goes_on_in_the_next(text: str) -> None:
    """No line passes 512 octets, with the code and the CRLF (RFC 5321 §4.5.3.1.5)."""
    reply = Reply(550, text, status="5.1.1")
    for octets in (reply.wire, reply.encoded(utf8=True)):
        lines = octets.splitlines(keepends=True)
        assert max(map(len, lines)) <= 512
        assert len(lines) == len(reply.lines) > 1
    assert "".join(reply.lines).replace(" ", "") == text.replace(" ", "")
    assert len(Reply(250, "x" * 506, status=None).wire) == 512
    assert len(Reply(250, "x" * 500, status="2.0.0").lines) == 1


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\n" * 1_000_000, ["y"] * 1000])
def test_a_text_without_end_is_cut(text: Any) -> None:
    """A thousand lines would be taken for an attack; three dots say that more was there."""
    reply = Reply(550, text)
    assert len(reply.lines) == MOST_LINES
    assert reply.lines[-1].endswith("...")
    assert max(map(len, reply.wire.splitlines(keepends=True))) <= 512


def test_221_and_421_close() -> None:
    """It is what they say (§4.2.2); others close where it is asked for."""
    assert Reply(221).closes
    assert Reply(421).closes
    assert not Reply(554).closes
    assert Reply(554).closing() == Reply(554, closes=True) != Reply(554)
    closing = Reply(554, closes=True)
    assert closing.closing() is closing


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (None, True),
        (True, True),
        (False, False),
        (Reply(250), Reply(250)),
        (550, Reply(550, "Refused by policy", status="5.7.1")),
        (450, Reply(450, status="4.2.0")),
        (459, Reply(459, "", status="4.0.0")),
        (354, Reply(354)),
        ((550, "No"), Reply(550, "No", status="5.7.1")),
        ((550, "5.1.1", "No"), Reply(550, "No", status="5.1.1")),
        ((550, None, "No"), Reply(550, "No", status=None)),
        ((459, ("a", "b")), Reply(459, ("a", "b"), status="4.0.0")),
        ((550, "a\r\n250 b"), Reply(550, ("a", "250 b"))),
        (HTTPStatus.OK, Reply(200, "", status="2.0.0")),
    ],
)
def test_what_a_handler_returns_becomes_a_reply(verdict: object, reply: object) -> None:
    """Nothing, yes, no, a code, code and text, code, status and text, or a Reply."""
    assert Reply.from_verdict(verdict) == reply


@pytest.mark.parametrize(
    "verdict",
    ["250 ok", b"250", 2.5, (), (550,), (1, 2, 3, 4), (True, "x"), ("x", 1), (250, 7), [550, "x"]],
)
def test_anything_else_is_no_verdict(verdict: object) -> None:
    """A wrong type is a fault of the handler, never an answer (P40)."""
    with pytest.raises(TypeError):
        Reply.from_verdict(verdict)


@pytest.mark.parametrize("verdict", [0, 999, -1, (250, "5.1.1", "x"), (550, "no", "5.1.1")])
def test_a_verdict_must_make_a_reply(verdict: object) -> None:
    """The right type is not enough (P17)."""
    with pytest.raises(ValueError, match=r"."):
        Reply.from_verdict(verdict)


@given(
    st.one_of(
        st.integers(-10, 1000),
        st.tuples(st.integers(200, 559), st.one_of(st.text(), st.lists(st.text()))),
        st.tuples(st.just(550), st.just("5.1.1"), st.text("ab \r\n\0ä\udcff", max_size=2000)),
    )
)
def test_the_wire_has_one_reply_whatever_a_handler_returns(verdict: object) -> None:
    """It is read back strictly, and lines are counted (P17, P18)."""
    try:
        reply = Reply.from_verdict(verdict)
    except ValueError:
        return
    assert isinstance(reply, Reply)
    assert WIRE.fullmatch(reply.wire)
    codes = {line[:3] for line in reply.wire.splitlines()}
    assert codes == {str(reply.code).encode()}
    wide = reply.encoded(utf8=True)
    assert reply.wire.count(b"\n") == wide.count(b"\n") == len(reply.lines)
    for octets in (reply.wire, wide):
        assert max(map(len, octets.split(b"\n"))) < 512


RCPT = Reply(550, "Recipient refused", status="5.1.1")
EHLO = Reply(550, "Refused by policy", status=None)


@pytest.mark.parametrize(
    ("verdict", "refuse", "said"),
    [
        (550, RCPT, "550 5.1.1 Recipient refused"),
        (Reply(550), RCPT, "550 5.1.1 Recipient refused"),
        ((550, "No"), RCPT, "550 5.1.1 No"),
        (Reply(550, "No"), RCPT, "550 5.1.1 No"),
        (Reply(550, "No").closing(), RCPT, "550 5.1.1 No"),
        ((550, "5.7.1", "No"), RCPT, "550 5.7.1 No"),
        (Reply(550, "No", status="5.7.1"), RCPT, "550 5.7.1 No"),
        (Reply(550, "No", status=None), RCPT, "550 No"),
        ((450, "Later"), RCPT, "450 4.2.0 Later"),
        (554, RCPT, "554 5.7.1 Transaction refused"),
        (550, EHLO, "550 Refused by policy"),
        ((550, "No"), EHLO, "550 No"),
        ((550, "5.7.1", "No"), EHLO, "550 No"),
        (Reply(421, "Later", status="4.3.0"), EHLO, "421 Later"),
        ((250, "Hello"), EHLO, "250 Hello"),
    ],
)
def test_the_status_fits_the_event_unless_somebody_chose(
    verdict: object, refuse: Reply, said: str
) -> None:
    """A refused recipient is 5.1.1; greeting and EHLO have none, whoever gave one (RFC 2034 §4)."""
    reply = Reply.from_verdict(verdict, refuse)
    assert isinstance(reply, Reply)
    assert reply.text == said
    assert Reply.from_verdict(None, refuse) is True
    assert Reply.from_verdict(False, refuse) is False


def test_a_reply_that_closes_still_does_when_its_status_is_fitted() -> None:
    """Nothing else about it changes."""
    for refuse in (RCPT, EHLO):
        assert Reply(550, "No").closing().fitted(refuse).closes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5.1.1 No such user", "550 5.1.1 No such user"),
        (["5.1.1 No", "5.1.1 such user"], "550 5.1.1 No such user"),
        ("5.1.1", "550 5.1.1 Refused by policy"),
        ("4.1.1 No", "550 5.7.1 4.1.1 No"),
        ("5.1.1000 No", "550 5.7.1 5.1.1000 No"),
        ("5.1 No", "550 5.7.1 5.1 No"),
    ],
)
def test_a_status_in_front_of_the_text_is_the_status(text: Any, said: str) -> None:
    """It is the habit of other libraries, and would stand there twice."""
    assert Reply(550, text).text == said
    assert Reply(550, text).fitted(RCPT).status in ("5.1.1", Reply(550, text).status)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("5.1.1\r\nx", b"550 5.1.1 x\r\n"),
        ("5.1.1 a\r\nx", b"550-5.1.1 a\r\n550 5.1.1 x\r\n"),
        ("5.1.1 a\n5.1.1 b\n", b"550-5.1.1 a\r\n550 5.1.1 b\r\n"),
        (["5.1.1 a\r5.1.1 b", "c"], b"550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n"),
        (["5.1.1", "5.1.1"], b"550 5.1.1 Refused by policy\r\n"),
        (["5.1.1", "x"], b"550 5.1.1 x\r\n"),
        (" 5.1.1\tx", b"550 5.1.1 x\r\n"),
        (["5.1.1 a", " 5.1.1  b"], b"550-5.1.1 a\r\n550 5.1.1 b\r\n"),
        (["5.1.1 a", "5.1.10 b"], b"550-5.1.1 a\r\n550 5.1.1 5.1.10 b\r\n"),
        (["5.1.1 a", "5.7.1 b"], b"550-5.1.1 a\r\n550 5.1.1 5.7.1 b\r\n"),
        (["5.1.1 a", "4.1.1 b"], b"550-5.1.1 a\r\n550 5.1.1 4.1.1 b\r\n"),
        (["a", "5.1.1 b"], b"550-5.1.1 a\r\n550 5.1.1 b\r\n"),
        (["a", "see 5.1.1"], b"550-5.1.1 a\r\n550 5.1.1 see 5.1.1\r\n"),
        (["5.1.1 a", "", "b"], b"550-5.1.1 a\r\n550-5.1.1 \r\n550 5.1.1 b\r\n"),
    ],
)
@pytest.mark.parametrize("shape", ["reply", "tuple", "refusal", "of a tuple", "with a status"])
def test_each_line_has_the_same_status_once(shape: str, text: Any, wire: bytes) -> None:
    """RFC 2034 §4, however the text comes and wherever it says its status itself."""
    verdict: Any = (550, text)
    if shape == "reply":
        verdict = Reply(550, text)
    elif shape == "refusal":
        verdict = Refusal(550, text).answer
    elif shape == "of a tuple":
        verdict = Refusal((550, text)).answer
    elif shape == "with a status":
        verdict = (550, "5.1.1", text)
    reply = Reply.from_verdict(verdict, RCPT)
    assert isinstance(reply, Reply)
    assert reply.wire == wire


def test_who_wants_no_status_gets_none() -> None:
    """Text that looks like one is text then."""
    assert Reply(550, "5.1.1 a", status=None).wire == b"550 5.1.1 a\r\n"
    assert Reply(354, "2.0.0 Go").wire == b"354 2.0.0 Go\r\n"


def test_a_reply_takes_the_status_where_verdicts_have_it() -> None:
    """Code, status, text: the same in a Reply, a Refusal and a tuple."""
    said = Reply(550, "No such user", status="5.1.1")
    assert Reply(550, "5.1.1", "No such user") == said
    assert Reply(550, "5.1.1", ("No such", "user")).lines == ("No such", "user")
    assert Reply(550, None, "No").wire == b"550 No\r\n"
    assert Reply(550, "5.1.1", "No", closes=True).closes
    assert Reply(code=550, text="No such user", status="5.1.1") == said


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ((550, "No", "5.1.1"), ValueError, "'No' is no enhanced status code"),
        ((550, "4.1.1", "No"), ValueError, "status 4.1.1 is of another class than 550"),
        ((550, 5.1, "No"), TypeError, "an enhanced status code is a str, not float"),
        ((550, "5.1.1", 42), TypeError, "the text of a reply is a str, or one a line"),
        ((550, "5.1.1", None), TypeError, "the text of a reply is a str, or one a line"),
        ((550, ("5.1.1",), "No"), TypeError, "an enhanced status code is a str, not tuple"),
    ],
)
def test_what_stands_in_a_wrong_place_is_told(arguments: Any, error: Any, why: str) -> None:
    """And never sent as something else."""
    with pytest.raises(error, match=why):
        Reply(*arguments)
    with pytest.raises(error, match=why):
        Reply.from_verdict(arguments)
    with pytest.raises(error, match=why):
        Refusal(*arguments)


def test_a_refusal_is_raised() -> None:
    """One that is returned is no verdict, and the text says what to do."""
    with pytest.raises(TypeError, match="or a Reply, not Refusal, which is raised"):
        Reply.from_verdict(Refusal(550))


def test_a_reply_has_one_status() -> None:
    """Two of them would be one too many."""
    with pytest.raises(TypeError, match="a reply has one status: by name, or in front of the text"):
        Reply(550, "5.1.1", "No", status="5.7.1")


def test_our_own_replies_keep_the_rules() -> None:
    """RFC 2034 §4: a status in each reply, but for the greeting, the answer to EHLO, and 3yz."""
    ours = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert len(ours) > 40
    for reply in [*ours, *map(Reply, DEFAULTS), replies.exhausted("X"), replies.incident("1")]:
        assert WIRE.fullmatch(reply.wire)
        assert reply.text
    bare = [replies.START_MAIL_INPUT, replies.NO_SERVICE, replies.HELLO_REFUSED]
    bare.append(replies.SPOKE_TOO_EARLY)
    assert [reply for reply in ours if reply.status is None] == bare
    for code, (status, text) in DEFAULTS.items():
        assert Reply(code, status=status).lines == (text,)


def test_a_reply_has_the_status_that_fits_unless_told_otherwise() -> None:
    """ENHANCEDSTATUSCODES is offered, so a reply without one breaks a promise (RFC 2034 §4)."""
    assert Reply(550).wire == b"550 5.7.1 Refused by policy\r\n"
    assert Reply(441, "Hm").wire == b"441 4.0.0 Hm\r\n"
    assert Reply(550, "Bare", status=None).wire == b"550 Bare\r\n"
    assert Reply(354).status is None
    assert Reply(350).lines == ("",)


def test_a_reply_is_a_value() -> None:
    """Equal if it says the same, usable as a key, and the same in another process."""
    assert Reply(550) == Reply(550, "Refused by policy", status="5.7.1") != Reply(551)
    assert len({Reply(550), Reply(550), Reply(551)}) == 2
    assert pickle.loads(pickle.dumps(Reply(550, "é"))) == Reply(550, "é")
    assert repr(Reply(550, "No")) == (
        "Reply(code=550, status='5.7.1', lines=('No',), closes=False)"
    )
