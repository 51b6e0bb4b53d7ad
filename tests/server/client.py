"""A client without a network, for the tests of the server: what it sends, hears and outlives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, ITLSTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.engine._settings import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._protocol import SmtpServerProtocol
from smtpcb.smtp._limits import Limits


@implementer(IOpenSSLServerConnectionCreator)
class Secure:
    """Would make TLS connections."""


HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<a@example.org>\r\n"
RCPT = b"RCPT TO:<b@example.org>\r\n"
TEXT = b"Subject: hi\r\n\r\nA text\r\n"
MESSAGE = MAIL + RCPT + b"DATA\r\n" + TEXT + b".\r\n"


@implementer(ITLSTransport)
class Transport(StringTransport):
    """Remembers what is done to it."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 50000))
        self.secured_by: list[object] = []
        self.half_closed = self.aborted = False

    def startTLS(self, contextFactory: object, normal: bool = True) -> bool:
        self.secured_by.append(contextFactory)
        return True

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True

    @property
    def reading(self) -> bool:
        return self.producerState == "producing"


class Client:
    """One connection to a server with its own clock."""

    def __init__(
        self,
        handler: object = None,
        *,
        factory: SmtpServerFactory | None = None,
        clock: Any = None,
        limits: Limits | None = None,
        address: Any = None,
        transport: Any = None,
        start: bool = True,
        **options: Any,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        if factory is None:
            settings = options.pop("settings", None) or Settings(
                limits=limits or Limits(), allow_insecure_auth=True
            )
            options.setdefault("log_messages", False)
            factory = SmtpServerFactory(handler, settings, reactor=self.clock, **options)
        self.factory = factory
        self.transport = Transport() if transport is None else transport
        address = IPv4Address("TCP", "192.0.2.1", 50000) if address is None else address
        self.protocol: Any = factory.buildProtocol(address)
        self.gone = False
        if start:
            self.protocol.makeConnection(self.transport)

    def send(self, *octets: bytes) -> list[str]:
        """Send, each argument in a segment of its own; return the replies."""
        for segment in octets:
            self.protocol.dataReceived(segment)
        return self.replies()

    def replies(self) -> list[str]:
        """Return the replies since the last call, each one's lines joined by ``|``."""
        text = self.transport.value().decode("ascii")
        self.transport.clear()
        assert text == "" or text.endswith("\r\n"), "half a line"
        found: list[str] = []
        begun: list[str] = []
        for line in text.split("\r\n")[:-1]:
            assert re.fullmatch(r"[2-5][0-5][0-9][ -][\t -~]*", line), line
            begun.append(line[4:])
            if line[3] == " ":
                found.append(f"{line[:3]} {'|'.join(begun)}")
                begun = []
        assert not begun, "half a reply"
        return found

    def codes(self, *octets: bytes) -> list[int]:
        return [int(reply[:3]) for reply in self.send(*octets)]

    def leave(self, error: BaseException | None = None) -> None:
        """The connection is gone."""
        if not self.gone:
            self.gone = True
            if self.transport.producer is not None:
                self.transport.producer.stopProducing()
            self.protocol.connectionLost(Failure(ConnectionDone() if error is None else error))

    @property
    def closing(self) -> bool:
        transport = self.transport
        return transport.disconnecting or transport.half_closed or transport.aborted

    @property
    def timers(self) -> int:
        return len(self.clock.getDelayedCalls())

    def finish(self) -> None:
        """Leave, and see that nothing stays behind (P60)."""
        self.leave()
        assert self.clock.getDelayedCalls() == []
        assert self.factory.protocols == {}
        if isinstance(self.protocol, SmtpServerProtocol):
            assert self.protocol.connection is not None


class Recorder:
    """
    A handler that remembers its calls; answers by name: a value, or a function of the arguments.
    """

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._answers = answers

    def names(self, *but: str) -> list[str]:
        return [call[0] for call in self.calls if call[0] not in but]

    def said(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def _hear(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, *arguments))
        answer = self._answers.get(name)
        return answer(*arguments) if callable(answer) else answer

    def connected(self, connection: Any) -> Any:
        return self._hear("connected", connection)

    def hello(self, introduction: Any, connection: Any) -> Any:
        return self._hear("hello", introduction)

    def secured(self, tls: Any, connection: Any) -> Any:
        return self._hear("secured", tls)

    def mail(self, envelope: Any) -> Any:
        return self._hear("mail", envelope)

    def rcpt(self, recipient: Any, envelope: Any) -> Any:
        return self._hear("rcpt", recipient, envelope)

    def data(self, envelope: Any) -> Any:
        return self._hear("data", envelope)

    def message(self, envelope: Any) -> Any:
        kept = envelope.kept
        self.calls.append(("content", kept.bytes() if kept is not None else None))
        return self._hear("message", envelope)

    def verify(self, text: Any, connection: Any) -> Any:
        return self._hear("verify", text)

    def aborted(self, reason: Any, envelope: Any) -> Any:
        return self._hear("aborted", reason)

    def disconnected(self, reason: Any, connection: Any) -> Any:
        return self._hear("disconnected", reason)


class Observer(Recorder):
    """One that has all methods, and so takes the content as it comes."""

    def command(self, command: Any, connection: Any) -> Any:
        return self._hear("command", command)

    def header(self, name: str, value: str, envelope: Any) -> Any:
        return self._hear("header", name, value)

    def chunk(self, octets: bytes, envelope: Any) -> Any:
        return self._hear("chunk", octets)

    def expand(self, text: Any, connection: Any) -> Any:
        return self._hear("expand", text)

    def help(self, text: Any, connection: Any) -> Any:
        return self._hear("help", text)

    def etrn(self, domain: Any, connection: Any) -> Any:
        return self._hear("etrn", domain)


def pieces(octets: bytes, size: int = 1) -> Iterable[bytes]:
    return (octets[at : at + size] for at in range(0, len(octets), size))
