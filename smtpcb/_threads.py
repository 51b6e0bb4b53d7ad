"""Threads that no process waits for: a call that never returns must not keep one from ending."""

from __future__ import annotations

from functools import partial
from threading import Thread

from twisted.python.threadpool import ThreadPool


def start_pool(name: str, most: int) -> ThreadPool:
    """
    Start a pool; whoever has it stops it.

    :param name: of its threads.
    :param most: how many there may be; they begin with the first work.
    """
    pool = ThreadPool(0, most, name)
    # Typed as the class itself, and any callable will do.
    pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
    pool.start()
    return pool
