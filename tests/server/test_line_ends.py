"""Clients that end lines in LF alone, or end none: they hear why, and when their time is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from twisted.internet.defer import Deferred

from smtpcb.engine import Settings
from smtpcb.smtp import Limits
from tests.server.client import HELLO, MAIL, RCPT, Client, Recorder, pieces

Connect = Callable[..., Client]
LF_ONLY = "500 5.5.2 Lines end in CRLF"


@pytest.mark.parametrize(
    "sent",
    [b"EHLO client.example\n", b"\n", b"QUIT\n", b"NOOP\nNOOP\nNOOP\n", b"MAIL FROM:<a@b>\nRC"],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_client_of_lf_hears_why_at_once(sent: bytes, whole: bool, connect: Connect) -> None:
    """It would wait for minutes, since the CRLF that we wait for never comes."""
    client = connect(Recorder())
    client.send(b"NOOP\r\n")
    assert client.send(*([sent] if whole else pieces(sent))) == [LF_ONLY]


def test_it_hears_so_once_a_line(connect: Connect) -> None:
    """A line is over at its CRLF; nothing before that is a command, what follows is."""
    handler = Recorder()
    client = connect(handler)
    client.send(HELLO)
    assert client.send(b"NOOP\nNOOP\n", b"NOOP\n", b"\n") == [LF_ONLY]
    assert client.send(b"\r\nNOOP\r\n") == ["250 2.0.0 OK"]
    assert client.send(b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\r\n") == [LF_ONLY]
    assert client.send(b"NOOP\n") == [LF_ONLY]
    assert handler.said("mail") == []


def test_lf_behind_a_good_line_is_seen_at_once(connect: Connect) -> None:
    """Not only at the beginning of a packet."""
    client = connect(Recorder())
    client.send(HELLO)
    assert client.send(MAIL + b"RCPT TO:<a@b>\nDATA\n")[1:] == [LF_ONLY]


def test_lf_that_waits_for_a_decision(connect: Connect) -> None:
    """It is seen when its turn comes, behind the answer."""
    waiting: Deferred[None] = Deferred()
    client = connect(Recorder(rcpt=lambda *_: waiting))
    client.send(HELLO + MAIL)
    assert client.send(RCPT + b"NOOP\n") == []
    waiting.callback(None)
    assert [reply[:3] for reply in client.replies()] == ["250", "500"]


def test_lf_in_a_login(connect: Connect) -> None:
    """The exchange is over, and no part of it was a command."""

    class Login(Recorder):
        def authenticate(self, credentials: object, connection: object) -> bool:
            return True

    client = connect(Login())
    client.send(HELLO)
    assert client.codes(b"AUTH LOGIN\r\n") == [334]
    assert client.send(b"YQ==\n") == [LF_ONLY]
    assert client.codes(b"YQ==\r\nNOOP\r\n") == [250]


@pytest.mark.parametrize("line", [b"NOOP\n", b"NOOP\r", b"NOOP\rQUIT\r", b"NOOP\n\r"])
def test_the_timeout_says_that_lines_end_in_crlf(connect: Connect, line: bytes) -> None:
    """Whoever looks at that client's log finds out what is wrong with it."""
    client = connect(Recorder())
    client.send(HELLO)
    client.send(line)
    client.clock.advance(300)
    assert client.send() == ["421 4.4.2 Timed out: lines end in CRLF, not in LF or CR"]
    assert client.closing


def test_the_timeout_of_others_does_not(connect: Connect) -> None:
    """Half a line is no line of LF; nor is one that has been answered."""
    client = connect(Recorder())
    client.send(HELLO)
    client.send(b"NOOP\nNOOP\r\nNOO")
    client.clock.advance(300)
    assert client.send() == ["421 4.4.2 Timed out waiting for you"]


@pytest.mark.parametrize("octet", [b"x", b"\n", b"\r"])
def test_single_octets_give_no_time(octet: bytes, connect: Connect) -> None:
    """A line has its time as a whole (P28)."""
    client = connect(Recorder())
    client.send(HELLO)
    codes = []
    for _ in range(31):
        codes += client.codes(octet)
        client.clock.advance(10)
    codes += client.codes()
    assert codes == ([500, 421] if octet == b"\n" else [421])


def test_single_octets_of_an_overlong_line_give_no_time(connect: Connect) -> None:
    """Nor does what is thrown away (P28)."""
    client = connect(Recorder())
    client.send(HELLO)
    client.send(b"x" * 20_000)
    for _ in range(29):
        client.clock.advance(10)
        assert client.send(b"x") == []
    client.clock.advance(10)
    assert client.codes() == [421]


def test_single_octets_of_mail_data_give_no_time(connect: Connect) -> None:
    """A message that trickles is refused after its minute (P28)."""
    client = connect(Recorder())
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    codes = []
    for _ in range(7):
        client.clock.advance(10)
        codes += client.codes(b"x")
    assert codes == [421]


def test_a_session_has_an_end_whatever_is_sent(connect: Connect) -> None:
    """Commands give time for the next one, and none beyond the session's (P28)."""
    client = connect(Recorder(), limits=Limits(session_seconds=1000))
    client.send(HELLO)
    for _ in range(9):
        client.clock.advance(100)
        assert client.codes(b"NOOP\r\n") == [250]
    client.clock.advance(100)
    assert client.codes() == [421]


@pytest.mark.parametrize("how", ["refuse", "normalize"])
@pytest.mark.parametrize("sent", [b"Subject: x\n\nhi\n.\n", b"hi\r\n.\n", b"hi\n.\r\n", b"."])
def test_a_message_whose_end_never_comes_says_what_may_be_wrong(
    sent: bytes, how: Literal["refuse", "normalize"], connect: Connect
) -> None:
    """Its sender has ended it, in LF: it waits for us, and we for the CRLF (RFC 5321 §4.1.1.4)."""
    client = connect(Recorder(), settings=Settings(bare_newline=how))
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    assert client.send(sent) == []
    for _ in range(400):
        client.clock.advance(1)
    why = "No end of the message: lines end in CRLF, the last too"
    said = why if b"\n" in sent else "Message comes too slowly"
    assert client.replies() == [f"421 4.4.2 {said}"]
