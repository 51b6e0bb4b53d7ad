"""Who sees a connection: the lines of the log, and observers of an application's own."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smtpcb.engine import Envelope, Observer, Reason, Recipient, Settings
from smtpcb.smtp import Limits, Reply
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, TEXT, Client, Recorder

Connect = Callable[..., Client]


class Mailbox(Recorder):
    """Takes logins of anne."""

    def authenticate(self, credentials: Any, connection: Any) -> Any:
        return (credentials.username == "anne") or (535, f"Not {credentials.password}")


@pytest.fixture
def lines(log: list[str]) -> Callable[[], list[str]]:
    """What a user sees in the log of mail."""

    def seen() -> list[str]:
        entries = [one for one in log if one.startswith("[smtpcb.mail#info] ")]
        found = []
        for entry in entries:
            found += entry.partition("] ")[2].partition("{'")[0].splitlines()
        return found

    return seen


def talk(connect: Connect, handler: Any, *octets: bytes, **options: Any) -> Client:
    client = connect(handler, log_messages=True, **options)
    for one in octets:
        client.send(one)
        client.clock.advance(1)
    return client


Lines = Callable[[], list[str]]


def test_a_message_is_one_line(connect: Connect, lines: Lines) -> None:
    """Id, from, to, size, reply, seconds and client: what an operator is asked about."""
    client = talk(connect, Recorder(), HELLO, MESSAGE)
    (line,) = lines()
    connection_id = client.protocol.connection.id
    what = f"{connection_id}-1: from <a@example.org> to <b@example.org>, {len(TEXT)} octets: "
    assert line.startswith(what)
    assert line.endswith(" s, client 192.0.2.1)")
    assert "Message accepted (0.0" in line


def test_how_long_it_took_is_said(connect: Connect, lines: Lines) -> None:
    """Of an answer that needs time."""
    stored: Deferred[None] = Deferred()
    client = talk(connect, Recorder(message=lambda _: stored), HELLO, MESSAGE)
    client.clock.advance(2)
    assert lines() == []
    stored.callback(None)
    (line,) = lines()
    assert "(3.000 s, " in line


def test_many_recipients_are_counted(connect: Connect, lines: Lines) -> None:
    """A line stays a line."""
    many = b"".join(b"RCPT TO:<r%d@example.org>\r\n" % number for number in range(100))
    talk(connect, Recorder(), HELLO, MAIL + many + b"DATA\r\n" + TEXT + b".\r\n")
    (line,) = lines()
    assert "to <r0@example.org>, <r1@example.org>, <r2@example.org> and 97 more, " in line


def test_a_bounce_has_no_sender(connect: Connect, lines: Lines) -> None:
    """<> is its reverse-path."""
    talk(connect, Recorder(), HELLO, MESSAGE.replace(b"<a@example.org>", b"<>"))
    (line,) = lines()
    assert ": from <> to <b@example.org>, " in line


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"rcpt": lambda *_: False}, "recipient <b@example.org> refused: Recipient refused"),
        ({"rcpt": lambda *_: (450, "Later")}, "recipient <b@example.org> refused: Later"),
        ({"rcpt": lambda *_: 1 / 0}, "recipient <b@example.org> refused: Local error in"),
        ({"mail": lambda _: (550, "Not you")}, "mail from <a@example.org> refused: Not you"),
        ({"data": lambda _: (554, "Not now")}, "mail from <a@example.org> refused: Not now"),
        (
            {"message": lambda _: (554, "Spam")},
            f"from <a@example.org> to <b@example.org>, {len(TEXT)} octets: Spam (",
        ),
        (
            {"message": lambda _: 1 / 0},
            f"from <a@example.org> to <b@example.org>, {len(TEXT)} octets: Local error in",
        ),
    ],
)
def test_each_refusal_is_one_line(
    answers: Any, expected: str, connect: Connect, lines: Lines
) -> None:
    """Sender, recipient, message: with the words that the client has got."""
    client = talk(connect, Recorder(**answers), HELLO, MESSAGE)
    client.send(b"RSET\r\n")
    what, _, words = expected.partition(": ")
    found = [line for line in lines() if f": {what}: " in line and words in line]
    assert len(found) == 1, lines()
    assert found[0].startswith(client.protocol.connection.id)


def test_a_message_over_a_limit_is_one_line(connect: Connect, lines: Lines) -> None:
    """What we refuse ourselves is told like what a handler refuses."""
    octets = HELLO + MAIL + RCPT + b"DATA\r\n" + b"x" * 200 + b"\r\n.\r\n"
    talk(connect, Recorder(), octets, limits=Limits(message_octets=100))
    (line,) = lines()
    assert "from <a@example.org> to <b@example.org>, " in line
    assert "Message too big" in line


def test_a_message_with_a_bare_newline_is_one_line(connect: Connect, lines: Lines) -> None:
    """Its sender's operator will ask."""
    talk(connect, Recorder(), HELLO, MESSAGE.replace(b"A text\r\n", b"A text\n\r\n"))
    (line,) = lines()
    assert "Bare CR or LF" in line


def test_a_login_is_one_line(connect: Connect, lines: Lines) -> None:
    """Who, and whether; not the password, not even where a handler quotes it."""
    client = connect(Mailbox(), log_messages=True)
    client.send(HELLO)
    for password in (b"tr0ub4dor", b"c0rrect"):
        name = b"anne" if password == b"c0rrect" else b"tim"
        client.send(b"AUTH PLAIN " + base64.b64encode(b"\0%s\0%s" % (name, password)) + b"\r\n")
        client.clock.advance(2)
    wrong, right = lines()
    assert "login of tim: 535 (client 192.0.2.1)" in wrong
    assert "login of anne: 235 (client 192.0.2.1)" in right


def test_no_secret_is_in_the_log(connect: Connect, log: list[str]) -> None:
    """Neither password nor initial response, in the clear or in base64 (P14)."""
    client = connect(Mailbox(), log_messages=True)
    client.send(HELLO)
    secrets = [b"tr0ub4dor", b"c0rrect"]
    response = base64.b64encode(b"\0tim\0" + secrets[0])
    client.send(b"AUTH PLAIN " + response + b"\r\n")
    client.clock.advance(2)
    client.send(b"AUTH LOGIN\r\n", base64.b64encode(b"anne") + b"\r\n")
    client.send(base64.b64encode(secrets[1]) + b"\r\n")
    client.send(MESSAGE)
    client.leave()
    text = "\n".join(log)
    assert "login of anne: 235" in text
    for secret in (*secrets, response, base64.b64encode(secrets[1])):
        assert secret.decode() not in text


@pytest.mark.parametrize(
    "name",
    [
        b"anne\r\n20261127: from <x@y> to <z>",
        b"anne\x1b[31m",
        "anne\u2028x: login of root: 235".encode(),
        "anne\u202eroot".encode(),
        b"a" * 3000,
    ],
)
def test_a_forged_name_makes_no_second_line(
    name: bytes, connect: Connect, lines: Lines, log: list[str]
) -> None:
    """Whatever a client calls itself, a line is one line of plain characters (P20)."""
    client = connect(Mailbox(), log_messages=True)
    client.send(HELLO)
    client.send(b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0x") + b"\r\n")
    client.clock.advance(2)
    (line,) = lines()
    assert line.isprintable()
    assert len(line) < 500


@pytest.mark.parametrize(
    "path",
    [
        '"a\\\tb"@example.org',
        "\u202ebob@example.org",
        '"x> refused: yes\u2029"@example.org',
        "\u200cbob@example.org",
    ],
)
@pytest.mark.parametrize("how", ["sender", "recipient", "refused"])
def test_a_forged_address_makes_no_second_line(
    path: str, how: str, connect: Connect, lines: Lines
) -> None:
    """Addresses may hold what steers terminals (P20)."""
    sender, recipient = b"a@example.org", b"b@example.org"
    if how == "sender":
        sender = path.encode()
    else:
        recipient = path.encode()
    handler = Recorder(rcpt=lambda *_: how != "refused")
    octets = b"MAIL FROM:<%s> SMTPUTF8\r\nRCPT TO:<%s>\r\nDATA\r\nx\r\n.\r\n" % (sender, recipient)
    talk(connect, handler, HELLO, octets)
    (line,) = lines()
    assert line.isprintable()


def test_a_forged_reply_makes_no_second_line(connect: Connect, lines: Lines) -> None:
    """A handler may quote what a client has said."""
    talk(connect, Recorder(rcpt=lambda *_: (550, ["No", "\u202eX", "y" * 400])), HELLO, MAIL + RCPT)
    (line,) = lines()
    assert line.isprintable()


def test_what_comes_together_is_written_together(
    connect: Connect, lines: Lines, log: list[str]
) -> None:
    """Under load there is one entry a moment, a line of it each; none is lost, none is late."""
    client = connect(Recorder(), log_messages=True)
    client.send(HELLO + MESSAGE * 10)
    assert len(lines()) == 1  # the first at once
    client.clock.advance(0.05)
    assert len(lines()) == 10
    assert len(set(lines())) == 10
    entries = [one for one in log if one.startswith("[smtpcb.mail#info] ")]
    assert len(entries) <= 3


def test_the_last_client_takes_the_lines_along(connect: Connect, lines: Lines) -> None:
    """Nothing is kept back when there is nobody left."""
    client = connect(Recorder(), log_messages=True)
    client.send(HELLO + MESSAGE * 3)
    client.leave()
    assert len(lines()) == 3


def test_no_line_where_none_is_wanted(connect: Connect, lines: Lines) -> None:
    """log_messages=False."""
    client = connect(Recorder(), log_messages=False)
    client.send(HELLO + MESSAGE)
    client.clock.advance(1)
    assert lines() == []


def test_what_a_strict_server_would_not_take_is_said(connect: Connect, lines: Lines) -> None:
    """Once, with the message; the next one's line is its own."""
    settings = Settings(lenient_addresses=True)
    lenient = MESSAGE.replace(b"FROM:<a@example.org>", b"FROM:a@example.org")
    talk(connect, Recorder(), HELLO, lenient, MESSAGE, settings=settings)
    first, second = lines()
    assert first.count("; ") == 1
    assert "; " not in second


# Observers of one's own.


class Everything(Observer):
    """Remembers what it has seen."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def client(self, octets: bytes) -> None:
        self.seen.append(("C", octets))

    def server(self, octets: bytes) -> None:
        self.seen.append(("S", octets))

    def content(self, octets: bytes) -> None:
        self.seen.append(("content", octets))

    def end_of_content(self) -> None:
        self.seen.append("end")

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        self.seen.append((method, subject, reply.code))

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        self.seen.append(("aborted", reason, reply and reply.code))

    def note(self, text: str) -> None:
        self.seen.append(("note", text))

    def ended(self, reason: Reason) -> None:
        self.seen.append(("ended", reason))


class WithoutOctets(Everything):
    sees_octets = False


class OfNotes(Everything):
    sees_octets = False
    sees_plain_answers = False


def watched(connect: Connect, kind: Any, *others: Any, **options: Any) -> tuple[Client, list[Any]]:
    seen: list[Any] = []
    makers = [lambda connection: kind(seen), *others]
    return connect(Recorder(), observers=makers, **options), seen


@pytest.mark.parametrize("alone", [True, False])
def test_an_observer_sees_all_of_a_connection(alone: bool, connect: Connect) -> None:
    """Octets both ways, content, what was decided, remarks, the end, in order."""
    others = () if alone else (lambda _: None, lambda _: OfNotes([]), lambda _: Observer())
    client, seen = watched(connect, Everything, *others)
    client.send(HELLO, MAIL, RCPT, b"DATA\r\n", TEXT + b".\r\n", b"x" * 20_000 + b"\r\n")
    client.send(MAIL, b"RSET\r\n")
    client.leave()
    kinds = [one if isinstance(one, str) else one[0] for one in seen]
    assert kinds[:4] == ["connected", "S", "C", "hello"]
    assert ("C", HELLO) in seen
    assert ("content", TEXT + b".\r\n") in seen
    assert kinds.index("content") < kinds.index("end")
    assert "message" in kinds
    assert ("note", "too long a line: 20000 octets") in seen
    assert ("aborted", Reason.RESET, None) in seen
    assert seen[-1] == ("ended", Reason.DISCONNECTED)
    decided = {one[0]: one[1] for one in seen if len(one) == 3 and isinstance(one[2], int)}
    assert isinstance(decided["rcpt"], Recipient)
    assert isinstance(decided["message"], Envelope)


@pytest.mark.parametrize("beside", [(), (lambda _: Everything([]),)])
def test_who_sees_no_octets_is_not_called_for_them(beside: Any, connect: Connect) -> None:
    """And costs no call for each line, whoever else is there."""
    client, seen = watched(connect, WithoutOctets, *beside)
    client.send(HELLO, MESSAGE)
    kinds = {one if isinstance(one, str) else one[0] for one in seen}
    assert kinds == {"connected", "hello", "mail", "rcpt", "data", "message"}


def test_who_sees_no_plain_answers_hears_of_messages(connect: Connect) -> None:
    """And of what was refused."""
    client, seen = watched(connect, OfNotes)
    client.send(HELLO, MESSAGE)
    assert [one[0] for one in seen] == ["message"]


def test_an_observer_that_is_absent_costs_nothing(connect: Connect) -> None:
    """None for one connection is none for that connection only."""
    seen: list[Any] = []
    makers = [lambda connection: Everything(seen) if connection.peer_port == 7 else None]
    factory = connect(Recorder(), observers=makers).factory
    assert seen == []
    for port in (6, 7):
        address = IPv4Address("TCP", "192.0.2.9", port)
        other = connect(factory=factory, clock=factory.reactor, address=address)
        assert (other.protocol._conversation.observer is None) is (port == 6)
    assert seen


def test_no_secret_is_shown_to_an_observer(connect: Connect) -> None:
    """It sees that there was a login, and how long its secret was (P14)."""
    seen: list[Any] = []
    client = connect(Mailbox(), observers=[lambda _: Everything(seen)])
    client.send(HELLO, b"AUTH PLAIN AGFubmUAYzBycmVjdA==\r\n", b"AUTH LOGIN\r\n", b"YW5uZQ==\r\n")
    octets = b"".join(one[1] for one in seen if one[0] == "C")
    assert b"AUTH PLAIN" in octets
    assert b"AGFubmUAYzBycmVjdA" not in octets
    assert b"YW5uZQ" not in octets


def test_replies_are_seen_as_they_leave(connect: Connect) -> None:
    """Those of one read together."""
    client, seen = watched(connect, Everything)
    client.protocol.dataReceived(b"NOOP\r\nNOOP\r\n")
    assert [one[1].count(b"250") for one in seen if one[0] == "S"] == [0, 2]


def test_many_replies_are_seen_too(connect: Connect) -> None:
    """Also those that leave before all commands of a read were taken."""
    client, seen = watched(connect, Everything, clock=Clock())
    client.send(b"NOOP\r\n" * 500)
    assert sum(one[1].count(b"250") for one in seen if one[0] == "S") == 500
