"""
How many Python functions a message calls: ``python -m tests.benchmarks.calls``.

A server without a network: a protocol of `SmtpServerFactory` on a transport that only remembers.
And a client without one: what is counted is preparing a message, and sending it with PIPELINING in
a session that is open.
The count does not depend on the machine or on what else runs there, so it says whether a change
made the way shorter where the time of a noisy machine says nothing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smtpcb.client import Server, SubmissionSession
from smtpcb.client._protocol import ClientProtocol
from smtpcb.client._times import ClientTimes
from smtpcb.engine import ClientSettings
from smtpcb.server import SmtpServerFactory
from tests.benchmarks.clients import DATA as BEGIN
from tests.benchmarks.clients import END, MAIL, RCPT, content
from tests.benchmarks.servers.handlers import Plain

EHLO = b"EHLO client.example.com\r\n"
QUIT = b"QUIT\r\n"
MESSAGE = (MAIL, RCPT, BEGIN, content(1000) + END)

#: What is counted, and how many calls are wanted at most.
GOALS: tuple[tuple[str, int | None], ...] = (
    ("a plain MAIL", 20),
    ("a message of 1 KB in four reads", 85),
    ("a connection with one message", None),
    ("a message of 1 KB sent by a client", 300),
)


class Transport:
    """What a protocol expects of a connection; nothing that it does is counted."""

    disconnecting = disconnected = False
    connected = True
    TLS = False
    producer: Any = None

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append

    def getHost(self) -> IPv4Address:
        return HOST

    def getPeer(self) -> IPv4Address:
        return PEER

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.disconnecting = True

    loseWriteConnection = abortConnection = loseConnection

    def pauseProducing(self) -> None: ...

    resumeProducing = stopProducing = pauseProducing

    def setTcpNoDelay(self, enabled: bool) -> None: ...


HOST = IPv4Address("TCP", "127.0.0.1", 25)
PEER = IPv4Address("TCP", "127.0.0.1", 50000)


def count(work: Callable[[], object]) -> Counter[str]:
    """Return how often each Python function is called meanwhile, ours here left out."""
    called: Counter[str] = Counter()

    def see(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename != __file__:
            called[frame.f_code.co_qualname] += 1

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return called


class Session:
    """One connection of a client that waits for each reply."""

    def __init__(self, factory: SmtpServerFactory) -> None:
        self.transport = Transport()
        self.protocol: Any = factory.buildProtocol(PEER)
        self.protocol.makeConnection(self.transport)
        self._expect(220)

    def send(self, *reads: bytes) -> None:
        """Send in several segments; each gets one reply."""
        codes = {DATA_END: 250, BEGIN: 354, QUIT: 221}
        for octets in reads:
            self.protocol.dataReceived(octets)
            self._expect(codes.get(octets, 250))

    def _expect(self, code: int) -> None:
        said = b"".join(self.transport.written)
        self.transport.written.clear()
        if not said.startswith(b"%d" % code):
            raise SystemExit(f"{code} was expected, not {said!r}")

    def leave(self) -> None:
        """The client closes."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        self.protocol.connectionLost(Failure(ConnectionDone()))


DATA_END = MESSAGE[-1]
_SENT = (
    b"From: <sender@example.com>\r\nDate: Sat, 28 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\nSubject: calls\r\n\r\n"
) + content(1000)


def figures() -> Sequence[Counter[str]]:
    """Return the calls of what `GOALS` names, in its order."""
    factory = SmtpServerFactory(Plain())
    session = Session(factory)
    session.send(EHLO, *MESSAGE, *MESSAGE)  # what is done once has been done
    message = count(lambda: session.send(*MESSAGE))
    mail = count(lambda: session.send(MAIL))
    session.leave()

    def connection() -> None:
        one = Session(factory)
        one.send(EHLO, *MESSAGE, QUIT)
        one.leave()

    connection()
    return mail, message, count(connection), _sent()


def _sent() -> Counter[str]:
    """Return the calls of a message that a client sends."""
    transport, clock = Transport(), Clock()
    protocol = ClientProtocol(ClientSettings(starttls="off", login="off"), clock, ClientTimes())
    protocol.makeConnection(transport)
    protocol.dataReceived(b"220 mx\r\n")
    protocol.dataReceived(b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n")
    session = SubmissionSession(
        Server("127.0.0.1", 25), settings=ClientSettings(starttls="off"), reactor=clock
    )

    def send() -> None:
        message = session.add_message("sender@example.com", _SENT)
        message.add_recipient("recipient@example.com")

        async def deliver() -> None:
            await message.prepare()
            await protocol.deliver(message.transaction, message.outgoing)

        done = Deferred.fromCoroutine(deliver())
        protocol.dataReceived(b"250 Ok\r\n250 Ok\r\n354 Go on\r\n")
        protocol.dataReceived(b"250 Ok\r\n")
        if not done.called or not message.is_delivered:
            raise SystemExit("the message was not delivered")

    send()
    called = count(send)
    protocol.connectionLost(Failure(ConnectionDone()))
    return called


def main() -> int:
    """Print the table; with ``--names`` also who is called."""
    missed = 0
    print(f"{'what':34}{'calls':>6}  goal")
    for (name, goal), called in zip(GOALS, figures(), strict=True):
        total = called.total()
        verdict = "" if goal is None else f"≤ {goal}  {'yes' if total <= goal else 'NO'}"
        missed += goal is not None and total > goal
        print(f"{name:34}{total:6}  {verdict}".rstrip())
        if "--names" in sys.argv[1:]:
            for function, times in called.most_common():
                print(f"{times:12}  {function}")
    return 1 if missed and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
