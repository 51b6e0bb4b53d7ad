"""What leaves for a server, read by a strict one: one message each, and never a command (P6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smtpcb import Settings, SmtpServerFactory
from smtpcb.client import ContentError, Server, SubmissionSession
from smtpcb.engine import ClientSettings
from smtpcb.handlers.relay import Relay
from tests.client_fuzz.server import Judge
from tests.client_fuzz.wire import Endpoint, Wire
from tests.engine.test_smuggling import FALSE, SMUGGLED
from tests.fuzz.session import ADDRESS
from tests.fuzz.session import Wire as Transport

OFFERED = {
    "DATA": ["PIPELINING", "8BITMIME"],
    "BDAT": ["PIPELINING", "8BITMIME", "CHUNKING"],
    "BDAT, one by one": ["8BITMIME", "CHUNKING"],
}
"""What the server offers, so that the content goes by one or the other."""

LINE = b"x" * 62 + b"\r\n"
OFFSETS = [2**power + shift for power in (6, 16) for shift in (-1, 0, 1)]
# More line ends and dots than the 55 have, none of which has a CR alone.
LINES = [
    b"\n.\n",
    b".\n",
    b"..\r\n",
    b"\r\n.",
    b"\n..\n.\r\n",
    b"\r\n.\r\n",
    b"\r\n.\r\n.\r\n",
    b".",
]


class Sink:
    """
    Strict servers in memory, one for each connection; what they have heard they judge.

    :param offered: by each.
    """

    def __init__(self, clock: Clock, offered: list[str]) -> None:
        self._random = Random(6)
        self._offered = offered
        self.met: list[tuple[Wire, Judge]] = []
        self.endpoint = Endpoint(None, clock, self._meet)

    def _meet(self, wire: Wire) -> None:
        judge = Judge(self._random, offered=self._offered)
        judge.greet()
        self.met.append((wire, judge))

    def go_on(self) -> bool:
        """Let them hear and speak; tell whether there was anything to."""
        happened = False
        for wire, judge in self.met:
            while judge.said and not wire.lost:
                wire.say(judge.said.popleft())
                happened = True
            while octets := wire.read_all():
                judge.hear(octets)
                happened = True
            wire.settle(self._random)
        return happened

    def accepted(self) -> list[bytes]:
        """Return the contents that they have taken, if all that they heard was in order."""
        verbs = set().union(*(judge.verbs for _, judge in self.met))
        assert verbs <= {"EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "QUIT"}
        assert [one for _, judge in self.met for one in judge.complaints] == []
        taken = [one for _, judge in self.met for one in judge.accepted]
        assert {to for to, _ in taken} <= {"bob@example.org"}
        return [content for _, content in taken]


def sent(source: Any, offered: list[str], chunk_octets: int) -> tuple[list[bytes], Any]:
    """Send a message to a strict server; return what that has taken, and what became of it."""
    clock = Clock()
    sink = Sink(clock, offered)
    session = SubmissionSession(
        Server(sink.endpoint, creator=object()),
        settings=ClientSettings("me.example.org", starttls="off", chunk_octets=chunk_octets),
        reactor=clock,
    )
    message = session.add_message("anne@example.org", source, rules=None)
    message.add_recipient("bob@example.org")
    ended: list[Any] = []
    ensureDeferred(session.run()).addBoth(ended.append)
    for _ in range(1000):
        if ended:
            break
        if not sink.go_on():
            clock.advance(1)
    [result] = ended
    assert clock.getDelayedCalls() == []
    return sink.accepted(), result


def messages(piece: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield a message with a piece at many places, whole and cut there."""
    for offset in OFFSETS:
        octets = (LINE * (offset // 64 + 1))[:offset] + piece + SMUGGLED
        yield octets, [octets]
        cut = offset + len(piece) // 2
        yield octets, [octets[:cut], octets[cut:]]


def lines_of(octets: bytes) -> bytes:
    """Return octets as the lines that they are, each ended in CRLF."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


# All of them by DATA, where a dot means something; every second one by either kind of BDAT.
PIECES = [*FALSE, *LINES]
WAYS = [
    (piece, way)
    for number, piece in enumerate(PIECES)
    for way in (("DATA", "BDAT") if number % 2 else ("DATA", "BDAT, one by one"))
]


@pytest.mark.parametrize(("piece", "way"), WAYS)
def test_a_strict_server_sees_one_message_or_none(piece: bytes, way: str) -> None:
    """By DATA and by BDAT, wherever it is cut, and however long the chunks are (P6)."""
    for number, (octets, pieces) in enumerate(messages(piece)):
        alone = re.search(rb"\r(?!\n)", octets) is not None
        taken, result = sent(iter(pieces), OFFERED[way], (65_536, 63, 64)[number % 3])
        if taken:
            assert taken == [lines_of(octets)]
            assert not alone
        else:
            # It was not taken, and that is told.
            assert alone or b"\0" in piece
            assert isinstance(result, Failure) or not result.is_delivered
            if isinstance(result, Failure):
                assert result.check(ContentError)


def passed_on(
    text: bytes, offered: list[str], mode: str, *, by_bdat: bool
) -> tuple[list[bytes], bytes]:
    """Send a message to a relay; return what its server has taken, and what the client heard."""
    clock = Clock()
    sink = Sink(clock, offered)
    relay = Relay(
        Server(sink.endpoint, creator=object()),
        ClientSettings("relay.example.org", starttls="off"),
        reactor=clock,
    )
    factory = SmtpServerFactory(relay, Settings(bare_newline=mode), reactor=clock)  # type: ignore[arg-type]
    protocol: Any = factory.buildProtocol(ADDRESS)
    wire = Transport(peerAddress=ADDRESS)
    protocol.makeConnection(wire)
    head = b"EHLO me\r\nMAIL FROM:<anne@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
    body = b"BDAT %d LAST\r\n" % len(text) + text if by_bdat else b"DATA\r\n"
    for octets in [head + body] if by_bdat else [head + body, text + b"\r\n.\r\n"]:
        for at in range(0, len(octets), 16_384):
            protocol.dataReceived(octets[at : at + 16_384])
            for _ in range(200):
                if not sink.go_on():
                    break
        clock.advance(0)
        for _ in range(50):
            if not sink.go_on():
                clock.advance(0)
    protocol.connectionLost(Failure(ConnectionDone()))
    for _ in range(20):
        sink.go_on()
        clock.advance(1000)
    assert clock.getDelayedCalls() == []
    return sink.accepted(), wire.value()


@pytest.mark.parametrize("by_bdat", [False, True])
@pytest.mark.parametrize("mode", ["refuse", "normalize"])
@pytest.mark.parametrize("piece", [*FALSE[::5], *LINES], ids=repr)
def test_a_relay_passes_on_one_message_or_none(piece: bytes, mode: str, by_bdat: bool) -> None:
    """Whatever a client hides in a message, and whatever has been made of it here (P6)."""
    for offset, offered in zip((62, 65_535, 65_534), OFFERED.values(), strict=True):
        text = (LINE * (offset // 64 + 1))[:offset] + piece + SMUGGLED
        if b"\r\n.\r\n" in text and not by_bdat:
            continue  # that is a true end, and what follows are commands
        taken, said = passed_on(text, offered, mode, by_bdat=by_bdat)
        last = said.rstrip(b"\r\n").rpartition(b"\r\n")[2]
        assert len(taken) <= 1
        assert (last[:3] == b"250") == bool(taken), said[-400:]
        for content in taken:
            assert content.startswith(b"Received: from ")
            assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
