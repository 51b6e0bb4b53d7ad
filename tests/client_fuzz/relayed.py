"""The same servers behind a relay: what its client is told is what they have said."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smtpcb import Settings, SmtpServerFactory
from smtpcb.client import Server
from smtpcb.engine import ClientSettings
from smtpcb.handlers.relay import Relay
from tests.fuzz.session import ADDRESS
from tests.fuzz.session import Wire as Transport

from .server import Judge
from .session import LONG_SECONDS, Session
from .wire import Endpoint, Wire

MOST_STEPS = 400


class RelayedSession(Session):
    """
    A client of a relay that keeps all rules, and servers that keep none.

    :ivar accepted: how many messages got a 250.
    """

    def __init__(self, seed: str) -> None:
        random = self._random = Random(seed)
        self._clock = Clock()
        self._lmtp = self._implicit = self._insecure = False
        self._evil = random.choice((0.0, 0.02, 0.1, 0.3))
        self._trouble = random.choice((0.0, 0.0, 0.01, 0.05))
        self._connections: list[tuple[Wire, Judge]] = []
        self._relay = Relay(
            Server(Endpoint(random, self._clock, self._met), creator=object()),
            ClientSettings("relay.example.org", starttls=random.choice(("off", "opportunistic"))),
            reactor=self._clock,
        )
        self._factory = SmtpServerFactory(
            self._relay,
            Settings(),
            reactor=self._clock,  # type: ignore[arg-type]
        )
        self._client = Transport(peerAddress=ADDRESS)
        self._protocol: Any = self._factory.buildProtocol(ADDRESS)
        self._read = 0
        self._left = False
        self._told: list[tuple[str, bytes]] = []  # the code behind a message, and its mark
        self.accepted = 0

    def run(self) -> list[str]:
        """Hold the session; return what is wrong with it."""
        random, protocol = self._random, self._protocol
        protocol.makeConnection(self._client)
        self._reply()
        self._say(b"EHLO client.example.org\r\n")
        for number in range(random.choice((1, 2, 4))):
            self._message(b"Subject: %d\r\n\r\n" % number)
        if not self._left:
            self._leave()
        for _ in range(20):
            for wire, judge in self._connections:
                judge.hear(wire.read_all())
                judge.said.clear()
                wire.settle(random)
            self._clock.advance(LONG_SECONDS)
        return list(self._wrong())

    def _message(self, mark: bytes) -> None:
        random = self._random
        lines = [random.choice((b".", b"..a", b"x" * 900, b"hi")) for _ in range(3)]
        if random.random() < 0.2:
            lines += [b"y" * 900] * 500
        content = mark + b"".join(line + b"\r\n" for line in lines)
        if self._say(b"MAIL FROM:<anne@example.org>\r\n") != "250":
            return
        for number in range(random.choice((1, 3))):
            self._say(b"RCPT TO:<bob%d@example.org>\r\n" % number)
        if random.random() < 0.5:
            code = self._say(b"BDAT %d LAST\r\n" % len(content) + content)
        elif self._say(b"DATA\r\n") == "354":
            stuffed = b"".join(
                (b"." if line.startswith(b".") else b"") + line
                for line in content.splitlines(keepends=True)
            )
            code = self._say(stuffed + b".\r\n")
        else:
            self._say(b"RSET\r\n")
            return
        self._told.append((code, content))
        self._say(b"RSET\r\n")

    def _say(self, octets: bytes) -> str:
        """Say something; return the code of the reply, or nothing if there is none."""
        for at in range(0, len(octets), 16_384):
            if self._left:
                return ""
            if self._random.random() < self._trouble * 0.1:
                self._leave()
                return ""
            for _ in range(MOST_STEPS):
                if self._client.producerState == "producing":
                    break
                self._go_on()
            self._protocol.dataReceived(octets[at : at + 16_384])
        return self._reply()

    def _reply(self) -> str:
        for _ in range(MOST_STEPS):
            said = self._client.value()[self._read :]
            lines = said.split(b"\r\n")[:-1]
            last = next((at for at, line in enumerate(lines) if line[3:4] != b"-"), None)
            if last is not None:
                self._read += sum(len(line) + 2 for line in lines[: last + 1])
                if lines[last].startswith(b"421"):
                    self._leave()
                return lines[last][:3].decode("ascii")
            if self._client.disconnecting or self._client.aborted:
                self._leave()
                return ""
            self._go_on()
        raise AssertionError("a client waits for ever")

    def _go_on(self) -> None:
        happened = False
        for wire, judge in self._connections:
            if not wire.lost:
                happened = self._serve(wire, judge) or happened
        if not happened:
            self._clock.advance(self._random.choice((0, 0, 0, 0.3, 31)))

    def _leave(self) -> None:
        self._left = True
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def _wrong(self) -> Iterator[str]:
        for wire, judge in self._connections:
            yield from judge.complaints
            if not (wire.lost or wire.closed):
                yield "a connection is left"
        yield from (f"a timer is left: {call}" for call in self._clock.getDelayedCalls())
        if self._factory.protocols:
            yield "a client's connection is left"
        taken = [content for _, judge in self._connections for _, content in judge.accepted]
        poisoned = any(judge.poisoned for _, judge in self._connections)
        for code, content in self._told:
            there = [one for one in taken if one.endswith(content)]
            if code == "250":
                self.accepted += 1
                if not there and not poisoned:
                    yield f"a 250 to what nobody has taken: {content[:60]!r}"
        contents = [content for _, content in self._told]
        for one in taken:
            if not any(one.endswith(content) for content in contents) and not self._left:
                yield f"another content was taken: {one[:200]!r}"
