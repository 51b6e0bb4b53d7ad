"""A bar on the terminal while a message is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from smtpcb.engine import ClientFailure, ClientObserver

LARGE_OCTETS = 1_048_576
_WIDTH = 40


class Progress(ClientObserver):
    """
    Draws a bar, and takes it away at the end.

    :param out: a terminal.
    :param total: returns how long the message is, ``None`` if that is not known yet.
    :param least_octets: of a shorter message none is drawn.
    """

    def __init__(self, out: TextIO, total: Callable[[], int | None], least_octets: int) -> None:
        self._out = out
        self._total = total
        self._least_octets = least_octets
        self._done = 0
        self._drawn = -1

    def content(self, octets: bytes) -> None:
        """See `ClientObserver.content`."""
        self._done += len(octets)
        total = self._total()
        if not total or total < self._least_octets:
            return
        # Dots are doubled and chunks have their commands: a little more goes than was counted.
        percent = min(100, self._done * 100 // total)
        if percent != self._drawn:
            self._drawn = percent
            bar = "#" * (percent * _WIDTH // 100)
            text = f"\r[{bar:{_WIDTH}}] {percent:3} % of {total / 1_048_576:.1f} MiB"
            print(text, end="", file=self._out, flush=True)

    def ended(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.ended`."""
        if self._drawn >= 0:
            print("\r\x1b[K", end="", file=self._out, flush=True)
