"""What may be seen on stderr while it is sent: the dialogue, or a bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from smtpcb.engine import ClientFailure, ClientObserver
from smtpcb.smtp import printable

LARGE_OCTETS = 1_048_576
_MOST_LINE_OCTETS = 2048
_WIDTH = 40


class Monitor(ClientObserver):
    """
    Writes the dialogue, a line for each line; of secrets and of the content only that they are.

    :param out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._held = b""
        self._content = 0

    def client(self, octets: bytes) -> None:
        """See `ClientObserver.client`."""
        for line in octets.split(b"\r\n")[:-1]:
            self._line("C", line)

    def server(self, octets: bytes) -> None:
        """See `ClientObserver.server`."""
        *lines, self._held = (self._held + octets).split(b"\r\n")
        for line in lines:
            self._line("S", line)
        if len(self._held) > _MOST_LINE_OCTETS:
            self._line("S", self._held)
            self._held = b""

    def content(self, octets: bytes) -> None:
        """See `ClientObserver.content`."""
        self._content += len(octets)

    def end_of_content(self) -> None:
        """See `ClientObserver.end_of_content`."""
        self._line("C", b"(%d octets of the message)" % self._content)
        self._content = 0

    def note(self, text: str) -> None:
        """See `ClientObserver.note`."""
        self._line("*", text.encode())

    def ended(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.ended`."""
        if self._held:
            self._line("S", self._held)
        self.note("the session is over" + ("" if failure is None else f": {failure}"))

    def _line(self, side: str, octets: bytes) -> None:
        print(f"{side}: {printable(octets, _MOST_LINE_OCTETS)}", file=self._out, flush=True)


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
