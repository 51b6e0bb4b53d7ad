"""
What SIGTERM, SIGINT and SIGHUP do to a process of ours.

**SIGTERM and SIGINT.**  The first one stops the server, and everything under way is finished.  A
second one is somebody who does not want to wait, and cuts.  But one wish to stop often arrives as
several signals: service managers and terminals send them to each process of a group, and those that
start us (``timeout``, ``uv run``, an ``ExecStop`` of systemd) pass on what we have got already.  So
whatever comes within `ONE_STOP_SECONDS` of the first is the same stop.  A person who presses Ctrl-C
twice is slower than that, and one who is not presses it once more.

Only the process that was started decides: workers hear by their pipe what it has decided.

**SIGHUP** reads certificates again.  Its default is to end the process, which nobody means who
sends it to a server that is just starting: from the moment that our code runs it is remembered, and
acted on once there is something to reload (`smtpcb._hangup`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from smtpcb._hangup import remember

#: Signals that come within this time ask for one and the same stop.
ONE_STOP_SECONDS = 0.2

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """
    SIGTERM and SIGINT of a process that runs a reactor.

    :param cut: called in the reactor when somebody asks again who does not want to wait.
    :param now: seconds that only ever go forward.
    """

    def __init__(
        self, reactor: Any, cut: Callable[[], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._reactor = reactor
        self._cut = cut
        self._now = now
        self._before: dict[int, Any] = {}
        self._stopped: float | None = None

    def install(self) -> None:
        """Take the place of the reactor's own, which is asked to stop by the first signal."""
        with suppress(ValueError):  # not in the main thread: signals are somebody else's
            for number in _STOPPING:
                before = signal.getsignal(number)
                if callable(before):
                    signal.signal(number, self._come)
                    self._before[number] = before
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stopping)

    def remove(self) -> None:
        """Give the signals back."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _stopping(self) -> None:
        """Note that the server stops, for whatever reason: a signal is a second wish by now."""
        if self._stopped is None:
            self._stopped = self._now()

    def _come(self, number: int, frame: object) -> None:
        if self._stopped is None:
            self._stopped = self._now()
            # Twisted's notes which signal it was, since that is how the process will end.
            self._before[number](number, frame)
        elif self._now() - self._stopped >= ONE_STOP_SECONDS:
            self._reactor.callFromThread(self._cut)


def attend(reactor: Any, cut: Callable[[], object]) -> None:
    """
    Have SIGTERM and SIGINT stop the server, and cut it when they come again.

    :param reactor: one that runs already is somebody else's, and so are its signals.
    """
    if not reactor.running:
        # Then, and not now: the reactor would put its own in their place when it starts.
        reactor.callWhenRunning(StopSignals(reactor, cut).install)


def remember_reload(reactor: Any) -> None:
    """
    Have SIGHUP not end the process from now on; the service makes up for it when it starts.

    :param reactor: one that runs already is somebody else's, and so are its signals.
    """
    if not reactor.running:
        remember()
