"""
SIGHUP: read certificates again, for whoever wants it in this process.

Its default is to end the process, which nobody means who sends it to a server, and least of all to
one that is just starting: `remember` it first, and act on it once there is something to reload.
It imports nothing else of ours, since it is needed before that.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any


class _Listeners:
    """
    Those who want to hear of it.

    :param before: what was there before them, which gets the signal back when none is left;
        ``None``: nobody does.
    """

    def __init__(self, before: Any) -> None:
        self.before = before
        self.all: list[tuple[Any, Callable[[], object]]] = []
        self.watchers: list[Callable[[object], object]] = []
        #: Whether it came when there was nobody.
        self.came = False

    def __call__(self, number: int, frame: object) -> None:
        self.came = not self.all
        for reactor, act in list(self.all):
            reactor.callFromThread(partial(self.act, act))
        if callable(self.before):  # an application may have its own use of it
            self.before(number, frame)

    def act(self, act: Callable[[], object]) -> None:
        """Do it, in its reactor."""
        done = act()
        for watcher in self.watchers:
            watcher(done)


def remember() -> None:
    """
    Have SIGHUP not end this process from now on; `on_hangup` makes up for one that comes.

    Who ignores or handles it already has decided, and it stays so.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        _install(_Listeners(before=None))


def on_hangup(reactor: Any, act: Callable[[], object]) -> Callable[[], None]:
    """
    Call something in the reactor when SIGHUP comes; at once, if it came while it was remembered.

    :return: stops that; the last one gives the signal back to whom it was taken from.
    """
    listeners = signal.getsignal(signal.SIGHUP)
    if not isinstance(listeners, _Listeners):
        listeners = _Listeners(before=listeners)
        if not _install(listeners):
            return lambda: None
    wanted = (reactor, act)
    listeners.all.append(wanted)
    if listeners.came:
        listeners.came = False
        reactor.callFromThread(partial(listeners.act, act))

    def stop() -> None:
        if wanted not in listeners.all:
            return
        listeners.all.remove(wanted)
        mine = signal.getsignal(signal.SIGHUP) is listeners
        if mine and not listeners.all and listeners.before is not None:
            signal.signal(signal.SIGHUP, listeners.before)

    return stop


def watch(watcher: Callable[[object], object]) -> None:
    """
    Call something whenever SIGHUP is acted on, with what `on_hangup`'s ``act`` has returned.

    It is for whoever has `on_hangup` do it already; where nobody has, nothing is watched.
    """
    listeners = signal.getsignal(signal.SIGHUP)
    if isinstance(listeners, _Listeners):
        listeners.watchers.append(watcher)


def _install(listeners: _Listeners) -> bool:
    """Take the signal; tell whether that is possible."""
    try:
        signal.signal(signal.SIGHUP, listeners)
    except ValueError:  # not in the main thread: signals are somebody else's
        return False
    return True
