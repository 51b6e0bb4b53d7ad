"""Servers that mean no good, over sockets: what they say and do at each stage, as a plan."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.client import Message, NoSession, Server, SubmissionSession
from smtpcb.engine import ClientFailure, ClientSettings
from smtpcb.smtp.sasl import Credentials
from smtpcb.tls import ServerTls
from tests.certificates import make_authority, make_identity

reactor: Any = installed

NAME = "mail.example.org"
TEXT = b"From: anne@example.org\r\nTo: bob@example.org\r\nSubject: Hello\r\n\r\n.dots\r\n\r\nHi\r\n"
PIECE_OCTETS = 65_536
# Longer than a server may take for anything.
PATIENCE_SECONDS = 700.0
# Turns of 2 ms in which nothing happens, until somebody waits for the clock.
QUIET_TURNS = 12

Act = bytes | Callable[["Stranger"], object]
Plan = Mapping[str, Act]

GOOD: Plan = {
    "greeting": b"220 mail.example.org ESMTP\r\n",
    "EHLO": b"250-mail.example.org\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 SIZE 1000000\r\n",
    "EHLO in TLS": b"250-here\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250-8BITMIME\r\n250 SIZE\r\n",
    "STARTTLS": b"220 go\r\n",
    "AUTH": b"235 2.7.0 ok\r\n",
    "response": b"235 2.7.0 ok\r\n",
    "DATA": b"354 go\r\n",
    "QUIT": b"221 bye\r\n",
}
"""What a server says that means well; 250 to all else."""


class Certified:
    """An authority and a server of its own, made once."""

    def __init__(self) -> None:
        authority = make_authority()
        issued = make_identity([NAME], authority)
        self.trust = [authority.certificate]
        self.options = ServerTls(lambda: [issued.identity])


class Stranger(Protocol):
    """
    A server that does at each stage what a plan says.

    :ivar got: all that came.
    :ivar commands: lines of it that are no content.
    :ivar sent_octets: how much it has said.
    :ivar lost: the connection is over.
    :ivar deaf: it does not read.
    """

    transport: Any

    def __init__(self, plan: Plan, options: Any, *, secure: bool) -> None:
        self._plan = plan
        self._options = options
        self._waiting = b""
        self._inside = self._answering = False
        self._secure = secure
        self.got = b""
        self.commands: list[bytes] = []
        self.sent_octets = 0
        self.lost = self.deaf = False

    def connectionMade(self) -> None:
        """Greet."""
        self.do("greeting")

    def dataReceived(self, data: bytes) -> None:
        """Take commands one by one, and content to its end."""
        self.got += data
        self._waiting += data
        while not self.lost:
            end = b"\r\n.\r\n" if self._inside else b"\r\n"
            taken, found, rest = self._waiting.partition(end)
            if not found:
                break
            self._waiting = rest
            if self._inside:
                self._inside = False
                self.do("content")
            else:
                self._command(taken)

    def _command(self, line: bytes) -> None:
        self.commands.append(line)
        verb = line.split(b" ")[0].decode("latin-1")
        if self._answering:
            verb = "response"
        if verb == "DATA":
            self._inside = True
            self._waiting = b"\r\n" + self._waiting
        self.do(verb)
        if verb == "STARTTLS" and verb not in self._plan:
            self.shake_hands()

    def shake_hands(self) -> None:
        """Begin with TLS."""
        self._secure = True
        self.transport.startTLS(self._options)

    def do(self, stage: str) -> None:
        """Do what is planned for a stage."""
        if stage == "EHLO" and self._secure:
            stage = "EHLO in TLS"
        act = self._plan.get(stage, GOOD.get(stage, b"250 ok\r\n"))
        if callable(act):
            act(self)
            return
        self.answer(act)
        if stage == "QUIT":
            self.transport.loseConnection()

    def answer(self, octets: bytes) -> None:
        """Say something; behind a 334 the next line is a response."""
        self._answering = octets.startswith(b"334")
        self.say(octets)

    def say(self, octets: bytes) -> None:
        """Say something."""
        self.sent_octets += len(octets)
        self.transport.write(octets)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be done."""
        self.lost = True


def close(stranger: Stranger) -> None:
    """Close the connection."""
    stranger.transport.loseConnection()


def half_close(stranger: Stranger) -> None:
    """Say that there is nothing more to say."""
    stranger.transport.loseWriteConnection()


def reset(stranger: Stranger) -> None:
    """Have the connection reset."""
    linger = struct.pack("ii", 1, 0)
    handle = stranger.transport.getHandle()
    if isinstance(handle, socket.socket):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    stranger.transport.abortConnection()


def silence(stranger: Stranger) -> None:
    """Say nothing."""


def deafness(stranger: Stranger) -> None:
    """Ask for the content, and read no octet of it."""
    stranger.say(b"354 go\r\n")
    stranger.deaf = True
    stranger.transport.pauseProducing()


def saying(*pieces: bytes, then: Callable[[Stranger], object] = silence) -> Act:
    """Return the act of saying these in packets of their own, and then doing something."""

    def act(stranger: Stranger) -> None:
        left = list(pieces)

        def go_on() -> None:
            if stranger.lost:
                return
            if not left:
                then(stranger)
                return
            stranger.say(left.pop(0))
            reactor.callLater(0.01, go_on)

        go_on()

    return act


def endless(octets: bytes, start: bytes = b"") -> Act:
    """Return the act of saying the same for ever, as fast as it is taken."""

    def act(stranger: Stranger) -> None:
        stranger.say(start)
        many = octets * (1 + 8192 // len(octets))
        _Endless(stranger, many).resumeProducing()

    return act


@implementer(IPushProducer)
class _Endless:
    """Says something again and again, as fast as it is taken."""

    def __init__(self, stranger: Stranger, octets: bytes) -> None:
        self._stranger = stranger
        self._octets = octets
        self._paused = True
        stranger.transport.registerProducer(self, True)

    def resumeProducing(self) -> None:
        """Go on."""
        if self._paused:
            self._paused = False
            self._say()

    def pauseProducing(self) -> None:
        """Wait."""
        self._paused = True

    def stopProducing(self) -> None:
        """End."""
        self._paused = True

    def _say(self) -> None:
        if not self._paused and not self._stranger.lost:
            reactor.callLater(0, self._say)
            self._stranger.say(self._octets)


@dataclass
class Met:
    """
    What became of a session with a stranger.

    :ivar failure: why it ended early.
    :ivar message: what was to be sent.
    :ivar strangers: one for each connection.
    :ivar pulled_octets: how much was read from a source that has much.
    :ivar closed: it was closed.
    """

    clock: Clock
    message: Message
    strangers: list[Stranger]
    running: Any
    failure: ClientFailure | None = None
    pulled_octets: int = 0
    closed: bool = False
    ended: list[Any] = field(default_factory=list)

    @property
    def stranger(self) -> Stranger:
        """The first of them."""
        return self.strangers[0]

    @property
    def recipient(self) -> Any:
        """The first one."""
        return self.message.recipients[0]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that happens soon."""
        for _ in range(2000):
            if condition():
                return
            await turn()
        raise AssertionError("it did not happen")

    async def quiet(self) -> None:
        """Wait until nothing happens any more, or it has ended."""
        before, turns = -1, 0
        while turns < QUIET_TURNS and not self.ended:
            await turn()
            now = sum(one.sent_octets + len(one.got) + one.lost for one in self.strangers)
            now += self.pulled_octets
            turns = turns + 1 if now == before else 0
            before = now

    async def end(self) -> Met:
        """Let time pass until it has ended; it must not need long."""
        for _ in range(12):
            await self.quiet()
            if self.ended:
                break
            self.clock.advance(PATIENCE_SECONDS)
        assert self.ended, "it waits for ever"
        [result] = self.ended
        if isinstance(result, Failure):
            if result.check(NoSession):
                [(_, self.failure)] = result.value.failures
        else:
            self.failure = result.failure
        for one in self.strangers:
            if one.deaf:
                one.transport.resumeProducing()  # else it does not see either that we have left
        await self.until(lambda: all(one.lost for one in self.strangers))
        assert self.clock.getDelayedCalls() == []
        return self


async def turn() -> None:
    """Let the reactor do something."""
    await deferLater(reactor, 0.002)


def _anne(mechanism: str) -> Credentials:
    return Credentials(mechanism, "anne", "tim")


@asynccontextmanager
async def meeting(
    plan: Plan,
    *,
    tls: str = "off",
    certified: Certified | None = None,
    login: bool = False,
    large: bool = False,
    recipients: int = 1,
    give: Callable[[str], Any] | None = None,
    source: object = TEXT,
    **settings: Any,
) -> AsyncIterator[Met]:
    """
    Begin to send a message to a stranger; the clock of the client stands still.

    :param tls: ``"off"``, ``"starttls"``, ``"implicit"``, ``"missed"`` if the server does not begin
        with it as it should, or what else ``starttls`` may be.
    :param large: the message is of 64 MiB, and made while it is sent.
    """
    implicit = tls in ("implicit", "missed")
    strangers: list[Stranger] = []

    def stranger() -> Stranger:
        options = None if certified is None else certified.options
        one = Stranger(plan, options, secure=tls == "implicit")
        strangers.append(one)
        return one

    factory: Any = Factory.forProtocol(stranger)
    factory.noisy = False
    if tls == "implicit":
        assert certified is not None
        factory = TLSMemoryBIOFactory(certified.options, False, factory, reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    clock = Clock()
    wanted = {"starttls": "required"}.get(tls, "off" if implicit else tls)
    led = ClientSettings(
        **{
            "hostname": "client.example.org",
            "starttls": wanted,
            "login": "required" if login else "off",
            **settings,
        }
    )
    session = SubmissionSession(
        Server(
            TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port),
            implicit_tls=implicit,
            hostname=NAME,
            trust=None if certified is None else certified.trust,
        ),
        settings=led,
        **({} if led.login == "off" else {"give": give or _anne}),
        reactor=clock,
    )
    met = Met(clock, None, strangers, None)  # type: ignore[arg-type]
    met.message = session.add_message(
        "anne@example.org", _pieces(met) if large else source, rules=None
    )
    for number in range(recipients):
        met.message.add_recipient(f"bob{number}@example.org")
    met.running = ensureDeferred(session.run())
    met.running.addBoth(met.ended.append)
    try:
        yield met
    finally:
        if not met.ended:
            met.running.cancel()
        await port.stopListening()


async def meet(plan: Plan, **how: Any) -> Met:
    """Send a message to a stranger; return what became of it."""
    async with meeting(plan, **how) as met:
        return await met.end()


def _pieces(met: Met) -> Iterator[bytes]:
    try:
        yield TEXT
        for _ in range(1024):
            met.pulled_octets += PIECE_OCTETS
            yield b"x" * 62 + b"\r\n" * 1 + (b"y" * 62 + b"\r\n") * 1023
    finally:
        met.closed = True
