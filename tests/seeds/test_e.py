"""What a user of libEmailz relies on, item by item, and its traps, which are not there."""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, eventAsText

from smtpcb import (
    Connection,
    Counters,
    Envelope,
    Limits,
    Reason,
    ReversePath,
    Settings,
    SmtpServerFactory,
    SmtpService,
    TranscriptFolder,
    TranscriptSettings,
    Verb,
    callbacks,
)
from smtpcb.run.build import make_service
from smtpcb.run.options import ConfigurationError, resolve
from smtpcb.testing import play
from smtpcb.transcript import load
from tests.certificates import make_identity, unchecked, write_pkcs12
from tests.process.test_memory import memory_of
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
    Observer,
    Recorder,
    Secure,
    pieces,
)

# Nothing here that a user could rely on, and why.
OMITTED = {
    "e4": "how long the system's queue is and which socket options are set: a platform's detail",
}


def test_each_item_has_a_test_or_a_reason() -> None:
    """Nothing is forgotten."""
    check_items("e", globals(), items=48, traps=10, omitted=OMITTED)


HOSTNAME = "mx.example.org"
PASSPHRASE = "opens it"
SECRET = "sesame-1234"
KIB = 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two ports, one identity from a .p12 file, and every connection recorded."""
    folder = tmp_path_factory.mktemp("emailz")
    issued = make_identity([HOSTNAME])
    write_pkcs12(
        folder / "mx.p12", issued.private_key, issued.certificate, passphrase=PASSPHRASE.encode()
    )
    (folder / "passphrase").write_text(PASSPHRASE)
    (folder / "passphrase").chmod(0o600)
    options = (
        *("--listen", ANY_PORT, "--listen", ANY_PORT, "--hostname", HOSTNAME),
        *("--tls-pkcs12", str(folder / "mx.p12")),
        *("--tls-passphrase-file", str(folder / "passphrase")),
        *("--transcripts", str(folder / "recorded")),
    )
    with running(folder / "server", *options) as started:
        yield started


def recorded(server: Server) -> list[Path]:
    """Return the transcripts that are there."""
    return sorted((server.folder.parent / "recorded").rglob("*.txt"))


def record_with(server: Server, *marks: str) -> Path:
    """Return the transcript that has all of these, once it has them."""

    def found() -> list[Path]:
        return [
            path for path in recorded(server) if all(mark in path.read_text() for mark in marks)
        ]

    wait_until(found)
    [path] = found()
    return path


class Context:
    """A handler that keeps something, as the context slot did."""

    seen: list[tuple[str, object]] = []

    def __init__(self) -> None:
        self.context: object = None

    def connected(self, connection: Connection) -> None:
        self.context = connection.id

    def command(self, command: Any, connection: Connection) -> None:
        self.seen.append((f"command of {connection.id}", self.context))

    def authenticate(self, credentials: Any, connection: Connection) -> bool:
        self.seen.append((f"login of {connection.id}", self.context))
        return True

    def chunk(self, octets: bytes, envelope: Envelope) -> None:
        self.seen.append((f"data of {envelope.connection.id}", self.context))

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        self.seen.append((f"end of {connection.id}", self.context))


class Commands:
    """Remembers the commands of a mask, and when they came."""

    command_mask = Verb(0)
    discards_content = True

    def __init__(self) -> None:
        self.heard: list[tuple[Verb, str]] = []

    def command(self, command: Any, connection: Connection) -> None:
        self.heard.append((command.verb, command.argument))


class Lines:
    """Takes the content as it comes."""

    def __init__(self) -> None:
        self.octets: list[bytes] = []
        self.ends: list[object] = []

    def chunk(self, octets: bytes, envelope: Envelope) -> None:
        self.octets.append(octets)

    def message(self, envelope: Envelope) -> None:
        self.ends.append(envelope.size_octets)

    def aborted(self, reason: Reason, envelope: Envelope) -> None:
        self.ends.append(reason)


# Life cycle and listeners.


@pytest_twisted.ensureDeferred
async def test_e1_e11_one_server_handlers_of_a_connection_and_recording(tmp_path: Path) -> None:
    """I make a server, say who handles a connection, switch recording on, and start it."""
    heard: list[str] = []
    handler = callbacks(
        connected=lambda connection: heard.append("open"),
        command=lambda command, connection: heard.append(command.argument),
        chunk=lambda octets, envelope: heard.append(octets.decode()),
        disconnected=lambda reason, connection: heard.append("close"),
        command_mask=Verb.MAIL,
    )
    folder = tmp_path / "recorded"

    from twisted.internet import reactor

    transcripts = TranscriptFolder(TranscriptSettings(folder), reactor)
    service = SmtpService(ANY_PORT, SmtpServerFactory(handler, transcripts=transcripts))
    service.startService()
    await deferToThread(deliver, port_of(service))
    await service.stopService()
    assert [heard[0], heard[-1]] == ["open", "close"]
    assert heard[1].startswith("FROM:<a@example.org>")
    assert "".join(heard[2:-1]) == "x\r\n"
    assert len(list(folder.rglob("*.txt"))) == 1


def test_e2_two_ports_without_privileges(tmp_path: Path) -> None:
    """If I say nothing, mail is taken on 10025 and 10587, and creating binds nothing yet."""
    configuration = resolve({"state": tmp_path / "state"}, {})
    service = make_service(configuration)
    assert [port.split(":")[1] for port in configuration["listen"]] == ["10025", "10587"]
    assert service.smtp.ports == []
    assert not (tmp_path / "state").exists()


def test_e3_both_ports_are_alike(server: Server) -> None:
    """Neither begins with TLS, and the second does not want a login first."""
    heard = []
    for port in server.ports:
        with Caller(port) as caller:
            heard.append(caller.keywords)
            assert caller.send(b"x\r\n").startswith(b"250 ")
    assert len(heard) == 2
    assert heard[0] == heard[1]
    assert "STARTTLS" in heard[0]


def test_e5_a_start_that_fails_says_so(tmp_path: Path) -> None:
    """An identity that cannot be loaded ends the start, and so does a port that is taken."""
    (tmp_path / "mx.p12").write_bytes(b"no archive")
    said = {"state": tmp_path / "state", "tls_pkcs12": tmp_path / "mx.p12"}
    with pytest.raises(ConfigurationError, match=r"mx\.p12"):
        make_service(resolve(said, {}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        service = SmtpService(endpoint, SmtpServerFactory(Lines))
        with pytest.raises(CannotListenError):
            service.startService()
        assert not service.running


@pytest_twisted.ensureDeferred
async def test_e6_a_stop_closes_everything() -> None:
    """When I stop the server its port is free, its clients are gone, and handlers were told."""
    reasons: list[Reason] = []
    handler = callbacks(
        message=lambda envelope: None,
        disconnected=lambda reason, connection: reasons.append(reason),
    )
    service = SmtpService(ANY_PORT, SmtpServerFactory(handler))
    service.startService()
    port = port_of(service)
    caller = await deferToThread(Caller, port)
    await service.stopService()
    with caller:
        assert caller.reply().startswith(b"421 ")
        assert caller.reply() == b""
    assert reasons == [Reason.SHUTDOWN]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_e7_a_connection_keeps_the_handlers_it_was_accepted_with() -> None:
    """I exchange what handles new connections while the server runs; old ones do not notice."""
    old, new = Recorder(), Recorder(message=False)
    now = [old]
    first = Client(lambda: now[0])
    now[0] = new
    second = Client(factory=first.factory, clock=first.clock)
    assert first.codes(HELLO + MESSAGE)[-1] == 250
    assert second.codes(HELLO + MESSAGE)[-1] == 550
    assert first.codes(MESSAGE)[-1] == 250
    first.leave()
    second.finish()
    assert [one.names().count("message") for one in (old, new)] == [2, 1]


def test_e8_the_identity_is_a_p12_file_that_i_name(server: Server) -> None:
    """File and passphrase are configuration; the certificate in it is the one that is shown."""
    with smtplib.SMTP("127.0.0.1", server.port) as caller:
        caller.starttls(context=unchecked())
        secured: Any = caller.sock
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    assert HOSTNAME.encode() in shown


def test_e9_no_thread_for_a_connection_and_little_memory(server: Server) -> None:
    """A hundred clients at once are no thread more, and 64 KiB each at most."""
    threads = Path(f"/proc/{server.process.pid}/task")
    if not threads.exists():
        pytest.skip("there is no /proc here")
    with Caller(server.port) as first:
        assert first.say("NOOP").startswith(b"250")
        before, memory = len(list(threads.iterdir())), memory_of(server, "VmRSS")
        callers = [Caller(server.port) for _ in range(99)]
        try:
            assert len(list(threads.iterdir())) == before
            assert memory_of(server, "VmRSS") - memory < 100 * 64 * KIB
        finally:
            for caller in callers:
                caller.close()


def test_e10_the_server_counts_and_so_does_a_connection() -> None:
    """Octets both ways, connections now and ever; of each connection its octets and its start."""
    seen: list[Connection] = []
    client = Client(callbacks(message=lambda envelope: None, connected=seen.append))
    other = Client(factory=client.factory, clock=client.clock)
    client.send(HELLO)
    said = len(client.transport.value())
    client.send(b"NOOP\r\n")
    other.leave()
    counters: Counters = client.factory.counters
    assert (counters.connections, counters.arrived) == (1, 2)
    assert said == 0  # it has been read
    assert seen[0].octets_in == counters.octets_in == len(HELLO + b"NOOP\r\n")
    assert counters.octets_out == seen[0].octets_out + seen[1].octets_out > 200
    assert seen[0].started <= seen[1].started
    client.finish()


# Connection events.


def test_e12_open_is_heard_once_before_the_greeting() -> None:
    """A connection is announced before its client has been told anything, and before all else."""
    written: list[bytes] = []
    client: Client = Client(
        Observer(connected=lambda connection: written.append(client.transport.value())),
        start=False,
    )
    client.protocol.makeConnection(client.transport)
    assert written == [b""]
    handler = client.protocol.connection.handler
    client.send(HELLO)
    assert handler.names()[:3] == ["connected", "command", "hello"]
    client.finish()
    assert handler.names().count("connected") == 1


def quits(client: Client) -> None:
    client.send(b"QUIT\r\n")


def breaks(client: Client) -> None:
    client.leave(ConnectionLost())


def is_idle(client: Client) -> None:
    client.clock.advance(301)


def sends_too_much(client: Client) -> None:
    client.send(MAIL + RCPT + b"DATA\r\n")
    for _ in range(40):
        client.send(b"x" * 65534 + b"\r\n")


def errs(client: Client) -> None:
    client.send(b"X\r\n" * 21)
    client.clock.pump([1] * 60)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (quits, Reason.QUIT),
        (Client.leave, Reason.DISCONNECTED),
        (breaks, Reason.DISCONNECTED),
        (is_idle, Reason.TIMEOUT),
        (sends_too_much, Reason.LIMIT),
        (errs, Reason.LIMIT),
    ],
)
def test_e13_close_is_heard_once_and_last(ends: Callable[[Client], None], reason: Reason) -> None:
    """However a connection ends, its end is told once, and nothing behind it."""
    handler = Observer()
    client = Client(handler, limits=Limits(message_octets=100_000))
    client.send(HELLO)
    ends(client)
    assert client.closing or client.gone
    client.finish()
    assert handler.names().count("disconnected") == 1
    assert handler.calls[-1] == ("disconnected", reason)


def test_e14_what_i_keep_at_the_opening_comes_with_every_event() -> None:
    """The context is the handler of the connection: SMTP, login, data and the end have the same."""
    Context.seen.clear()
    first = Client(Context)
    second = Client(factory=first.factory, clock=first.clock)
    for client in (first, second):
        client.send(HELLO + b"AUTH PLAIN AGEAYg==\r\n" + MESSAGE)
    first.leave()
    second.finish()
    assert {what.split()[0] for what, _ in Context.seen} == {"command", "login", "data", "end"}
    assert len({context for _, context in Context.seen}) == 2
    assert all(what.endswith(f" of {context}") for what, context in Context.seen)


def test_e15_a_peer_and_a_unique_name_are_there_at_the_opening() -> None:
    """Also when nothing is recorded."""
    seen: list[tuple[str, int, str]] = []
    handler = callbacks(
        connected=lambda one: seen.append((one.peer_address, one.peer_port, one.id)),
        message=lambda envelope: None,
    )
    first = Client(handler, transcripts=None)
    second = Client(factory=first.factory, clock=first.clock)
    assert [one[:2] for one in seen] == [("192.0.2.1", 50000)] * 2
    assert len({one[2] for one in seen if one[2]}) == 2
    first.leave()
    second.finish()


def test_e16_handlers_are_replaced_and_removed_in_mid_session() -> None:
    """An event hears the handler that was put there last; where none is left, mail is accepted."""
    seen: list[Connection] = []
    old = Recorder(connected=seen.append)
    new = Recorder(message=(550, "Not I"))
    client = Client(old)
    assert client.codes(HELLO + MESSAGE)[-1] == 250
    seen[0].handler = new
    assert client.codes(MESSAGE)[-1] == 550
    seen[0].handler = callbacks(discards_content=True)
    assert client.codes(MESSAGE)[-1] == 250
    client.finish()
    assert [one.names().count("message") for one in (old, new)] == [1, 1]


def test_e17_without_handlers_everything_is_accepted() -> None:
    """Who says that mail is thrown away needs no method; the opening may refuse, but need not."""
    nothing = callbacks(discards_content=True)
    play(
        """
        S: 220
        C: EHLO a
        S: 250 ...
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: DATA
        S: 250
        S: 250
        S: 354
        C: x
        C: .
        S: 250
        """,
        nothing,
    )
    refusing = callbacks(discards_content=True, connected=lambda connection: False)
    assert play("S: 554", refusing).events == ["connected"]


# Commands.


def test_e18_an_smtp_event_vetoes_nothing() -> None:
    """The reply is what it would have been; who returns a verdict there is told in the log."""

    class Vetoing(Commands):
        def command(self, command: Any, connection: Connection) -> Any:
            return 550, "No"

    with capturedLogs() as events:
        client = Client(Vetoing)
        assert client.send(b"NOOP\r\n")[1:] == ["250 2.0.0 OK"]
        client.finish()
    assert len(events) == 1
    assert "command answers nothing" in eventAsText(events[0])


EVERY = (
    *("HELO", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"),
    *("RSET", "NOOP", "HELP", "VRFY", "AUTH", "STARTTLS"),
)


def test_e19_e21_e26_a_mask_of_nothing_is_every_command() -> None:
    """Each of the twelve is told, AUTH and STARTTLS too; of AUTH without what is secret."""
    played = play(
        f"""
        C: HELO a
        C: EHLO a
        S: 250
        S: 250 ...
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: DATA
        S: 250
        S: 250
        S: 354
        C: .
        S: 250
        C: RSET
        C: NOOP
        C: HELP
        C: VRFY a
        C: AUTH PLAIN {SECRET}
        C: STARTTLS
        S: 250
        S: 250
        S: 214-...
        S: 214
        S: 252
        S: 502
        S: 220
        C: QUIT
        S: 221
        """,
        Commands,
    )
    handler: Any = played.handler
    assert {verb.name for verb, _ in handler.heard} == set(EVERY)
    assert (Verb.AUTH, "PLAIN") in handler.heard
    assert SECRET not in repr(handler.heard)


def test_e20_a_mask_says_which_commands_are_told() -> None:
    """MAIL and RCPT, and no other one."""

    class Masked(Commands):
        command_mask = Verb.MAIL | Verb.RCPT

    played = play(
        """
        C: EHLO a
        C: NOOP
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: RSET
        S: 250 ...
        S: 250
        S: 250
        S: 250
        S: 250
        """,
        Masked,
    )
    handler: Any = played.handler
    assert [verb for verb, _ in handler.heard] == [Verb.MAIL, Verb.RCPT]


def test_e22_an_event_comes_before_its_reply_and_in_order() -> None:
    """A handler that takes its time over a command holds the reply, and those behind it."""
    waiting: list[Deferred[None]] = []

    class Slow(Commands):
        def command(self, command: Any, connection: Connection) -> Any:
            super().command(command, connection)
            waiting.append(Deferred())
            return waiting[-1]

    client = Client(Slow)
    client.replies()
    handler: Any = client.protocol.connection.handler
    assert client.send(b"NOOP\r\nHELP\r\n") == []
    assert [verb for verb, _ in handler.heard] == [Verb.NOOP]
    waiting[0].callback(None)
    assert [reply[:3] for reply in client.replies()] == ["250"]
    assert [verb for verb, _ in handler.heard] == [Verb.NOOP, Verb.HELP]
    waiting[1].callback(None)
    assert [reply[:3] for reply in client.replies()] == ["214"]
    client.finish()


def test_e23_the_argument_is_the_text_behind_the_verb() -> None:
    """MAIL has its ``FROM:`` and its parameters; the line's end and blanks there are gone."""
    played = play(
        """
        C: EHLO a
        S: 250 ...
        C: MAIL FROM:<a@example.org> SIZE=3\x20
        S: 250
        """,
        Commands,
    )
    handler: Any = played.handler
    assert handler.heard[1] == (Verb.MAIL, "FROM:<a@example.org> SIZE=3")


def test_e24_case_does_not_matter_and_order_does() -> None:
    """What comes out of order is refused, and is told all the same."""
    played = play(
        """
        C: data
        C: Mail From:<a@example.org>
        C: eHLO a
        C: rcpt to:<b@example.org>
        S: 503
        S: 503
        S: 250 ...
        S: 503
        """,
        Commands,
    )
    handler: Any = played.handler
    assert [verb for verb, _ in handler.heard] == [Verb.DATA, Verb.MAIL, Verb.EHLO, Verb.RCPT]


def test_e25_a_command_that_nobody_knows() -> None:
    """It is refused, and who wants all commands can see that there was one."""
    played = play(
        """
        C: FROBNICATE now
        C: NOOP
        S: 500 5.5.2 Command not recognised
        S: 250
        """,
        Commands,
    )
    handler: Any = played.handler
    assert [verb for verb, _ in handler.heard] == [Verb.UNKNOWN, Verb.NOOP]


# Data.


def test_e27_e28_content_comes_as_it_arrives_and_is_not_kept() -> None:
    """Octets with their CRLF, long lines in pieces; the library keeps nothing of them."""
    kept: list[object] = []

    class Streaming(Lines):
        def message(self, envelope: Envelope) -> None:
            super().message(envelope)
            kept.append(envelope.kept)

    client = Client(Streaming, limits=Limits(message_octets=None))
    handler: Any = client.protocol.connection.handler
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    client.send(b"one\r\n")
    assert b"".join(handler.octets).startswith(b"one")
    for _ in range(4):
        client.send(b"x" * 50_000)
    assert sum(map(len, handler.octets)) > 199_000  # before the line has ended
    assert client.codes(b"\r\n.\r\n") == [250]
    assert b"".join(handler.octets) == b"one\r\n" + b"x" * 200_000 + b"\r\n"
    assert handler.ends == [200_007]
    assert kept == [None]
    client.finish()


def test_e29_complete_is_told_before_the_acknowledgement() -> None:
    """At the end, an empty message too, there is one more call; the 250 waits for it."""
    end: Deferred[None] = Deferred()
    handler = Observer(message=lambda envelope: end)
    client = Client(handler)
    assert client.codes(HELLO + MAIL + RCPT + b"DATA\r\n.\r\n")[-1] == 354
    assert handler.names("command")[-2:] == ["content", "message"]
    end.callback(None)
    assert client.codes() == [250]
    client.finish()


def test_e30_a_message_over_the_limit_is_refused_and_the_session_goes_on() -> None:
    """Of 1048576 octets the last is taken; one more is 552 at the end, and no message."""
    limits = Limits(message_octets=1_048_576)
    client = Client(Lines, limits=limits)
    handler: Any = client.protocol.connection.handler
    line = b"x" * 62 + b"\r\n"
    fits = line * (1_048_576 // len(line))
    begin = MAIL + RCPT + b"DATA\r\n"
    client.send(HELLO)
    assert client.codes(begin, fits, b".\r\n") == [250, 250, 354, 250]
    assert client.codes(begin, fits, b"\r\n.\r\n") == [250, 250, 354, 552]
    assert handler.ends == [1_048_576, Reason.TOO_BIG]
    assert client.codes(b"NOOP\r\n") == [250]
    client.finish()


def test_e31_dots_of_the_protocol_are_gone() -> None:
    """I see the line as its author wrote it."""
    played = play(
        """
        C: EHLO a
        S: 250 ...
        C: MAIL FROM:<>
        C: RCPT TO:<b@example.org>
        C: DATA
        S: 250
        S: 250
        S: 354
        C: ..x
        C: ...
        C: a.b
        C: .
        S: 250
        """,
        Lines,
    )
    handler: Any = played.handler
    assert b"".join(handler.octets) == b".x\r\n..\r\na.b\r\n"


def test_e32_each_message_is_counted_from_zero() -> None:
    """Several on one connection each have the whole limit."""
    client = Client(Lines, limits=Limits(message_octets=len(TEXT)))
    handler: Any = client.protocol.connection.handler
    assert client.codes(HELLO + MESSAGE * 3)[1::4] == [250] * 4
    assert handler.ends == [len(TEXT)] * 3
    client.finish()


def test_e33_header_events_come() -> None:
    """Name and value of each field, in order, before the message is complete."""
    handler = Observer()
    client = Client(handler)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    client.send(b"Subject: one\r\n two\r\nTo: b@example.org\r\n\r\nX: no field\r\n.\r\n")
    assert handler.said("header") == [("Subject", "one two"), ("To", "b@example.org")]
    client.finish()


# Logins.

PLAIN_A_B = "AGEAYg=="  # NUL a NUL b
PLAIN_A_X = "AGEAeA=="


class Gate:
    """It lets one user in."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def authenticate(self, credentials: Any, connection: Connection) -> bool:
        given = (credentials.authorization_id, credentials.username, credentials.password)
        self.asked.append(given)
        return given[1:] == ("a", "b")

    def message(self, envelope: Envelope) -> None:
        pass


INSIDE = """
        C: EHLO a
        S: 250 ...
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        C: EHLO a
        S: 250 ...
"""


def test_e34_e36_my_handler_decides_on_a_login_inside_tls() -> None:
    """It is given user and password; outside TLS nobody is asked."""
    played = play(
        f"""
        C: EHLO a
        S: 250 ...
        C: AUTH PLAIN {PLAIN_A_B}
        S: 538
        {INSIDE}
        C: AUTH PLAIN {PLAIN_A_X}
        S: 535
        C: AUTH PLAIN {PLAIN_A_B}
        S: 235
        """,
        Gate,
    )
    handler: Any = played.handler
    assert handler.asked == [("", "a", "x"), ("", "a", "b")]


def test_e34_every_login_is_accepted_where_i_ask_for_that(server: Server) -> None:
    """Without a handler of mine nobody need be known; with one, no authenticator is no AUTH."""
    with smtplib.SMTP("127.0.0.1", server.port) as caller:
        caller.starttls(context=unchecked())
        assert caller.login("anybody", SECRET)[0] == 235
    play(
        f"""
        {INSIDE}
        C: AUTH PLAIN {PLAIN_A_B}
        S: 502
        """
    )


def test_e35_plain_with_its_response_or_without_in_any_case() -> None:
    """Verb and mechanism may be in lower case, and the response may come later."""
    played = play(
        f"""
        {INSIDE}
        C: auth plain
        S: 334
        C: {PLAIN_A_X}
        S: 535
        C: Auth Plain {PLAIN_A_B}
        S: 235
        """,
        Gate,
    )
    assert played.dialogue.connection.identity == "a"


def test_e37_mail_needs_no_login_unless_i_say_so() -> None:
    """The login is remembered: a second one is out of order, and it can be required."""
    script = f"""
        {INSIDE}
        C: MAIL FROM:<a@example.org>
        S: %s
        C: RSET
        C: AUTH PLAIN {PLAIN_A_B}
        C: AUTH PLAIN {PLAIN_A_B}
        C: MAIL FROM:<a@example.org>
        S: 250
        S: 235
        S: 503
        S: 250
    """
    play(script % "250", Gate)
    play(script % "530", Gate, settings=Settings(require_auth=True))


# Replies, TLS, time.


def test_e38_e39_the_replies_that_clients_know() -> None:
    """The codes are those of old; the name is mine, and EHLO says what there is."""
    played = play(
        f"""
        S: 220 {HOSTNAME} ESMTP
        C: HELO a
        S: 250 {HOSTNAME}
        C: EHLO a
        S: 250-{HOSTNAME}
        S: 250 ...
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: DATA
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        S: 354 Start mail input, end with <CRLF>.<CRLF>
        C: .
        S: 250 2.0.0 Message accepted
        C: RSET
        C: NOOP
        C: VRFY a
        C: HELP
        S: 250
        S: 250
        S: 252 2.5.0
        S: 214-2.0.0 Commands:
        S: 214 2.0.0
        C: STARTTLS
        S: 220
        C: EHLO a
        S: 250 ...
        C: QUIT
        S: 221 2.0.0 Closing connection
        """,
        Gate,
        settings=Settings(hostname=HOSTNAME, limits=Limits(message_octets=12_345_678)),
    )
    clear, inside = re.findall(rb"(?:250-.*\r\n)+250 .*\r\n", played.said)
    for keyword in (b"SIZE 12345678", b"8BITMIME", b"ENHANCEDSTATUSCODES"):
        assert keyword in clear
        assert keyword in inside
    assert (b"STARTTLS" in clear, b"AUTH" in clear) == (True, False)
    assert (b"STARTTLS" in inside, b"AUTH PLAIN" in inside) == (False, True)


def test_e40_tls_changes_nothing_for_my_handler() -> None:
    """The same object hears the events before and after; a second STARTTLS is refused."""
    played = play(
        f"""
        {INSIDE}
        C: STARTTLS
        C: MAIL FROM:<a@example.org>
        S: 503
        S: 250
        """,
        Commands,
    )
    handler: Any = played.handler
    verbs = [verb for verb, _ in handler.heard]
    assert verbs == [Verb.EHLO, Verb.STARTTLS, Verb.EHLO, Verb.STARTTLS, Verb.MAIL]


def test_e41_commands_may_come_in_one_packet() -> None:
    """Each is answered, in order."""
    client = Client(Lines)
    codes = client.codes(HELLO + MESSAGE + b"VRFY a\r\nX\r\nQUIT\r\n")
    assert codes == [220, 250, 250, 250, 354, 250, 252, 500, 221]
    client.finish()


def test_e42_who_says_nothing_for_120_seconds_is_sent_away() -> None:
    """With a word, and the handler is told why; lines have a limit of mine."""
    ends: list[Reason] = []

    class Patient(Lines):
        def disconnected(self, reason: Reason, connection: Connection) -> None:
            ends.append(reason)

    limits = Limits(idle_seconds=120, command_octets=32_000)
    play(
        f"""
        C: NOOP {"x" * 31_993}
        S: 250
        C: NOOP {"x" * 31_994}
        S: 500 5.5.2 Line too long
        *: 119 s pass
        C: NOOP
        S: 250
        *: 119 s pass
        *: 1 s pass
        S: 421 4.4.2
        """,
        Patient,
        settings=Settings(limits=limits),
    )
    assert ends[0] is Reason.TIMEOUT


def test_e43_the_221_is_written_before_the_close() -> None:
    """A client that quits hears that it may go, and then the end."""
    client = Client(Lines)
    client.replies()
    assert client.send(b"QUIT\r\n") == ["221 2.0.0 Closing connection"]
    assert client.closing
    assert not client.transport.aborted
    client.finish()


# Recording.


def test_e44_e45_e46_a_file_for_each_connection_below_a_folder(server: Server) -> None:
    """
    Dated folders in UTC, the name is the connection's; both directions, also inside TLS.

    The folder needs no slash at its end.
    """
    with smtplib.SMTP("127.0.0.1", server.port) as caller:
        caller.starttls(context=unchecked())
        caller.sendmail("inside@example.org", ["b@example.org"], "a marked text\r\n")
    path = record_with(server, "a marked text", "the client has quit")
    year, month, day, name = path.relative_to(server.folder.parent / "recorded").parts
    assert name.startswith(f"{year}{month}{day}T")
    transcript = load(path)
    assert f"{transcript.fields['connection']}.txt" == name
    said = [(line.side, line.octets) for line in transcript.lines]
    assert any(side == "C" and octets.startswith(b"mail FROM:<inside@") for side, octets in said)
    assert ("S", b"250 2.1.0 Sender ok") in said


@pytest_twisted.ensureDeferred
async def test_e44_recording_is_switched_on_and_off_for_later_connections(tmp_path: Path) -> None:
    """Who is there stays recorded, or unrecorded, to the end; all is on the disk after a stop."""
    from twisted.internet import reactor

    names: list[str] = []
    handler = callbacks(
        message=lambda envelope: None, connected=lambda connection: names.append(connection.id)
    )
    factory = SmtpServerFactory(handler, log_messages=False)
    service = SmtpService(ANY_PORT, factory)
    service.startService()
    port = port_of(service)
    callers: list[Caller] = []

    async def arrive() -> None:
        callers.append(await deferToThread(Caller, port))

    def say_to_all() -> None:
        for caller in callers:
            caller.say("VRFY last")
            caller.close()

    await arrive()
    first, second = (
        TranscriptFolder(TranscriptSettings(tmp_path / name), reactor) for name in ("one", "two")
    )
    for folder in (first, None, second):
        factory.transcripts = folder
        assert factory.transcripts is folder
        await arrive()
    with pytest.raises(TypeError, match="transcripts"):
        factory.transcripts = tmp_path
    await deferToThread(say_to_all)
    await service.stopService()
    kept = {path.stem: path.read_text() for path in tmp_path.rglob("*.txt")}
    assert sorted(kept) == [names[1], names[3]]
    assert all("C: VRFY last" in text for text in kept.values())
    assert (tmp_path / "one" / names[1][:4]).is_dir()
    assert (tmp_path / "two" / names[3][:4]).is_dir()


def test_e47_the_log_says_what_happens(server: Server) -> None:
    """Where it listens, who logs in, whose mail is taken and refused."""
    with smtplib.SMTP("127.0.0.1", server.port) as caller:
        caller.starttls(context=unchecked())
        caller.login("logged", SECRET)
        caller.sendmail("logged@example.org", ["b@example.org"], "x")
    wait_until(lambda: "from <logged@example.org> to <b@example.org>" in server.log)
    assert all(f"127.0.0.1:{port}" in server.log for port in server.ports)
    assert "login of logged: 235" in server.log
    assert SECRET not in server.log


def test_e47_what_the_log_does_not_say_the_record_does(server: Server) -> None:
    """Who connected, what nobody knows, and whether TLS came to be."""
    with Caller(server.port) as caller:
        host, port = caller.socket.getsockname()
        assert caller.say("FROBNICATE").startswith(b"500")
        assert caller.say("STARTTLS").startswith(b"220")
        caller.socket.sendall(b"this is no handshake\r\n" * 10)
        while caller.socket.recv(1000):
            pass
    text = record_with(server, f"# peer {host}:{port}", "the TLS handshake failed").read_text()
    assert "S: 500 5.5.2 Command not recognised" in text
    with smtplib.SMTP("127.0.0.1", server.port) as secured:
        secured.starttls(context=unchecked())
        secured.verify("secured")
    assert "*: TLS" in record_with(server, "vrfy secured", "the client has quit").read_text()


@pytest_twisted.ensureDeferred
async def test_e48_a_record_that_cannot_be_written_hurts_no_mail(tmp_path: Path) -> None:
    """One line in the log says so, and the session goes on."""
    from twisted.internet import reactor

    (tmp_path / "file").write_text("in the way")
    settings = TranscriptSettings(tmp_path / "file" / "recorded")
    folder = TranscriptFolder(settings, reactor)
    with capturedLogs() as events:
        client = Client(Lines, transcripts=folder)
        assert client.codes(HELLO + MESSAGE)[-1] == 250
        client.finish()
        await folder.close()
    said = [eventAsText(event) for event in events]
    assert any(str(tmp_path / "file") in line for line in said), said


# Traps.


@pytest.mark.parametrize(
    "injected", [b"NOOP\r\n", b"EHLO evil\r\nMAIL FROM:<evil@example.org>\r\n"]
)
def test_ex1_what_stands_behind_starttls_is_not_run(injected: bytes) -> None:
    """It ends the connection; and what was said before the handshake is forgotten."""
    handler = Observer()
    client = Client(handler, tls=Secure())
    client.send(HELLO)
    assert client.codes(b"STARTTLS\r\n" + injected) == [554]
    assert client.closing
    client.finish()
    assert handler.names().count("hello") == 1
    assert "mail" not in handler.names()
    play(
        """
        C: EHLO a
        S: 250 ...
        C: STARTTLS
        S: 220
        C: MAIL FROM:<a@example.org>
        S: 503 5.5.1 Send EHLO first
        """
    )


def test_ex2_the_size_that_is_offered_is_the_limit() -> None:
    """SIZE= beyond it is 552 at MAIL; a message beyond it is 552 at its end, not silence."""
    limits = Limits(message_octets=1_048_576)
    client = Client(Lines, limits=limits)
    assert "SIZE 1048576|" in client.send(HELLO)[1]
    assert client.codes(b"MAIL FROM:<> SIZE=1048577\r\n") == [552]
    assert client.codes(b"MAIL FROM:<> SIZE=1048576\r\n", RCPT, b"DATA\r\n") == [250, 250, 354]
    client.send(*[b"x" * 65_534 + b"\r\n"] * 17)
    assert client.codes(b".\r\n") == [552]
    client.finish()


def test_ex3_ex4_a_line_is_a_command_or_is_refused() -> None:
    """Neither DATABASE nor HELOX is one; an empty line and a digit are answered, and all behind."""
    client = Client(Lines)
    client.send(HELLO + MAIL + RCPT)
    codes = client.codes(b"DATABASE\r\nHELOX a\r\n\r\n1\r\n\x00\r\nNOOP\r\n")
    assert codes == [500, 500, 500, 500, 500, 250]
    client.finish()


@pytest.mark.parametrize("length", [31_998, 31_999, 32_000, 32_001, 65_536])
def test_ex5_a_dot_within_a_long_line_ends_nothing(length: int) -> None:
    """A message ends at CRLF dot CRLF, wherever the network has cut it."""
    content = b"x" * length + b".\r\nRSET\r\n"
    client = Client(Lines)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    assert client.send(b"x" * length, b".\r\n", b"RSET\r\n") == []
    assert client.codes(*pieces(b".\r\n")) == [250]
    handler: Any = client.protocol.connection.handler
    assert b"".join(handler.octets) == content
    # A CR too much is refused, once, at the end; and what follows is commands again.
    codes = client.codes(MAIL + RCPT + b"DATA\r\nx\r\r\n.\r\nNOOP\r\n")
    assert codes == [250, 250, 354, 550, 250]
    client.finish()


def test_ex6_inside_tls_quit_closes_too(server: Server) -> None:
    """The client hears 221, and then the end of the connection."""
    caller = smtplib.SMTP("127.0.0.1", server.port, timeout=10)
    caller.starttls(context=unchecked())
    secured: Any = caller.sock
    secured.sendall(b"QUIT\r\n")
    heard = b""
    while octets := secured.recv(1000):
        heard += octets
    assert heard == b"221 2.0.0 Closing connection\r\n"
    caller.close()


def test_ex7_an_authorization_id_shifts_nothing_and_passwords_are_not_kept(server: Server) -> None:
    """Who acts as whom comes apart; no file and no line has the password, plain or encoded."""
    played = play(
        f"""
        {INSIDE}
        C: AUTH PLAIN YWN0aW5nAGEAYg==
        S: 235
        """,
        Gate,
    )
    handler: Any = played.handler
    assert handler.asked == [("acting", "a", "b")]
    with smtplib.SMTP("127.0.0.1", server.port) as caller:
        caller.starttls(context=unchecked())
        caller.login("logged", SECRET)
        caller.verify("kept")
    record_with(server, "vrfy kept", "the client has quit")
    kept = b"".join(path.read_bytes() for path in recorded(server)) + server.log.encode()
    assert b"AUTH PLAIN" in kept
    for encoded in (SECRET.encode(), b"c2VzYW1lLTEyMzQ", b"Nlc2FtZS0xMjM0", b"zZXNhbWUtMTIzN"):
        assert encoded not in kept


def test_ex8_records_are_mine_alone_and_named_by_numbers_of_fixed_length(server: Server) -> None:
    """Folders are 0700, files 0600; the hour is the one in UTC."""
    with Caller(server.port) as caller:
        caller.say("VRFY mine")
        caller.say("QUIT")
    path = record_with(server, "VRFY mine", "the client has quit")
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f-]+\.txt", path.name)
    for folder in path.parents[:4]:
        assert folder.stat().st_mode & 0o777 == 0o700
    started = datetime.fromisoformat(load(path).fields["started"])
    assert path.name.startswith(f"{started.astimezone(UTC):%Y%m%dT%H%M%S}")


def test_ex9_events_of_a_connection_come_one_after_the_other_and_clients_are_limited() -> None:
    """No event begins before the last one is answered; who is one too many hears why."""
    open_now: list[object] = []
    waiting: list[Deferred[None]] = []

    def begin(*_: object) -> Deferred[None]:
        assert not open_now
        open_now.append(None)
        waiting.append(Deferred())
        return waiting[-1].addCallback(lambda _: open_now.clear())

    handler = Recorder(mail=begin, rcpt=begin, data=begin, message=begin)
    client = Client(handler, limits=Limits(connections=1))
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    for _ in range(3):
        waiting.pop().callback(None)
    client.send(TEXT + b".\r\n")
    waiting.pop().callback(None)
    assert handler.names("content", "connected", "hello") == ["mail", "rcpt", "data", "message"]
    late = Client(factory=client.factory, clock=client.clock)
    assert [reply[:3] for reply in late.replies()] == ["421"]
    late.leave()
    assert handler.names().count("connected") == 1
    client.finish()


def test_ex10_data_needs_a_recipient_and_each_reply_its_status() -> None:
    """Leading blanks are no command; EXPN is known; statuses are where they were promised."""
    play(
        """
        C: EHLO a
        S: 250 ...
        C: DATA
        C:   MAIL FROM:<a@example.org>
        C: MAIL FROM:<a@example.org>
        C: DATA
        C: RCPT TO:<b@example.org>
        C: EXPN list
        C: RSET
        C: QUIT
        S: 503 5.5.1 Send MAIL first
        S: 500 5.5.2
        S: 250 2.1.0
        S: 503 5.5.1 No valid recipient yet
        S: 250 2.1.5
        S: 250 2.0.0
        S: 250 2.0.0
        S: 221 2.0.0
        """,
        callbacks(
            message=lambda envelope: None,
            expand=lambda text, connection: (250, "<anne@example.org>"),
            mail=lambda envelope: envelope.reverse_path != ReversePath.NULL,
        ),
    )
