"""What a client's session is tried with: a server of ours, one that says what it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from smtpcb import Connection, Envelope, Recipient, Settings, SmtpServerFactory, SmtpService
from smtpcb.client import Message, Server, SubmissionSession
from smtpcb.engine import ClientObserver, ClientSettings
from smtpcb.smtp import Credentials, RcptParameters
from smtpcb.smtp.sasl import MECHANISMS

ANNE, BOB, CARL = "anne@example.org", "bob@example.org", "carl@example.net"
PLAIN = ClientSettings(hostname="client.example.org", starttls="off")
HEADER = (
    b"Date: Sat, 28 Nov 2026 09:00:00 +0000\r\nFrom: anne@example.org\r\nMessage-ID: <1@x.y>\r\n"
)
TEXT = HEADER + b"Subject: Hello\r\n\r\n.dots\r\n\r\nHi\r\n"
PASSWORD = "correct-horse-314159"


class Office:
    """
    Takes everything but for a few names, and keeps it.

    :param extensions: those that it honours, beside what every server does.
    :ivar envelopes: of the messages.
    :ivar credentials: whoever has tried to log in.
    """

    mechanisms = frozenset(MECHANISMS)
    codes: Mapping[str, Any] = {
        "no-one": (550, "5.1.1", "No such mailbox"),
        "later": (450, "4.2.1", "Later"),
    }

    def __init__(self, *extensions: str) -> None:
        self.extensions = frozenset(extensions)
        self.envelopes: list[Envelope] = []
        self.credentials: list[Credentials] = []

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
        self.credentials.append(credentials)
        return credentials.proven or PASSWORD in (credentials.password, credentials.token)

    def stored_secret(self, username: str, mechanism: str, connection: Connection) -> str | None:
        return PASSWORD if username == "anne" else None

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Any:
        return self.codes.get(recipient.local_part)

    def message(self, envelope: Envelope) -> Any:
        self.envelopes.append(envelope)
        return self.codes.get(envelope.reverse_path.local_part)

    @property
    def contents(self) -> list[bytes]:
        """The messages, octet for octet."""
        return [one.content.bytes() for one in self.envelopes]

    @property
    def recipients(self) -> list[list[str]]:
        """Who was to get each."""
        return [[str(path) for path in one.forward_paths] for one in self.envelopes]


class Servers:
    """Those of one test, on ports of loopback."""

    def __init__(self) -> None:
        self._services: list[SmtpService] = []
        self._ports: list[Any] = []

    def start(
        self,
        handler: object,
        settings: Settings | None = None,
        *,
        implicit: bool = False,
        **options: Any,
    ) -> int:
        """Serve a handler; return the port."""
        factory = SmtpServerFactory(handler, settings or Settings(), **options)
        endpoint: Any = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        if implicit:
            endpoint = wrapServerTLS(factory.tls, endpoint, reactor)
        service = SmtpService(endpoint, factory)
        service.startService()
        self._services.append(service)
        port: Any = service.ports[0]
        return int(port.getHost().port)

    def fake(self, **replies: Any) -> Fake:
        """Serve what is written; see `Fake`."""
        fake = Fake(replies)
        port = reactor.listenTCP(0, fake, interface="127.0.0.1")  # type: ignore[attr-defined]
        self._ports.append(port)
        fake.port = int(port.getHost().port)
        return fake

    async def stop(self) -> None:
        """End them."""
        for service in self._services:
            await service.stopService()
        for port in self._ports:
            await port.stopListening()


class Fake(Factory):
    """
    A server that says what it is told to.

    :param replies: by verb in lower case, ``greeting`` and ``final`` (to a message) too; several
        are said one after the other, the last one again and again.  None leaves without a word.
    :ivar lines: what clients have said, the content of messages left out.
    """

    noisy = False

    def __init__(self, replies: Mapping[str, Any]) -> None:
        usual: dict[str, Any] = {
            "greeting": "220 here",
            "ehlo": "250 here",
            "data": "354 go",
            "quit": "221 bye",
        }
        self._replies = {
            verb: [said] if said is None or isinstance(said, str) else list(said)
            for verb, said in {**usual, **replies}.items()
        }
        self.lines: list[str] = []
        self.port = 0

    def buildProtocol(self, addr: object) -> FakeProtocol:
        """See `Factory`."""
        return FakeProtocol(self)

    def reply(self, verb: str) -> str | None:
        """Return what is said to it next."""
        said = self._replies.get(verb, ["250 ok"])
        reply: str | None = said.pop(0) if len(said) > 1 else said[0]
        return reply


class FakeProtocol(LineReceiver):
    """One connection to it."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._content = False
        self._chunk: bytes | None = None  # what begins the line of the last BDAT

    def connectionMade(self) -> None:
        self._say("greeting")

    def lineReceived(self, line: bytes) -> None:
        if self._content:
            if line == b".":
                self._content = False
                self._say("final")
            return
        text = line.decode()
        self._fake.lines.append(text)
        verb, _, rest = text.partition(" ")
        if verb.lower() == "bdat":
            self._left = int(rest.split()[0])
            if self._left:
                self.setRawMode()
                return
        self._say(verb.lower())

    def rawDataReceived(self, data: bytes) -> None:
        chunk, rest = data[: self._left], data[self._left :]
        self._left -= len(chunk)
        if not self._left:
            self._say("bdat")
            self.setLineMode(rest)

    def _say(self, verb: str) -> None:
        reply = self._fake.reply(verb)
        if reply is None:
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self._content = verb == "data" and reply.startswith("354")
        self.sendLine(reply.replace("\n", "\r\n").encode())


class Wire(ClientObserver):
    """
    What leaves, as it leaves.

    :ivar lines: the commands; no secret is in them.
    :ivar content: mail data, stuffed.
    :ivar replies: what was said to what.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.content_octets = b""
        self.came = b""
        self.replies: list[tuple[object, int]] = []

    def client(self, octets: bytes) -> None:
        self.lines += octets.decode().split("\r\n")[:-1]

    def server(self, octets: bytes) -> None:
        self.came += octets

    def content(self, octets: bytes) -> None:
        self.content_octets += octets

    def replied(self, stage: Any, subject: object, reply: Any) -> None:
        self.replies.append((stage, reply.code))

    def said(self, *verbs: str) -> list[str]:
        """Return the commands of these verbs."""
        return [line for line in self.lines if line.split(" ")[0] in verbs]

    @property
    def verbs(self) -> str:
        """What was said, in short."""
        return " ".join(line.split(" ")[0] for line in self.lines)


def session(port: int, settings: ClientSettings = PLAIN, **options: Any) -> SubmissionSession:
    """Return a session with a server on loopback."""
    return SubmissionSession(Server("127.0.0.1", port), settings=settings, **options)


async def submit(
    port: int,
    source: object = TEXT,
    *,
    to: Iterable[str | tuple[str, RcptParameters]] = (BOB,),
    sender: str = ANNE,
    settings: ClientSettings = PLAIN,
    options: Mapping[str, Any] | None = None,
    **message: Any,
) -> Message:
    """
    Send one message in a session of its own.

    :param options: of the session.
    """
    one = session(port, settings, **(options or {}))
    added = one.add_message(sender, source, **message)
    for each in to:
        added.add_recipient(*((each,) if isinstance(each, str) else each))
    await one.run()
    return added


async def wire_of(port: int, source: object = TEXT, **how: Any) -> Wire:
    """Send one message; return what was said."""
    wire = Wire()
    how["options"] = {**how.get("options", {}), "observer": wire}
    await submit(port, source, **how)
    return wire
