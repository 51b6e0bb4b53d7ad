"""Monitor: the dialogue as text, for whoever looks on."""

from __future__ import annotations

from typing import TextIO

from smtpcb.engine import ClientFailure, ClientObserver, TlsInformation, Transaction
from smtpcb.smtp import printable

_MOST_LINE_OCTETS = 2048
_MOST_HEADER_OCTETS = 65_536


class Monitor(ClientObserver):
    """
    Writes the dialogue as text, a line for each line; of secrets only that there are some.

    Of a message it says how long it was; nothing of its body is shown.

    :param out: where to.
    :param header: whether the header section of each message is shown, as it leaves.
    """

    def __init__(self, out: TextIO, *, header: bool = False) -> None:
        self._out = out
        self._shows_header = header
        self._in_header = False
        self._line = b""  # of the header section, as far as it has left
        self._held = b""
        self._content_octets = 0

    def secured(self, tls: TlsInformation) -> None:
        """See `ClientObserver.secured`."""
        self.note(f"TLS {tls.version} {tls.cipher}")

    def begun(self, transaction: Transaction) -> None:
        """See `ClientObserver.begun`."""
        self._in_header, self._line = self._shows_header, b""

    def client(self, octets: bytes) -> None:
        """See `ClientObserver.client`."""
        for line in octets.split(b"\r\n")[:-1]:
            self._write("C", line)

    def server(self, octets: bytes) -> None:
        """See `ClientObserver.server`."""
        *lines, self._held = (self._held + octets).split(b"\r\n")
        for line in lines:
            self._write("S", line)
        if len(self._held) > _MOST_LINE_OCTETS:
            self._write("S", self._held)
            self._held = b""

    def content(self, octets: bytes) -> None:
        """See `ClientObserver.content`."""
        self._content_octets += len(octets)
        if self._in_header:
            *lines, self._line = (self._line + octets).split(b"\r\n")
            for line in lines:
                self._in_header = self._in_header and line != b""
                if not self._in_header:
                    self._line = b""
                    break
                self._write("C", line)
            if len(self._line) > _MOST_HEADER_OCTETS:
                self._in_header, self._line = False, b""

    def end_of_content(self) -> None:
        """See `ClientObserver.end_of_content`."""
        self._write("C", b"(%d octets of the message)" % self._content_octets)
        self._content_octets = 0

    def note(self, text: str) -> None:
        """See `ClientObserver.note`."""
        self._write("*", text.encode("utf-8", "backslashreplace"))

    def disconnected(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.disconnected`."""
        if self._held:
            self._write("S", self._held)
            self._held = b""
        self.note("the session is over" + ("" if failure is None else f": {failure}"))

    def _write(self, side: str, octets: bytes) -> None:
        print(f"{side}: {printable(octets, _MOST_LINE_OCTETS)}", file=self._out, flush=True)
