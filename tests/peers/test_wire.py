"""
Dialogues in which other servers disagree, each with the codes that are right and the rule for it.

A row is one client: what it sends, one element a segment, and the codes that it hears for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from smtpcb.engine import Settings
from smtpcb.smtp import Credentials, Limits
from tests.server.client import Client, Secure

MOST_OCTETS = 100_000
HELO = b"HELO client.example\r\n"
EHLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<a@example.org>\r\n"
RCPT = b"RCPT TO:<b@example.org>\r\n"
DATA = b"DATA\r\n"
TO_DATA = EHLO + MAIL + RCPT + DATA
DATA_CODES = "250 250 250 354"
BIG = b"x" * 70 + b"\r\n"


class Handler:
    """Decides late, as one does that looks something up: MAIL after 50 ms, RCPT after 20."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.messages: list[bytes] = []
        self.senders: list[str] = []

    def authenticate(self, credentials: Credentials, connection: Any) -> bool:
        return credentials.password == "secret"

    def mail(self, envelope: Any) -> Deferred[None]:
        self.senders.append(str(envelope.reverse_path))
        return deferLater(self.clock, 0.05)

    def rcpt(self, recipient: Any, envelope: Any) -> Deferred[None]:
        return deferLater(self.clock, 0.02)

    def message(self, envelope: Any) -> None:
        self.messages.append(envelope.content.bytes())


class Row(NamedTuple):
    """
    One client.

    :ivar name: what it is about.
    :ivar sent: one segment each.
    :ivar codes: of the replies, to all of it.
    :ivar rule: what decides.
    :ivar messages: how many are taken.
    :ivar closed: whether the server closes.
    """

    name: str
    sent: tuple[bytes, ...]
    codes: str
    rule: str
    messages: int = 0
    closed: bool = False


def row(name: str, *sent: bytes, codes: str, rule: str, **more: Any) -> Row:
    return Row(name, sent, codes, rule, **more)


ROWS = (
    # Order and pipelining.
    row(
        "MAIL RCPT RCPT DATA in one write, decided late",
        EHLO + MAIL + RCPT + RCPT + DATA,
        codes="250 250 250 250 354",
        rule="RFC 2920 §3.2",
    ),
    row(
        "a command behind STARTTLS in the same segment",
        EHLO,
        b"STARTTLS\r\n" + MAIL,
        codes="250 554",
        rule="RFC 3207 §6, CVE-2011-0411",
        closed=True,
    ),
    row(
        "STARTTLS with an argument",
        EHLO + b"STARTTLS now\r\n",
        codes="250 501",
        rule="RFC 3207 §4",
    ),
    row(
        "STARTTLS in a transaction",
        EHLO + MAIL + b"STARTTLS\r\n",
        codes="250 250 503",
        rule="RFC 3207 §4.2: what came before counts no more",
    ),
    row("MAIL without HELO", MAIL, codes="503", rule="RFC 5321 §4.1.4"),
    row(
        "a second MAIL",
        EHLO + MAIL + MAIL,
        codes="250 250 503",
        rule="RFC 5321 §4.1.4",
    ),
    row("RCPT before MAIL", EHLO + RCPT, codes="250 503", rule="RFC 5321 §4.1.4"),
    row("DATA before RCPT", EHLO + MAIL + DATA, codes="250 250 503", rule="RFC 5321 §3.3"),
    row(
        "EHLO in a transaction ends it",
        EHLO + MAIL + EHLO + RCPT,
        codes="250 250 250 503",
        rule="RFC 5321 §4.1.4",
    ),
    row(
        "a message leaves nothing behind",
        TO_DATA,
        b"x\r\n.\r\n" + RCPT + DATA + MAIL,
        codes=f"{DATA_CODES} 250 503 503 250",
        rule="RFC 5321 §4.1.1.4",
        messages=1,
    ),
    # Mail data.
    row(
        "LF . LF is no end",
        TO_DATA,
        b"x\n.\nMAIL FROM:<evil@example.org>\r\n",
        b"\r\n.\r\n",
        codes=f"{DATA_CODES} 550",
        rule="RFC 5321 §4.1.1.4, CVE-2023-51764",
    ),
    row(
        "LF . CRLF is no end",
        TO_DATA,
        b"x\n.\r\nMAIL FROM:<evil@example.org>\r\n",
        b"\r\n.\r\n",
        codes=f"{DATA_CODES} 550",
        rule="RFC 5321 §2.3.8",
    ),
    row(
        "CRLF . LF is no end",
        TO_DATA,
        b"x\r\n.\nMAIL FROM:<evil@example.org>\r\n",
        b"\r\n.\r\n",
        codes=f"{DATA_CODES} 550",
        rule="RFC 5321 §2.3.8",
    ),
    row(
        ". CR CR LF is no end, and what follows is seen",
        TO_DATA,
        b"x\r\n.\r\r\n.\r\n",
        codes=f"{DATA_CODES} 550",
        rule="RFC 5321 §2.3.8, §4.1.1.4",
    ),
    row(
        "a line of 70,000 octets",
        TO_DATA,
        b"x" * 70_000 + b"\r\nMAIL FROM:<evil@example.org>\r\n.\r\nNOOP\r\n",
        codes=f"{DATA_CODES} 250 250",
        rule="RFC 5321 §4.5.3.1: no limit where it can be avoided",
        messages=1,
    ),
    row(
        "more than SIZE, and then in step",
        TO_DATA,
        BIG * 2000 + b".\r\nNOOP\r\n",
        codes=f"{DATA_CODES} 552 250",
        rule="RFC 1870 §6.1",
    ),
    row(
        "the same after HELO",
        HELO + MAIL + RCPT + DATA,
        BIG * 2000 + b".\r\nNOOP\r\n",
        codes=f"{DATA_CODES} 552 250",
        rule="RFC 1870 §6.1: with or without SIZE",
    ),
    row(
        "SIZE= says so before",
        EHLO + b"MAIL FROM:<a@example.org> SIZE=100001\r\n",
        codes="250 552",
        rule="RFC 1870 §6.1",
    ),
    row(
        "a lone CR in the text",
        TO_DATA,
        b"a\rb\r\n.\r\n",
        codes=f"{DATA_CODES} 550",
        rule="RFC 5321 §2.3.8",
    ),
    row(
        "NUL in the text is text",
        TO_DATA,
        b"a\0b\r\n.\r\n",
        codes=f"{DATA_CODES} 250",
        rule="RFC 5321 §4.1.1.4: octets are kept",
        messages=1,
    ),
    row(
        "an empty message",
        TO_DATA,
        b".\r\n",
        codes=f"{DATA_CODES} 250",
        rule="RFC 5321 §4.1.1.4",
        messages=1,
    ),
    # BDAT.
    row(
        "octets behind a BDAT that is refused are no commands",
        EHLO + b"BDAT 6 LAST\r\nRSET\r\nNOOP\r\n",
        codes="250 503 250",
        rule="RFC 3030 §4.2",
    ),
    row(
        "two chunks",
        EHLO + MAIL + RCPT + b"BDAT 3\r\nabcBDAT 2 LAST\r\n\r\nNOOP\r\n",
        codes="250 250 250 250 250 250",
        rule="RFC 3030 §2",
        messages=1,
    ),
    row(
        "DATA behind BDAT",
        EHLO + MAIL + RCPT + b"BDAT 1\r\nx" + DATA,
        codes="250 250 250 250 503",
        rule="RFC 3030 §2",
    ),
    # AUTH.
    row("AUTH without a mechanism", EHLO + b"AUTH\r\n", codes="250 501", rule="RFC 4954 §4"),
    row(
        "AUTH with bad base64",
        EHLO + b"AUTH PLAIN =abc\r\n",
        codes="250 501",
        rule="RFC 4954 §4",
    ),
    row(
        "a mechanism in lower case",
        EHLO + b"auth plain AGEAc2VjcmV0\r\n",
        codes="250 235",
        rule="RFC 4422 §3.1, RFC 5321 §2.4",
    ),
    row(
        "an exchange that is given up",
        EHLO + b"AUTH LOGIN\r\n",
        b"*\r\nNOOP\r\n",
        codes="250 334 501 250",
        rule="RFC 4954 §4",
    ),
    row(
        "a mechanism that is not there",
        EHLO + b"AUTH NONSENSE\r\n",
        codes="250 504",
        rule="RFC 4954 §4",
    ),
    row(
        "AUTH in a transaction",
        EHLO + MAIL + b"AUTH PLAIN AGEAc2VjcmV0\r\n",
        codes="250 250 503",
        rule="RFC 4954 §4",
    ),
    # Addresses.
    row(
        "<Postmaster> without a domain",
        EHLO + MAIL + b"RCPT TO:<Postmaster>\r\n",
        codes="250 250 250",
        rule="RFC 5321 §4.1.1.3, §4.5.1",
    ),
    row(
        "nobody as a recipient",
        EHLO + MAIL + b"RCPT TO:<>\r\n",
        codes="250 250 501",
        rule="RFC 5321 §4.1.1.3",
    ),
    row(
        "an address literal",
        EHLO + MAIL + b"RCPT TO:<b@[127.0.0.1]>\r\n",
        codes="250 250 250",
        rule="RFC 5321 §4.1.3",
    ),
    row(
        "a quoted local-part with blank and >",
        EHLO + b'MAIL FROM:<"a b>c"@example.org>\r\n',
        codes="250 250",
        rule="RFC 5321 §4.1.2",
    ),
    row(
        "UTF-8 in an address, without SMTPUTF8",
        EHLO + MAIL + "RCPT TO:<jörg@example.org>\r\n".encode(),
        codes="250 250 553",
        rule="RFC 6531 §3.5",
    ),
    row(
        "the null reverse-path", EHLO + b"MAIL FROM:<>\r\n", codes="250 250", rule="RFC 5321 §3.6.3"
    ),
    row(
        "a parameter that was not offered",
        EHLO + b"MAIL FROM:<a@example.org> NONSENSE=1\r\n",
        codes="250 555",
        rule="RFC 5321 §4.1.1.11",
    ),
    # Lines that are no commands.
    row("octets that are no text", b"\xff\xfe\xfd\r\n", codes="500", rule="RFC 5321 §4.2.4"),
    row("an empty line", b"\r\n", codes="500", rule="RFC 5321 §4.2.4"),
    row("NOOP", b"NOOP\r\n", codes="250", rule="RFC 5321 §4.1.4"),
    row("RSET before HELO", b"RSET\r\n", codes="250", rule="RFC 5321 §4.1.4"),
    row("VRFY", EHLO + b"VRFY anne\r\n", codes="250 252", rule="RFC 5321 §3.5.3"),
    row("HELP", b"HELP\r\n", codes="214", rule="RFC 5321 §4.1.1.8"),
    row("QUIT", b"QUIT\r\n", codes="221", rule="RFC 5321 §4.1.1.10", closed=True),
    row("QUIT with an argument", b"QUIT now\r\n", codes="501", rule="RFC 5321 §4.1.1.10"),
    row(
        "4 MiB without CRLF",
        *[b"x" * 65536] * 64,
        codes="421",
        rule="RFC 5321 §4.5.3.1.9, §7.8",
        closed=True,
    ),
    row(
        "a browser that was made to send mail",
        b"POST / HTTP/1.1\r\n" + EHLO + MAIL,
        codes="554",
        rule="RFC 5321 §7.8: what follows may be anybody's",
        closed=True,
    ),
)


def is_left(client: Client) -> bool:
    """Whether the server has closed its side."""
    return client.transport.disconnecting or client.transport.half_closed


def ask(sent: tuple[bytes, ...], *, cut: bool) -> tuple[Client, Handler]:
    """Return a client that has sent it all, and its handler; time has passed after each segment."""
    clock = Clock()
    handler = Handler(clock)
    limits = Limits(message_octets=MOST_OCTETS)
    settings = Settings(limits=limits, allow_insecure_auth=True)
    client = Client(handler, clock=clock, settings=settings, tls=Secure())
    for segment in sent:
        pieces = [segment[at : at + 1] for at in range(len(segment))] if cut else [segment]
        for piece in pieces:
            if not is_left(client):
                client.protocol.dataReceived(piece)
        clock.pump([0.02] * 20)
    return client, handler


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_row_is_answered_by_the_rule(row: Row) -> None:
    """The codes, how much mail has got in, and whether the client is left."""
    client, handler = ask(row.sent, cut=False)
    assert [reply[:3] for reply in client.replies()[1:]] == row.codes.split(), row.rule
    assert len(handler.messages) == row.messages
    assert "evil@example.org" not in handler.senders
    assert is_left(client) is row.closed


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if len(b"".join(row.sent)) < 5000 and "same segment" not in row.name],
    ids=lambda row: row.name,
)
def test_how_the_network_cuts_it_changes_nothing(row: Row) -> None:
    """Octet by octet the same."""
    client, handler = ask(row.sent, cut=True)
    assert [reply[:3] for reply in client.replies()[1:]] == row.codes.split()
    assert len(handler.messages) == row.messages


def test_no_row_is_there_twice() -> None:
    """A table that repeats itself says less than it seems to."""
    assert len({row.sent for row in ROWS}) == len(ROWS)
    assert all(row.rule.startswith("RFC ") for row in ROWS)
