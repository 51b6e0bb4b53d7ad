"""The handlers that smtpcb is measured with; `Plain` accepts and discards, as all peers do."""

from __future__ import annotations

import time

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

DECISION_SECONDS = 0.05
BURNT_NANOSECONDS = 200_000


class Plain:
    """Two callbacks, and no more than that."""

    def rcpt(self, recipient: object, envelope: object) -> None:
        """Accept."""

    def message(self, envelope: object) -> None:
        """Accept, and discard."""


class Async:
    """The same as coroutines."""

    async def rcpt(self, recipient: object, envelope: object) -> None:
        """Accept."""

    async def message(self, envelope: object) -> None:
        """Accept, and discard."""


class Streaming(Plain):
    """Takes content as it comes, so that none is kept."""

    def chunk(self, octets: bytes, envelope: object) -> None:
        """Discard."""


class Slow(Plain):
    """Every recipient is looked up somewhere, which takes 50 ms."""

    def rcpt(self, recipient: object, envelope: object) -> Deferred[None]:
        """Accept, later."""
        return task.deferLater(reactor, DECISION_SECONDS)


class SlowAtOnce(Slow):
    """The same, and recipients may be looked up side by side."""

    concurrent_recipients = True


class Burning(Plain):
    """Works 200 µs for every message."""

    def message(self, envelope: object) -> None:
        """Accept, after some work."""
        end = time.thread_time_ns() + BURNT_NANOSECONDS
        while time.thread_time_ns() < end:
            pass
