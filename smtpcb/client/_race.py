"""Race: connects to the addresses of a host, the next one as soon as one takes long (RFC 8305)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from smtpcb.client._place import Candidate
from smtpcb.client._protocol import ClientProtocol
from smtpcb.engine import Cause, ClientFailure, Stage

HEAD_START_SECONDS = 0.25
"""What an address has before the next one is tried beside it (RFC 8305 §5)."""


class Race:
    """
    The addresses of one host; one has a connection at a time.

    Who has lost a race has not failed: it runs again in the next one.

    :param candidates: in the order in which they start.
    :param make: returns the protocol for one of them; called when it is connected.
    :param failed: is told the name of each that cannot be connected to, and why.
    :param seconds: how long each of them may take.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        make: Callable[[Candidate], ClientProtocol],
        failed: Callable[[str, ClientFailure], None],
        seconds: float,
        reactor: Any,
    ) -> None:
        self._left = deque(candidates)
        self._make = make
        self._failed = failed
        self._seconds = seconds
        self._reactor = reactor
        self._running: dict[Candidate, Deferred[Any]] = {}
        self._timer: Any = None

    async def winner(self) -> tuple[Candidate, ClientProtocol] | None:
        """
        Connect to one more; ``None``: all that were left have failed.

        Cancelling stops all of them.
        """
        won: Deferred[tuple[Candidate, ClientProtocol] | None] = Deferred()
        self._start(won)
        try:
            return await won
        finally:
            self._stop()

    def _start(self, won: Deferred[Any]) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if not self._left:
            if not self._running:
                won.callback(None)
            return
        candidate = self._left.popleft()
        if self._left:
            self._timer = self._reactor.callLater(HEAD_START_SECONDS, self._start, won)
        factory = _Once(lambda: self._make(candidate) if candidate in self._running else None)
        connecting = self._running[candidate] = maybeDeferred(candidate.endpoint.connect, factory)
        connecting.addTimeout(self._seconds, self._reactor)
        connecting.addCallbacks(
            lambda _: self._connected(candidate, factory.made, won),
            lambda reason: self._refused(candidate, reason, won),
        )

    def _connected(self, candidate: Candidate, made: Any, won: Deferred[Any]) -> None:
        del self._running[candidate]
        won.callback((candidate, made))

    def _refused(self, candidate: Candidate, reason: Failure, won: Deferred[Any]) -> None:
        if self._running.pop(candidate, None) is not None:
            self._failed(candidate.name, _failure(reason, self._seconds))
            self._start(won)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running, self._running = self._running, {}
        self._left.extendleft(reversed(running))
        for connecting in running.values():
            connecting.cancel()


class _Once(Factory):
    """
    Makes the protocol of one connection; none for one that comes when nobody wants it any more.

    An endpoint may return what it has wrapped around the protocol.
    """

    noisy = False

    def __init__(self, make: Callable[[], ClientProtocol | None]) -> None:
        self._make = make
        self.made: ClientProtocol | None = None

    def buildProtocol(self, addr: object) -> ClientProtocol | None:
        """See `IProtocolFactory`."""
        self.made = self._make()
        return self.made


def _failure(reason: Failure, seconds: float) -> ClientFailure:
    if reason.check(defer.TimeoutError, error.TimeoutError):
        text = f"there is no connection within {seconds:g} s"
        return ClientFailure(Stage.GREETING, Cause.TIMEOUT, text)
    found = reason.value
    if isinstance(found, ClientFailure):  # a place's own
        return found
    text = str(found).rstrip(".") or type(found).__name__
    failure = ClientFailure(Stage.GREETING, Cause.LOST, text)
    failure.__cause__ = found
    return failure
