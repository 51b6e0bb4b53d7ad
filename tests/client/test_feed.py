"""Messages that are written while they are sent."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Cooperator
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smtpcb.client import ContentError, Feed, Needs, Outgoing
from smtpcb.client._feed import MOST_WAITING_OCTETS
from smtpcb.client._source import source_of
from tests.client.running import all_pieces, finished

MESSAGE = b"From: a@b.c\r\n\r\n" + b"line\r\n" * 50_000


class Producer:
    """A push producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


async def taken(feed: Any) -> bytes:
    return b"".join([piece async for piece in feed])


def taking(feed: Any) -> Deferred[bytes]:
    return Deferred.fromCoroutine(taken(feed))


def result(waiting: Deferred[Any]) -> Any:
    """Return what has come out, or raise it."""
    found: list[Any] = []
    waiting.addBoth(found.append)
    assert found, "it waits"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def test_what_is_written_is_taken() -> None:
    """A message may be written before or while it is taken; `end` says that it is whole."""
    feed = Feed()
    verifyObject(IConsumer, feed)
    feed.write(b"one ")
    waiting = taking(feed)
    result(feed.put(b"two "))
    feed.write(b"")
    assert not waiting.called
    feed.write(bytearray(b"three"))
    feed.end()
    assert result(waiting) == b"one two three"
    with pytest.raises(ValueError, match="ended already"):
        feed.write(b"four")


def test_a_writer_waits_for_the_taker() -> None:
    """Nobody can fill the memory of this machine with a message that nobody takes."""
    feed = Feed()
    result(feed.put(b"x" * MOST_WAITING_OCTETS))
    room = feed.put(b"y")
    assert not room.called
    finished(feed.__anext__())
    assert room.called


def test_a_producer_is_paused_meanwhile() -> None:
    """A push producer is told to wait once, and to go on once there is room."""
    feed, producer = Feed(), Producer()
    feed.registerProducer(producer, True)
    for _ in range(3):
        feed.write(b"x" * MOST_WAITING_OCTETS)
    assert producer.told == ["pause"]
    finished(feed.__anext__())
    assert producer.told == ["pause"]
    finished(feed.__anext__())
    assert producer.told == ["pause", "resume"]
    with pytest.raises(RuntimeError, match="registered already"):
        feed.registerProducer(producer, True)


def test_a_producer_that_leaves_has_not_said_that_this_was_all() -> None:
    """Half a message is not sent as a whole one because its producer was cut off."""
    feed = Feed()
    feed.registerProducer(Producer(), True)
    feed.write(b"half")
    waiting = taking(feed)
    feed.unregisterProducer()
    assert not waiting.called
    feed.fail("cut off")
    with pytest.raises(ContentError, match="given up: cut off"):
        result(waiting)


@pytest.mark.parametrize("reason", ["it", ValueError("it"), Failure(ValueError("it"))])
def test_a_message_can_be_given_up(reason: Any) -> None:
    """Whoever takes hears that there will be no whole message, and why."""
    feed = Feed()
    feed.write(b"half")
    feed.fail(reason)
    feed.fail("something else")
    with pytest.raises(ContentError, match="given up: it"):
        finished(taken(feed))


def test_nothing_is_failed_once_it_is_whole() -> None:
    """A message that was written whole stays so."""
    feed = Feed()
    feed.end()
    feed.fail("too late")
    assert finished(taken(feed)) == b""


def test_a_taker_that_leaves_stops_who_writes() -> None:
    """When the server is gone, a producer is stopped and a writer hears of it."""
    feed, producer = Feed(), Producer()
    feed.registerProducer(producer, True)
    room = feed.put(b"x" * (MOST_WAITING_OCTETS + 1))
    for _ in range(2):
        finished(feed.aclose())
    assert producer.told == ["pause", "stop"]
    for waiting in (room, feed.put(b"more")):
        with pytest.raises(ConnectionAborted):
            result(waiting)
    feed.unregisterProducer()
    late = Producer()
    feed.registerProducer(late, True)
    assert late.told == ["stop"]
    assert finished(taken(feed)) == b""


def test_a_taker_can_be_cancelled() -> None:
    """Whoever waits for the next piece may stop waiting; what comes then is not lost."""
    feed = Feed()
    waiting: Deferred[bytes] = Deferred.fromCoroutine(feed.__anext__())
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    feed.write(b"late")
    assert finished(feed.__anext__()) == b"late"


def test_a_pull_producer_is_asked_for_each_piece() -> None:
    """Twisted's own FileSender writes a message."""
    for early in (True, False):
        feed, sender = Feed(), FileSender()
        waiting = None if early else taking(feed)
        sending = sender.beginFileTransfer(io.BytesIO(MESSAGE), feed)
        sending.addCallbacks(lambda _, feed=feed: feed.end(), feed.fail)
        assert result(waiting or taking(feed)) == MESSAGE


def body_producer(octets: bytes) -> tuple[FileBodyProducer, list[Any]]:
    """Make one that writes when the list's calls are made."""
    steps: list[Any] = []

    class Call:
        def cancel(self) -> None:
            steps.clear()

    def schedule(step: Any) -> Call:
        steps.append(step)
        return Call()

    cooperator = Cooperator(scheduler=schedule)
    return FileBodyProducer(io.BytesIO(octets), cooperator), steps


def test_a_body_producer_is_a_message() -> None:
    """What Twisted's HTTP client sends can be sent as mail; it is paused, not buffered."""
    producer, steps = body_producer(MESSAGE)
    source = source_of(producer)
    assert not source.again
    waiting = taking(source.start())
    while steps:
        steps.pop()()
    assert result(waiting) == MESSAGE


@implementer(IBodyProducer)
class AtOnce(Producer):
    """One that writes everything at once, and says that it wrote so much."""

    def __init__(self, length: Any, outcome: Any) -> None:
        super().__init__()
        self.length = length
        self.outcome = outcome

    def startProducing(self, consumer: Any) -> Any:
        consumer.write(MESSAGE)
        return self.outcome() if callable(self.outcome) else self.outcome


def test_a_body_producer_writes_what_it_said() -> None:
    """One that stops in the middle, with or without an error, has not written a message."""
    for length in (len(MESSAGE), UNKNOWN_LENGTH):
        outgoing = Outgoing(AtOnce(length, succeed(None)))
        assert b"".join(finished(all_pieces(outgoing))).endswith(MESSAGE[-50:])
    for length, outcome, why in (
        (len(MESSAGE) + 1, succeed(None), "wrote"),
        (UNKNOWN_LENGTH, lambda: fail(ValueError("broken")), "broken"),
    ):
        with pytest.raises(ContentError, match=why):
            finished(all_pieces(Outgoing(AtOnce(length, outcome))))


def test_a_body_producer_that_is_not_needed_is_stopped() -> None:
    """When its message is given up, nothing goes on producing; its later end changes nothing."""
    ending: Deferred[None] = Deferred()
    producer = AtOnce(UNKNOWN_LENGTH, ending)
    outgoing = Outgoing(producer)
    finished(outgoing.needs())
    finished(outgoing.aclose())
    assert producer.told[-1] == "stop"
    ending.callback(None)


def test_who_cancels_stops_the_producer() -> None:
    """When sending is cancelled, nobody goes on producing, whatever was being waited for."""
    for declared in (None, Needs()):
        feed, producer = Feed(), Producer()
        feed.registerProducer(producer, True)
        sending = Deferred.fromCoroutine(all_pieces(Outgoing(feed, declared=declared)))
        if declared is not None:
            feed.write(MESSAGE)
        sending.addErrback(lambda failure: failure.trap(CancelledError))
        sending.cancel()
        assert producer.told == ["stop"]
        assert result(sending) is CancelledError
