"""The log's lines about mail."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine._settings import Settings
from smtpcb.server._observers import MOST_REFUSALS
from smtpcb.smtp import Limits

from .client import HELLO, MAIL, RCPT, Client, Secure

REMARK = "bare CR or LF: a strict server would refuse this message"


class Inbox:
    """It knows one recipient."""

    def rcpt(self, recipient: Any, envelope: Any) -> bool:
        return bool(recipient.local_part == "b")

    def message(self, envelope: Any) -> None:
        pass


def lines_for(*octets: bytes, handler: Any = Inbox, tls: Any = None, **settings: Any) -> list[str]:
    """Return what is logged of a session, without what differs each time."""
    client = Client(handler, settings=Settings(**settings), log_messages=True, tls=tls)
    with capturedLogs() as events:
        client.send(HELLO, *octets)
        client.finish()
    said = [formatEvent(event) for event in events if event["log_namespace"] == "smtpcb.mail"]
    # Lines of one moment stand in one entry.
    said = [line for entry in said for line in entry.split("\n")]
    return [re.sub(r"^\S+: |[0-9.]+ s, ", "", line) for line in said]


def content(octets: bytes) -> bytes:
    """Send a message."""
    return MAIL + RCPT + b"DATA\r\n" + octets + b"\r\n.\r\n"


def test_a_message_and_a_refusal_have_a_line_each() -> None:
    """Who sent it, to whom, how much, and what they were told."""
    unknown = b"RCPT TO:<nobody@example.org>\r\n"
    assert lines_for(MAIL + unknown + b"RSET\r\n" + content(b"x")) == [
        "recipient <nobody@example.org> refused: 550 5.1.1 Recipient refused (client 192.0.2.1)",
        "from <a@example.org> to <b@example.org>, 3 octets: 250 2.0.0 Message accepted "
        "(client 192.0.2.1)",
    ]


def test_what_a_strict_server_would_not_have_taken() -> None:
    """
    A server that takes what is a little wrong says so beside the message, once.

    So whoever tries out a program learns that its mail will not arrive everywhere.
    """
    first, second, third = lines_for(
        content(b"one\ntwo\rthree\n"),
        b"MAIL FROM:a@example.org\r\nRCPT TO:b@example.org\r\nDATA\r\nx\r\n.\r\n",
        content(b"x"),
        bare_newline="normalize",
        lenient_addresses=True,
    )
    assert first.endswith(f"(client 192.0.2.1); {REMARK}")
    assert second.endswith("(client 192.0.2.1); no brackets around the path")
    assert third.endswith("(client 192.0.2.1)")


def test_a_remark_belongs_to_its_message() -> None:
    """Not to the next one, where there was none."""
    [line] = lines_for(
        b"MAIL FROM:a@example.org\r\nRSET\r\n" + content(b"x"), lenient_addresses=True
    )
    assert line.endswith("(client 192.0.2.1)")


@pytest.mark.parametrize("cut", range(1, 8))
def test_how_it_is_cut_does_not_matter(cut: int) -> None:
    """A CR at the end of a segment is a bare one only if no LF follows."""
    good, bad = content(b"a\r\nb"), content(b"a\nb")
    for octets, remarked in ((good, False), (bad, True)):
        at = octets.index(b"DATA\r\n") + 5 + cut
        [line] = lines_for(octets[:at], octets[at:], bare_newline="normalize")
        assert line.endswith(REMARK) == remarked


class TestRefusedByUs:
    """What the server refuses by itself has its line too: who asks why finds it in the log."""

    @pytest.mark.parametrize(
        ("octets", "line"),
        [
            (
                b"MAIL FROM:<a@example.org> SIZE=99999999\r\n",
                "MAIL FROM:<a@example.org> SIZE=99999999 refused: 552 5.3.4 Message too big",
            ),
            (b"MAIL FROM:<a@\r\n", "MAIL FROM:<a@ refused: 501 "),
            (MAIL + RCPT + RCPT, "RCPT TO:<b@example.org> refused: 452 4.5.3 Too many recipients"),
            (MAIL + b"RCPT TO:<b\r\n", "RCPT TO:<b refused: 501 "),
            (RCPT, "RCPT TO:<b@example.org> refused: 503 5.5.1 Send MAIL first"),
            (MAIL + b"DATA\r\n", "DATA refused: 503 5.5.1 No valid recipient yet"),
            (MAIL + RCPT + b"BDAT x\r\n", "BDAT x refused: 501 5.5.4 Syntax: BDAT octets [LAST]"),
            (
                b"MAIL FROM:<" + b"a" * 5000 + b"@b>\r\n",
                f"MAIL FROM:<{'a' * 200}",
            ),
            (b"AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN <8 octets hidden> refused: 502 5.5.1 "),
            (b"STARTTLS\r\n", "STARTTLS refused: 502 5.5.1 TLS is not available"),
            (b"MAIL FROM:<a\x1b[1m@b>\r\n", r"MAIL FROM:<a\x1b[1m@b> refused: 500 5.5.2 A command"),
        ],
    )
    def test_a_command(self, octets: bytes, line: str) -> None:
        """What was said, and why not."""
        said, *_ = lines_for(octets, limits=Limits(recipients=1))
        assert said.startswith(line)

    def test_what_a_policy_wants_first(self) -> None:
        """One line, and not three: what follows from a refusal is no news."""
        [line] = lines_for(content(b"x"), require_tls=True, tls=Secure())
        assert line.startswith("MAIL FROM:<a@example.org> refused: 530 5.7.0 Must issue a STARTTLS")

    def test_no_recipient_is_left(self) -> None:
        """That the handler knew none of them is why DATA is out of order."""
        unknown = b"RCPT TO:<nobody@example.org>\r\n"
        [line] = lines_for(MAIL + unknown + b"DATA\r\n")
        assert line.startswith("recipient <nobody@example.org> refused: 550")

    def test_what_has_nothing_to_do_with_mail(self) -> None:
        """Scanners say anything; a server that stands in the open would write a book."""
        assert not lines_for(b"GET / HTTP/1.1\r\n", handler=Inbox)
        assert not lines_for(b"VRFY\r\nNOOP\r\nbogus\r\nEHLO\r\n")

    def test_a_client_that_does_not_stop(self) -> None:
        """So many have a line, the last of which says so; a message begins anew."""
        limits = Limits(errors=None, refusals=None, recipients=1)
        lines = lines_for(MAIL + RCPT + RCPT * 300, limits=limits)
        assert len(lines) == MOST_REFUSALS
        assert lines[-1].endswith(
            "recipients; what else is refused here is not logged (client 192.0.2.1)"
        )
        good = b"DATA\r\nx\r\n.\r\n"
        lines = lines_for((MAIL + RCPT + RCPT * 60 + good) * 2, limits=limits)
        assert len(lines) == 2 * 61

    def test_no_secret(self) -> None:
        """A password that went astray is hidden, as in a transcript."""
        lines = lines_for(
            b"AUTH PLAIN c2VjcmV0\r\nMAIL FROM:<a@b> PASS=hunter2\r\nDATA hunter2\r\n"
        )
        assert len(lines) == 2
        assert not any("hunter2" in line or "c2VjcmV0" in line for line in lines)

    def test_the_last_limit(self) -> None:
        """Why the connection was ended, and what became of its transaction."""
        first, *_, cut, last = lines_for(
            MAIL + RCPT + b"RCPT TO:<\r\n" * 4, limits=Limits(errors=3, free_errors=None)
        )
        assert first.startswith("RCPT TO:< refused: 501")
        assert cut.startswith(
            "from <a@example.org> to <b@example.org>, 0 octets: no message: a limi"
        )
        assert last == "closed: too many errors (client 192.0.2.1)"

    def test_a_client_that_goes(self) -> None:
        """It was its own wish, and nothing was refused."""
        assert not lines_for(MAIL + RCPT)
        assert not lines_for(MAIL + RCPT + b"RSET\r\nQUIT\r\n")
