"""Whose turn it is: connections that have more to do than fits into one go take turns."""

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
