"""
What is late: each connection has a deadline, a number; all of them are looked at together.

A timer of the reactor's for each would cost more than all else that a command does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

# Who is late is not asked again before.
LEAST_SECONDS = 1.0
_NEVER = float("inf")


class HasDeadline(Protocol):
    """What may be late."""

    @property
    def deadline(self) -> float:
        """When that is."""

    def late(self, now: float) -> None:
        """Do what is to be done: its deadline has passed."""


class Deadlines:
    """
    The deadlines of all connections of a server.

    :param reactor: calls us.
    :param seconds: tells the time; it never goes back, as the reactor's may.
    :param all_of: those who may be late.
    """

    def __init__(
        self,
        reactor: Any,
        seconds: Callable[[], float],
        all_of: Callable[[], Iterable[HasDeadline]],
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._all_of = all_of
        self._timer: Any = None
        #: When they are looked at next; no deadline is sooner.
        self.due = _NEVER

    def by(self, deadline: float) -> None:
        """Look at all deadlines when this one passes, if not before."""
        if deadline < self.due:
            self._set(deadline)

    def stop(self) -> None:
        """There is nobody left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.due = _NEVER

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.due = due
        self._timer = self._reactor.callLater(max(0.0, due - self._seconds()), self._look)

    def _look(self) -> None:
        self._timer = None
        self.due = _NEVER
        now = self._seconds()
        first = _NEVER
        for one in list(self._all_of()):
            if one.deadline <= now:
                one.late(now)
            first = min(first, one.deadline)
        if first < self.due:
            # What has been late and is so still will not be otherwise in a moment.
            self._set(first if first > now else now + LEAST_SECONDS)
