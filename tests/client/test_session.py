"""Sessions with a real server over sockets, and with servers that go wrong at each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.protocol import Factory, Protocol

from smtpcb import Connection, Envelope, Settings, SmtpServerFactory, SmtpService
from smtpcb.client import (
    ClientTimes,
    NoSession,
    NotDelivered,
    Server,
    SubmissionSession,
    send,
)
from smtpcb.engine import Cause, ClientSettings, Outcome, Stage
from smtpcb.smtp import Limits
from smtpcb.smtp.sasl import Credentials
from smtpcb.tls import ServerTls
from tests.certificates import make_authority, make_identity

PLAIN = ClientSettings(hostname="client.example.org", starttls="off")
TEXT = b"From: anne@example.org\r\nTo: bob@example.org\r\nSubject: Hello\r\n\r\n.dots\r\n\r\nHi\r\n"


class Inbox:
    """Keeps what it gets; refuses who is called no-one."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str], bytes]] = []
        self.identities: list[object] = []

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
        return (credentials.username, credentials.password) == ("anne", "tim")

    def rcpt(self, recipient: Any, envelope: Envelope) -> Any:
        if recipient.local_part == "no-one":
            return 550, "5.1.1", "No such mailbox"
        return (450, "Later") if recipient.local_part == "later" else None

    def message(self, envelope: Envelope) -> None:
        self.identities.append(envelope.connection.identity)
        self.got.append(
            (
                str(envelope.reverse_path),
                [str(one.forward_path) for one in envelope.recipients],
                envelope.content.bytes(),
            )
        )


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serve a handler; return the port."""
    services: list[SmtpService] = []

    def start(
        handler: object,
        settings: Settings | None = None,
        *,
        implicit: bool = False,
        **options: Any,
    ) -> int:
        factory = SmtpServerFactory(handler, settings or Settings(), **options)
        endpoint: Any = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        if implicit:
            endpoint = wrapServerTLS(factory.tls, endpoint, reactor)
        service = SmtpService(endpoint, factory)
        service.startService()
        services.append(service)
        return int(service.ports[0].getHost().port)

    yield start
    for service in services:
        pytest_twisted.blockon(service.stopService())


def session(port: int, settings: ClientSettings = PLAIN, **options: Any) -> SubmissionSession:
    return SubmissionSession(Server("127.0.0.1", port), settings=settings, **options)


@pytest_twisted.ensureDeferred
async def test_several_messages_and_each_recipients_result(serve: Callable[..., int]) -> None:
    """In their order, over one connection; who was refused is told by the reply (P57)."""
    inbox = Inbox()
    first_session = session(serve(inbox))
    first = first_session.add_message("anne@example.org", TEXT, data="mine")
    good = first.add_recipient("bob@example.org", data=1)
    bad = first.add_recipient("no-one@example.org")
    later = first.add_recipient("later@example.org")
    second = first_session.add_message("", TEXT)
    second.add_recipient("carol@example.org")
    result = await first_session.run()
    assert result.failure is None
    assert [one.outcome for one in (good, bad, later)] == [
        *(Outcome.DELIVERED, Outcome.REFUSED, Outcome.DEFERRED)
    ]
    assert bad.reply is not None
    assert bad.reply.text == "550 5.1.1 No such mailbox"
    assert (first.data, good.data, second.is_delivered) == ("mine", 1, True)
    assert list(result.not_delivered) == [bad, later]
    [(sender, recipients, content), (other, _, _)] = inbox.got
    assert (sender, recipients, other) == ("anne@example.org", ["bob@example.org"], "")
    assert content.startswith(TEXT.partition(b"\r\n\r\n")[0])
    assert content.endswith(b"\r\n\r\n.dots\r\n\r\nHi\r\n")
    # Run again it goes to whom it has not reached.
    await first_session.run()
    assert len(inbox.got) == 2
    assert later.outcome is Outcome.DEFERRED


@pytest_twisted.ensureDeferred
async def test_nothing_to_do_is_told_at_once() -> None:
    """Before anybody is asked."""
    idle = SubmissionSession(Server("127.0.0.1", 1), settings=PLAIN)
    idle.add_message("anne@example.org", TEXT)
    with pytest.raises(ValueError, match="nothing to do"):
        await idle.run()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("implicit", [False, True])
async def test_tls_and_a_login_in_one_line(
    serve: Callable[..., int], tmp_path: Path, implicit: bool
) -> None:
    """The certificate is checked, and Bcc is not sent."""
    inbox = Inbox()
    authority = make_authority()
    issued = make_identity(["mail.example.org"], authority)
    trust = [authority.certificate]
    port = serve(inbox, tls=ServerTls(lambda: [issued.identity]), implicit=implicit)
    message = EmailMessage()
    message["From"], message["To"] = "anne@example.org", "bob@example.org"
    message["Bcc"] = "carol@example.org"
    message.set_content("Hello")
    known: dict[str, Any] = {"hostname": "mail.example.org", "trust": trust}
    known |= {"host": "127.0.0.1", "port": port, "tls": "implicit" if implicit else "starttls"}
    result = await send(message, username="anne", password="tim", **known)
    assert result.is_delivered
    [(_, recipients, content)] = inbox.got
    assert recipients == ["bob@example.org", "carol@example.org"]
    assert b"carol" not in content
    assert inbox.identities == ["anne"]
    with pytest.raises(NoSession, match="auth: ") as refused:
        await send(message, username="anne", password="x", **known)
    assert refused.value.failures[0][1].cause in (Cause.LOGIN, Cause.REFUSED)
    with pytest.raises(NoSession, match=r"tls: the certificate .* is issued by an authority"):
        await send(message, **{**known, "trust": None})
    with pytest.raises(NoSession, match="tls: "):
        await send(message, **{**known, "hostname": "other.example.org"})
    assert len(inbox.got) == 1


@pytest_twisted.ensureDeferred
async def test_tls_that_is_not_offered_is_missed(serve: Callable[..., int]) -> None:
    """Nothing is sent in the clear."""
    inbox = Inbox()
    with pytest.raises(NoSession, match="tls: "):
        await send(
            TEXT, host="127.0.0.1", port=serve(inbox), sender="a@example.org", to=["b@example.org"]
        )
    assert inbox.got == []


@pytest_twisted.ensureDeferred
async def test_who_was_not_reached_is_no_secret(serve: Callable[..., int]) -> None:
    """One line fails, and says of whom."""
    with pytest.raises(NotDelivered, match=r"no-one@example.org: refused for good .550 5") as no:
        await send(
            TEXT,
            host="127.0.0.1",
            port=serve(Inbox()),
            sender="a@example.org",
            to=["bob@example.org", "no-one@example.org"],
            tls="off",
        )
    assert [one.outcome for one in no.value.result.messages[0].recipients] == [
        *(Outcome.DELIVERED, Outcome.REFUSED)
    ]


@pytest_twisted.ensureDeferred
async def test_a_large_file_goes_in_pieces(serve: Callable[..., int], tmp_path: Path) -> None:
    """A server that reads slowly is waited for."""
    path = tmp_path / "large.eml"
    path.write_bytes(TEXT + b"x" * 70 + b"\n" + (b"line of text\n" * 2_000_000))
    sizes: list[int] = []

    class Counting:
        def chunk(self, octets: bytes, envelope: Envelope) -> Any:
            sizes.append(len(octets))
            if len(sizes) % 50:
                return None
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0, waiting.callback, None)  # type: ignore[attr-defined]
            return waiting

    large = session(serve(Counting(), Settings(limits=Limits(message_octets=None))))
    message = large.add_message("anne@example.org", path, rules=None)
    message.add_recipient("bob@example.org")
    await large.run()
    assert message.is_delivered
    assert sum(sizes) == message.transaction.size_octets


class Scripted(Protocol):
    """Says one line at each read, and perhaps leaves."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = list(lines)

    def connectionMade(self) -> None:
        self.next()

    def dataReceived(self, data: bytes) -> None:
        self.next()

    def next(self) -> None:
        if not self.lines:
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self.transport.write(self.lines.pop(0))  # type: ignore[union-attr]


@pytest.fixture
def scripted() -> Iterator[Callable[..., int]]:
    """Serve lines; return the port."""
    ports: list[Any] = []

    def start(*lines: bytes) -> int:
        factory = Factory.forProtocol(lambda: Scripted(list(lines)))
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        ports.append(port)
        return int(port.getHost().port)

    yield start
    for port in ports:
        pytest_twisted.blockon(port.stopListening())


OPENED = (b"220 here\r\n", b"250 here\r\n")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("lines", "outcome", "stage"),
    [
        ((*OPENED,), Outcome.DEFERRED, Stage.MAIL),
        ((*OPENED, b"250 ok\r\n"), Outcome.DEFERRED, Stage.RCPT),
        ((*OPENED, b"250 ok\r\n", b"250 ok\r\n"), Outcome.DEFERRED, Stage.DATA),
        ((*OPENED, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"), Outcome.UNKNOWN, Stage.FINAL),
        ((*OPENED, b"451 later\r\n"), Outcome.DEFERRED, Stage.MAIL),
        ((*OPENED, b"250 ok\r\n", b"250 ok\r\n", b"554 no\r\n"), Outcome.REFUSED, Stage.DATA),
    ],
)
async def test_a_server_that_leaves(
    scripted: Callable[..., int], lines: tuple[bytes, ...], outcome: Outcome, stage: Stage
) -> None:
    """Never a success on a link that dropped; what had no last reply is unknown (P55)."""
    left = session(scripted(*lines))
    recipient = left.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    result = await left.run()
    assert (recipient.outcome, recipient.stage) == (outcome, stage)
    assert not result.is_delivered


@pytest_twisted.ensureDeferred
async def test_the_next_server_is_asked_where_there_is_no_session(
    serve: Callable[..., int], scripted: Callable[..., int]
) -> None:
    """Nobody there, or one that takes nothing now; all errors are told if there is none left."""
    inbox = Inbox()
    busy = scripted(b"421 busy\r\n")
    several = SubmissionSession(
        Server("127.0.0.1", 1),
        Server("127.0.0.1", busy),
        Server("127.0.0.1", serve(inbox)),
        settings=PLAIN,
    )
    several.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    assert (await several.run()).is_delivered
    none = SubmissionSession(
        Server("127.0.0.1", 1), Server("127.0.0.1", scripted(b"421 busy\r\n")), settings=PLAIN
    )
    none.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    with pytest.raises(NoSession, match=r"refused.*; 127.0.0.1:.*421") as told:
        await none.run()
    assert [failure.stage for _, failure in told.value.failures] == [Stage.GREETING] * 2


@pytest_twisted.ensureDeferred
async def test_a_server_that_says_nothing_is_left(scripted: Callable[..., int]) -> None:
    """At each stage after its time (P56)."""
    silent = session(scripted(b""), times=ClientTimes(greeting=0.05))
    silent.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    with pytest.raises(NoSession) as told:
        await silent.run()
    [(_, failure)] = told.value.failures
    assert (failure.stage, failure.cause) == (Stage.GREETING, Cause.TIMEOUT)


@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_at_once(scripted: Callable[..., int]) -> None:
    """What was not sent to its end is not delivered."""
    waiting = session(scripted(b"220 here\r\n"))
    recipient = waiting.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    running = ensureDeferred(waiting.run())
    reactor.callLater(0.05, running.cancel)  # type: ignore[attr-defined]
    with pytest.raises((CancelledError, NoSession)):
        await running
    assert recipient.outcome is Outcome.NOT_TRIED


def test_a_port_is_said_as_a_number_of_its_own() -> None:
    """A text with a colon is the description of an endpoint, or an IPv6 address."""
    with pytest.raises(ValueError, match=r"say Server\('localhost', 25\)"):
        Server("localhost:25")
    assert Server("::1", 25).name == "[::1]:25"
    assert Server("unix:/run/lmtp.sock").name == "unix:/run/lmtp.sock"
