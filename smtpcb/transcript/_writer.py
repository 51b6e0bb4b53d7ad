"""One thread that works off a queue, so that nobody else waits for a disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Any

# What is settled together, at most: more would only wait.
_SETTLE_OCTETS = 1_048_576


class Writer:
    """
    A queue with a bound, and the thread that works it off.

    The two sides share no lock: each appends or takes, counts what is its own, and only looks at
    the other's.  The thread is a daemon: a disk that never answers does not keep the process.

    :param regular: what the thread does at its start and regularly; it may not raise.
    :param settle: what it does when it has worked something off; what was worked off may wait for
        it, and takes its memory until then.
    :param finish: what it does at last.
    :param seconds: how often is regularly.
    :param most_octets: what may be in the queue, as `hand` is told.
    :param previous: whose end it waits for, since both write the same files.
    """

    def __init__(
        self,
        regular: Callable[[], object],
        settle: Callable[[], object],
        finish: Callable[[], object],
        seconds: float,
        most_octets: int,
        previous: Writer | None = None,
    ) -> None:
        self._regular = regular
        self._settle = settle
        self._finish = finish
        self._seconds = seconds
        self._most_octets = most_octets
        self._previous = previous
        self._queue: deque[tuple[int, Callable[..., object], tuple[Any, ...]]] = deque()
        self._handed = self._worked_off = 0  # octets: one is this side's, one the thread's
        self._awake = Event()
        self._ending = False
        # Here, not at the first work, so that a fork before it takes nothing with it.
        self._thread = Thread(target=self._run, name="smtpcb transcripts", daemon=True)
        self._thread.start()

    @property
    def waiting_octets(self) -> int:
        """What is in the queue."""
        return self._handed - self._worked_off

    @property
    def has_ended(self) -> bool:
        """Whether all has been done and the thread is gone."""
        return not self._thread.is_alive()

    def hand(self, octets: int, work: Callable[..., object], *arguments: Any) -> bool:
        """
        Put something into the queue; the thread sees it when it is woken.

        :param octets: what it takes in memory.
        :param work: called with the arguments; it may not raise.
        :return: whether there was room for it.
        """
        if octets and self._handed - self._worked_off + octets > self._most_octets:
            return False
        self._handed += octets
        self._queue.append((octets, work, arguments))
        return True

    def wake(self) -> None:
        """Have the thread look at the queue."""
        self._awake.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the thread's end, which has been asked for; return whether it came."""
        self._thread.join(seconds)
        return self.has_ended

    def end(self) -> None:
        """Have the thread end when the queue is empty; nothing may be handed to it any more."""
        self._ending = True
        self._awake.set()

    def _run(self) -> None:
        if self._previous is not None:
            self._previous._thread.join()
            self._previous = None
        ending, due = False, monotonic()
        while not ending:
            if monotonic() >= due:
                self._regular()
                due = monotonic() + self._seconds
            self._awake.wait(max(0.0, due - monotonic()))
            self._awake.clear()
            ending = self._ending  # before the queue: what was handed before the end is in it
            while self._queue:
                self._work_off()
        self._finish()

    def _work_off(self) -> None:
        taken = 0
        while self._queue and taken < _SETTLE_OCTETS:
            octets, work, arguments = self._queue.popleft()
            work(*arguments)
            taken += octets
        self._settle()
        self._worked_off += taken
