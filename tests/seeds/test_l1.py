"""What a user of libESMTP relies on: sessions, sources, events, the monitor, results, time."""

from __future__ import annotations

import gc
import io
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from email.message import EmailMessage
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from smtpcb import Connection, Envelope, Recipient, Settings, TranscriptFolder, TranscriptSettings
from smtpcb.client import (
    CertificateChecks,
    Check,
    ClientProtocol,
    ClientTimes,
    ContentError,
    Feed,
    Monitor,
    NoSession,
    Observers,
    Outgoing,
    Server,
    SubmissionSession,
    Transcripts,
    send,
)
from smtpcb.engine import (
    Cause,
    ClientDialogue,
    ClientFailure,
    ClientObserver,
    ClientSettings,
    Offers,
    Outcome,
    Stage,
    TlsInformation,
    Transaction,
)
from smtpcb.smtp import (
    Command,
    Credentials,
    DeliverBy,
    MailParameters,
    Notify,
    RcptParameters,
    Reply,
    Verb,
    WhenLate,
)
from smtpcb.tls import ServerTls
from smtpcb.transcript import load
from tests.certificates import make_authority, make_identity
from tests.client.servers import Hosts, ScriptedServer, known
from tests.engine.client.talk import CHUNKS, GROUPS, MAIL, QUIT, RCPT, RCPT_2, STEPS, talk, to
from tests.seeds.client_side import (
    ANNE,
    BOB,
    CARL,
    HEADER,
    PASSWORD,
    PLAIN,
    TEXT,
    Office,
    Servers,
    Wire,
    session,
    submit,
    wire_of,
)
from tests.seeds.items import check_items

OMITTED: dict[str, str] = {}

HOST = "mail.example.org"
LONG = TEXT + (b"x" * 70 + b"\r\n") * 1000


def test_each_item_has_a_test_or_a_reason() -> None:
    """Nothing is forgotten; those from 45 on have another module."""
    check_items("l", globals(), items=44, traps=0, omitted=OMITTED)


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Servers that end with the test."""
    started = Servers()
    yield started
    pytest_twisted.blockon(ensureDeferred(started.stop()))


@pytest.fixture
def addresses() -> Iterator[Callable[..., tuple[int, list[ScriptedServer]]]]:
    """Start a server on each address of the host; None: nobody is there.  Return the port too."""
    started: list[ScriptedServer] = []

    def begin(*scripts: tuple[bytes | None, ...] | None) -> tuple[int, list[ScriptedServer]]:
        port = 0
        for number, script in enumerate(scripts, 1):
            started.append(ScriptedServer(*(script or ())))
            if script is not None:
                port = started[-1].listen(f"127.0.0.{number}", port)
        return port, started

    yield begin
    for one in started:
        pytest_twisted.blockon(ensureDeferred(one.stop()))


def several(number: int) -> Any:
    """Have the host so many addresses."""
    return known(Hosts(mail_example_org=[f"127.0.0.{one}" for one in range(1, number + 1)]))


class Events(ClientObserver):
    """Keeps what happens, in short."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def connected(self, connection: Connection) -> None:
        self.seen.append(("connected", connection.hostname))

    def secured(self, tls: TlsInformation) -> None:
        self.seen.append(("secured", tls.version))

    def begun(self, transaction: Transaction) -> None:
        self.seen.append(("begun", transaction.data))

    def finished(self, transaction: Transaction) -> None:
        self.seen.append(("finished", transaction.data))

    def content(self, octets: bytes) -> None:
        self.seen.append(("content", len(octets)))

    def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
        whose = subject.argument if isinstance(subject, Command) else getattr(subject, "data", None)
        self.seen.append((stage.value, whose, reply.code))

    def disconnected(self, failure: ClientFailure | None) -> None:
        self.seen.append(("disconnected", None if failure is None else failure.cause))

    def named(self, *names: str) -> list[Any]:
        """Return the events of these names."""
        return [one for one in self.seen if one[0] in names]


class Wired:
    """A client's connection without a network, whose time passes as it is told to."""

    def __init__(self, settings: ClientSettings = PLAIN, **options: Any) -> None:
        self.clock = Clock()
        times = options.pop("times", ClientTimes())
        self.protocol = ClientProtocol(settings, self.clock, times, **options)
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)

    def hears(self, *replies: str) -> None:
        """Have the server say something, in one piece."""
        self.protocol.dataReceived("".join(f"{one}\r\n" for one in replies).encode())


class Transport(StringTransport):
    """
    Counts what is written at once.

    :ivar writes: each of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)


# Objects and their life.


@pytest_twisted.ensureDeferred
async def test_l1_a_session_owns_its_messages_and_they_their_recipients(servers: Servers) -> None:
    """Forgetting the session frees all of it; nothing has to be destroyed."""
    one = session(servers.start(Office()))
    message = one.add_message(ANNE, TEXT)
    recipient = message.add_recipient(BOB)
    etrn = one.add_etrn("example.org")
    await one.run()
    alive = [weakref.ref(one), weakref.ref(message)]
    assert message.recipients == [recipient]
    assert one.commands == [etrn]
    del one, message, recipient, etrn
    await deferLater(reactor, 0)  # whoever has called us, had the result
    gc.collect()  # a recipient knows its message, which knows its recipients
    assert [ref() is None for ref in alive] == [True, True]


@pytest_twisted.ensureDeferred
async def test_l2_one_call_is_the_whole_session(servers: Servers) -> None:
    """It connects, sends every message and quits; before and after it there is no connection."""
    office, events, wire = Office(), Events(), Wire()
    one = session(servers.start(office), observer=Observers(events, wire))
    for _ in range(2):
        one.add_message(ANNE, TEXT).add_recipient(BOB)
    assert events.seen == []
    assert (await one.run()).is_delivered
    assert [name for name, *_ in events.named("connected", "disconnected")] == [
        "connected",
        "disconnected",
    ]
    assert (wire.verbs.split()[0], wire.verbs.split()[-1]) == ("EHLO", "QUIT")
    assert len(office.envelopes) == 2


@pytest_twisted.ensureDeferred
async def test_l3_l4_a_host_and_a_service(servers: Servers) -> None:
    """587 if nothing is said, a number or a name; an empty host is this machine."""
    assert [Server(HOST).name, Server(HOST, 25).name, Server(HOST, "smtp").name] == [
        f"{HOST}:587",
        f"{HOST}:25",
        f"{HOST}:25",
    ]
    assert Server("", 25).name == "localhost:25"
    with pytest.raises(ValueError, match="no such service: 'nonsense'"):
        Server(HOST, "nonsense")
    nowhere = session(1)
    nowhere.add_message(ANNE, TEXT).add_recipient(BOB)  # nobody is asked before it is run
    with pytest.raises(NoSession):
        await nowhere.run()
    port = servers.start(Office())
    with several(1):
        one = SubmissionSession(Server(HOST, port), settings=PLAIN)
        one.add_message(ANNE, TEXT).add_recipient(BOB)
        # The host as it was given, and which of its addresses it was.
        assert (await one.run()).where == f"{HOST}[127.0.0.1]:{port}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("client.example.org", "client.example.org"),
        ("client", "[127.0.0.1]"),
        ("localhost.localdomain", "[127.0.0.1]"),
        ("not a.name", "[127.0.0.1]"),
    ],
)
async def test_l5_who_says_ehlo(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, system: str, said: str
) -> None:
    """
    By default the system's name; where that is none for the world, the address of our end.

    Servers refuse localhost, and what has no domain.
    """
    monkeypatch.setattr(socket, "gethostname", lambda: system)
    port = servers.start(Office())
    wire = await wire_of(port, settings=ClientSettings(starttls="off"))
    assert wire.lines[0] == f"EHLO {said}"
    wire = await wire_of(port, settings=ClientSettings(hostname="[192.0.2.1]", starttls="off"))
    assert wire.lines[0] == "EHLO [192.0.2.1]"
    with pytest.raises(ValueError, match="no domain or address literal"):
        ClientSettings(hostname="")


@pytest_twisted.ensureDeferred
async def test_l6_l9_everything_is_kept_in_order_with_what_it_is_known_by(
    servers: Servers,
) -> None:
    """Messages and recipients are listed as they were added, and sent so; your data is there."""
    office, events = Office(), Events()
    one = session(servers.start(office), observer=events, data="the batch")
    for number in range(3):
        message = one.add_message(ANNE, TEXT, data=number)
        for letter in "cab":
            message.add_recipient(f"{letter}{number}@example.org", data=letter)
    assert [(each.data, [to.data for to in each.recipients]) for each in one.messages] == [
        (number, ["c", "a", "b"]) for number in range(3)
    ]
    await one.run()
    assert one.data == "the batch"
    assert office.recipients == [
        [f"{letter}{number}@example.org" for letter in "cab"] for number in range(3)
    ]
    assert [whose for _, whose, _ in events.named("mail", "rcpt")] == [
        *(0, "c", "a", "b", 1, "c", "a", "b", 2, "c", "a", "b")
    ]
    one.messages[0].data = "another"
    assert one.messages[0].transaction.data == "another"


@pytest_twisted.ensureDeferred
async def test_l7_paths_are_said_as_they_are_given(servers: Servers) -> None:
    """An empty one is the null reverse-path, and none is rewritten but for what is no path."""
    port = servers.start(Office())
    assert (await wire_of(port, sender="")).said("MAIL")[0].startswith("MAIL FROM:<> ")
    wire = await wire_of(
        port, sender="Anne.O'Hara+x@Example.ORG", to=['"a b"@example.org', "Bob@EXAMPLE.org"]
    )
    assert wire.said("MAIL")[0].startswith("MAIL FROM:<Anne.O'Hara+x@Example.ORG> ")
    assert wire.said("RCPT") == ['RCPT TO:<"a b"@example.org>', "RCPT TO:<Bob@EXAMPLE.org>"]


@pytest_twisted.ensureDeferred
async def test_l8_what_cannot_be_run_is_told_at_once(servers: Servers) -> None:
    """No server, no source, nothing to do: before anybody is connected to."""
    with pytest.raises(ValueError, match="a session needs a server"):
        SubmissionSession(settings=PLAIN)
    office = Office()
    one = session(servers.start(office))
    with pytest.raises(TypeError, match="NoneType cannot be sent: give an EmailMessage"):
        one.add_message(ANNE, None)
    with pytest.raises(ValueError, match="nothing to do"):
        await one.run()
    message = one.add_message(ANNE, TEXT)
    with pytest.raises(ValueError, match="nothing to do"):
        await one.run()
    message.add_recipient(BOB)
    message.add_recipient("no-one@example.org")
    await one.run()
    with pytest.raises(ValueError, match="nothing to do"):
        await one.run()
    assert len(office.envelopes) == 1


@pytest_twisted.ensureDeferred
async def test_l8_a_message_that_cannot_be_sent_keeps_no_other_back(servers: Servers) -> None:
    """It says why, nothing of it is sent, and another attempt is as good for the others."""
    office = Office()
    one = session(servers.start(office))
    bad = one.add_message(ANNE, b"Subject: x\r\n\r\na\rb\r\n")
    gone = one.add_message(ANNE, Path("there is no such file"))
    good = one.add_message(ANNE, TEXT)
    for each in one.messages:
        each.add_recipient(BOB)
    result = await one.run()
    assert [message.is_delivered for message in result.messages] == [False, False, True]
    assert len(office.envelopes) == 1
    for each, kind in ((bad, ContentError), (gone, FileNotFoundError)):
        [recipient] = each.recipients
        assert recipient.outcome is Outcome.NOT_TRIED
        assert recipient.failure is not None
        assert (recipient.failure.stage, recipient.failure.cause) == (Stage.CONTENT, Cause.SOURCE)
        assert isinstance(recipient.failure.__cause__, kind)
    assert good.is_delivered
    # Where no message can be sent at all, that is an error.
    with pytest.raises(ContentError, match="line 3"):
        await one.run()


@pytest_twisted.ensureDeferred
async def test_l8_what_cannot_be_written_keeps_no_other_back(servers: Servers) -> None:
    """A parameter that has no form on the wire is found when the message is due."""
    office = Office()
    one = session(servers.start(office))

    def of_mine(offers: Offers) -> MailParameters:
        raise LookupError("mine")

    one.add_message(ANNE, TEXT, parameters=of_mine).add_recipient(BOB)
    one.add_message(ANNE, TEXT).add_recipient(CARL)
    result = await one.run()
    assert office.recipients == [[CARL]]
    assert result.failure is None
    [missed] = result.not_delivered
    assert str(missed.failure) == "content: mine"


@pytest_twisted.ensureDeferred
async def test_l10_nothing_is_added_while_it_runs(servers: Servers) -> None:
    """It would be neither in this run nor surely in the next: it is refused, and so is a thread."""
    one = session(servers.start(Office()))
    message = one.add_message(ANNE, TEXT)
    message.add_recipient(BOB)
    running = ensureDeferred(one.run())
    with pytest.raises(RuntimeError, match="the session is running"):
        one.add_message(ANNE, TEXT)
    with pytest.raises(RuntimeError, match="add recipients before"):
        message.add_recipient(CARL)
    with pytest.raises(RuntimeError, match="the session is running"):
        await one.run()
    await running
    message.add_recipient(CARL)

    def elsewhere() -> None:
        ensureDeferred(one.run()).addErrback(lambda reason: told.append(str(reason.value)))

    told: list[str] = []
    await deferToThread(elsewhere)
    assert "blockingCallFromThread" in told[0]
    assert (await one.run()).is_delivered


@pytest_twisted.ensureDeferred
async def test_l11_a_server_that_goes_away_ends_no_program(servers: Servers) -> None:
    """Writing to who is gone is an outcome, and no signal; the version can be asked for."""
    fake = servers.fake(data=["354 go"], final=None)
    one = session(fake.port)
    recipient = one.add_message(ANNE, HEADER + b"\r\n" + b"x" * 70 + b"\r\n").add_recipient(BOB)
    await one.run()
    assert recipient.outcome is Outcome.UNKNOWN
    assert version("smtpcb")


# What is sent.


@implementer(IBodyProducer)
class Producer:
    """Writes a message in two halves."""

    def __init__(self, octets: bytes) -> None:
        self.length = len(octets)
        self._octets = octets

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._octets[:9])
        consumer.write(self._octets[9:])
        return succeed(None)

    def stopProducing(self) -> None:
        pass

    pauseProducing = resumeProducing = stopProducing


class Anew:
    """Iterates asynchronously, anew each time, and waits in between."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for octet in (self._octets[:20], self._octets[20:]):
            await deferLater(reactor, 0)
            yield octet


def _file(octets: bytes, folder: Path) -> Any:
    path = folder / "message.eml"
    path.write_bytes(b"not this" + octets)
    file = path.open("rb")
    file.seek(len(b"not this"))
    return file


def _path(octets: bytes, folder: Path) -> Path:
    (folder / "message.eml").write_bytes(octets)
    return folder / "message.eml"


def _email(octets: bytes, folder: Path) -> EmailMessage:
    message = EmailMessage()
    message["From"] = ANNE
    message.set_content(".dots\n\nHi\n")
    return message


async def _coroutine_of(octets: bytes) -> AsyncIterator[bytes]:
    yield octets


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "source",
    [
        lambda octets, folder: octets,
        lambda octets, folder: bytearray(octets),
        lambda octets, folder: io.BytesIO(octets),
        _file,
        _path,
        _email,
        lambda octets, folder: octets.splitlines(keepends=True),
        lambda octets, folder: Anew(octets),
        lambda octets, folder: lambda: iter([octets]),
        lambda octets, folder: lambda: _coroutine_of(octets),
        lambda octets, folder: lambda: Producer(octets),
    ],
)
async def test_l12_l13_each_attempt_begins_at_the_beginning(
    servers: Servers, tmp_path: Path, source: Callable[[bytes, Path], object]
) -> None:
    """Whatever the message is kept in; it is the same octet for octet, with the same Message-ID."""
    contents: list[bytes] = []

    class Later(Office):
        def message(self, envelope: Envelope) -> Any:
            contents.append(envelope.content.bytes())
            return (451, "Later") if len(contents) == 1 else None

    text = b"From: anne@example.org\n\n.dots\n\nHi\n"
    one = session(servers.start(Later()))
    made = source(text, tmp_path)
    message = one.add_message(ANNE, made)
    message.add_recipient(BOB)
    assert not (await one.run()).is_delivered
    assert (await one.run()).is_delivered
    if isinstance(made, io.IOBase):
        made.close()
    assert contents[0] == contents[1]
    assert contents[0].endswith(b"\r\n\r\n.dots\r\n\r\nHi\r\n")
    assert message.outgoing.message_id.encode() in contents[0]


def _feed(octets: bytes) -> Feed:
    feed = Feed()
    feed.write(octets)
    feed.end()
    return feed


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "source",
    [
        lambda octets: iter([octets]),
        lambda octets: _coroutine_of(octets),
        lambda octets: Producer(octets),
        _feed,
    ],
)
async def test_l12_what_is_read_once_is_told_before_a_second_attempt(
    servers: Servers, source: Callable[[bytes], object]
) -> None:
    """
    Nothing of it is sent then, no connection is made for it, and others are not kept back.

    An attempt that did not come to its content, as with greylisting, has not read it.
    """
    answers = iter([(451, "Later"), None, None])

    class Later(Office):
        def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
            return (450, "Later") if len(wire.said("QUIT")) == 0 else None

        def message(self, envelope: Envelope) -> Any:
            self.envelopes.append(envelope)
            return next(answers)

    wire, office = Wire(), Later()
    one = session(servers.start(office), observer=wire)
    message = one.add_message(ANNE, source(TEXT))
    recipient = message.add_recipient(BOB)
    await one.run()
    assert office.envelopes == []
    await one.run()
    assert recipient.outcome is Outcome.DEFERRED
    said = len(wire.lines)
    with pytest.raises(ContentError, match="can be read only once, and has been"):
        await one.run()
    assert len(wire.lines) == said
    one.add_message(ANNE, TEXT).add_recipient(CARL)
    result = await one.run()
    assert office.recipients[1:] == [[CARL]]
    assert [one.forward_path.local_part for one in result.not_delivered] == ["bob"]
    assert recipient.failure is not None
    assert "only once" in str(recipient.failure)


@pytest_twisted.ensureDeferred
async def test_l13_text_is_no_message_before_it_is_octets() -> None:
    """Its charset is not known, nor whether it is a file's name: both are said otherwise."""
    with pytest.raises(TypeError, match=r"a str is no message: give its octets \(text.encode"):
        session(1).add_message(ANNE, "Subject: Hello\n\n")  # type: ignore[arg-type,unused-ignore]
    with pytest.raises(TypeError, match="open it with 'rb'"):
        session(1).add_message(ANNE, io.StringIO("x"))


@pytest_twisted.ensureDeferred
async def test_l14_lines_end_in_crlf_and_the_last_one_too(servers: Servers) -> None:
    """A message without a header section begins with an empty line, as there."""
    office = Office()
    port = servers.start(office)
    await submit(port, HEADER + b"\r\nHi\r\nno end", rules=None)
    await submit(port, HEADER.replace(b"\r\n", b"\n") + b"\nHi\nno end", rules=None)
    assert office.contents == [HEADER + b"\r\nHi\r\nno end\r\n"] * 2
    await submit(port, b"\nonly a body\n")
    head, _, body = office.contents[2].partition(b"\r\n\r\n")
    assert (body, b"From: anne@example.org" in head) == (b"only a body\r\n", True)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("without", [frozenset(), frozenset({"CHUNKING"})])
async def test_l15_dots_and_the_end_are_not_the_callers_work(
    servers: Servers, without: frozenset[str]
) -> None:
    """They are doubled behind DATA, and not in chunks; folded fields stay folded."""
    folded = HEADER + b"Subject: a\r\n very\r\n\tlong one\r\n\r\n.\r\n..\r\nend\r\n"
    office = Office()
    settings = ClientSettings(hostname="me.example.org", starttls="off", without=without)
    wire = await wire_of(servers.start(office), folded, settings=settings, rules=None)
    assert office.contents == [folded]
    stuffed = folded.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    assert wire.content_octets == (stuffed if without else folded)
    assert ("BDAT" in wire.verbs) is not bool(without)


class FailsError(Exception):
    """A source's own."""


def _fails() -> Iterator[bytes]:
    yield LONG
    raise FailsError("the disk is gone")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("without", [frozenset(), frozenset({"CHUNKING"})])
async def test_l16_a_source_that_fails_is_no_message(
    servers: Servers, without: frozenset[str]
) -> None:
    """
    The link is dropped without the end of the data and without QUIT; the server has nothing.

    The messages behind it go over another connection.
    """
    office, wire, events = Office(), Wire(), Events()
    settings = ClientSettings(hostname="me.example.org", starttls="off", without=without)
    port = servers.start(office)
    one = session(port, settings, observer=Observers(wire, events))
    first = one.add_message(ANNE, TEXT)
    broken = one.add_message(ANNE, _fails())
    last = one.add_message(ANNE, TEXT)
    for each in one.messages:
        each.add_recipient(BOB)
    result = await one.run()
    assert [each.is_delivered for each in (first, broken, last)] == [True, False, True]
    assert len(office.envelopes) == 2
    assert result.failure is None
    [recipient] = broken.recipients
    assert (recipient.outcome, recipient.stage) == (Outcome.DEFERRED, Stage.CONTENT)
    assert recipient.failure is not None
    assert recipient.failure.cause is Cause.SOURCE
    assert "FailsError: the disk is gone" in str(recipient.failure)
    assert events.named("disconnected") == [("disconnected", Cause.SOURCE), ("disconnected", None)]
    assert wire.verbs.count("QUIT") == 1


@pytest_twisted.ensureDeferred
async def test_l16_nobody_to_go_on_with(servers: Servers) -> None:
    """What is left says why, and what was delivered before stays so: nothing is lost."""
    fake = servers.fake(greeting=["220 here", "421 enough"], ehlo="250-here\n250 8BITMIME")
    one = session(fake.port)
    first = one.add_message(ANNE, TEXT)
    one.add_message(ANNE, _fails())
    last = one.add_message(ANNE, TEXT)
    for each in one.messages:
        each.add_recipient(BOB)
    result = await one.run()
    assert first.is_delivered
    assert result.failure is not None
    assert (result.failure.stage, result.failure.reply is not None) == (Stage.GREETING, True)
    assert last.recipients[0].outcome is Outcome.NOT_TRIED
    assert last.recipients[0].failure is result.failure


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("left", ["554 no", None])
async def test_l16_whoever_waits_for_a_source_is_told_that_it_is_not_wanted(
    addresses: Any, left: str | None
) -> None:
    """The server refuses in the midst of it, or leaves: the source is closed at once."""
    closed: list[str] = []

    async def slow() -> AsyncIterator[bytes]:
        try:
            yield LONG
            await Deferred[None]()  # nothing comes any more
        finally:
            closed.append("closed")

    script = [
        b"220 here\r\n",
        b"250-here\r\n250 8BITMIME\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
    ]
    port, [server] = addresses((*script,))
    one = session(port)
    recipient = one.add_message(ANNE, slow(), rules=None).add_recipient(BOB)
    running = ensureDeferred(one.run())
    while len(server.got) < 70_000:
        await deferLater(reactor, 0.01)
    assert not closed
    [connection] = server.open
    if left is not None:
        connection.transport.write(f"{left}\r\n".encode())
        await deferLater(reactor, 0.01)
    connection.transport.loseConnection()
    await running
    assert closed == ["closed"]
    assert recipient.outcome is not Outcome.DELIVERED


@pytest_twisted.ensureDeferred
async def test_l16_a_source_that_waits_is_left_when_the_call_is_cancelled(
    servers: Servers,
) -> None:
    """The link goes without the end of the data, and nothing behind it is sent."""
    closed: list[str] = []

    async def slow() -> AsyncIterator[bytes]:
        try:
            yield LONG
            reactor.callLater(0, running.cancel)  # type: ignore[attr-defined]
            await Deferred[None]()
        finally:
            closed.append("closed")

    office, events = Office(), Events()
    one = session(servers.start(office), observer=events)
    for source in (slow(), TEXT):
        one.add_message(ANNE, source).add_recipient(BOB)
    running = ensureDeferred(one.run())
    with pytest.raises(CancelledError):
        await running
    assert (closed, office.envelopes) == (["closed"], [])
    assert events.seen[-1] == ("disconnected", Cause.CANCELLED)


# Events.


@pytest_twisted.ensureDeferred
async def test_l17_each_connection_begins_and_ends_once(addresses: Any) -> None:
    """One pair for each address that was tried and connected to, one behind the other."""
    good = (b"220 here\r\n", b"250 here\r\n", *[b"250 ok\r\n"] * 2, b"354 go\r\n", b"250 ok\r\n")
    port, _ = addresses((b"421 busy\r\n",), None, (None,), good)
    events = Events()
    with several(4):
        one = SubmissionSession(Server(HOST, port), settings=PLAIN, observer=events)
        one.add_message(ANNE, TEXT).add_recipient(BOB)
        await one.run()
    where = [("connected", f"{HOST}[127.0.0.{number}]:{port}") for number in (1, 3, 4)]
    assert events.named("connected", "disconnected") == [
        *(where[0], ("disconnected", Cause.REFUSED)),
        *(where[1], ("disconnected", Cause.LOST)),
        *(where[2], ("disconnected", None)),
    ]


@pytest_twisted.ensureDeferred
async def test_l17_a_handshake_that_fails_is_the_end_of_a_connection(servers: Servers) -> None:
    """Also of one that begins with it, whose dialogue has never begun."""
    issued = make_identity(["other.example.org"])
    port = servers.start(Office(), implicit=True, tls=ServerTls(lambda: [issued.identity]))
    events = Events()
    place = Server("127.0.0.1", port, implicit_tls=True, hostname=HOST)
    one = SubmissionSession(place, settings=PLAIN, observer=events)
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    with pytest.raises(NoSession):
        await one.run()
    assert [name for name, _ in events.seen] == ["connected", "disconnected"]
    assert events.seen[1][1] is Cause.TLS


@pytest_twisted.ensureDeferred
async def test_l18_l19_l20_what_is_told_of_a_message_and_in_which_order(servers: Servers) -> None:
    """
    It begins, MAIL and each RCPT are answered, well or badly, the content goes, it is answered.

    Each once, with what you know the message and the recipient by.
    """
    events = Events()
    settings = ClientSettings(starttls="off", without=frozenset({"PIPELINING", "CHUNKING"}))
    one = session(servers.start(Office()), settings, observer=events)
    first = one.add_message(ANNE, HEADER + b"\r\n" + b"x" * 70 + b"\r\n", data="first", rules=None)
    first.add_recipient(BOB, data=1)
    first.add_recipient("no-one@example.org", data=2)
    none = one.add_message(ANNE, TEXT, data="none")
    none.add_recipient("no-one@example.org", data=3)
    await one.run()
    [sent] = events.named("content")[:1]
    assert events.seen[1:-1] == [
        *(("begun", "first"), ("mail", "first", 250), ("rcpt", 1, 250), ("rcpt", 2, 550)),
        *(sent, *events.named("content")[1:], ("final", "first", 250), ("finished", "first")),
        *(("begun", "none"), ("mail", "none", 250), ("rcpt", 3, 550), ("finished", "none")),
    ]
    octets = sum(size for _, size in events.named("content"))
    assert octets == first.transaction.size_octets + len(b".\r\n")  # type: ignore[operator]


def test_l19_l20_content_that_goes_ahead_is_seen_as_it_leaves() -> None:
    """With PIPELINING and CHUNKING it is before the replies to RCPT, and its message has begun."""
    events = Events()
    talk(
        CHUNKS
        + MAIL
        + RCPT
        + "C: BDAT 21 LAST\nC: Subject: hi\nC:\nC: body\n"
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\n"
        + QUIT,
        to(data="it"),
        observer=events,
        cut=False,
    )
    assert [name for name, *_ in events.seen] == [
        *("begun", "content", "mail", "rcpt", "final", "finished")
    ]


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("S: 550 no\n", [("mail", 550)]),
        ("S: 250 ok\n" + RCPT + "S: 250 ok\nC: DATA\nS: 554 no\n", [("data", 554)]),
    ],
)
def test_l19_a_message_that_is_refused_has_its_end(script: str, seen: list[Any]) -> None:
    """The reply that decides is told, once, and then what became of it."""
    events = Events()
    end = "" if "DATA" not in script else "C: RSET\nS: 250 ok\n"
    message = to(data="it")
    talk(STEPS + MAIL + script + QUIT, message, observer=events, cut=False)
    assert end is not None
    told = [(name, rest[-1]) for name, *rest in events.seen if name in ("mail", "data")]
    assert told[-1:] == seen
    assert events.seen[-1] == ("finished", "it")
    assert events.named("final", "content") == []


def test_l19_l20_each_message_that_begins_has_one_end() -> None:
    """Also where the link drops in its midst, and for one that this server cannot be sent."""
    events = Events()
    wants = MailParameters(envid="order-17")
    owner = talk(
        STEPS + MAIL + "S: 250 ok\n" + RCPT,
        to(parameters=wants, data="lacking"),
        to(data="lost"),
        observer=events,
        cut=False,
    )
    owner.dialogue.lost()
    assert events.seen == [
        *(("finished", "lacking"), ("begun", "lost"), ("mail", "lost", 250), ("finished", "lost"))
    ]


@pytest_twisted.ensureDeferred
async def test_l21_a_reply_without_its_enhanced_code_is_taken(servers: Servers) -> None:
    """It has no status then; one that does not fit its code is none."""
    fake = servers.fake(
        ehlo="250-here\n250 ENHANCEDSTATUSCODES",
        mail="250 2.1.0 fine",
        rcpt=["250 fine", "550 2.1.1 odd"],
    )
    message = await submit(fake.port, to=[BOB, CARL])
    bob, carl = message.recipients
    assert message.transaction.mail_reply is not None
    assert message.transaction.mail_reply.status == "2.1.0"
    assert bob.rcpt_reply is not None
    assert (bob.rcpt_reply.status, bob.outcome) == (None, Outcome.DELIVERED)
    assert carl.reply is not None
    assert (carl.reply.status, carl.reply.lines) == (None, ("2.1.1 odd",))


@pytest_twisted.ensureDeferred
async def test_l22_an_extension_that_is_missing(servers: Servers) -> None:
    """
    Nothing of such a message is sent, and its failure names what is missing; others are sent.

    That it may be missing can be said: then it is told what was left out.
    """
    events, fake = Events(), servers.fake()
    one = session(fake.port, observer=events)
    notify = RcptParameters(notify=frozenset({Notify.SUCCESS}))
    wants = one.add_message(ANNE, TEXT, data="wants")
    wants.add_recipient(BOB, notify)
    may = one.add_message(ANNE, TEXT, may_lack={"DSN"}, data="may")
    may.add_recipient(BOB, notify)
    wide = one.add_message(ANNE, HEADER + b"\r\n\xc3\xa9\r\n", data="wide")
    wide.add_recipient(BOB)
    await one.run()
    for message, lacking in ((wants, "NOTIFY needs DSN"), (wide, "BODY needs 8BITMIME")):
        failure = message.transaction.failure
        assert failure is not None
        assert (failure.cause, lacking in str(failure)) == (Cause.LACKING, True)
    assert (may.is_delivered, "NOTIFY" in may.transaction.left_out) == (True, True)
    assert events.named("begun", "finished") == [
        *(("finished", "wants"), ("begun", "may"), ("finished", "may"), ("finished", "wide"))
    ]
    # An extension that all messages need is a setting.
    strict = session(fake.port, ClientSettings(starttls="off", require=frozenset({"DSN"})))
    strict.add_message(ANNE, TEXT).add_recipient(BOB)
    with pytest.raises(NoSession, match="the server does not offer DSN"):
        await strict.run()


@pytest_twisted.ensureDeferred
async def test_l23_what_is_asked_for_may_depend_on_what_is_offered(servers: Servers) -> None:
    """
    A time that is too short for the server is an error, before anything is sent.

    Or it is adjusted: parameters may be a function of what the server offers.
    """
    fake = servers.fake(ehlo="250-here\n250 DELIVERBY 240")

    def in_time(offers: Offers) -> MailParameters:
        least = offers.number("DELIVERBY") or 0
        return MailParameters(by=DeliverBy(max(60, least + 10), WhenLate.RETURN))

    short = MailParameters(by=DeliverBy(60, WhenLate.RETURN))
    one = session(fake.port)
    late = one.add_message(ANNE, TEXT, parameters=short)
    late.add_recipient(BOB)
    adjusted = one.add_message(ANNE, TEXT, parameters=in_time)
    adjusted.add_recipient(BOB)
    await one.run()
    assert "the server needs 240 seconds" in str(late.transaction.failure)
    assert adjusted.is_delivered
    assert [line for line in fake.lines if line.startswith("MAIL")] == [
        "MAIL FROM:<anne@example.org> BY=250;R"
    ]


@pytest_twisted.ensureDeferred
async def test_l24_etrn_is_answered_and_told(servers: Servers) -> None:
    """
    Each node has its reply and your data; it is said behind the login, before the first message.

    A session may have nothing else to do.
    """

    class Queues(Office):
        def etrn(self, domain: str, connection: Connection) -> Any:
            return (250, "Started") if domain == "@example.org" else (458, "Not now")

    events, wire = Events(), Wire()
    one = session(servers.start(Queues()), observer=Observers(events, wire))
    yes = one.add_etrn("example.org", subdomains=True, data="mine")
    no = one.add_etrn("example.net")
    result = await one.run()
    assert wire.verbs == "EHLO ETRN ETRN QUIT"
    assert wire.said("ETRN") == ["ETRN @example.org", "ETRN example.net"]
    assert (yes.is_accepted, no.is_accepted, yes.data) == (True, False, "mine")
    assert (yes.reply is not None, no.reply is not None) == (True, True)
    assert result.commands == (yes, no)
    assert events.named("command") == [
        *(("command", "@example.org", 250), ("command", "example.net", 458))
    ]
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    wire.lines.clear()
    await one.run()
    assert wire.verbs.startswith("EHLO ETRN ETRN MAIL")
    for bad in ("#queue", "", "x.org\r\nQUIT", "@example.org"):
        with pytest.raises(ValueError, match="ETRN is for a domain"):
            one.add_etrn(bad)


@pytest_twisted.ensureDeferred
async def test_l24_etrn_that_is_not_offered(servers: Servers) -> None:
    """It is not said, the node says so, and messages go all the same."""
    office = Office()
    one = session(servers.start(office))
    node = one.add_etrn("example.org")
    noop = one.add_command(Command(Verb.NOOP))
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    assert (await one.run()).is_delivered
    assert (node.reply, node.is_accepted, noop.is_accepted) == (None, False, True)
    assert node.failure is not None
    assert node.failure.cause is Cause.LACKING
    assert "ETRN is not offered" in repr(node)
    assert "250" in repr(noop)
    for bad in (Command(Verb.QUIT), Command(Verb.MAIL, "FROM:<>"), Command(Verb.NOOP, "x\r\nQUIT")):
        with pytest.raises(ValueError, match=r"is no command that|control character"):
            one.add_command(bad)
    # A link that drops at the command leaves no doubt about it.
    fake = servers.fake(noop=None)
    other = session(fake.port)
    lost = other.add_command(Command(Verb.NOOP))
    result = await other.run()
    assert (lost.reply, lost.failure) == (None, result.failure)
    assert result.failure is not None


@pytest_twisted.ensureDeferred
async def test_l25_what_is_told_of_tls(servers: Servers) -> None:
    """
    Which version, once it is there; each check that fails can be forgiven by a callback.

    By default none is, and nothing is sent.
    """
    authority = make_authority()
    issued = make_identity(["other.example.org"], authority)
    port = servers.start(Office(), tls=ServerTls(lambda: [issued.identity]))
    failed: list[Check] = []

    def decide(check: Any) -> bool:
        failed.append(check.check)
        return forgiven

    for forgiven in (False, True):
        events = Events()
        checks = CertificateChecks(HOST, trust=[authority.certificate], decide=decide)
        one = SubmissionSession(
            Server("127.0.0.1", port, creator=checks),
            settings=ClientSettings(starttls="required"),
            observer=events,
        )
        recipient = one.add_message(ANNE, TEXT).add_recipient(BOB)
        if forgiven:
            await one.run()
            assert events.named("secured") == [("secured", "TLSv1.3")]
        else:
            with pytest.raises(NoSession, match=r"other\.example\.org"):
                await one.run()
            assert events.named("secured", "begun") == []
            assert recipient.outcome is Outcome.NOT_TRIED
    assert failed == [Check.NAME, Check.NAME]


@pytest_twisted.ensureDeferred
async def test_l17_an_observer_that_fails_costs_nothing(servers: Servers) -> None:
    """It is told, and called no more on that connection; another one goes on seeing."""
    told: list[Exception] = []

    class Fails(ClientObserver):
        def begun(self, transaction: Transaction) -> None:
            raise LookupError("mine")

        def failed(self, error: Exception) -> None:
            told.append(error)

    events = Events()
    port = servers.start(Office())
    result = await send(
        TEXT,
        host="127.0.0.1",
        port=port,
        sender=ANNE,
        to=[BOB],
        tls="off",
        observer=Observers(Fails(), events),
    )
    assert result.is_delivered
    assert [type(error) for error in told] == [LookupError]
    assert events.seen[-1] == ("disconnected", None)


# The monitor, and what is kept of it.


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("without", [frozenset(), frozenset({"CHUNKING"})])
async def test_l26_l27_the_dialogue_is_shown_and_neither_body_nor_secret(
    servers: Servers, without: frozenset[str]
) -> None:
    """Both ways, inside TLS too; header sections only if that is wanted, dots or chunks."""
    authority = make_authority()
    issued = make_identity(["127.0.0.1"], authority)
    port = servers.start(Office(), tls=ServerTls(lambda: [issued.identity]))
    for header in (False, True):
        out = io.StringIO()
        one = SubmissionSession(
            Server("127.0.0.1", port, trust=[authority.certificate]),
            settings=ClientSettings(
                hostname="me.example.org",
                login="required",
                mechanisms=("LOGIN",),
                without=without,
                chunk_octets=60,
            ),
            give=lambda mechanism: Credentials(mechanism, "anne", PASSWORD),
            observer=Monitor(out, header=header),
        )
        for _ in range(2):
            text = HEADER + b"Subject: folded\r\n here\r\n\r\nthe body\r\n"
            one.add_message(ANNE, text).add_recipient(BOB)
        await one.run()
        lines = out.getvalue().splitlines()
        assert lines[0].startswith("*: connected to 127.0.0.1")
        assert "C: EHLO me.example.org" in lines
        assert any(line.startswith("*: TLS TLSv1.3") for line in lines)
        assert "C: AUTH LOGIN" in lines
        assert any(line.startswith("S: 334 ") for line in lines)
        assert lines[-1] == "*: the session is over"
        shown = out.getvalue()
        for secret in (PASSWORD, "Y29ycmVjdC1ob3JzZS0zMTQxNTk="):
            assert secret not in shown
        assert "the body" not in shown
        assert lines.count("C: From: anne@example.org") == (2 if header else 0)
        assert lines.count("C:  here") == (2 if header else 0)
        assert any("octets of the message)" in line for line in lines)


def test_l26_what_is_no_header_section_is_not_shown_for_ever() -> None:
    """A body without line ends never gets there, and holds no memory."""
    out = io.StringIO()
    monitor = Monitor(out, header=True)
    monitor.begun(to())
    for _ in range(3):
        monitor.content(b"x" * 40_000)
    monitor.content(b"\r\nlate: y\r\n")
    monitor.end_of_content()
    monitor.server(b"250 half")
    monitor.disconnected(None)
    assert out.getvalue().splitlines() == [
        *("C: (120011 octets of the message)", "S: 250 half", "*: the session is over")
    ]


@pytest_twisted.ensureDeferred
async def test_l27_a_transcript_of_the_client_is_as_one_of_the_server(
    servers: Servers, tmp_path: Path
) -> None:
    """Each connection is a file in the same form: both have the same lines, no secret is in it."""
    kept: dict[str, Path] = {}
    folders = {}
    for side in ("server", "client"):
        kept[side] = tmp_path / side
        folders[side] = TranscriptFolder(TranscriptSettings(kept[side]), reactor)  # type: ignore[arg-type]
    port = servers.start(
        Office(), Settings(allow_insecure_auth=True), transcripts=folders["server"]
    )
    settings = ClientSettings(
        hostname="me.example.org",
        starttls="off",
        login="required",
        mechanisms=("PLAIN",),
        allow_insecure_auth=True,
        without=frozenset({"PIPELINING"}),
    )
    one = session(
        port,
        settings,
        give=lambda mechanism: Credentials(mechanism, "anne", PASSWORD),
        observer=Transcripts(folders["client"]),
    )
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    await one.run()
    await one_file(kept["client"])
    for folder in folders.values():
        await folder.close()
    written = {side: load(await one_file(folder)) for side, folder in kept.items()}
    dialogues = {
        side: [(line.side, line.octets) for line in file.lines if line.side != "*"]
        for side, file in written.items()
    }
    assert dialogues["client"] == dialogues["server"]
    assert written["client"].fields["peer"] == written["server"].fields["peer"]
    assert written["client"].fields["host"] == written["server"].fields["host"]
    notes = [line.octets for line in written["client"].lines if line.side == "*"]
    assert notes[0].startswith(b"connected to 127.0.0.1")
    assert notes[-1] == b"closed: the session was quit"
    for folder in kept.values():
        assert PASSWORD not in (await one_file(folder)).read_text()


async def one_file(folder: Path) -> Path:
    """Return the transcript, once it is there."""
    for _ in range(200):
        found = list(folder.rglob("*.txt"))
        if found:
            break
        await deferLater(reactor, 0.02)
    [path] = found
    return path


# What became of it.


@pytest_twisted.ensureDeferred
async def test_l28_who_does_not_know_ehlo_is_said_helo(addresses: Any) -> None:
    """500, 501, 502 and 504; another 5yz ends it, and 4yz is for the next address."""
    good = (*[b"250 ok\r\n"] * 3, b"354 go\r\n", b"250 ok\r\n")
    for code in (500, 501, 502, 504):
        port, [*_, server] = addresses((b"220 here\r\n", b"%d what?\r\n" % code, *good))
        assert (await submit(port)).is_delivered
        assert server.got.startswith(b"EHLO client.example.org\r\nHELO client.example.org\r\nMAIL")
    port, [*_, server] = addresses((b"220 here\r\n", b"550 not you\r\n"))
    with pytest.raises(NoSession, match="550 not you"):
        await submit(port)
    assert server.got.endswith(b"QUIT\r\n")


def test_l29_one_refusal_costs_no_more_than_it_has_to() -> None:
    """MAIL refused: the next message; RCPT refused: the next recipient, 5yz for ever."""
    first, second = to(BOB), to(CARL, "later@example.org", BOB)
    talk(
        STEPS
        + MAIL
        + "S: 550 not you\n"
        + MAIL
        + "S: 250 ok\n"
        + RCPT_2
        + "S: 550 no\nC: RCPT TO:<later@example.org>\nS: 450 later\n"
        + RCPT
        + "S: 250 ok\nC: DATA\nS: 354 go\nC: Subject: hi\nC:\nC: body\nC: .\nS: 250 ok\n"
        + QUIT,
        first,
        second,
    )
    assert first.mail_reply is not None
    assert first.mail_reply.code == 550
    carl, later, bob = second.destinations
    assert [one.outcome for one in (carl, later, bob)] == [
        *(Outcome.REFUSED, Outcome.DEFERRED, Outcome.DELIVERED)
    ]
    assert [one.complete for one in (carl, later, bob)] == [True, False, True]


def test_l30_all_refused_and_still_a_354() -> None:
    """DATA has been said already, and nobody is there to get it: a lone dot, and nothing more."""
    message = to(BOB)
    talk(
        GROUPS + MAIL + RCPT + "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 250 ok\n" + QUIT,
        message,
        cut=False,
    )
    assert message.destinations[0].outcome is Outcome.REFUSED
    # Step by step there is no DATA at all.
    message = to(BOB)
    talk(STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 550 no\n" + QUIT, message)
    assert message.destinations[0].outcome is Outcome.REFUSED


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("verb", "reply", "outcome", "complete"),
    [
        ("final", "250 ok", Outcome.DELIVERED, True),
        ("final", "552 too much", Outcome.REFUSED, True),
        ("final", "452 later", Outcome.DEFERRED, False),
        ("data", "554 no", Outcome.REFUSED, True),
        ("data", "451 later", Outcome.DEFERRED, False),
    ],
)
async def test_l31_l36_what_the_last_reply_makes_of_each_recipient(
    servers: Servers, verb: str, reply: str, outcome: Outcome, complete: bool
) -> None:
    """Those whom RCPT had taken; the server has it, will never have it, or another time."""
    fake = servers.fake(rcpt=["250 ok", "550 no", "250 ok"], **{verb: reply})
    message = await submit(fake.port, to=[BOB, "no-one@example.org", CARL])
    bob, none, carl = message.recipients
    assert [one.outcome for one in (bob, carl)] == [outcome] * 2
    assert [one.complete for one in (bob, none, carl)] == [complete, True, complete]
    assert bob.reply is message.transaction.final_reply
    assert none.outcome is Outcome.REFUSED
    assert bob.stage is (Stage.FINAL if verb == "final" else Stage.DATA)


@pytest_twisted.ensureDeferred
async def test_l32_between_messages(servers: Servers) -> None:
    """Directly MAIL behind one that went, RSET where the server may remember something; QUIT."""
    wire = Wire()
    settings = ClientSettings(starttls="off", without=frozenset({"PIPELINING", "CHUNKING"}))
    one = session(servers.start(Office()), settings, observer=wire)
    for recipient in (BOB, "no-one@example.org", BOB, BOB):
        one.add_message(ANNE, TEXT).add_recipient(recipient)
    await one.run()
    sent = "MAIL RCPT DATA"
    assert wire.verbs == f"EHLO {sent} MAIL RCPT RSET {sent} {sent} QUIT"


@pytest_twisted.ensureDeferred
async def test_l33_run_again_it_goes_to_whom_it_has_not_reached(servers: Servers) -> None:
    """Who is complete is left alone; whose status is reset is tried again."""

    class Moody(Office):
        turns = 0

        def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
            self.turns += 1
            return {2: (450, "Later"), 3: (550, "No")}.get(self.turns)

    office = Moody()
    one = session(servers.start(office))
    message = one.add_message(ANNE, TEXT)
    recipients = [message.add_recipient(f"{name}@example.org") for name in ("a", "b", "c")]
    await one.run()
    assert [each.complete for each in recipients] == [True, False, True]
    await one.run()
    assert [each.outcome for each in recipients] == [
        *(Outcome.DELIVERED, Outcome.DELIVERED, Outcome.REFUSED)
    ]
    recipients[2].again()
    assert recipients[2].outcome is Outcome.NOT_TRIED
    assert (await one.run()).is_delivered
    assert office.recipients == [["a@example.org"], ["b@example.org"], ["c@example.org"]]
    with pytest.raises(ValueError, match="nothing to do"):
        await one.run()


@pytest_twisted.ensureDeferred
async def test_l34_all_or_nobody(servers: Servers) -> None:
    """
    One refused recipient, and no DATA is said; the next message goes.

    Refused for now all are tried again; refused for good nobody is, however often it is run.
    """

    class Moody(Office):
        turns = 0

        def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
            self.turns += 1
            return (450, "Later") if self.turns == 1 else super().rcpt(recipient, envelope)

    office, wire = Moody(), Wire()
    one = session(servers.start(office), observer=wire)
    message = one.add_message(ANNE, TEXT, require_all_recipients=True)
    first, second = message.add_recipient(BOB), message.add_recipient(CARL)
    never = one.add_message(ANNE, TEXT, require_all_recipients=True)
    kept, none = never.add_recipient(BOB), never.add_recipient("no-one@example.org")
    one.add_message(ANNE, TEXT).add_recipient("dora@example.org")
    await one.run()
    assert office.recipients == [["dora@example.org"]]
    assert (first.outcome, second.outcome) == (Outcome.DEFERRED, Outcome.NOT_TRIED)
    assert (kept.outcome, none.outcome) == (Outcome.NOT_TRIED, Outcome.REFUSED)
    assert message.transaction.final_reply is None
    assert kept.failure is not None
    assert "another recipient was refused" in str(kept.failure)
    await one.run()
    assert office.recipients[1:] == [[BOB, CARL]]
    with pytest.raises(ValueError, match="nothing to do"):
        await one.run()
    assert sum("no-one" in line for line in wire.said("RCPT")) == 1
    office.codes = {}
    none.again()  # somebody has made the mailbox
    assert (await one.run()).is_delivered
    assert office.recipients[2:] == [[BOB, "no-one@example.org"]]


@pytest_twisted.ensureDeferred
async def test_l35_status_of_each_thing(servers: Servers) -> None:
    """Code, text with its lines, enhanced code; None where nothing was said yet."""
    fake = servers.fake(
        ehlo="250-here\n250-ENHANCEDSTATUSCODES\n250 ETRN",
        etrn="251 2.0.0 nothing there",
        mail="250 2.1.0 fine",
        rcpt="550-5.1.1 no such mailbox\n550 5.1.1 ask the office",
    )
    one = session(fake.port)
    node = one.add_etrn("example.org")
    message = one.add_message(ANNE, TEXT)
    recipient = message.add_recipient(BOB)
    transaction = message.transaction
    assert (transaction.mail_reply, transaction.final_reply) == (None, None)
    assert (recipient.rcpt_reply, recipient.reply, node.reply) == (None, None, None)
    await one.run()
    assert recipient.rcpt_reply is recipient.reply
    assert recipient.reply is not None
    assert (recipient.reply.code, recipient.reply.status) == (550, "5.1.1")
    assert recipient.reply.lines == ("no such mailbox", "ask the office")
    assert transaction.mail_reply is not None
    assert transaction.mail_reply.status == "2.1.0"
    assert transaction.final_reply is None
    assert node.reply is not None
    assert node.reply.code == 251


@pytest_twisted.ensureDeferred
async def test_l37_a_session_that_ran_says_what_became_of_everybody(servers: Servers) -> None:
    """All refused is no exception: the result tells. A link that dropped is never a success."""
    port = servers.start(Office())
    one = session(port)
    one.add_message(ANNE, TEXT).add_recipient("no-one@example.org")
    result = await one.run()
    assert (result.failure, result.is_delivered) == (None, False)
    dropped = servers.fake(final=None)
    two = session(dropped.port)
    recipients = [two.add_message(ANNE, TEXT).add_recipient(BOB) for _ in range(2)]
    result = await two.run()
    assert result.failure is not None
    assert (result.failure.stage, result.is_delivered) == (Stage.FINAL, False)
    assert [each.outcome for each in recipients] == [Outcome.UNKNOWN, Outcome.NOT_TRIED]
    assert list(result.not_delivered) == recipients
    # Behind the last 250 nothing that happens takes it back.
    rude = servers.fake(quit=None)
    three = session(rude.port)
    three.add_message(ANNE, TEXT).add_recipient(BOB)
    result = await three.run()
    assert (result.failure, result.is_delivered) == (None, True)


def test_l38_a_message_is_one_write() -> None:
    """With PIPELINING: MAIL, every RCPT and DATA; who requires all recipients waits with DATA."""
    for require_all, last in ((False, b"DATA\r\n"), (True, b"RCPT TO:<carl@example.net>\r\n")):
        wired = Wired()
        wired.hears("220 here")
        wired.hears("250-here", "250 PIPELINING")
        wired.transport.writes.clear()
        message = to(BOB, CARL, require_all_recipients=require_all)
        sending = ensureDeferred(wired.protocol.deliver(message, Outgoing(TEXT, rules=None)))
        [group] = wired.transport.writes
        assert group.startswith(b"MAIL FROM:<anne@example.org>\r\nRCPT TO:<bob@example.org>\r\n")
        assert group.endswith(last)
        wired.hears("250 ok", "250 ok", "250 ok")
        if require_all:
            assert wired.transport.writes[1:] == [b"DATA\r\n"]
        wired.hears("354 go")
        assert wired.transport.value().endswith(b"\r\n.\r\n")
        wired.hears("250 ok")
        assert sending.called
        assert [one.outcome for one in message.destinations] == [Outcome.DELIVERED] * 2


# The host, and time.


@pytest_twisted.ensureDeferred
async def test_l39_every_address_of_a_host_is_a_server(addresses: Any) -> None:
    """In the resolver's order, until one is there."""
    good = (b"220 here\r\n", b"250 here\r\n", *[b"250 ok\r\n"] * 2, b"354 go\r\n", b"250 ok\r\n")
    port, found = addresses(None, (b"554 full\r\n",), good, good)
    with several(4):
        one = SubmissionSession(Server(HOST, port), settings=PLAIN)
        one.add_message(ANNE, TEXT).add_recipient(BOB)
        result = await one.run()
    assert result.is_delivered
    assert result.where == f"{HOST}[127.0.0.3]:{port}"
    assert [server.came for server in found] == [0, 1, 1, 0]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("script", "next_one"),
    [
        ((b"554 no service\r\n",), True),
        ((b"421 busy\r\n",), True),
        ((b"220 here\r\n", b"421 busy\r\n"), True),
        ((b"220 here\r\n", b"502 what?\r\n", b"550 no\r\n"), True),
        ((b"220 here\r\n", b"550 not you\r\n"), False),
    ],
)
async def test_l40_where_the_next_address_may_do_better(
    addresses: Any, script: tuple[bytes, ...], next_one: bool
) -> None:
    """Not behind EHLO refused for good, nor later; all failures are told."""
    port, found = addresses(script, (b"421 busy too\r\n",))
    with several(2):
        one = SubmissionSession(Server(HOST, port), settings=PLAIN)
        one.add_message(ANNE, TEXT).add_recipient(BOB)
        with pytest.raises(NoSession) as told:
            await one.run()
    assert [server.came for server in found] == [1, int(next_one)]
    assert [where for where, _ in told.value.failures] == [
        f"{HOST}[127.0.0.{number}]:{port}" for number in range(1, 2 + next_one)
    ]


@pytest_twisted.ensureDeferred
async def test_l40_a_session_that_was_there_is_not_begun_elsewhere(addresses: Any) -> None:
    """Later in the session another address is no better; what is left is for the next run."""
    broken = (b"220 here\r\n", b"250 here\r\n", None)
    port, found = addresses(broken, (b"220 here\r\n",))
    with several(2):
        one = SubmissionSession(Server(HOST, port), settings=PLAIN)
        one.add_message(ANNE, TEXT).add_recipient(BOB)
        result = await one.run()
    assert result.failure is not None
    assert [server.came for server in found] == [1, 0]


TIMES = ClientTimes(
    greeting=300, envelope=301, data=120, content=180, final=600, quit=5
)  # the minutes of RFC 5321 §4.5.3.2
BEGUN = ("220 here", "250 here")


@pytest.mark.parametrize(
    ("replies", "seconds", "stage"),
    [
        ((), 300, Stage.GREETING),
        (BEGUN[:1], 300, Stage.HELLO),
        (BEGUN, 301, Stage.MAIL),
        ((*BEGUN, "250 ok"), 301, Stage.RCPT),
        ((*BEGUN, "250 ok", "250 ok"), 120, Stage.DATA),
        ((*BEGUN, "250 ok", "250 ok", "354 go"), 600, Stage.FINAL),
    ],
)
def test_l41_l42_each_stage_has_its_time(
    replies: tuple[str, ...], seconds: float, stage: Stage
) -> None:
    """Not a second before it is over; then the link is left, and the error says at which stage."""
    events = Events()
    wired = Wired(times=TIMES, observer=events)
    message = to(BOB)

    async def whole() -> None:
        await wired.protocol.opened()
        await wired.protocol.deliver(message, Outgoing(TEXT, rules=None))

    running = ensureDeferred(whole())
    failed: list[Failure] = []
    running.addErrback(failed.append)
    for reply in replies:
        wired.clock.advance(100)  # the time of each begins anew
        wired.hears(reply)
    wired.clock.advance(seconds - 1)
    assert not running.called
    wired.clock.advance(1)
    assert running.called
    failure = wired.protocol.failure
    assert failure is not None
    assert (failure.stage, failure.cause, failure.temporary) == (stage, Cause.TIMEOUT, True)
    assert wired.transport.disconnected
    assert events.seen[-1] == ("disconnected", Cause.TIMEOUT)
    assert wired.clock.getDelayedCalls() == []
    wanted = {Stage.GREETING: Outcome.NOT_TRIED, Stage.HELLO: Outcome.NOT_TRIED}
    wanted[Stage.FINAL] = Outcome.UNKNOWN
    assert message.destinations[0].outcome is wanted.get(stage, Outcome.DEFERRED)


def test_l41_a_server_that_takes_no_more_content_has_its_time() -> None:
    """It is measured while nothing can be sent, and a source that is slow is not the server's."""
    wired = Wired(times=TIMES)
    message, feed = to(BOB), Feed()
    for reply in BEGUN:
        wired.hears(reply)
    running = ensureDeferred(wired.protocol.deliver(message, Outgoing(feed, rules=None)))
    feed.write(TEXT)
    for reply in ("250 ok", "250 ok", "354 go"):
        wired.hears(reply)
    wired.clock.advance(100_000)  # whoever writes takes its time
    assert not running.called
    wired.protocol.pauseProducing()
    feed.write(b"more\r\n")
    wired.protocol.resumeProducing()
    wired.protocol.pauseProducing()
    feed.write(b"more\r\n")
    wired.protocol._go_round()
    wired.clock.advance(179)
    assert not running.called
    wired.clock.advance(1)
    assert running.called
    assert wired.protocol.failure is not None
    assert wired.protocol.failure.stage is Stage.CONTENT
    assert wired.protocol.failure.cause is Cause.TIMEOUT


def test_l41_times_are_settable_and_none_is_for_ever() -> None:
    """In seconds; those of RFC 5321 are the defaults, and 0 or less is none."""
    times = ClientTimes()
    assert [times.of(stage) for stage in (Stage.GREETING, Stage.MAIL, Stage.RCPT)] == [300] * 3
    assert [times.of(stage) for stage in (Stage.DATA, Stage.CONTENT, Stage.FINAL)] == [
        *(120, 180, 600)
    ]
    assert ClientTimes(final=0.5).of(Stage.FINAL) == 0.5
    for bad in (0, -1, None, True, "5", float("nan")):
        with pytest.raises(ValueError, match="a number of seconds above 0"):
            ClientTimes(data=bad)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_l42_a_lost_connection_is_told_with_its_stage(servers: Servers) -> None:
    """As an error of its own kind, and as the end of the connection."""
    events = Events()
    one = session(servers.fake(mail=None).port, observer=events)
    recipient = one.add_message(ANNE, TEXT).add_recipient(BOB)
    result = await one.run()
    assert result.failure is not None
    assert (result.failure.stage, result.failure.cause) == (Stage.MAIL, Cause.LOST)
    assert recipient.failure is result.failure
    assert events.seen[-1] == ("disconnected", Cause.LOST)


# Errors.


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("replies", "settings", "cause", "stage"),
    [
        ({"greeting": None}, PLAIN, Cause.LOST, Stage.GREETING),
        ({"ehlo": "hello"}, PLAIN, Cause.PROTOCOL, Stage.HELLO),
        ({"ehlo": "250-here\n251 x"}, PLAIN, Cause.PROTOCOL, Stage.HELLO),
        ({}, ClientSettings(), Cause.TLS, Stage.TLS),
        (
            {},
            ClientSettings(starttls="off", require=frozenset({"DSN"})),
            Cause.LACKING,
            Stage.HELLO,
        ),
        ({}, ClientSettings(starttls="off", login="required"), Cause.LACKING, Stage.AUTH),
        ({"greeting": "554 no"}, PLAIN, Cause.REFUSED, Stage.GREETING),
    ],
)
async def test_l43_an_error_says_whose_doing_and_at_which_stage(
    servers: Servers,
    replies: dict[str, Any],
    settings: ClientSettings,
    cause: Cause,
    stage: Stage,
) -> None:
    """As values to decide by, and as one line for people."""
    with pytest.raises(NoSession) as told:
        await submit(servers.fake(**replies).port, settings=settings)
    [(where, failure)] = told.value.failures
    assert (failure.cause, failure.stage) == (cause, stage)
    assert str(told.value).startswith(f"{where}: {stage.value}: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"25\r\n", "a line that is no reply"),
        (b"2500 what\r\n", "a line that is no reply"),
        (b"199 what\r\n", "a line that is no reply"),
        (b"600 what\r\n", "a line that is no reply"),
        (b"250-one\r\n550 two\r\n", "the lines of a reply have different codes"),
        (b"250 one\n", "a CR or LF alone in a reply"),
        (b"250 a\0b\r\n", "NUL in a reply"),
        (b"250 " + b"x" * 2048, "a line of a reply is too long"),
        (b"250-" + b"x" * 1000 + b"\r\n", "a reply is too long"),
    ],
)
def test_l44_what_is_no_reply_ends_the_session(octets: bytes, text: str) -> None:
    """A server is a stranger too: it may be tried again, and nothing is held for it."""
    dialogue = ClientDialogue(PLAIN)
    dialogue.receive(b"220 here\r\n")
    dialogue.take_output()
    for _ in range(100):
        dialogue.receive(octets)
    assert dialogue.failure is not None
    assert (dialogue.failure.cause, dialogue.failure.temporary) == (Cause.PROTOCOL, True)
    assert str(dialogue.failure) == f"hello: {text}"


def test_l44_a_code_alone_is_a_reply() -> None:
    """250 without anything behind it (RFC 5321 §4.2), with or without a blank."""
    for line in (b"250\r\n", b"250 \r\n"):
        dialogue = ClientDialogue(PLAIN)
        dialogue.receive(b"220\r\n")
        dialogue.take_output()
        dialogue.receive(line)
        assert dialogue.failure is None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("secret-1", "no credentials: str was given for PLAIN, not Credentials or None"),
        (
            Credentials("PLAIN", "anne", "secret-1\r\n"),
            "no credentials that can be said for PLAIN: NUL, CR or LF in a password",
        ),
        (LookupError("secret-1"), "no credentials: LookupError was raised for PLAIN"),
    ],
)
@pytest.mark.parametrize("login", ["required", "optional"])
async def test_l43_who_logs_in_cannot_be_found_out(
    servers: Servers, given: Any, text: str, login: Any
) -> None:
    """
    That is no login that was refused, and not nobody: nothing is sent, and the text says why.

    It has no secret in it, whatever the callback has said.
    """
    office, wire = Office(), Wire()
    settings = ClientSettings(
        starttls="off", login=login, allow_insecure_auth=True, mechanisms=("PLAIN",)
    )

    def give(mechanism: str) -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    clear = Settings(allow_insecure_auth=True)
    one = session(servers.start(office, clear), settings, give=give, observer=wire)
    one.add_message(ANNE, TEXT).add_recipient(BOB)
    with pytest.raises(NoSession) as told:
        await one.run()
    [(_, failure)] = told.value.failures
    assert (failure.stage, failure.cause) == (Stage.AUTH, Cause.LOGIN)
    assert str(failure) == f"auth: {text}"
    assert (failure.__cause__ is given) is isinstance(given, Exception)
    assert wire.verbs == "EHLO QUIT"
