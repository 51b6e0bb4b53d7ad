"""The log's lines about mail."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine._settings import Settings

from .client import HELLO, MAIL, RCPT, Client

REMARK = "bare CR or LF: a strict server would refuse this message"


class Inbox:
    """It knows one recipient."""

    def rcpt(self, recipient: Any, envelope: Any) -> bool:
        return bool(recipient.local_part == "b")

    def message(self, envelope: Any) -> None:
        pass


def lines_for(*octets: bytes, handler: Any = Inbox, **settings: Any) -> list[str]:
    """Return what is logged of a session, without what differs each time."""
    client = Client(handler, settings=Settings(**settings), log_messages=True)
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
