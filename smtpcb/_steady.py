"""Which clock tells how much time has passed: never one that somebody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def steady_seconds(clock: Any) -> Callable[[], float]:
    """
    Return what tells the time to whoever has this clock for its timers.

    :param clock: a reactor, most of which say what the wall clock says, and that jumps; or a
        clock of a test, which only goes forward and is the time.
    """
    seconds: Callable[[], float] | None = getattr(clock, "seconds", None)
    return time.monotonic if seconds is None or seconds == time.time else seconds
