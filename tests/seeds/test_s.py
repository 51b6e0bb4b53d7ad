"""What a user of SPSmtpServer relies on, item by item, and its traps, which are not there."""

from __future__ import annotations

import base64
import gc
import re
import signal
import smtplib
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, eventAsText

from smtpcb import (
    Connection,
    Envelope,
    Limits,
    Observer,
    Reason,
    Recipient,
    Refusal,
    Reply,
    Settings,
    SmtpServerFactory,
    SmtpService,
    all_of,
    around,
    callbacks,
    threaded,
)
from smtpcb.run.options import resolve
from smtpcb.testing import play
from tests.certificates import make_identity, unchecked, write_pem
from tests.running import ANY_PORT, Server, running, wait_until
from tests.running import Client as Caller
from tests.seeds.items import check_items, deliver, port_of
from tests.server.client import (
    HELLO,
    MAIL,
    MESSAGE,
    RCPT,
    TEXT,
    Client,
    Recorder,
    pieces,
)

# Nothing here that a user could rely on, and why.
OMITTED: dict[str, str] = {}


def test_each_item_has_a_test_or_a_reason() -> None:
    """Nothing is forgotten."""
    check_items("s", globals(), items=34, traps=8, omitted=OMITTED)


CONNECTIONS = 3
LOOPBACK_6 = r"tcp6:0:interface=\:\:1"
IN_CLEAR = Settings(allow_insecure_auth=True)
USER, PASSWORD = "anne", "p" * 300


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A port in the clear, one with TLS from PEM files, and few places."""
    folder = tmp_path_factory.mktemp("spserver")
    issued = make_identity(["mx.example.org"])
    certificate = write_pem(folder / "certificate.pem", issued.certificate)
    key = write_pem(folder / "key.pem", issued.private_key)
    options = (
        *("--listen", ANY_PORT, "--smtps", ANY_PORT, "--connections", str(CONNECTIONS)),
        *("--tls-certificate", str(certificate), "--tls-key", str(key)),
        *("--handler", "print", "--hostname", "mx.example.org"),
    )
    with running(folder / "server", *options) as started:
        yield started


class Mta:
    """An internal server: it looks at senders and recipients, and takes the mail."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], bytes]] = []

    def mail(self, envelope: Envelope) -> Any:
        if envelope.reverse_path.domain == "spam.example":
            return 550, "Not you"
        return None

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
        if recipient.domain != "example.org":
            return 550, "Not here"
        return None

    def message(self, envelope: Envelope) -> None:
        paths = [str(path) for path in envelope.forward_paths]
        self.taken.append((str(envelope.reverse_path), paths, envelope.content.bytes()))


class Gate:
    """It knows one user."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def authenticate(self, credentials: Any, connection: Connection) -> bool:
        self.asked.append((credentials.username, credentials.password))
        return self.asked[-1] == (USER, PASSWORD)

    def message(self, envelope: Envelope) -> None:
        pass


# What a handler is.


def test_s1_each_connection_has_a_handler_of_its_own_that_ends_with_it() -> None:
    """State lives in members; nobody else sees it, and it is gone with the session."""
    made: list[weakref.ref[Mta]] = []

    class Counting(Mta):
        def __init__(self) -> None:
            super().__init__()
            made.append(weakref.ref(self))

    factory = SmtpServerFactory(Counting, reactor=Clock(), log_messages=False)
    made.clear()  # one has been made to see whether it can be
    first = Client(factory=factory, clock=factory.reactor)
    second = Client(factory=factory, clock=factory.reactor)
    assert len(made) == 2
    first.send(HELLO + MESSAGE)
    one, other = made[0](), made[1]()
    assert one is not None
    assert other is not None
    assert (len(one.taken), len(other.taken)) == (1, 0)
    del one, other
    first.leave()
    gc.collect()
    assert (made[0]() is None, made[1]() is None) == (True, False)
    second.finish()


@pytest.mark.parametrize(
    ("verdict", "said", "goes_on", "closes"),
    [
        (None, "250 2.1.0 Sender ok", True, False),
        ((250, "Fine"), "250 2.1.0 Fine", True, False),
        ((250, ("Fine", "Go on")), "250 2.1.0 Fine|2.1.0 Go on", True, False),
        ((550, "5.7.1", "Not you"), "550 5.7.1 Not you", False, False),
        ((450, "4.7.1", ("Not", "now")), "450 4.7.1 Not|4.7.1 now", False, False),
        (Reply(550, "Goodbye").closing(), "550 5.7.1 Goodbye", False, True),
        (Reply(250, "The last one").closing(), "250 2.1.0 The last one", True, True),
    ],
)
def test_s2_s3_accept_reject_and_close_in_my_words(
    verdict: object, said: str, goes_on: bool, closes: bool
) -> None:
    """A yes goes on, a no changes nothing, and a goodbye is heard before the end."""
    client = Client(Recorder(mail=verdict))
    assert client.send(HELLO + MAIL)[2:] == [said]
    assert client.closing == closes
    if not closes:
        assert client.codes(RCPT) == [250 if goes_on else 503]
    client.finish()


def test_s3_a_code_that_is_no_answer_to_the_command_never_leaves() -> None:
    """354 to MAIL, which would mislead the client, is a fault of mine: it hears 451."""
    with capturedLogs() as events:
        client = Client(Recorder(mail=(354, "Go on")))
        assert client.codes(HELLO + MAIL + b"NOOP\r\n")[2:] == [451, 250]
        client.finish()
    assert any("354 is no answer to mail" in eventAsText(event) for event in events)


def test_s4_a_welcome_knows_both_addresses() -> None:
    """The client's and ours; without a word of mine it is greeted with 220."""
    seen: list[tuple[str, str]] = []

    def welcome(connection: Connection) -> None:
        seen.append((connection.peer_address, connection.host_address))

    client = Client(Recorder(connected=welcome))
    assert client.replies() == ["220 localhost ESMTP"]
    assert seen == [("192.0.2.1", client.transport.getHost().host)]
    client.finish()


@pytest.mark.parametrize(
    "verdict", [False, 554, (450, "Later"), Reply(554, "Bye").closing(), Refusal(421, "Busy")]
)
def test_s5_whoever_is_not_welcome_hears_why_and_is_gone(verdict: object) -> None:
    """Any no ends the session, once it has been said."""

    def answer(connection: Connection) -> object:
        if isinstance(verdict, Refusal):
            raise verdict
        return verdict

    handler = Recorder(connected=answer)
    client = Client(handler)
    [said] = client.replies()
    assert said[:3] in ("554", "450", "421")
    assert client.closing
    assert client.send(HELLO) == []
    client.finish()
    assert handler.names() == ["connected", "disconnected"]


def test_s6_helo_and_ehlo_are_answered_for_me_or_in_my_words() -> None:
    """What is offered follows by itself: AUTH where I decide on logins, and not elsewhere."""
    client = Client(Recorder(hello=(250, "Hello there")))
    _, ehlo, helo = client.send(HELLO + b"HELO a\r\n")
    assert ehlo.startswith("250 localhost Hello there|")
    assert "AUTH" not in ehlo
    assert helo == "250 localhost Hello there"
    client.finish()
    played = play(
        """
        C: HELO a
        S: 250 localhost
        C: EHLO a
        S: 250-localhost
        S: 250 ...
        """,
        Gate,
        settings=IN_CLEAR,
    )
    assert b"250-AUTH PLAIN LOGIN\r\n" in played.said


def login(user: str, password: str) -> str:
    return f"""
        C: AUTH LOGIN
        S: 334 {encoded("Username:")}
        C: {encoded(user)}
        S: 334 {encoded("Password:")}
        C: {encoded(password)}
    """


def test_s7_user_and_password_come_decoded() -> None:
    """A no is 535; who says nothing of logins is never asked for one."""
    played = play(
        f"""
        C: EHLO a
        S: 250 ...
        {login("bob", "x")}
        S: 535 5.7.8
        {login(USER, PASSWORD)}
        S: 235
        """,
        Gate,
        settings=IN_CLEAR,
    )
    handler: Any = played.handler
    assert handler.asked == [("bob", "x"), (USER, PASSWORD)]
    play(
        """
        C: EHLO a
        S: 250 ...
        C: AUTH LOGIN
        S: 502
        """,
        settings=IN_CLEAR,
    )


def test_s8_only_who_takes_the_mail_has_to_be_there() -> None:
    """A handler that would lose messages does not start; what else is absent accepts."""

    class Forgetful:
        def mail(self, envelope: Envelope) -> None:
            pass

        def rcpt(self, recipient: Recipient, envelope: Envelope) -> None:
            pass

    with pytest.raises(TypeError, match="message"):
        SmtpServerFactory(Forgetful)
    client = Client(callbacks(message=lambda envelope: (250, "Stored")))
    assert client.send(HELLO + MESSAGE)[-1] == "250 2.0.0 Stored"
    client.finish()


def test_s9_noop_and_help_are_answered_for_me() -> None:
    """HELP can be mine, with or without an argument."""
    topics: list[str] = []

    def help_on(text: str, connection: Connection) -> Any:
        topics.append(text)
        return (214, "Ask anne") if text else None

    played = play(
        """
        C: NOOP
        C: NOOP now
        C: HELP
        C: HELP me
        S: 250 2.0.0 OK
        S: 250 2.0.0 OK
        S: 214-2.0.0 Commands:
        S: 214 ...
        S: 214 2.0.0 Ask anne
        """,
        callbacks(message=lambda envelope: None, help=help_on),
    )
    assert topics[:2] == ["", "me"]
    assert played.events.count("help") == 2


def breaks_off(client: Client) -> None:
    client.leave()


def says_nothing(client: Client) -> None:
    client.clock.advance(300)


def says_goodbye(client: Client) -> None:
    client.send(b"QUIT\r\n")


def is_told_goodbye(client: Client) -> None:
    client.send(MAIL)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (breaks_off, Reason.DISCONNECTED),
        (says_nothing, Reason.TIMEOUT),
        (says_goodbye, Reason.QUIT),
        (is_told_goodbye, Reason.REFUSED),
    ],
)
def test_s10_an_error_and_a_timeout_are_told_and_only_told(
    ends: Callable[[Client], None], reason: Reason
) -> None:
    """One event at the end says which it was, and what it answers reaches nobody."""
    handler = Recorder(mail=Reply(550, "Bye").closing(), disconnected=lambda reason: None)
    client = Client(handler)
    client.send(HELLO)
    ends(client)
    client.replies()
    client.leave()
    assert client.replies() == []
    client.finish()
    assert handler.said("disconnected") == [(reason,)]


def test_s11_rset_clears_the_envelope_and_nothing_else() -> None:
    """Before EHLO too; I am told if there was a transaction, and the login stays."""
    reasons: list[Reason] = []

    class Told(Gate):
        def aborted(self, reason: Reason, envelope: Envelope) -> None:
            reasons.append(reason)

    played = play(
        f"""
        C: RSET
        S: 250
        C: EHLO a
        S: 250 ...
        {login(USER, PASSWORD)}
        S: 235
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: RSET
        C: RCPT TO:<b@example.org>
        C: DATA
        C: MAIL FROM:<a@example.org>
        S: 250
        S: 250
        S: 250
        S: 503
        S: 503
        S: 250
        """,
        Told,
        settings=Settings(allow_insecure_auth=True, require_auth=True),
    )
    assert reasons[0] is Reason.RESET
    assert played.dialogue.connection.identity == USER
    assert played.dialogue.connection.hello == "a"


def test_s12_an_internal_server_needs_three_methods() -> None:
    """Who sends, who receives, and the message."""
    played = play(
        """
        C: EHLO a
        S: 250 ...
        C: MAIL FROM:<a@spam.example>
        C: MAIL FROM:<a@example.com>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<b@example.org>
        C: DATA
        S: 550 5.7.1 Not you
        S: 250
        S: 550 5.1.1 Not here
        S: 250
        S: 354
        C: hello
        C: .
        S: 250
        """,
        Mta,
    )
    handler: Any = played.handler
    assert handler.taken == [("a@example.com", ["b@example.org"], b"hello\r\n")]


def test_s12_a_gateway_adds_the_welcome_the_names_and_logins() -> None:
    """A bad address is sent away before all else."""

    class Gateway(Mta, Gate):
        def __init__(self) -> None:
            Mta.__init__(self)
            Gate.__init__(self)

        def connected(self, connection: Connection) -> Any:
            if connection.peer_address == "192.0.2.66":
                return 554, "Not you"
            return None

        def hello(self, introduction: Any, connection: Connection) -> Any:
            return introduction.name != "spammer"

    play("S: 554 Not you", Gateway, connection=Connection("x", peer_address="192.0.2.66"))
    play(
        f"""
        C: EHLO spammer
        S: 550
        C: EHLO a
        S: 250 ...
        {login(USER, PASSWORD)}
        S: 235
        """,
        Gateway,
        settings=IN_CLEAR,
    )


# Arguments and order.


def test_s13_arguments_come_read_and_raw() -> None:
    """The address without its brackets, parameters by name; ``command`` has the text itself."""
    seen: list[object] = []
    handler = callbacks(
        command=lambda command, connection: seen.append(command.argument),
        mail=lambda envelope: seen.append((str(envelope.reverse_path), envelope.parameters.size)),
        rcpt=lambda recipient, envelope: seen.append(str(recipient)),
        message=lambda envelope: None,
    )
    client = Client(handler)
    client.send(HELLO)
    seen.clear()
    # The word cannot be left out: it is what says that an address follows.
    assert client.codes(b"MAIL <a@example.org>\r\nMAIL a@example.org\r\n") == [501, 501]
    seen.clear()
    assert client.codes(b"MAIL FROM: <a@example.org> SIZE=7\r\nRCPT TO:<b@c.example>\r\n") == [
        250,
        250,
    ]
    assert seen == [
        *("FROM: <a@example.org> SIZE=7", ("a@example.org", 7)),
        *("TO:<b@c.example>", "b@c.example"),
    ]
    client.finish()


def test_s14_the_whole_message_comes_once_and_as_it_was_meant() -> None:
    """Dots are unstuffed; without an accepted recipient nothing comes."""
    client = Client(Mta)
    handler: Any = client.protocol.connection.handler
    nobody = b"RCPT TO:<b@example.com>\r\nDATA\r\nRSET\r\n"
    assert client.codes(HELLO + MAIL + nobody)[2:] == [250, 550, 503, 250]
    content = b"Subject: x\r\n\r\n..\r\n...a\r\nend\r\n"
    assert client.codes(MAIL + RCPT * 2 + b"DATA\r\n" + content + b".\r\n")[-1] == 250
    [(_, recipients, octets)] = handler.taken
    assert recipients == ["b@example.org"] * 2
    assert octets == b"Subject: x\r\n\r\n.\r\n..a\r\nend\r\n"
    client.finish()


def test_s15_helo_and_ehlo_may_come_again() -> None:
    """In any order; a new one ends an open transaction, a refused one may be tried again."""
    reasons: list[Reason] = []
    handler = callbacks(
        hello=lambda introduction, connection: introduction.name != "bad",
        aborted=lambda reason, envelope: reasons.append(reason),
        message=lambda envelope: None,
    )
    play(
        """
        C: EHLO bad
        S: 550
        C: EHLO a
        S: 250 ...
        C: HELO a
        S: 250
        C: MAIL FROM:<a@example.org>
        S: 250
        C: EHLO b
        S: 250 ...
        C: RCPT TO:<b@example.org>
        S: 503
        """,
        handler,
    )
    assert reasons[0] is Reason.HELLO


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        # No argument: before EHLO that comes first.
        ("HELO", [501]),
        ("EHLO", [501]),
        ("MAIL|RCPT|DATA|AUTH", [503, 503, 503, 503]),
        ("EHLO a|MAIL|AUTH", [250, 501, 501]),
        ("EHLO a|MAIL FROM:<a@b.example>|RCPT|RCPT TO:", [250, 250, 501, 501]),
        # Out of order.
        ("EHLO a|MAIL FROM:<a@b.example>|MAIL FROM:<a@b.example>", [250, 250, 503]),
        ("EHLO a|RCPT TO:<a@b.example>", [250, 503]),
        ("EHLO a|DATA|MAIL FROM:<a@b.example>|DATA", [250, 503, 250, 503]),
        ("EHLO a|AUTH PLAIN AGEAYg==|AUTH PLAIN AGEAYg==", [250, 235, 503]),
    ],
)
def test_s16_s17_what_is_wrong_with_a_command(said: str, codes: list[int]) -> None:
    """501 for what cannot be read, 503 for what comes out of order."""
    client = Client(
        callbacks(authenticate=lambda credentials, connection: True, message=lambda envelope: None)
    )
    client.replies()
    assert client.codes(*[f"{line}\r\n".encode() for line in said.split("|")]) == codes
    client.finish()


def test_s18_a_login_by_login() -> None:
    """In any case, with the prompts that clients know; other mechanisms are 504, a second 503."""
    play(
        f"""
        C: AUTH LOGIN
        S: 503
        C: EHLO a
        S: 250 ...
        C: AUTH
        S: 501
        C: AUTH DIGEST-MD5
        S: 504
        C: auth login
        S: 334 VXNlcm5hbWU6
        C: {encoded(USER)}
        S: 334 UGFzc3dvcmQ6
        C: {encoded(PASSWORD)}
        S: 235
        C: AUTH LOGIN
        S: 503
        """,
        Gate,
        settings=IN_CLEAR,
    )


def test_s19_a_message_ends_its_envelope() -> None:
    """The next one begins with MAIL, without RSET, and has recipients of its own."""
    client = Client(Mta)
    handler: Any = client.protocol.connection.handler
    client.send(HELLO + MESSAGE)
    assert client.codes(RCPT + b"DATA\r\n") == [503, 503]
    assert client.codes(MESSAGE)[-1] == 250
    assert [recipients for _, recipients, _ in handler.taken] == [["b@example.org"]] * 2
    client.finish()


def test_s20_quit_and_what_nobody_knows() -> None:
    """221 and the end; an unknown verb is 500. VRFY is answered, EXPN where somebody knows."""
    client = Client(Mta)
    client.send(HELLO)
    assert client.codes(b"FROB\r\nVRFY a\r\nEXPN a\r\nSTARTTLS\r\n") == [500, 252, 502, 502]
    assert not client.closing
    assert client.codes(b"QUIT\r\nNOOP\r\n") == [221]
    assert client.closing
    client.finish()


@pytest.mark.parametrize(
    "text", ["", "Fine", "Fine\n", "Fine\r\n", "a\nb", "a\r\nb\r\n", "\0\x1b é"]
)
def test_s21_whatever_i_write_is_one_reply(text: str) -> None:
    """Each line has the code and ends in CRLF; nothing in the text can be a reply of its own."""
    client = Client(Recorder(mail=(250, text)))
    client.send(HELLO)
    client.protocol.dataReceived(MAIL + b"NOOP\r\n")
    wire = client.transport.value()
    assert re.fullmatch(rb"(250-2\.1\.0 [ -~]*\r\n)*250 2\.1\.0 [ -~]*\r\n250 2\.0\.0 OK\r\n", wire)
    client.finish()


def test_s22_pipelining_works_and_is_offered() -> None:
    """Commands in one packet are answered one by one."""
    client = Client(Mta)
    assert "|PIPELINING|" in client.send(HELLO)[1]
    assert client.codes(MAIL + RCPT + RCPT + b"RSET\r\nNOOP\r\n") == [250] * 5
    client.finish()


# Server, threads, limits.


@pytest_twisted.ensureDeferred
async def test_s23_callbacks_may_block() -> None:
    """While one waits for its database, another client is served: it is what lets the first go."""
    gate = threading.Event()
    waited: list[bool] = []
    threads: set[str] = set()

    class Blocking:
        def rcpt(self, recipient: Recipient, envelope: Envelope) -> None:
            threads.add(threading.current_thread().name)
            if recipient.local_part == "waits":
                waited.append(gate.wait(10))
            else:
                gate.set()

        def message(self, envelope: Envelope) -> None:
            pass

    handler = threaded(Blocking)
    service = SmtpService(ANY_PORT, SmtpServerFactory(handler))
    service.startService()
    port = port_of(service)
    first = deferToThread(deliver, port, "waits@example.org")
    await gatherResults([first, deferToThread(deliver, port, "lets-go@example.org")])
    await service.stopService()
    handler.stop()
    assert waited == [True]
    assert threading.main_thread().name not in threads


def test_s24_a_session_has_one_callback_at_a_time() -> None:
    """What else has come waits, and replies stand in the order of their commands."""
    asked: list[Deferred[Any]] = []

    def ask(recipient: Recipient, envelope: Envelope) -> Deferred[Any]:
        asked.append(Deferred())
        return asked[-1]

    client = Client(Recorder(rcpt=ask))
    client.send(HELLO)
    assert client.codes(MAIL + RCPT + b"RCPT TO:<c@example.org>\r\nNOOP\r\n") == [250]
    assert len(asked) == 1
    asked[0].callback((550, "Not he"))
    assert client.replies() == ["550 5.1.1 Not he"]
    assert len(asked) == 2
    asked[1].callback(None)
    assert client.codes() == [250, 250]
    client.finish()


@pytest_twisted.ensureDeferred
async def test_s25_a_server_runs_in_the_background_and_says_if_it_does() -> None:
    """It is started and shut down beside whatever else the process does, and again."""
    service = SmtpService(ANY_PORT, SmtpServerFactory(Mta))
    running_at = [service.running]
    for _ in range(2):
        service.startService()
        running_at.append(service.running)
        caller = await deferToThread(Caller, port_of(service))
        caller.close()
        await service.stopService()
        running_at.append(service.running)
    assert [bool(one) for one in running_at] == [False, True, False, True, False]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_s25_signals_shut_a_server_down_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Who is connected hears 421, and no fault is logged."""
    with running(tmp_path / "server", "--handler", "discard", "--no-tls") as started:
        with Caller(started.port) as caller:
            started.signal(number)
            assert caller.reply().startswith(b"421 ")
            assert caller.reply() == b""
        assert started.wait() == -number
        assert "Traceback" not in started.log


def test_s26_s27_s34_what_a_server_is_told(tmp_path: Path) -> None:
    """Address, port, time, clients and threads, in a program or as options; nonsense is refused."""
    said: dict[str, Any] = {
        "state": tmp_path,
        "listen": ("tcp:1025:interface=192.0.2.1",),
        "idle_seconds": 600.0,
        "connections": 2048,
    }
    configuration = resolve(said, {})
    assert configuration["listen"] == ("tcp:1025:interface=192.0.2.1",)
    assert configuration.limits.connections == 2048
    assert configuration.limits == Limits(idle_seconds=600, connections=2048)
    for wrong in ({"idle_seconds": 0}, {"idle_seconds": -1}, {"connections": -1}):
        [(name, value)] = wrong.items()
        with pytest.raises(ValueError, match=name):
            Limits(**{name: value})
    with pytest.raises(ValueError, match="threads"):
        threaded(Mta, threads=0)
    assert threaded(Mta, threads=4) is not None


def test_s28_one_too_many_is_told_so_and_has_no_handler() -> None:
    """It hears a reply with a code, is closed, and costs me nothing."""
    made: list[Mta] = []

    def make() -> Mta:
        made.append(Mta())
        return made[-1]

    first = Client(make, limits=Limits(connections=1))
    before = len(made)
    second = Client(factory=first.factory, clock=first.clock)
    assert second.replies() == ["421 4.7.0 Too many connections, try again later"]
    assert second.transport.disconnecting
    assert len(made) == before
    second.leave()
    first.leave()
    third = Client(factory=first.factory, clock=first.clock)
    assert third.codes(HELLO) == [220, 250]
    third.finish()


def test_s28_places_are_a_setting(server: Server) -> None:
    """As many clients as I said, and not one more."""
    callers = [Caller(server.port) for _ in range(CONNECTIONS)]
    try:
        with socket.create_connection(("127.0.0.1", server.port), 10) as late:
            assert late.recv(1000).startswith(b"421 ")
            assert late.recv(1000) == b""
        assert all(caller.say("NOOP").startswith(b"250") for caller in callers)
    finally:
        for caller in callers:
            caller.say("QUIT")
            caller.close()
    wait_until(lambda: "too many connections" in server.log)


def test_s29_a_client_that_says_nothing_or_takes_nothing_is_left() -> None:
    """Each command begins the time anew; while I decide it does not run."""
    waiting: Deferred[None] = Deferred()
    limits = Limits(idle_seconds=300, decision_seconds=10_000)
    client = Client(Recorder(mail=lambda envelope: waiting), limits=limits)
    client.send(HELLO)
    for _ in range(3):
        client.clock.advance(299)
        assert client.codes(b"NOOP\r\n") == [250]
    client.send(MAIL)
    client.clock.advance(2000)
    assert client.replies() == []
    waiting.callback(None)
    assert client.codes() == [250]
    client.clock.advance(299)
    assert client.replies() == []
    client.clock.advance(1)
    assert client.codes() == [421]
    client.finish()

    stuck = Client(Mta, limits=limits)
    stuck.send(HELLO)
    flow: Any = stuck.transport.producer
    flow.pauseProducing()  # the transport: nothing more can be sent
    stuck.protocol.dataReceived(b"NOOP\r\n")
    stuck.clock.advance(301)
    stuck.clock.advance(301)
    assert stuck.transport.aborted
    stuck.finish()


def test_s30_tls_from_the_first_octet(server: Server) -> None:
    """With certificate and key from PEM files; the same dialogue is held inside."""
    [port] = server.smtps_ports
    with smtplib.SMTP_SSL("127.0.0.1", port, context=unchecked()) as caller:
        caller.ehlo()
        assert not caller.has_extn("starttls")
        assert caller.sendmail("a@example.org", ["b@example.org"], "x") == {}


def test_s31_one_session_ends_another_and_outcomes_are_watched() -> None:
    """A connection of somebody else can be closed; an observer hears of each recipient."""
    there: list[Connection] = []
    outcomes: list[tuple[str, int]] = []

    class Watch(Observer):
        def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
            if isinstance(subject, Recipient):
                outcomes.append((str(subject), reply.code))

    def ends_others(envelope: Envelope) -> None:
        for connection in there:
            if connection is not envelope.connection:
                connection.close(Reply(421, "Another one needs the place"))

    handler = callbacks(
        connected=there.append,
        mail=ends_others,
        rcpt=lambda recipient, envelope: recipient.domain == "example.org",
        message=lambda envelope: None,
    )
    first = Client(handler, observers=[lambda connection: Watch()])
    second = Client(factory=first.factory, clock=first.clock)
    first.send(HELLO)
    second.send(HELLO)
    assert second.codes(MAIL + RCPT + b"RCPT TO:<c@example.com>\r\n") == [250, 250, 550]
    second.clock.advance(0)
    assert first.replies() == ["421 4.3.0 Another one needs the place"]
    assert first.closing
    assert second.codes(b"NOOP\r\n") == [250]
    assert outcomes == [("b@example.org", 250), ("c@example.com", 550)]
    first.leave()
    second.finish()


def test_s32_the_log_has_refusals_and_timeouts() -> None:
    """Who was turned away, what was refused, whose message never came, and how much it was."""
    with capturedLogs() as events:
        client = Client(Mta, settings=Settings(limits=Limits(connections=1)), log_messages=True)
        late = Client(factory=client.factory, clock=client.clock)
        client.send(HELLO + MAIL + RCPT + b"RCPT TO:<c@example.com>\r\nDATA\r\n" + b"x" * 100)
        for _ in range(30):
            client.clock.advance(10)
        late.leave()
        client.finish()
    said = "\n".join(eventAsText(event) for event in events)
    assert "1 turned away, the last one from 192.0.2.1" in said
    assert "recipient <c@example.com> refused: 550 5.1.1 Not here" in said
    assert "from <a@example.org> to <b@example.org>, 100 octets: no message: timed out" in said


def test_s33_several_policies_in_a_row() -> None:
    """The first that refuses is the answer, and several may have the message."""

    class Greedy:
        def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
            if recipient.local_part == "full":
                return 452, "Full"
            return None

    first, second = Recorder(), Recorder(message=None)
    strict = Recorder(rcpt=lambda recipient, envelope: recipient.domain != "x.example")
    handler = around(all_of(first, second), Greedy, strict)
    client = Client(handler)
    client.send(HELLO + MAIL)
    full, wrong = b"RCPT TO:<full@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n"
    assert client.codes(full + wrong + RCPT) == [452, 550, 250]
    assert client.codes(b"DATA\r\n" + TEXT + b".\r\n") == [354, 250]
    client.finish()
    for one in (first, second):
        assert one.said("content") == [(TEXT,)]
        assert len(one.said("rcpt")) == 1


# Traps.


def test_sx1_only_crlf_ends_a_command() -> None:
    """However the packets are cut; a CR or LF alone is an error, once, and no command is in it."""
    client = Client(Mta)
    client.send(HELLO)
    assert client.codes(b"NOOP\r", b"\n", b"NOOP\r\n") == [250, 250]
    for ending in (b"\n", b"\r", b"\n\r"):
        assert client.codes(b"NOOP" + ending + b"QUIT\r\n") == [500], ending
    assert client.codes(b"NOOP\n") == [500]
    assert client.codes(b"QUIT\r\n") == []
    assert client.codes(b"NOOP\r\n") == [250]
    assert not client.closing
    client.finish()


FALSE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_sx2_only_crlf_dot_crlf_ends_a_message(false_end: bytes, size: int) -> None:
    """Whatever the packets are; what stands behind a false end is never run as commands."""
    handler = Recorder()
    client = Client(handler)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    smuggled = b"one" + false_end + b"MAIL FROM:<evil@example.org>\r\nRSET\r\n"
    assert client.send(*pieces(smuggled, size)) == []
    assert client.codes(*pieces(b".\r\nNOOP\r\n", size)) == [550, 250]
    client.finish()
    assert handler.names().count("mail") == 1
    assert "message" not in handler.names()


def test_sx2_a_line_that_begins_with_a_dot_keeps_what_is_its_own() -> None:
    """Where lone LF are taken, they end no message either, and lose no dot of a line."""
    settings = Settings(bare_newline="normalize")
    for size in (1, 1000):
        client = Client(Mta, settings=settings)
        handler: Any = client.protocol.connection.handler
        client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
        assert client.send(*pieces(b"one\n.\ntwo\r\n..three\r\n", size)) == []
        assert client.codes(*pieces(b".\r\n", size)) == [250]
        assert handler.taken[0][2] == b"one\r\n.\r\ntwo\r\n.three\r\n"
        client.finish()


@pytest.mark.parametrize(
    ("sent", "meant"),
    [(b"", b""), (b"..x\r\n", b".x\r\n"), (b"a\0b\r\nc\r\n", b"a\0b\r\nc\r\n")],
)
def test_sx3_the_empty_message_ends_and_no_octet_is_lost(sent: bytes, meant: bytes) -> None:
    """The first line is unstuffed like all others, and NUL ends nothing."""
    for size in (1, 1000):
        client = Client(Mta)
        handler: Any = client.protocol.connection.handler
        client.send(HELLO)
        begin = MAIL + RCPT + b"DATA\r\n"
        assert client.codes(*pieces(begin + sent + b".\r\n", size)) == [250, 250, 354, 250]
        assert handler.taken[0][2] == meant
        client.finish()


def test_sx4_there_are_limits_without_my_saying_so() -> None:
    """Of a line, a message, the recipients and the errors; each refuses and stays in step."""
    client = Client(Recorder())
    client.send(HELLO)
    assert client.codes(b"NOOP " + b"x" * 5000 + b"\r\nNOOP\r\n") == [500, 250]
    assert client.codes(b"MAIL FROM:<> SIZE=999999999\r\n") == [552]
    assert client.codes(MAIL) == [250]
    recipients = [f"RCPT TO:<{number}@example.org>\r\n".encode() for number in range(1001)]
    codes = client.codes(*recipients)
    assert codes == [250] * 1000 + [452]
    assert client.codes(b"DATA\r\n" + TEXT + b".\r\n") == [354, 250]
    client.protocol.dataReceived(b"X\r\n" * 25)
    client.clock.pump([1] * 60)
    assert client.codes() == [500] * 19 + [421]
    client.finish()


def test_sx5_each_reply_is_one_and_reflects_nothing() -> None:
    """It ends in CRLF and has a code, refusals of a connection too; what I sent is not in it."""
    client = Client(Mta, limits=Limits(connections=1))
    late = Client(factory=client.factory, clock=client.clock)
    client.protocol.dataReceived(HELLO + b"<reflected>\x1b[1m\r\nMAIL <reflected>\r\nHELP\r\n")
    wire = client.transport.value() + late.transport.value()
    assert re.fullmatch(rb"([2-5][0-9]{2}[ -][ -~]*\r\n)+", wire)
    assert b"reflected" not in wire
    client.replies()
    late.leave()
    client.finish()


def test_sx6_a_login_is_given_up_is_whole_and_is_never_in_the_clear() -> None:
    """``*`` is no name, a long password is not cut, and outside TLS it is not taken."""
    played = play(
        f"""
        C: EHLO a
        S: 250 ...
        C: AUTH LOGIN
        S: 538 5.7.11
        C: STARTTLS
        S: 220
        C: EHLO a
        S: 250 ...
        C: AUTH LOGIN
        S: 334
        C: *
        S: 501
        {login(USER, PASSWORD)}
        S: 235
        """,
        Gate,
    )
    handler: Any = played.handler
    assert handler.asked == [(USER, PASSWORD)]
    clear, inside = re.findall(rb"(?:250-.*\r\n)+250 .*\r\n", played.said)
    assert b"AUTH" not in clear
    assert b"250-AUTH PLAIN LOGIN\r\n" in inside


def test_sx7_replies_keep_the_order_of_their_commands() -> None:
    """Also where several recipients are looked up at once, and the last answer comes first."""
    asked: list[Deferred[Any]] = []

    class AtOnce(Mta):
        concurrent_recipients = True

        def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
            asked.append(Deferred())
            return asked[-1]

    client = Client(AtOnce)
    client.send(HELLO)
    assert client.codes(MAIL + RCPT * 3 + b"NOOP\r\n") == [250]
    for number in (2, 1):
        asked[number].callback((550, f"Number {number}"))
        assert client.replies() == []
    asked[0].callback(None)
    said = client.replies()
    assert [reply[:3] for reply in said] == ["250", "550", "550", "250"]
    assert said[1:3] == ["550 5.1.1 Number 1", "550 5.1.1 Number 2"]
    client.finish()


def test_sx8_there_is_always_a_way_back() -> None:
    """After a message, and by EHLO, a session is as it was at its beginning."""
    client = Client(Mta)
    client.send(HELLO + MESSAGE + MAIL + RCPT)
    assert client.codes(b"DATA\r\n", b"x\r\n.\r\n", HELLO, MESSAGE)[-1] == 250
    client.send(MAIL + RCPT)
    assert client.codes(HELLO + RCPT + MESSAGE) == [250, 503, 250, 250, 354, 250]
    client.finish()


@pytest_twisted.ensureDeferred
async def test_sx8_clients_may_come_by_ipv6() -> None:
    """The handler sees their address."""
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    seen: list[str] = []
    handler = callbacks(
        connected=lambda connection: seen.append(connection.peer_address),
        message=lambda envelope: None,
    )
    service = SmtpService(LOOPBACK_6, SmtpServerFactory(handler))
    service.startService()
    await deferToThread(deliver, port_of(service), host="::1")
    await service.stopService()
    assert seen == ["::1"]
