"""What users of Pike's Protocols.SMTP.Server rely on, and its traps, which are not there."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.names import dns, server

from smtpcb import (
    Connection,
    Envelope,
    Extension,
    Limits,
    Observer,
    Recipient,
    Refusal,
    Reply,
    ReversePath,
    Settings,
    SmtpServerFactory,
    SmtpService,
    around,
    callbacks,
    received_header,
    serve,
)
from smtpcb.handlers.discard import Discard
from smtpcb.handling import check
from smtpcb.policies.local_domains import LocalDomains
from smtpcb.policies.sender_domain import SenderDomain
from smtpcb.smtp import ForwardPath
from smtpcb.testing import play
from tests.engine.scripts import TRANSACTION, Does
from tests.policies.test_dns import Zone
from tests.seeds.items import check_items, greeted
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Client, Recorder, pieces

# Nothing here that a user of the server could rely on, and why.
OMITTED = {"p28": "its clients: smtpcb has none yet"}

SMALL = Settings(limits=Limits(message_octets=20))


def test_each_item_has_a_test_or_a_reason() -> None:
    """Nothing is forgotten."""
    check_items("p", globals(), items=28, traps=9, omitted=OMITTED)


def accept(*arguments: object) -> int:
    """Say yes, as it is said there."""
    return 250


# Construction and configuration.


def test_p1_a_server_is_domains_a_port_an_address_and_three_functions() -> None:
    """It listens from that line on."""
    reactor: Any = MemoryReactorClock()
    reactor.running = True
    handler = around(
        callbacks(mail=accept, rcpt=accept, message=accept), LocalDomains(["example.org"])
    )
    service = serve(reactor, "tcp:25:interface=192.0.2.1", handler, log_messages=False)
    [(port, _, _, interface)] = reactor.tcpServers
    assert (port, interface) == (25, "192.0.2.1")
    client = Client(factory=service.factory)
    assert client.codes(HELLO, MESSAGE, RCPT) == [220, 250, 250, 250, 354, 250, 503]
    client.finish()
    service.stopService()


LOCAL = LocalDomains(["example.org", ".example.net", "localhost"])


def say(policy: object, *recipients: tuple[str, str], handler: object = None) -> list[str]:
    """Name recipients, each with the reply that is wanted; return those of whom was asked."""
    asked: list[str] = []

    def rcpt(recipient: Recipient, envelope: Envelope) -> int:
        asked.append(str(recipient.forward_path))
        return 250

    lines = ["C: HELO me", "S: 250", "C: MAIL FROM:<a@example.com>", "S: 250"]
    for recipient, reply in recipients:
        lines += [f"C: RCPT TO:<{recipient}>", f"S: {reply}"]
    play("\n".join(lines), around(callbacks(rcpt=rcpt, message=accept), policy))
    return asked[: len(asked) // 2]


def test_p2_p3_mail_for_our_domains_is_taken_and_nobody_is_asked_about_other_mail() -> None:
    """Those below one too, where it has a dot before it; ``*`` relays everything; case is one."""
    denied = "550 5.7.1 Relaying denied"
    asked = say(
        LOCAL,
        ("bob@EXAMPLE.org", "250"),
        ("bob@sub.example.org", denied),
        ("bob@example.net", "250"),
        ("bob@very.deep.example.net", "250"),
        ("bob@anexample.net", denied),
        ("bob@localhost", "250"),
        ("bob@otherhost", denied),
    )
    assert asked == [
        "bob@example.org",
        "bob@example.net",
        "bob@very.deep.example.net",
        "bob@localhost",
    ]
    say(LocalDomains(["example.org", "*"]), ("bob@example.com", "250"), ("bob@host", "250"))
    with pytest.raises(ValueError, match="domain"):
        LocalDomains([""])


def test_p4_p18_a_message_and_its_recipients_have_limits() -> None:
    """They are settings, offered as they are; what exceeds them never reaches ``message``."""
    inbox = Recorder()
    play(
        f"""
        C: EHLO me
        S: 250-...
        S: 250-SIZE 20
        S: 250-...
        S: 250-LIMITS RCPTMAX=2
        S: 250 ...
        {TRANSACTION}
        C: Subject: far too long
        C: .
        S: 552 5.3.4 Message too big
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<a@example.org>
        S: 250
        C: RCPT TO:<b@example.org>
        S: 250
        C: RCPT TO:<c@example.org>
        S: 452 4.5.3 Too many recipients
        """,
        inbox,
        settings=Settings(limits=Limits(message_octets=20, recipients=2)),
        tls=False,
    )
    assert "message" not in inbox.names()
    unlimited = Settings(limits=Limits(message_octets=None, recipients=None))
    assert b"SIZE 0\r\n" in greeted(Recorder(), unlimited).receive(b"EHLO me\r\n")


def test_p5_an_address_has_one_at() -> None:
    """What has none, or two, is no address, of senders and recipients."""
    play(
        """
        C: HELO me
        S: 250
        C: MAIL FROM:<anne>
        S: 501
        C: MAIL FROM:<anne@bob@example.org>
        S: 501
        C: MAIL FROM:<anne@example.org>
        S: 250
        C: RCPT TO:<bob>
        S: 501
        C: RCPT TO:<anne@bob@example.org>
        S: 501
        """
    )


@pytest_twisted.ensureDeferred
async def test_p5_px9_the_domain_of_a_sender_may_have_to_take_mail() -> None:
    """The DNS is asked, and nobody else waits for it."""
    from twisted.internet import reactor

    zone = Zone()
    protocol = dns.DNSDatagramProtocol(server.DNSServerFactory(clients=[zone]))
    port: Any = reactor.listenUDP(0, protocol, interface="127.0.0.1")
    policy = SenderDomain(reactor, servers=[("127.0.0.1", port.getHost().port)])

    async def mail(domain: str) -> Any:
        connection = Connection("test", "203.0.113.9")
        answer: Any = policy.mail(Envelope(connection, ReversePath("a", domain)))
        assert not isinstance(answer, Reply), "it does not block"
        return await answer

    try:
        assert await mail("mx.example") is None
        assert (await mail("no.such.example")).code == 550
    finally:
        await maybeDeferred(port.stopListening)


@pytest_twisted.ensureDeferred
async def test_p6_a_server_that_is_stopped_listens_no_more() -> None:
    """Its port is free again."""
    from twisted.internet import reactor

    factory = SmtpServerFactory(Discard, reactor=reactor, log_messages=False)
    service = SmtpService("tcp:0:interface=127.0.0.1", factory)
    service.startService()
    address: Any = service.ports[0].getHost()
    socket.create_connection((address.host, address.port)).close()
    await service.stopService()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))


def test_p7_nothing_is_kept_when_the_handler_has_had_it(tmp_path: Path) -> None:
    """A long message waits in a file that has no name, and is gone with the last who has it."""
    sizes: list[int] = []

    def message(envelope: Envelope) -> int:
        sizes.append(len(envelope.content.bytes()))
        assert list(tmp_path.iterdir()) == []
        return 250

    client = Client(callbacks(message=message), memory_octets=10, spool_folder=tmp_path)
    text = b"x" * 60 + b"\r\n"
    whole = HELLO + MAIL + RCPT + b"DATA\r\n" + text * 2000 + b".\r\nQUIT\r\n"
    assert client.codes(whole) == [220, 250, 250, 250, 354, 250, 221]
    assert sizes == [len(text) * 2000]
    client.finish()
    assert list(tmp_path.iterdir()) == []


def test_p8_commands_can_be_added() -> None:
    """One of your own is a function, with a keyword that says so; it needs no subclass."""

    def lookup(argument: str, connection: Connection) -> tuple[int, str]:
        return 250, f"{argument} is free"

    play(
        """
        C: EHLO me
        S: 250-...
        S: 250 XLOOKUP
        C: XLOOKUP room
        S: 250 2.0.0 room is free
        """,
        settings=Settings(extensions=(Extension("XLOOKUP", verbs={"XLOOKUP": lookup}),)),
    )


def test_p8_lmtp_says_of_each_recipient_what_became_of_the_message() -> None:
    """By LHLO, and one answer for all, or one for each."""

    def message(envelope: Envelope) -> Any:
        return {one: one.local_part != "full" or (452, "Full") for one in envelope.recipients}

    play(
        """
        S: 220 localhost LMTP
        C: EHLO me
        S: 500
        C: LHLO me
        S: 250 ...
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 250
        C: RCPT TO:<full@example.org>
        S: 250
        C: DATA
        S: 354
        C: .
        S: 250 2.0.0
        S: 452 4.3.1 Full
        """,
        callbacks(message=message),
        settings=Settings(lmtp=True),
    )


# Callbacks.


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (250, "250 2.1.5 Recipient ok"),
        ((250, "Fine"), "250 2.1.5 Fine"),
        (251, "251 2.1.5"),
        (450, "450 4.2.0 Mailbox busy, try again later"),
        (452, "452 4.3.1 Not enough storage, try again later"),
        (550, "550 5.1.1 Recipient refused"),
        ((550, "No such user"), "550 5.1.1 No such user"),
        ((550, "5.2.1", "On holiday"), "550 5.2.1 On holiday"),
        (None, "250 2.1.5 Recipient ok"),
        (0, "451 4.3.0 Local error"),
        (99, "451 4.3.0 Local error"),
        (299, "451 4.3.0 Local error"),
        (354, "451 4.3.0 Local error"),
        ((550, "two\r\nlines"), "550-5.1.1 two\n        S: 550 5.1.1 lines"),
    ],
)
def test_p9_p10_p11_p12_a_code_is_an_answer_with_a_text_or_without(answer: Any, reply: str) -> None:
    """
    Each code has its text; only a yes goes on, and nothing returned is one.

    What is no code, or makes no sense as this answer, is your mistake, and the client hears 451.
    """
    next_one = "354" if reply.startswith("25") else "503"
    play(
        f"""
        C: HELO me
        S: 250
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<bob@example.org>
        S: {reply}
        C: DATA
        S: {next_one}
        """,
        callbacks(rcpt=lambda recipient, envelope: answer, message=accept),
    )


def test_p11_what_a_function_throws_is_451_without_its_text() -> None:
    """From each of the three; a Refusal is what says more to the client."""

    def fail(*arguments: object) -> None:
        raise KeyError("secret of mine")

    incident = "451 4.3.0 Local error in processing"
    play(f"C: HELO me\nS: 250\nC: MAIL FROM:<>\nS: {incident}", Does(mail=fail))
    play(
        f"C: HELO me\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: {incident}",
        Does(rcpt=fail),
    )
    play(f"C: HELO me\nS: 250\n{TRANSACTION}\nC: .\nS: {incident}", Does(message=fail))

    def refuse(*arguments: object) -> None:
        raise Refusal(553, "Not you")

    play("C: HELO me\nS: 250\nC: MAIL FROM:<>\nS: 553 5.1.3 Not you", Does(mail=refuse))


def test_p13_addresses_come_without_brackets() -> None:
    """The null sender and the postmaster are what they are; making up a text of it is one line."""
    senders, recipients = [], []

    def mail(envelope: Envelope) -> None:
        sender = envelope.reverse_path
        senders.append((str(sender), sender == ReversePath.NULL))
        senders.append((str(sender) or f"MAILER-DAEMON@{envelope.connection.hostname}", False))

    def rcpt(recipient: Recipient, envelope: Envelope) -> None:
        recipients.append((recipient.local_part, recipient.domain, recipient.is_postmaster))

    play(
        """
        C: HELO me
        S: 250
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<bob@Example.ORG>
        S: 250
        C: RCPT TO:<Postmaster>
        S: 250
        """,
        callbacks(mail=mail, rcpt=rcpt, message=accept),
        settings=Settings(hostname="mx.example.org"),
    )
    assert senders[:2] == [("", True), ("MAILER-DAEMON@mx.example.org", False)]
    assert recipients[:2] == [("bob", "example.org", False), ("Postmaster", "", True)]


def test_p14_the_postmaster_is_never_refused_for_the_domain() -> None:
    """Without one he is everybody's, in any case; with one he is somebody's."""
    asked = say(
        LOCAL,
        ("Postmaster", "250"),
        ("POSTMASTER", "250"),
        ("postmaster@example.org", "250"),
        ("postmaster@example.com", "550"),
    )
    assert len(asked) == 3


def test_p15_p16_the_message_comes_parsed_and_as_it_was_sent() -> None:
    """With sender and recipients; nothing is put into it, and Received is made for you."""
    seen: list[Any] = []

    async def message(envelope: Envelope) -> None:
        mail = await envelope.content.parsed()
        raw = envelope.content.bytes()
        recipients = [str(one) for one in envelope.forward_paths]
        seen.append((mail, str(envelope.reverse_path), recipients, raw))
        seen.append(received_header(envelope))

    play(
        f"""
        C: EHLO client.example.org
        S: 250 ...
        {TRANSACTION}
        C: Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
        C:
        C: Hello
        C: .
        S: 250
        """,
        callbacks(message=message),
        settings=Settings(hostname="mx.example.org"),
        connection=Connection("c1", peer_address="192.0.2.7"),
    )
    (mail, sender, recipients, raw), trace = seen[:2]
    assert mail["Subject"] == "Grüße"
    assert (sender, recipients) == ("anne@example.org", ["bob@example.org"])
    assert raw == b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"
    assert mail.keys() == ["Subject"], "what is missing is not made up"
    text = re.sub(r"\s+", " ", trace.decode())
    assert text.startswith(
        "Received: from client.example.org ([192.0.2.7]) by mx.example.org with ESMTP id <c1-1@mx."
        "example.org> for <bob@example.org>; "
    )


def test_p17_no_message_is_too_broken_to_be_looked_at() -> None:
    """Its parts are reached from it, and what cannot be understood is a defect of theirs."""
    kinds: list[list[str]] = []
    defects: list[bool] = []

    def message(envelope: Envelope) -> None:
        mail = envelope.content.mime()
        kinds.append([part.get_content_type() for part in mail.walk()])
        defects.append(any(part.defects for part in mail.walk()))

    script = """
        C: HELO me
        S: 250
        {0}
        C: Content-Type: multipart/mixed; boundary=x
        C:
        C: --x
        C:
        C: Hello
        C: --x
        C: Content-Type: text/html
        C:
        C: <p>Hello
        C: {1}
        C: .
        S: 250
        {0}
        C: {2}
        C: .
        S: 250
        """
    broken = r"\x00: \xff\xfe"
    play(script.format(TRANSACTION, "--x--", broken), callbacks(message=message))
    assert kinds[0] == ["multipart/mixed", "text/plain", "text/html"]
    assert defects[:2] == [False, True]


# Protocol.


def test_p19_what_is_said_first_and_of_commands_that_are_not_there() -> None:
    """The greeting, the lists of EHLO and HELP; nobody learns who there is by VRFY and EXPN."""
    play(
        """
        S: 220 mx.example.org Service ready
        C: HELO me
        S: 250 mx.example.org
        C: EHLO me
        S: 250-mx.example.org
        S: 250-PIPELINING
        S: 250-SIZE 1000
        S: 250-8BITMIME
        S: 250 ...
        C: HELO
        S: 501
        C: EHLO
        S: 501
        C: WHAT
        S: 500
        C: VRFY bob
        S: 252
        C: HELP
        S: 214 ...
        C: EXPN staff
        S: 502
        C: STARTTLS
        S: 502
        C: AUTH PLAIN
        S: 502
        """,
        settings=Settings(
            hostname="mx.example.org", banner="Service ready", limits=Limits(message_octets=1000)
        ),
        tls=False,
    )


def test_p20_p21_commands_have_their_order() -> None:
    """A second MAIL does not take the place of the first one; RSET before it does."""
    play(
        """
        C: MAIL FROM:<>
        S: 503
        C: HELO me
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 503
        C: MAIL FROM:<anne@example.org>
        S: 250
        C: DATA
        S: 503
        C: MAIL FROM:<carol@example.org>
        S: 503 5.5.1 Sender already given
        C: RSET
        S: 250
        C: MAIL FROM:<carol@example.org>
        S: 250
        """
    )


def test_p22_paths_may_be_written_a_little_loosely() -> None:
    """``from:`` in any case, blanks behind it; brackets are left out by whom you trust."""
    script = """
        C: HELO me
        S: 250
        C: mail From:   <anne@example.org>
        S: 250
        C: rcpt tO: <bob@example.org>
        S: 250
        C: RCPT FROM:<bob@example.org>
        S: 501
        C: RCPT TO:bob@example.org
        S: {0}
        C: RCPT TO:<bob@example.org> NOTIFY=NEVER
        S: 555
        """
    play(script.format(501))
    play(script.format(250), settings=Settings(lenient_addresses=True))


def test_p23_quit_ends_it() -> None:
    """It is answered and the connection closed; with an argument it is no QUIT."""
    client = Client(Discard)
    assert client.codes(b"QUIT foo\r\n", b"NOOP\r\n") == [220, 501, 250]
    assert not client.closing
    assert client.send(b"quit\r\n") == ["221 2.0.0 Closing connection"]
    assert client.closing
    client.finish()


def test_p24_a_client_without_an_address_is_served() -> None:
    """Over a UNIX socket there is none; you see that as an empty text."""
    inbox = Recorder()
    client = Client(inbox, address=UNIXAddress(None))
    assert client.codes(HELLO, MESSAGE) == [220, 250, 250, 250, 354, 250]
    [(connection,)] = inbox.said("connected")
    assert (connection.peer_address, connection.peer_port) == ("", 0)
    client.finish()


@pytest.mark.parametrize("before", [[], [HELLO], [HELLO, MAIL], [HELLO, MAIL, RCPT]])
def test_p25_px8_a_client_that_says_nothing_is_sent_away(before: list[bytes]) -> None:
    """After 5 minutes, whatever it said before, in one whole line; and you hear of it."""
    inbox = Recorder()
    client = Client(inbox)
    client.send(*before)
    client.clock.advance(299)
    assert client.replies() == []
    client.clock.advance(1)
    [reply] = client.replies()
    assert reply.startswith("421 4.4.2 ")
    assert client.closing
    client.finish()
    assert [str(one[0].value) for one in inbox.said("disconnected")] == ["timed out"]


def test_p25_nonsense_does_not_keep_a_connection_open() -> None:
    """Nor does a message that hardly comes, or not at all."""
    client = Client(Discard)
    client.send(HELLO)
    for _ in range(20):
        client.clock.advance(60)
        client.send(b"WHAT\r\n")
    client.clock.advance(60)
    assert client.closing
    client.finish()
    for octets in (b"x", b""):
        slow = Client(Discard)
        slow.send(HELLO, MAIL, RCPT, b"DATA\r\n")
        for _ in range(10):
            slow.clock.advance(60)
            if not slow.closing and octets:
                slow.protocol.dataReceived(octets)
        assert slow.replies() == ["421 4.4.2 Message comes too slowly"]
        assert slow.closing
        slow.finish()


def test_p26_callbacks_come_in_the_order_of_commands() -> None:
    """Each before its reply; the message once, and with those only who were accepted."""
    inbox = Recorder(rcpt=lambda recipient, envelope: recipient.local_part != "nobody")
    client = Client(inbox)
    client.send(HELLO)
    for command, name, code in (
        (MAIL, "mail", 250),
        (RCPT, "rcpt", 250),
        (b"RCPT TO:<nobody@example.org>\r\n", "rcpt", 550),
        (b"DATA\r\n", "data", 354),
        (b"Subject: hi\r\n", "data", None),
        (b".\r\n", "message", 250),
    ):
        codes = client.codes(command)
        assert codes == ([] if code is None else [code])
        assert inbox.names("content")[-1] == name
    [(envelope,)] = inbox.said("message")
    assert [str(one) for one in envelope.forward_paths] == ["b@example.org"]
    client.finish()


def test_p27_what_goes_wrong_is_in_the_log() -> None:
    """A line each with the connection's number, by Twisted's logger, which writes where you say."""

    def fail(envelope: Envelope) -> None:
        raise KeyError("a callback")

    handler = around(callbacks(message=fail), LocalDomains(["example.org"]))
    client = Client(handler, log_messages=True)
    with capturedLogs() as events:
        client.send(HELLO, MAIL, b"RCPT TO:<bob@example.com>\r\n", b"RCPT TO:<bob>\r\n")
        client.send(RCPT, b"DATA\r\n.\r\n", MAIL, RCPT, b"DATA\r\nhalf a message")
        client.clock.advance(300)
        client.finish()
    log = "\n".join(formatEvent(event) for event in events)
    assert "recipient <bob@example.com> refused: 550 5.7.1 Relaying denied" in log
    assert "RCPT TO:<bob> refused: 501" in log
    assert "451 4.3.0" in log
    assert "KeyError: 'a callback'" in log
    assert "no message: timed out" in log


def test_p27_whoever_wants_more_in_the_log_observes() -> None:
    """Commands that are refused, and how each connection has ended; no word that may be secret."""
    seen: list[str] = []

    class Log(Observer):
        def __init__(self, connection: Connection) -> None:
            self.connection = connection

        def refused(self, line: bytes, reply: Reply) -> None:
            seen.append(f"{line.decode()}: {reply.code}")

        def ended(self, reason: Any) -> None:
            seen.append(reason.value)

    client = Client(Discard, observers=[Log])
    client.send(HELLO, b"WHAT\r\n", RCPT)
    client.finish()
    assert seen == [
        "<4 octets hidden>: 500",
        "RCPT TO:<b@example.org>: 503",
        "the client has gone",
    ]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("cb_mailfrom", "mail(envelope)"),
        ("cb_rcptto", "rcpt(recipient, envelope)"),
        ("cb_data", "message(envelope)"),
    ],
)
def test_p9_p15_an_old_name_is_refused_with_the_new_one(name: str, right: str) -> None:
    """Whoever brings the three functions along is told what they are called here."""
    inbox = type("Inbox", (), {name: accept, "message": lambda self, envelope: None})
    with pytest.raises(TypeError, match=re.escape(right)):
        check(inbox)


# Traps.


def test_px1_a_message_is_what_its_sender_wrote() -> None:
    """A dot that was put before a line is gone, and its last line has its end."""
    played = play(f"C: HELO me\nS: 250\n{TRANSACTION}\nC: ..dot\nC: ...\nC: .\nS: 250")
    assert played.envelopes[0].content.bytes() == b".dot\r\n..\r\n"


def test_px2_the_end_of_a_message_is_seen_however_it_is_cut() -> None:
    """Octet by octet, at any place, and right behind the 354."""
    inbox = Recorder()
    client = Client(inbox)
    client.send(HELLO)
    for octets in (b".\r\n", b"x\r\n.\r\n", b"\r\n.x\r\n..\r\n.\r\n"):
        client.send(MAIL, RCPT, b"DATA\r\n")
        assert client.codes(*pieces(octets)) == [250]
        for cut in range(1, len(octets)):
            client.send(MAIL, RCPT)
            assert client.codes(b"DATA\r\n" + octets[:cut], octets[cut:]) == [354, 250]
    contents = {octets for (octets,) in inbox.said("content")}
    assert contents == {b"", b"x\r\n", b"\r\nx\r\n.\r\n"}
    client.finish()


def test_px3_no_octet_is_lost_between_two_pieces() -> None:
    """Neither of commands nor of what follows DATA."""
    session = b"NOOP\r\n" + HELLO + MESSAGE + b"NOOP\r\nQUIT\r\n"
    wanted = [220, 250, 250, 250, 250, 354, 250, 250, 221]
    for cut in range(1, len(session)):
        client = Client(Discard)
        assert client.codes(session[:cut], session[cut:]) == wanted, session[:cut]
        client.leave()


def test_px4_what_stands_behind_a_message_is_answered_at_once() -> None:
    """Nothing more has to come for it."""
    client = Client(Discard)
    client.send(HELLO)
    assert client.codes(MESSAGE + MESSAGE + b"NOOP\r\n") == [250, 250, 354, 250] * 2 + [250]
    client.finish()


def test_px5_after_a_message_that_is_too_big_commands_are_commands() -> None:
    """Its rest is read and dropped; what MAIL says of its size is believed before it comes."""
    inbox = Recorder()
    client = Client(inbox, settings=SMALL, memory_octets=10)
    big = MAIL + RCPT + b"DATA\r\n" + b"x" * 50000 + b"\r\n.\r\n"
    small = MAIL + RCPT + b"DATA\r\nsmall\r\n.\r\n"
    assert client.codes(HELLO + big + small) == [220, 250, 250, 250, 354, 552, 250, 250, 354, 250]
    assert inbox.said("content") == [(b"small\r\n",)]
    assert client.codes(b"MAIL FROM:<> SIZE=21\r\n", RCPT) == [552, 503]
    client.finish()


def test_px6_nothing_is_left_after_rset_or_a_message() -> None:
    """No message comes from nobody, to nobody, or twice."""
    played = play(
        f"""
        C: HELO me
        S: 250
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 250
        C: RSET
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 503
        C: DATA
        S: 503
        {TRANSACTION}
        C: .
        S: 250
        C: DATA
        S: 503
        """
    )
    assert len(played.envelopes) == 1


def test_px7_what_is_no_command_is_told_so_in_a_line_and_colons_cut_nothing() -> None:
    """Address literals and source routes come whole, or as what they mean."""
    played = play(
        """
        C: HELO me
        S: 250
        C: MAIL FROM <anne@example.org>
        S: 501 5.5.4 Syntax: MAIL FROM:<address> [parameters]
        C: MAIL FROM:<anne@[IPv6:2001:db8::1]>
        S: 250
        C: RCPT TO
        S: 501 5.5.4 Syntax: RCPT TO:<address> [parameters]
        C: RCPT TO:<bob>
        S: 501 5.1.3
        C: RCPT TO:<bob@[IPv6:2001:db8::2]>
        S: 250
        C: RCPT TO:<@a.example,@b.example:carol@example.org>
        S: 250
        C: DATA
        S: 354
        C: .
        S: 250
        """
    )
    [envelope] = played.envelopes
    assert str(envelope.reverse_path) == "anne@[IPv6:2001:db8::1]"
    assert envelope.forward_paths == [
        ForwardPath("bob", "[IPv6:2001:db8::2]"),
        ForwardPath("carol", "example.org"),
    ]


def test_px9_equal_messages_have_names_of_their_own_and_clients_have_limits() -> None:
    """An id is of the connection, and there is an end to connections, lines and mistakes."""
    inbox = Recorder()
    first = Client(inbox, limits=Limits(connections=2, errors=2))
    first.send(HELLO, MESSAGE, MESSAGE)
    second = Client(factory=first.factory)
    second.send(HELLO, MESSAGE)
    assert len({envelope.id for (envelope,) in inbox.said("message")}) == 3
    assert Client(factory=first.factory).codes() == [421]
    assert first.codes(b"x" * 5000 + b"\r\n", b"WHAT\r\n") == [500, 421]
    first.leave()
    second.finish()
