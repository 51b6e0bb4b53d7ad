"""
SIGHUP: read certificates again, for whoever wants it in this process.

Its default is to end the process, which nobody means who sends it to a server.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


class _Listeners:
    """Those who want to hear of it, and what was there before them."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.all: list[Callable[[], object]] = []
        self.before: Any = None

    def __call__(self, number: int, frame: object) -> None:
        self.reactor.callFromThread(self.tell)
        if callable(self.before):  # an application may have its own use of it
            self.before(number, frame)

    def tell(self) -> None:
        """Tell all of them."""
        for one in list(self.all):
            one()


def on_hangup(reactor: Any, act: Callable[[], object]) -> Callable[[], None]:
    """
    Call something in the reactor when SIGHUP comes.

    :return: stops that; the last one gives the signal back.
    """
    current: Any = signal.getsignal(signal.SIGHUP)
    listeners = current if isinstance(current, _Listeners) else _Listeners(reactor)
    if listeners is not current:
        try:
            listeners.before = signal.signal(signal.SIGHUP, listeners)
        except ValueError:  # not in the main thread: signals are somebody else's
            return lambda: None
        if getattr(current, "came", False):
            reactor.callFromThread(listeners.tell)
    listeners.all.append(act)

    def stop() -> None:
        if act in listeners.all:
            listeners.all.remove(act)
            in_force: Any = signal.getsignal(signal.SIGHUP)
            if not listeners.all and in_force is listeners:
                signal.signal(signal.SIGHUP, listeners.before)

    return stop
