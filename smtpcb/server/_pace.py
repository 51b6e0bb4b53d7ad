"""How fast mail data comes in: looked at once a minute, in which only the client is waited for."""

from __future__ import annotations

SECONDS = 60.0


class Pace:
    """
    The pace of one message, from the end of its first minute, or its first interruption, on.

    :param octets_per_second: the slowest that is taken; ``None``: any.
    :param end: when the minute under way is over.
    """

    __slots__ = ("_before", "_end", "_least", "_left")

    def __init__(self, octets_per_second: float | None, end: float) -> None:
        self._least = 0.0 if octets_per_second is None else octets_per_second * SECONDS
        self._before = 0
        self._left = SECONDS
        self._end: float | None = end

    def go_on(self, now: float) -> float:
        """Let the client's time run; return when this minute is over."""
        if self._end is None:
            self._end = now + self._left
        return self._end

    def stop(self, now: float) -> None:
        """Let it stand still: somebody else is being waited for."""
        if self._end is not None:
            self._left = self._end - now
            self._end = None

    def is_too_slow(self, octets: int) -> bool:
        """Judge a minute that is over, and begin the next one; so many have come in all."""
        slow = octets - self._before < self._least
        self._before = octets
        self._left = SECONDS
        self._end = None
        return slow
