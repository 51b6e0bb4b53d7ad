"""
Whose turn it is, and who is read.

Connections that have more to do than fits into one go take turns; who does not take our replies is
not read any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

# How long one connection may go on at once, and all that have yielded together, before the reactor
# serves the others.
SLICE_SECONDS = 0.002
TURN_SECONDS = 0.01


class TakesTurns(Protocol):
    """A connection that has yielded."""

    def take_turn(self) -> None:
        """Go on for a slice; yield again if that is not enough."""


class Turns:
    """
    Those who have yielded, first come first served, with one budget of time for each turn.

    :param seconds: tells the time.
    """

    def __init__(self, reactor: Any, seconds: Callable[[], float]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._waiting: deque[TakesTurns] = deque()
        self._call: Any = None

    def join(self, one: TakesTurns) -> None:
        """Give it a turn when the others have had theirs."""
        self._waiting.append(one)
        if self._call is None:
            self._call = self._reactor.callLater(0, self._serve)

    def leave(self, one: TakesTurns) -> None:
        """Forget it: it is gone."""
        if one in self._waiting:
            self._waiting.remove(one)
        if not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _serve(self) -> None:
        self._call = None
        end = self._seconds() + TURN_SECONDS
        # Not those who join again while they are served: they have had their turn.
        for _ in range(len(self._waiting)):
            if not self._waiting:
                break
            self._waiting.popleft().take_turn()
            if self._seconds() >= end:
                break
        if self._waiting and self._call is None:
            self._call = self._reactor.callLater(0, self._serve)


class Flow:
    """
    Why one connection is not read, each reason for itself.

    :ivar choked: the client does not take our replies.
    :ivar yielded: it is the others' turn.
    :ivar penalty: the timer that holds back an answer, and what is behind it.
    :ivar reading: whether the transport reads.
    :ivar began: when this turn began, if it is a long one.
    """

    __slots__ = ("began", "choked", "penalty", "reading", "yielded")

    def __init__(self) -> None:
        self.choked = self.yielded = False
        self.penalty: Any = None
        self.reading = True
        self.began = 0.0

    def has_had_its_turn(self, now: float) -> bool:
        """Whether this turn has been long enough; its first question begins it."""
        if not self.began:
            self.began = now
        return now - self.began > SLICE_SECONDS

    def read(self, transport: Any, *, wanted: bool) -> None:
        """Have the transport read, or not."""
        if wanted is not self.reading:
            self.reading = wanted
            if wanted:
                transport.resumeProducing()
            else:
                transport.pauseProducing()

    def stop(self, turns: Turns, one: TakesTurns) -> None:
        """Wait for nothing any more."""
        if self.penalty is not None:
            self.penalty.cancel()
            self.penalty = None
        if self.yielded:
            self.yielded = False
            turns.leave(one)
