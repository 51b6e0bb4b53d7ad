"""How long a server is waited for: one timer, which mostly finds that it has answered meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smtpcb.client._times import ClientTimes
from smtpcb.engine import Stage


class Patience:
    """
    The time of one connection.

    :param times: how long a server may take.
    :param late: is called when it takes longer.
    """

    __slots__ = ("_late", "_reactor", "_timer", "_times", "_when")

    def __init__(self, reactor: Any, times: ClientTimes, late: Callable[[], object]) -> None:
        self._reactor = reactor
        self._times = times
        self._late = late
        self._timer: Any = None
        self._when: float | None = None

    def begin(self, stage: Stage) -> None:
        """Wait for the server, as long as that stage may take from now on."""
        seconds = self._times.of(stage)
        self._when = when = self._reactor.seconds() + seconds
        timer = self._timer
        if timer is not None and timer.getTime() > when:
            timer.cancel()
            timer = None
        if timer is None:
            self._timer = self._reactor.callLater(seconds, self._look)

    def rest(self) -> None:
        """Wait for nobody, for a while."""
        self._when = None

    def end(self) -> None:
        """Wait no more."""
        self._when = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        when = self._when
        if when is not None:
            left = when - self._reactor.seconds()
            if left > 0:
                self._timer = self._reactor.callLater(left, self._look)
            else:
                self._when = None
                self._late()
