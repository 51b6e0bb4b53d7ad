"""Pieces that somebody writes, for somebody who takes them: one waits for the other."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.client._errors import ContentError

# What may lie here before the writer has to wait; a piece that goes over it is taken.
MOST_WAITING_OCTETS = 262_144


@implementer(IConsumer)
class Feed:
    """
    A message that is written piece by piece while it is sent; an async iterator of bytes.

    Give it to the client as the message, and write to it; it can be sent once::

        feed = Feed()
        sending = session.run()                 # takes from it as fast as the server does
        await feed.put(octets)                  # waits while enough lies there
        feed.end()                              # or feed.fail(reason): nothing is delivered

    It is Twisted's `IConsumer` too: a producer that is registered is paused meanwhile.  That it
    unregisters says nothing, since it does so as well when it was cut off: only `end` says that
    the message is whole.

    :raises ContentError: from the iterator, when it was failed.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: BaseException | None = None
        self._closed = False
        self._taker: Deferred[None] | None = None
        self._writers: list[Deferred[None]] = []
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._written = 0

    # What writes

    def write(self, data: bytes) -> None:
        """Add some octets, whatever lies here; see `IConsumer`."""
        if self._ended:
            if self._closed:
                return  # nobody takes it any more; the producer has been told
            raise ValueError("this message has been ended already")
        if not data:
            return
        self._pieces.append(bytes(data))
        self._size += len(data)
        self._written += len(data)
        self._wake()
        if self._size > MOST_WAITING_OCTETS and self._streaming and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def put(self, octets: bytes) -> Deferred[None]:
        """
        Add some octets.

        :return: fires when there is room for more; fails with ``ConnectionAborted`` if nobody
            takes the message any more.
        """
        self.write(octets)
        room: Deferred[None] = Deferred()
        if self._closed:
            room.errback(ConnectionAborted())
        elif self._size <= MOST_WAITING_OCTETS:
            room.callback(None)
        else:
            self._writers.append(room)
        return room

    def end(self) -> None:
        """Say that this was the whole message."""
        self._ended = True
        self._wake()

    def fail(self, reason: Failure | BaseException | str) -> None:
        """Say that there will be no whole message: what was sent of it is not to be delivered."""
        if not self._ended:
            if isinstance(reason, Failure):
                reason = reason.value or reason.getErrorMessage()
            self._error = reason if isinstance(reason, BaseException) else ContentError(reason)
            self.end()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self._producer is not None:
            raise RuntimeError(f"a producer is registered already: {self._producer!r}")
        if self._closed:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        self._paused = False
        if not streaming and self._taker is not None:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Take it that the producer writes no more, for whatever reason; see `IConsumer`."""
        self._producer = None

    def follow(self, producer: Any) -> None:
        """Let an ``IBodyProducer`` write the whole message: all octets that it says it has."""
        self._producer, self._streaming = producer, True
        producer.startProducing(self).addCallback(self._followed, producer.length).addErrback(
            self.fail
        )

    def _followed(self, _: object, length: object) -> None:
        self._producer = None
        if isinstance(length, int) and length != self._written:
            self.fail(f"a producer of {length} octets wrote {self._written}")
        if not self._ended:
            self.end()

    # What takes

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._error is not None:
                raise ContentError(f"the message was given up: {self._error}") from self._error
            if self._ended:
                raise StopAsyncIteration
            if self._producer is not None and not self._streaming:
                self._producer.resumeProducing()
                if self._pieces or self._ended:
                    continue
            self._taker = Deferred()
            try:
                await self._taker
            finally:
                self._taker = None
        piece = self._pieces.popleft()
        self._size -= len(piece)
        self._make_room()
        return piece

    async def aclose(self) -> None:
        """Take no more: whoever writes is stopped."""
        if self._closed:
            return
        self._closed = self._ended = True
        self._pieces.clear()
        self._size = 0
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        writers, self._writers = self._writers, []
        for room in writers:
            room.errback(ConnectionAborted())

    def _make_room(self) -> None:
        if self._size > MOST_WAITING_OCTETS:
            return
        if self._paused and self._producer is not None:
            self._paused = False
            self._producer.resumeProducing()
        writers, self._writers = self._writers, []
        for room in writers:
            room.callback(None)

    def _wake(self) -> None:
        if self._taker is not None:
            taker, self._taker = self._taker, None
            taker.callback(None)
