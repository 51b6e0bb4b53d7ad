"""What users of the gem smtp-server rely on, item by item, and its traps, which are not there."""

from __future__ import annotations

import importlib
import re
import smtplib
import socket
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from smtpcb import (
    Connection,
    Envelope,
    Introduction,
    Limits,
    Reason,
    Recipient,
    ReversePath,
    Settings,
    SmtpServerFactory,
    SmtpService,
    TlsInformation,
    Verdict,
    callbacks,
)
from smtpcb.engine import Driver, State
from smtpcb.handling import check
from smtpcb.testing import play
from tests.engine.scripts import TRANSACTION, Does
from tests.seeds.items import check_items, greeted, port_of
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Client, Recorder, Secure, Transport

# Nothing here that a user could rely on, and why.
OMITTED: dict[str, str] = {}

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TLS = TlsInformation("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
PLAIN = "AUTH PLAIN AGFubmUAdGlt"  # anne, tim


def test_each_item_has_a_test_or_a_reason() -> None:
    """Nothing is forgotten."""
    check_items("r", globals(), items=32, traps=7, omitted=OMITTED)


# Shape.


def test_r1_r2_r3_the_protocol_is_an_object_without_io() -> None:
    """
    Start it, give it what has come, send what it returns, and close when it says that it is over.

    It opens nothing, and one object is one connection.
    """
    served = Driver(Does(), Settings(hostname="mx.example.org"), Connection("1", "192.0.2.1"))
    assert served.start() == b"220 mx.example.org ESMTP\r\n"
    assert served.receive(b"HELO me\r\nNO") == b"250 mx.example.org\r\n"
    assert not served.finished
    assert served.receive(b"OP\r\nQUIT\r\n") == b"250 2.0.0 OK\r\n221 2.0.0 Closing connection\r\n"
    assert served.finished


def test_r2_r7_a_client_may_be_refused_before_the_greeting() -> None:
    """By its address; it hears why, and the connection is to be closed."""
    inbox = Does(connected=lambda connection: connection.peer_address != "192.0.2.1")
    refused = Driver(inbox, Settings(), Connection("1", "192.0.2.1"))
    assert refused.start() == b"554 No service for you\r\n"
    assert refused.finished
    welcome = Driver(inbox, Settings(), Connection("2", "192.0.2.2"))
    assert welcome.start() == b"220 localhost ESMTP\r\n"
    said = Does(connected=lambda connection: (554, f"Not {connection.peer_address}"))
    assert (
        Driver(said, Settings(), Connection("3", "192.0.2.1")).start() == b"554 Not 192.0.2.1\r\n"
    )
    assert Driver(Does(), Settings(), Connection("4")).start().startswith(b"220")


@pytest.fixture
def threaded_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example of a thread a connection, as a module."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("threaded_server")


class Caller:
    """A client at one end of a pair of sockets; somebody serves the other end in a thread."""

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self.socket, other = socket.socketpair()
        self.socket.settimeout(10)
        self.served = other
        self.thread = threading.Thread(target=serve, args=(other,))
        self.thread.start()

    def converse(self, octets: bytes) -> bytes:
        """Say all that there is to say, and return all that was answered."""
        if octets:
            self.socket.sendall(octets)
            self.socket.shutdown(socket.SHUT_WR)
        with self.socket, self.socket.makefile("rb") as file:
            heard = file.read()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return heard


def codes(heard: bytes) -> list[int]:
    """Return the code of each reply."""
    return [int(line[:3]) for line in heard.splitlines() if line[3:4] != b"-"]


@pytest.mark.parametrize(
    "last", [b"QUIT\r\n", b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\nX"]
)
def test_r4_give_a_connection_a_socket_and_it_does_the_rest(
    last: bytes, threaded_server: Any
) -> None:
    """It frames, answers, and closes the socket, whether the client said QUIT or was cut off."""
    caller = Caller(lambda one: threaded_server.Client(one, ("192.0.2.1", 40000), None))
    heard = caller.converse(b"HELO me\r\n" + last)
    assert codes(heard)[:2] == [220, 250]
    assert caller.served.fileno() == -1


def test_r5_a_reply_of_several_lines_is_written_at_once() -> None:
    """No client sees half of one, with the engine or with the server."""
    heard = greeted(Does()).receive(b"EHLO me\r\n")
    assert len(heard.splitlines()) > 5
    assert heard.endswith(b"250 HELP\r\n")

    class Counting(Transport):
        writes = 0

        def write(self, data: bytes) -> None:
            self.writes += 1
            super().write(data)

    transport = Counting()
    client = Client(Does(), transport=transport)
    client.send(HELLO)
    assert transport.writes == 2  # the greeting before it
    client.finish()


def test_r6_who_owns_the_engine_has_the_time() -> None:
    """It starts no thread and no timer: you say that time is up, and the client hears it."""
    before = threading.active_count()
    served = greeted(Does())
    assert threading.active_count() == before
    assert served.time_out() == b"421 4.4.2 Timed out waiting for you\r\n"
    assert served.finished


# Callbacks.


def test_r8_the_name_of_the_server_is_a_setting() -> None:
    """It is said in the greeting, to HELO and to EHLO; nobody has to write a method for it."""
    play(
        """
        S: 220 mx.example.org ESMTP
        C: HELO me
        S: 250 mx.example.org
        C: EHLO me
        S: 250-mx.example.org
        S: 250 ...
        """,
        settings=Settings(hostname="mx.example.org"),
    )


def test_r9_the_name_of_the_client_may_be_refused() -> None:
    """In HELO as in EHLO; nothing has changed then, and it may say another one."""
    heard = []

    def hello(introduction: Introduction, connection: Connection) -> bool:
        heard.append(introduction.name)
        return introduction.name != "me"

    play(
        """
        C: HELO me
        S: 550
        C: EHLO me
        S: 550
        C: MAIL FROM:<>
        S: 503
        C: HELO you
        S: 250
        C: EHLO me
        S: 550
        C: MAIL FROM:<>
        S: 250
        """,
        Does(hello=hello),
    )
    assert heard[:4] == ["me", "me", "you", "me"]


class Logins:
    """A handler that knows one user."""

    discards_content = True

    def authenticate(self, credentials: Any, connection: Connection) -> bool:
        return bool(credentials.username == "anne" and credentials.password == "tim")


SECURE = Connection("secure", tls=TLS)


def test_r10_to_have_authenticate_is_to_offer_auth() -> None:
    """PLAIN and LOGIN; it is given user and password in clear, and its answer counts."""
    play(
        f"""
        C: EHLO me
        S: 250-...
        S: 250-AUTH PLAIN LOGIN
        S: 250 ...
        C: AUTH PLAIN AGFubmUAYm9i
        S: 535
        C: {PLAIN}
        S: 235
        """,
        Logins,
        connection=SECURE,
    )
    offer = greeted(Does(), tls=True)
    assert b"AUTH" not in offer.receive(b"EHLO me\r\n")
    assert offer.receive(PLAIN.encode() + b"\r\n").startswith(b"502")


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("client_connection", "connected(connection)"),
        ("get_server_domain", "Settings(hostname=...)"),
        ("receive_ehlo_domain", "hello(introduction, connection)"),
        ("receive_plain_auth", "authenticate(credentials, connection)"),
        ("start_tls", "secured(tls, connection)"),
        ("max_size", "message_octets"),
        ("receive_sender", "mail(envelope)"),
        ("receive_recipient", "rcpt(recipient, envelope)"),
        ("receive_data_line", "chunk(octets, envelope)"),
        ("receive_data_command", "data(envelope)"),
    ],
)
def test_r7_r8_r9_r10_r11_r12_r13_r14_r15_an_old_name_is_refused_with_the_new_one(
    name: str, right: str
) -> None:
    """Whoever brings a class along is told at the start what its methods are called here."""
    inbox = type(
        "Inbox", (), {name: lambda self, one: True, "message": lambda self, envelope: None}
    )
    with pytest.raises(TypeError, match=re.escape(right)):
        check(inbox)


def test_r10_a_login_of_user_and_password_is_refused_at_the_start() -> None:
    """It has its old name here, and other arguments: nobody finds out by logins that fail."""

    class Inbox(Does):
        def authenticate(self, user: str, password: str) -> bool:
            return user == "anne" and password == "tim"

    right = r"authenticate\(credentials, connection\)"
    with pytest.raises(TypeError, match=right):
        check(Inbox)
    with pytest.raises(TypeError, match=right):
        SmtpServerFactory(Does(), authenticator=Inbox())


def test_r16_a_message_by_its_old_name_alone_is_refused() -> None:
    """No mail is accepted and dropped."""
    inbox = type("Inbox", (), {"receive_message": lambda self, envelope: True})
    with pytest.raises(TypeError, match=r"message\(envelope\)"):
        check(inbox)


def test_r11_tls_is_told_of_when_it_is_there() -> None:
    """STARTTLS is offered where there is TLS; what hears of it does so after the handshake."""
    inbox = Recorder()
    play(
        """
        C: EHLO me
        S: 250-...
        S: 250-STARTTLS
        S: 250 ...
        C: STARTTLS
        S: 220
        C: EHLO me
        S: 250 ...
        """,
        inbox,
    )
    assert inbox.names()[:4] == ["connected", "hello", "secured", "hello"]


def test_r12_rx4_a_size_that_is_offered_is_enforced() -> None:
    """By what MAIL says, and by what comes; the session goes on."""
    inbox = Recorder()
    play(
        f"""
        C: EHLO me
        S: 250-...
        S: 250-SIZE 20
        S: 250 ...
        C: MAIL FROM:<> SIZE=21
        S: 552
        {TRANSACTION}
        C: Subject: far too long
        C: .
        S: 552 5.3.4
        {TRANSACTION}
        C: Subject: hi
        C: .
        S: 250 2.0.0
        """,
        inbox,
        settings=Settings(limits=Limits(message_octets=20)),
    )
    assert [call[1] for call in inbox.calls if call[0] == "content"][:1] == [b"Subject: hi\r\n"]


def test_r13_a_sender_has_no_brackets_and_may_be_refused() -> None:
    """The null sender is one of its own, and as text it is empty."""
    seen: list[ReversePath] = []

    def mail(envelope: Envelope) -> bool:
        seen.append(envelope.reverse_path)
        return envelope.reverse_path.domain != "example.com"

    play(
        """
        C: HELO me
        S: 250
        C: MAIL FROM:<anne@example.com>
        S: 550
        C: MAIL FROM:<anne@example.org>
        S: 250
        C: RSET
        S: 250
        C: MAIL FROM:<>
        S: 250
        """,
        Does(mail=mail),
    )
    assert [str(one) for one in seen[:3]] == ["anne@example.com", "anne@example.org", ""]
    assert seen[2] == ReversePath.NULL


def test_r14_a_recipient_may_be_refused_alone() -> None:
    """Those before and behind it are not touched."""
    played = play(
        """
        C: HELO me
        C: MAIL FROM:<>
        C: RCPT TO:<anne@example.org>
        C: RCPT TO:<nobody@example.org>
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250
        S: 250
        S: 250
        S: 550
        S: 250
        S: 354
        C: .
        S: 250
        """,
        Does(rcpt=lambda recipient, envelope: recipient.local_part != "nobody"),
    )
    [envelope] = played.envelopes
    assert list(map(str, envelope.forward_paths)) == ["anne@example.org", "bob@example.org"]


class Lines:
    """Reads a message line by line, when it is complete."""

    seen: list[list[bytes]] = []

    def message(self, envelope: Envelope) -> bool:
        with envelope.content.open() as file:
            self.seen.append(list(file))
        return True


def test_r15_lines_have_lost_the_dot_that_was_put_before_them() -> None:
    """As lines of the whole message, or as octets while they come; what they return counts."""
    came: list[bytes] = []

    def chunk(octets: bytes, envelope: Envelope) -> None:
        came.append(octets)

    Lines.seen = []
    script = f"""
        C: HELO me
        S: 250
        {TRANSACTION}
        C: one
        C: ..two
        C: ...
        C:
        C: .
        S: 250
        """
    play(script, Lines)
    play(script, Does(chunk=chunk))
    lines = [b"one\r\n", b".two\r\n", b"..\r\n", b"\r\n"]
    assert Lines.seen == [lines, lines]
    assert b"".join(came) == b"".join(lines) * 2
    play(
        f"C: HELO me\nS: 250\n{TRANSACTION}\nC: X: lottery\nC: .\nS: 550 5.7.1 No\n",
        Does(chunk=lambda octets, envelope: (550, "No")),
    )


def test_r16_the_message_is_accepted_or_refused_at_its_end() -> None:
    """By yes and no, or with words."""
    for answer, reply in (
        (True, "250 2.0.0"),
        (False, "550 5.7.1"),
        ((550, "No room"), "550 5.7.1 No room"),
    ):
        play(
            f"C: HELO me\nS: 250\n{TRANSACTION}\nC: .\nS: {reply}",
            Does(message=lambda envelope, answer=answer: answer),
        )


def test_r17_answers_may_come_later_and_data_is_asked_for() -> None:
    """A recipient's answer may wait for a Deferred; ``data`` is asked before the 354."""
    answers: list[Deferred[None]] = []

    def rcpt(recipient: Recipient, envelope: Envelope) -> Deferred[None]:
        answers.append(Deferred())
        return answers[-1]

    waiting = Recorder(rcpt=rcpt, data=(554, "Not now"))
    client = Client(waiting)
    assert client.codes(b"HELO me\r\n", MAIL, RCPT) == [220, 250, 250]
    answers.pop().callback(None)
    assert client.codes() == [250]
    assert client.send(b"DATA\r\n") == ["554 5.7.1 Not now"]
    assert "message" not in waiting.names()
    client.finish()


# Commands and replies.


def test_r18_verbs_are_in_any_case_and_end_at_a_blank() -> None:
    """Those that there are; anything else is 500."""
    play(
        """
        C: hELo me
        S: 250
        C: mAIl from:<>
        S: 250
        C: MAIL:
        S: 500
        C: MAILING FROM:<>
        S: 500
        C: HELLO
        S: 500
        C: rset
        S: 250
        C: noop
        S: 250
        C: help
        S: 214 ...
        C: vrfy anne
        S: 252
        C: quit
        S: 221
        """
    )


def test_r19_a_client_is_told_what_there_is() -> None:
    """EHLO lists it, HELO does not; any name will do, and none will not."""
    play(
        """
        C: EHLO me
        S: 250-mx.example.org
        S: 250-PIPELINING
        S: 250-SIZE 1000
        S: 250-8BITMIME
        S: 250-...
        S: 250-STARTTLS
        S: 250 ...
        C: HELO me
        S: 250 mx.example.org
        C: HELO my_pc.local
        S: 250 mx.example.org
        C: EHLO
        S: 501
        C: HELO
        S: 501
        """,
        settings=Settings(hostname="mx.example.org", limits=Limits(message_octets=1000)),
    )


def test_r20_ehlo_begins_the_transaction_anew() -> None:
    """At any time; TLS and login stay, since a client may log in only once (RFC 4954 §4)."""
    played = play(
        f"""
        C: EHLO me
        S: 250 ...
        C: {PLAIN}
        S: 235
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 250
        C: EHLO me
        S: 250 ...
        C: DATA
        S: 503
        C: HELO me
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 503
        C: {PLAIN}
        S: 503
        """,
        Logins,
        connection=SECURE,
    )
    connection = played.dialogue.connection
    assert (connection.identity, connection.tls) == ("anne", TLS)
    assert played.aborted == [Reason.HELLO]


def test_r21_starttls_comes_once_behind_ehlo_and_only_where_there_is_tls() -> None:
    """Elsewhere it is refused."""
    play("C: EHLO me\nS: 250 ...\nC: STARTTLS\nS: 502", tls=False)
    play(
        """
        C: STARTTLS
        S: 503
        C: EHLO me
        S: 250 ...
        C: STARTTLS
        S: 220
        C: EHLO me
        S: 250 ...
        C: STARTTLS
        S: 503 5.5.1 TLS is already active
        """
    )


def test_r22_a_login_is_in_one_line_or_in_several() -> None:
    """By PLAIN and LOGIN, each with a first response or without; it may be tried again."""
    play("C: EHLO me\nS: 250 ...\nC: AUTH PLAIN\nS: 502", Does(), connection=SECURE)
    once = """
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: YW5uZQ==
        S: 334 UGFzc3dvcmQ6
        C: Ym9i
        S: 535
        C: AUTH LOGIN YW5uZQ==
        S: 334 UGFzc3dvcmQ6
        C: Ym9i
        S: 535
        C: AUTH
        S: 501
        C: AUTH DIGEST-MD5
        S: 504
    """
    play(
        f"""
        C: EHLO me
        S: 250 ...
        {once}
        C: AUTH PLAIN
        S: 334
        C: AGFubmUAdGlt
        S: 235
        C: {PLAIN}
        S: 503
        """,
        Logins,
        connection=SECURE,
    )


def test_r23_mail_is_from_a_path() -> None:
    """``FROM:`` in any case, blanks behind it forgiven, once; known parameters are understood."""
    play(
        """
        C: HELO me
        S: 250
        C: MAIL
        S: 501
        C: MAIL FROM:
        S: 501
        C: MAIL FROM:<anne>
        S: 501
        C: MAIL <anne@example.org>
        S: 501
        C: mail from:  <anne@example.org> SIZE=10 BODY=8BITMIME
        S: 250
        C: MAIL FROM:<bob@example.org>
        S: 503 5.5.1 Sender already given
        """
    )


def test_r24_mail_follows_ehlo_and_brackets_may_be_forgiven() -> None:
    """Whom you trust to be no more exact may leave them out."""
    play("C: MAIL FROM:<>\nS: 503\nC: HELO me\nS: 250\nC: MAIL FROM:anne@example.org\nS: 501")
    play(
        "C: HELO me\nS: 250\nC: MAIL FROM:anne@example.org\nS: 250",
        settings=Settings(lenient_addresses=True),
    )


def test_r25_recipients_follow_mail() -> None:
    """An address without a domain is none, but the postmaster's is; how many is a limit."""
    play(
        """
        C: HELO me
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 503
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<bob>
        S: 501
        C: rcpt to: <Postmaster>
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 250
        C: RCPT TO:<carol@example.org>
        S: 452
        """,
        settings=Settings(limits=Limits(recipients=2)),
    )


def test_r26_a_message_needs_a_recipient_that_was_accepted() -> None:
    """It ends at a line that is a dot and nothing else."""
    played = play(
        """
        C: HELO me
        S: 250
        C: MAIL FROM:<>
        S: 250
        C: DATA
        S: 503
        C: RCPT TO:<nobody@example.org>
        S: 550
        C: DATA
        S: 503
        C: RCPT TO:<bob@example.org>
        S: 250
        C: DATA
        S: 354
        C: .not the end
        C: . nor this
        C: nor this.
        C: .
        S: 250
        """,
        callbacks(
            rcpt=lambda recipient, envelope: recipient.local_part != "nobody",
            message=lambda envelope: None,
        ),
    )
    assert played.envelopes[0].content.bytes() == b"not the end\r\n nor this\r\nnor this.\r\n"


def test_r27_after_a_message_the_next_one_begins() -> None:
    """Without RSET, and with nothing left of the one before."""
    played = play(
        f"""
        C: HELO me
        S: 250
        {TRANSACTION}
        C: .
        S: 250
        C: DATA
        S: 503
        C: RCPT TO:<bob@example.org>
        S: 503
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<carol@example.org>
        S: 250
        C: DATA
        S: 354
        C: .
        S: 250
        """
    )
    assert [list(map(str, one.forward_paths)) for one in played.envelopes] == [
        ["bob@example.org"],
        ["carol@example.org"],
    ]


def test_r28_the_other_commands_are_answered() -> None:
    """HELP and NOOP say what they should, nobody's list is told, QUIT ends it."""
    play(
        """
        C: HELP
        S: 214-2.0.0 Commands: EHLO HELO MAIL RCPT DATA
        S: 214 2.0.0 EHLO says
        C: NOOP
        S: 250
        C: EXPN staff
        S: 502
        C: QUIT
        S: 221 2.0.0 Closing connection
        """
    )


def test_r29_what_a_trusted_proxy_forwards_is_kept() -> None:
    """The message says whose it was; for anybody else there is no such command."""
    seen = []

    def message(envelope: Envelope) -> None:
        assert envelope.forwarded is not None
        seen.append((envelope.forwarded.address, envelope.forwarded.name))

    script = f"""
        C: EHLO me
        S: 250-...
        S: 250 XFORWARD NAME ADDR
        C: XFORWARD NAME=spike.example.org ADDR=198.51.100.7
        S: 250
        {TRANSACTION}
        C: .
        S: 250
        """
    proxy = Connection("proxy", peer_address="192.0.2.9")
    settings = Settings(xforward_from=("192.0.2.9",))
    play(script, callbacks(message=message), settings=settings, connection=proxy)
    assert set(seen) == {("198.51.100.7", "spike.example.org")}
    stranger = Connection("stranger", peer_address="192.0.2.8")
    play(
        "C: EHLO me\nS: 250 ...\nC: XFORWARD NAME=x\nS: 500",
        settings=settings,
        connection=stranger,
    )


def test_r30_commands_in_one_piece_are_answered_in_order() -> None:
    """A whole session may come at once."""
    client = Client(callbacks(message=lambda envelope: (250, str(envelope.reverse_path))))
    replies = client.send(HELLO + MESSAGE + MESSAGE.replace(b"<a@", b"<c@") + b"QUIT\r\n")
    assert [int(reply[:3]) for reply in replies] == [220, 250, *[250, 250, 354, 250] * 2, 221]
    assert replies[5::4] == ["250 2.0.0 a@example.org", "250 2.0.0 c@example.org"]
    client.finish()


class Evented:
    """The four short methods of a server that waits for events."""

    def __init__(self, send: Callable[[bytes], object], close: Callable[[], object]) -> None:
        self.driver = Driver(Lines(), Settings(), Connection("evented"))
        self.send, self.close = send, close

    def connected(self) -> None:
        self.send(self.driver.start())

    def received(self, octets: bytes) -> None:
        self.send(self.driver.receive(octets))
        if self.driver.finished:
            self.close()

    def gone(self) -> None:
        self.driver.disconnect()


def test_r1_r31_an_evented_server_is_four_short_methods() -> None:
    """Two clients at once, cut anywhere, do not hear of each other."""
    Lines.seen = []
    session = HELLO + MESSAGE + b"QUIT\r\n"
    heard, closed = ([], []), []  # type: tuple[list[bytes], list[bytes]], list[int]
    clients = [
        Evented(heard[number].append, lambda number=number: closed.append(number))
        for number in (0, 1)
    ]
    for client in clients:
        client.connected()
    for at in range(len(session)):
        for client in clients:
            client.received(session[at : at + 1])
    for client in clients:
        client.gone()
    assert b"".join(heard[0]) == b"".join(heard[1])
    assert codes(b"".join(heard[0])) == [220, 250, 250, 250, 354, 250, 221]
    assert closed == [0, 1]
    assert len(Lines.seen) == 2


def test_r1_r31_a_threaded_server_is_a_loop_over_sockets() -> None:
    """A thread for each client, in which the handler may block."""
    both = threading.Barrier(2, timeout=10)

    def message(envelope: Envelope) -> None:
        both.wait()  # each is in the midst of it while the other one is

    handler = Does(message=message)

    def serve(one: socket.socket) -> None:
        with one:
            served = Driver(handler, Settings(), Connection("threaded"))
            one.sendall(served.start())
            while not served.finished and (octets := one.recv(4096)):
                one.sendall(served.receive(octets))
            served.disconnect()

    callers = [Caller(serve), Caller(serve)]
    for caller in callers:
        caller.socket.sendall(HELLO)
    for caller in callers:
        # The one that is first waits for the other one, which has to be sent by then.
        caller.socket.sendall(MESSAGE + b"QUIT\r\n")
    for caller in callers:
        assert codes(caller.converse(b"")) == [220, 250, 250, 250, 354, 250, 221]


@pytest.fixture
def port() -> Iterator[Callable[[object], int]]:
    """Serve a handler on a real port."""
    from twisted.internet import reactor

    services: list[SmtpService] = []

    def serve(handler: object) -> int:
        settings = Settings(hostname="mx.example.org")
        factory = SmtpServerFactory(handler, settings, reactor=reactor, log_messages=False)
        service = SmtpService("tcp:0:interface=127.0.0.1", factory)
        service.startService()
        services.append(service)
        return port_of(service)

    yield serve
    for service in services:
        pytest_twisted.blockon(service.stopService())


@pytest_twisted.ensureDeferred
async def test_r32_a_stock_client_delivers_over_a_socket(port: Callable[[object], int]) -> None:
    """A message is taken, and another one refused for what it says."""
    taken: list[bytes] = []

    def message(envelope: Envelope) -> Verdict:
        if b"lottery" in envelope.content.bytes():
            return 550, "Not wanted"
        taken.append(envelope.content.bytes())
        return True

    number = port(callbacks(message=message))

    def send(text: str) -> object:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@example.org", "Hello"
        mail.set_content(text)
        with smtplib.SMTP("127.0.0.1", number, timeout=10) as client:
            try:
                return client.send_message(mail)
            except smtplib.SMTPDataError as refused:
                return refused.smtp_code, refused.smtp_error

    assert await deferToThread(send, ".dots\n.\nare kept\n") == {}
    assert await deferToThread(send, "You have won the lottery\n") == (550, b"5.7.1 Not wanted")
    [octets] = taken
    assert octets.endswith(b"\r\n\r\n.dots\r\n.\r\nare kept\r\n")


def test_r32_its_tests_pass_here() -> None:
    """What is wrong with a command is answered as they want it."""
    play(
        f"""
        S: 220 mx.example.org ESMTP
        C: HELO
        S: 501
        C: EHLO
        S: 501
        C: HELO me
        S: 250
        C: WHAT
        S: 500
        C: MAIL
        S: 501
        C: MAIL:
        S: 500
        C: MAIL FROM:
        S: 501
        C: RCPT TO:<bob@example.org>
        S: 503
        C: MAIL FROM:<>
        S: 250
        C: DATA
        S: 503
        C: RCPT TO:<bob@example.org>
        S: 250
        C: MAIL FROM:<anne@example.org>
        S: 503
        C: RSET
        S: 250
        {TRANSACTION}
        C: Subject: hi
        C: .
        S: 250
        C: QUIT
        S: 221
        """,
        settings=Settings(hostname="mx.example.org"),
    )


# Traps.


def test_rx1_no_line_ends_a_session_that_should_go_on() -> None:
    """RSET resets, VRFY answers, and what is empty or lacks its argument is refused."""
    play(
        """
        C: HELO me
        S: 250
        C: MAIL FROM:<>
        S: 250
        C: RSET
        S: 250
        C: RCPT TO:<bob@example.org>
        S: 503
        C: VRFY bob
        S: 252
        C: VRFY
        S: 501
        C:
        S: 500
        C: MAIL FROM:<>
        S: 250
        C: RCPT
        S: 501
        C: XFORWARD
        S: 500
        C: RCPT TO:<bob@example.org>
        S: 250
        """
    )
    play(
        "C: HELO me\nS: 250\nC: XFORWARD\nS: 501\nC: NOOP\nS: 250",
        settings=Settings(xforward_from=("192.0.2.9",)),
        connection=Connection("proxy", peer_address="192.0.2.9"),
    )


def test_rx2_starttls_is_offered_with_tls_behind_it_and_begins_anew() -> None:
    """Not without, and not again inside; nothing that was said before counts inside."""
    play("C: EHLO me\nS: 250-localhost\nS: 250 ...\nC: STARTTLS\nS: 502", Does(), tls=False)
    assert b"STARTTLS" not in greeted(Does()).receive(b"EHLO me\r\n")
    client = Client(Does(), tls=Secure())
    assert "STARTTLS" in client.send(HELLO)[1]
    assert client.codes(MAIL, b"STARTTLS\r\n") == [250, 503]  # not within a transaction
    assert client.codes(b"RSET\r\n", b"STARTTLS\r\n") == [250, 220]
    assert client.transport.secured_by, "a handshake is made"
    client.leave()
    inside = greeted(Does(), tls=True)
    inside.receive(b"EHLO me\r\nSTARTTLS\r\n")
    assert inside.handshaking
    inside.secure(TLS)
    assert inside.receive(MAIL).startswith(b"503")
    assert b"STARTTLS" not in inside.receive(HELLO)


def test_rx3_a_login_is_never_run_as_a_command() -> None:
    """With a first response too; ``*`` gives it up, and it has its place and its name."""
    play(
        f"""
        C: {PLAIN}
        S: 503
        C: EHLO me
        S: 250 ...
        C: AUTH LOGIN YW5uZQ==
        S: 334 UGFzc3dvcmQ6
        C: *
        S: 501
        C: AUTH PLAINX AGFubmUAdGlt
        S: 504
        C: MAIL FROM:<>
        S: 250
        C: {PLAIN}
        S: 503
        C: RSET
        S: 250
        C: AUTH LOGIN YW5uZQ==
        S: 334 UGFzc3dvcmQ6
        C: dGlt
        S: 235
        """,
        Logins,
        connection=SECURE,
    )
    play(f"C: EHLO me\nS: 250 ...\nC: {PLAIN}\nS: 538", Logins)


def test_rx4_lines_recipients_mistakes_and_time_have_limits() -> None:
    """Each ends with words, and none by the memory of the machine."""
    play(
        f"""
        C: HELO me
        S: 250
        C: NOOP {"x" * 600}
        S: 500 5.5.2 Line too long
        C: WHAT
        S: 500
        C: WHAT
        S: 421 4.7.0
        """,
        settings=Settings(limits=Limits(command_octets=512, errors=3, free_errors=3)),
    )
    client = Client(Does(), limits=Limits(idle_seconds=60))
    client.send(HELLO)
    client.clock.advance(60)
    assert client.codes() == [421]
    assert client.closing
    client.finish()


def test_rx5_lines_end_in_crlf_are_never_cut_and_need_their_end() -> None:
    """A lone LF makes no command of what follows, and half a line is none."""
    sneaky = b"RCPT TO:<b@example.org>\r\nDATA\r\none\n.\nMAIL FROM:<evil@example.org>\r\n.\r\n"
    inbox = Recorder()
    client = Client(inbox)
    assert client.codes(HELLO, MAIL, sneaky) == [220, 250, 250, 250, 354, 550]
    assert len(inbox.said("mail")) == 1
    assert inbox.said("message") == []
    long = b"x" * 5000 + b"\r\n"
    client.send(MAIL, RCPT, b"DATA\r\n")
    assert client.codes(long + b".\r\n") == [250]
    assert inbox.said("content") == [(long,)]
    assert client.send(b"MAIL FROM:<>") == []
    client.finish()
    assert len(inbox.said("mail")) == 2


def test_r16_rx6_what_a_handler_raises_stays_with_you(caplog: pytest.LogCaptureFixture) -> None:
    """The client hears 451 and may come again, from each of its methods, and goes on."""

    def fail(*arguments: object) -> None:
        raise ValueError("password of the database")

    failing = Does(hello=fail, mail=fail, rcpt=fail, data=fail, message=fail, verify=fail)
    for name, before in (
        ("hello", b""),
        ("mail", b"HELO me\r\n"),
        ("rcpt", b"HELO me\r\n" + MAIL),
        ("data", b"HELO me\r\n" + MAIL + RCPT),
        ("message", b"HELO me\r\n" + MAIL + RCPT + b"DATA\r\n"),
        ("verify", b""),
    ):
        inbox = Does(**{name: getattr(failing, name)})
        served = greeted(inbox)
        served.receive(before)
        line = {
            "hello": HELLO,
            "mail": MAIL,
            "rcpt": RCPT,
            "data": b"DATA\r\n",
            "message": b".\r\n",
        }
        said = served.receive(line.get(name, b"VRFY anne\r\n"))
        assert said.startswith(b"451 4.3.0 "), name
        assert b"password" not in said
        assert served.receive(b"NOOP\r\n") == b"250 2.0.0 OK\r\n", name
    assert caplog.text.count("ValueError: password of the database") == 6


def test_rx7_after_quit_nothing_is_done() -> None:
    """What follows in the same piece, or later, is not even read."""
    inbox = Recorder()
    client = Client(inbox)
    assert client.codes(b"HELO me\r\nQUIT\r\n" + MESSAGE) == [220, 250, 221]
    assert client.codes(MESSAGE) == []
    assert inbox.said("mail") == []
    served = greeted(Does())
    served.receive(b"QUIT\r\n")
    assert served.receive(MAIL) == b""
    assert served.conversation.dialogue.state is State.OVER
    client.finish()
