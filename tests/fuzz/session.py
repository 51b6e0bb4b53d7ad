"""One session in memory, from its arrival to the last thing that can happen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IOpenSSLServerConnectionCreator,
    ITLSTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb import SmtpServerFactory

from . import doors, replies
from .handlers import CLASSES, HandlerError, Mood
from .input import Sender
from .logins import true_login

ADDRESS = IPv4Address("TCP", "192.0.2.1", 50000)
# Longer than anything is waited for.
FOR_EVER_SECONDS = 100_000.0
# Longer than any reply is held back, and shorter than any limit.
CALM_SECONDS = 15


@implementer(IOpenSSLServerConnectionCreator)
class NoTls:
    """Lets STARTTLS be offered; the wire does not ask for more."""

    def serverConnectionForTLS(self, tlsProtocol: object) -> Any:
        raise NotImplementedError


@implementer(ITLSTransport)
class Wire(StringTransport):
    """
    A transport that knows what has been asked of it.

    :ivar shaking: a TLS handshake has begun; here none ever succeeds.
    """

    shaking = half_closed = aborted = False

    def startTLS(self, contextFactory: object) -> None:
        self.shaking = True

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True


class Session:
    """
    A session that is wholly given by its seed.

    :param spool_folder: for messages that are not kept in memory.
    :ivar let_in: the mechanisms by which somebody has logged in who knows them.
    """

    def __init__(self, seed: str, spool_folder: Path) -> None:
        random = self._random = Random(seed)
        settings = doors.settings_for(random)
        self._sender = Sender(random, lmtp=settings.lmtp)
        self._clock = Clock()
        self._mood = Mood(
            random, random.choice((1.0, 1.0, 0.97, 0.8)), succeeded=bool(settings.xclient_from)
        )
        self._mood.another = self._handler
        self._counting = doors.Counting(settings, ordered=not self._mood.concurrent_recipients)
        self._factory = SmtpServerFactory(
            self._handler(),
            settings,
            reactor=self._clock,
            tls=random.choice((None, NoTls())),
            observers=(self._counting.begin,) if settings.lmtp else (),
            memory_octets=random.choice((100, 1_000_000)),
            spool_folder=spool_folder,
        )
        self._tls = doors.tls_for(random)
        self._wire = Wire(peerAddress=ADDRESS)
        self._protocol: Any = None
        self.let_in: set[str] = set()
        self._lost = False
        self._sent = b""
        # Without trouble some sessions get far, with much of it others end in every way there is.
        self._trouble = random.choice((0.0, 0.0, 0.01, 0.2))
        self._troubles: tuple[list[Callable[[], object]], list[int]] = (
            [
                self._wait,
                lambda: self._choke(True),
                lambda: self._choke(False),
                self._factory.drain,
                self._factory.cut,
                self._lose,
            ],
            [20, 20, 20, 3, 3, 5],
        )

    def run(self) -> list[str]:
        """Hold the session; return what is wrong with it."""
        self._arrive()
        if self._random.random() < 0.2:
            self._log_in()
        segments = deque(self._sender.segments(self._sender.octets()))
        # So that a session that is never read to its end comes to one nevertheless.
        for _ in range(len(segments) * 3 + 50):
            if self._lost or not (segments or self._mood.pending):
                break
            self._step(segments)
        self._end()
        return self._complaints()

    @property
    def calls(self) -> list[str]:
        """The handler's methods that were called."""
        return self._mood.ledger.calls

    def run_calmly(self, *, half_closing: bool) -> list[bytes]:
        """
        Hold the session without any trouble: all is read, and all is answered soon.

        :param half_closing: the client closes its sending side behind the last that it sends.
        :return: the replies' codes, a line each.
        """
        wire, clock = self._wire, self._clock
        self._protocol = self._factory.buildProtocol(ADDRESS)
        self._protocol.makeConnection(wire)
        segments = deque(self._sender.segments(self._sender.octets()))
        patience = CALM_SECONDS
        while patience and not (wire.disconnecting or wire.half_closed or wire.shaking):
            if self._mood.pending:
                self._mood.pending[0][0].callback(None)
            elif segments and wire.producerState == "producing":
                self._protocol.dataReceived(segments.popleft())
                if half_closing and not segments:
                    self._close_sending_side()
            else:
                clock.advance(1.0)
                patience -= 1
        codes = [line[:4] for line in wire.value().splitlines()]
        self._end()
        return codes

    def _handler(self) -> object:
        made = self._random.choice(CLASSES)(self._mood, doors.honoured(self._random))
        return doors.behind_policies(self._random, made, self._clock)

    def _arrive(self) -> None:
        self._protocol = self._factory.buildProtocol(ADDRESS)
        self._protocol.connection.tls = self._tls
        self._protocol.makeConnection(self._wire)

    def _log_in(self) -> None:
        """Be somebody who can, and waits for each reply."""
        told = self._told
        hello = b"LHLO x\r\n" if self._protocol.factory.settings.lmtp else b"EHLO x\r\n"
        words = [line[4:].split() for line in told(hello)]
        offered = [word.decode("ascii") for line in words if line[:1] == [b"AUTH"] for word in line]
        if offered[1:]:
            mechanism = true_login(self._random, offered[1:], doors.bound, told)
            if mechanism is not None:
                self.let_in.add(mechanism)

    def _told(self, line: bytes) -> list[bytes]:
        """Send a line; return what is said then, nothing if the client cannot speak."""
        wire = self._wire
        before = len(wire.value())
        if self._lost or wire.disconnecting or wire.aborted or wire.half_closed:
            return []
        if wire.producerState != "producing":
            return []
        self._sent += line
        self._protocol.dataReceived(line)
        for _ in range(CALM_SECONDS):
            while self._mood.pending:
                self._mood.pending[0][0].callback(None)
            if len(wire.value()) > before:
                break
            self._clock.advance(1.0)
        return wire.value()[before:].splitlines()

    def _step(self, segments: deque[bytes]) -> None:
        wire, random = self._wire, self._random
        if wire.aborted or (wire.disconnecting and random.random() < 0.5):
            self._lose()
            return
        if wire.shaking and random.random() < 0.3:
            self._lose()
        elif random.random() < self._trouble:
            random.choices(*self._troubles)[0]()
        elif self._mood.pending and random.random() < 0.3:
            self._answer()
        elif random.random() < 0.1:
            self._clock.advance(0)  # a turn for whoever has let the others go first
        elif segments and wire.producerState == "producing" and not wire.shaking:
            segment = segments.popleft()
            self._sent += segment
            self._protocol.dataReceived(segment)
            if not segments and random.random() < 0.3:
                self._close_sending_side()
        elif random.random() < 0.5:
            self._choke(False)
            self._clock.advance(1.0)

    def _choke(self, choked: bool) -> None:
        """Be a client that does not read what it is told, or does again."""
        producer = self._wire.producer
        if producer is not None:
            producer.pauseProducing() if choked else producer.resumeProducing()

    def _wait(self) -> None:
        self._clock.advance(self._random.choice((0.1, 1.0, 30.0, 301.0, 700.0, 4000.0)))

    def _answer(self) -> None:
        pending = self._mood.pending
        if pending:
            pending[self._random.randrange(len(pending))][0].callback(None)

    def _close_sending_side(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()

    def _lose(self) -> None:
        self._lost = True
        if self._wire.producer is not None:
            self._wire.producer.stopProducing()
        kind = self._random.choice((ConnectionDone, ConnectionLost, ConnectionAborted))
        self._protocol.connectionLost(Failure(kind()))

    def _end(self) -> None:
        """Let everything happen that still can: answers in any order, or none at all."""
        if self._random.random() < 0.5:
            self._clock.pump([1.0] * 10)
        self._look_for_all()
        if not self._lost:
            self._lose()
        if self._random.random() < 0.5:
            while self._mood.pending:
                self._answer()
        # Each step may begin something that has a time limit of its own.
        for _ in range(10):
            if self._clock.getDelayedCalls():
                self._clock.advance(FOR_EVER_SECONDS)

    def _look_for_all(self) -> None:
        """See that nothing is kept back of what LMTP says of a message."""
        wire = self._wire.value()
        if not (self._lost or self._wire.aborted or self._wire.disconnecting):
            for said in self._counting.said:
                if said not in wire:
                    self._counting.complaints.append(f"not all was sent: {said!r:.200}")

    def _complaints(self) -> list[str]:
        self._mood.ledger.conclude()
        found = [
            *self._mood.ledger.complaints,
            *replies.complaints(self._wire.value(), self._sent, self._counting.more),
            *self._counting.complaints,
        ]
        if b"BDAT" not in self._sent.upper():  # a line of theirs may be in two chunks
            found += [f"nobody sent {at!r}" for at in self._mood.lines if at not in self._sent]
        found += [f"a timer is left: {call}" for call in self._clock.getDelayedCalls()]
        found += [f"a connection is left: {protocol}" for protocol in self._factory.protocols]
        found += [f"{name} has been left unanswered" for _, name in self._mood.pending]
        return found


def is_ours(event: dict[str, Any]) -> bool:
    """Tell whether a log event is about a fault of smtpcb, not about one of the handler's."""
    failure = event.get("log_failure")
    if failure is None:
        return False
    text = event.get("log_format") or ""
    if "fault of smtpcb" in text or "Unhandled" in text:
        return True
    # The handler's own, what it returned that is no answer, and what took too long.
    return not failure.check(HandlerError, TypeError, ValueError, TimeoutError)
