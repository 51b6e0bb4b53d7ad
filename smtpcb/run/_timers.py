"""The timers of a process that is ours follow the time that passes, and no clock that is set."""

from __future__ import annotations

import time
from typing import Any


def follow_no_clock(reactor: Any) -> None:
    """
    Let a reactor measure time by a clock that nobody sets.

    Twisted's follow the wall clock: when that is set back by an hour, whatever waits for its time
    waits an hour longer, a pause in accepting as well as the end of an idle connection.  It is
    done before anything waits, since the two clocks have nothing in common; where something does
    already, or the reactor keeps a time of its own, all stays as it is.

    :param reactor: of a process that does nothing but run smtpcb.
    """
    if reactor.seconds == time.time and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
