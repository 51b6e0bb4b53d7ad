r"""
Notation: what was said becomes the lines of a transcript, those of RFC 5321 Appendix D.

Before each line stand the seconds since the start::

    # smtpcb transcript 1
    # connection 20261120T081450.123456Z-4711-1-9f3a2c08
    # peer 127.0.0.1:51234
    # host 127.0.0.1:10025
    # started 2026-11-20T08:14:50.123456Z
        0.000 S: 220 mail.example.org ESMTP
        0.001 C: EHLO client.example.org
        0.002 S: 250-mail.example.org
              S: 250 SIZE 33554432
        0.009 *: closed: the client has quit

``C:`` is the client, ``S:`` the server, ``*:`` a remark of ours.  Every C and S line is one line
that ended in CRLF.  One that did not ends in a lone backslash.  Text stands as it is, a backslash
is doubled, and an octet that would not print, or would print as something else, is ``\xNN``:
reading gives back the exact octets, and nothing a client sends can look like a second line.

The text is a function of the octets, however the network cut them: a character or a CRLF that
ends in the next piece is held back until it comes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from smtpcb.transcript._escape import escape, is_plain

CLIENT, SERVER, NOTE, CONTENT, END_OF_CONTENT = range(5)

#: When (on the clock of the owner), which of the five, and the octets; of END_OF_CONTENT, instead
#: of octets, how many of the content have been left out already, in ASCII digits.
Record = tuple[float, int, bytes]

_NOTHING = b"0"
_CRLF = b"\r\n"

# How a line begins, behind its time; content is the client's.
_SIDES = (b" C: ", b" S: ", b" *: ", b" C: ")
_NEXT_LINES = tuple(b"\n" + b" " * 9 + side for side in _SIDES)  # as wide as the time

# What the next piece may complete: a CRLF, or a character in UTF-8 (RFC 3629 §4).
_INCOMPLETE = re.compile(
    rb"(?:\r|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})?\Z"
)


class Head(NamedTuple):
    """
    Who was connected: what the first lines say.

    :ivar proxy: who has said so, where the client is behind somebody: one more line.
    :ivar started: on the owner's clock; times of lines count from it.
    :ivar date: the same as a date.
    """

    identifier: str
    peer_address: str
    peer_port: int
    host_address: str
    host_port: int
    started: float
    date: datetime
    proxy: str = ""

    def text(self) -> bytes:
        """Write the first lines."""
        date = self.date if self.date.tzinfo is UTC else self.date.astimezone(UTC)
        return (
            "# smtpcb transcript 1\n"
            f"# connection {self.identifier}\n"
            f"# peer {endpoint(self.peer_address, self.peer_port)}\n"
            f"# host {endpoint(self.host_address, self.host_port)}\n"
            f"{self._by_proxy()}"
            f"# started {date.isoformat(timespec='microseconds')[:26]}Z\n"
        ).encode()

    def _by_proxy(self) -> str:
        return f"# proxy {escape(self.proxy.encode())}\n" if self.proxy else ""


def endpoint(address: str, port: int) -> str:
    printable = _host(address)
    if not port:
        return printable
    return f"[{printable}]:{port}" if ":" in printable else f"{printable}:{port}"


@lru_cache(maxsize=256)
def _host(address: str) -> str:
    return escape(address.encode("utf-8", "surrogateescape")) or "-"


class Notation:
    """
    The writing of one transcript.

    :param started: what times count from.
    """

    __slots__ = ("_held", "_milliseconds", "_started", "_time_text", "_unended")

    def __init__(self, started: float) -> None:
        self._started = started
        self._milliseconds = -1
        self._time_text = b""
        self._unended: int | None = None  # whose line is not at its end yet, and
        self._held = b""  # the end of it, which the next piece may complete

    def lines(self, records: Sequence[Record]) -> bytes:
        """Write what was said; the last line may be without its end."""
        return self.lines_of(records, b"".join([octets for _, _, octets in records]))

    def lines_of(self, records: Sequence[Record], said: bytes) -> bytes:
        """Write the same; whoever calls it has the octets of all records in one."""
        # Nearly always all of it is ASCII and in whole lines: looked at once, then only copied,
        # and the CR of all lines is taken out at the end.
        plain = is_plain(said)
        pieces: list[bytes] = []
        started, known, time_text = self._started, self._milliseconds, self._time_text
        whole = self._unended is None
        for seconds, side, octets in records:
            if octets[-2:] != _CRLF or not whole:
                self._odd(pieces, seconds, side, octets)
                known, time_text, whole = self._milliseconds, self._time_text, self._unended is None
                continue
            milliseconds = int((seconds - started) * 1000 + 0.5)
            if milliseconds != known:
                known, time_text = milliseconds, self._count(milliseconds)
            if not plain:
                octets = escape(octets[:-2], _NEXT_LINES[side].decode()).encode() + b"\n"
            elif octets.find(b"\n") < len(octets) - 1:
                octets = octets[:-2].replace(b"\n", _NEXT_LINES[side]) + b"\n"
            pieces += (time_text, _SIDES[side], octets)
        # What is escaped has none.
        return b"".join(pieces).replace(b"\r", b"")

    def mark(self, seconds: float, text: str, *, inside: bool) -> bytes:
        """
        Write a remark that is the last line.

        :param inside: whether what is in the file ends inside a line.
        """
        self._count(int((seconds - self._started) * 1000 + 0.5))
        line = self._time_text + _SIDES[NOTE] + escape(text.encode()).encode() + b"\n"
        return b"\\\n" + line if inside else line

    def _odd(self, pieces: list[bytes], seconds: float, side: int, octets: bytes) -> None:
        """Write what is no whole line, does not begin one, or is no line at all."""
        if side != END_OF_CONTENT:
            self._part(pieces, seconds, side, octets)
        elif octets != _NOTHING:
            self._part(pieces, seconds, NOTE, b"content: %s octets left out\r\n" % octets)

    def _part(self, pieces: list[bytes], seconds: float, side: int, octets: bytes) -> None:
        if not octets:
            return
        who = CLIENT if side == CONTENT else side
        if self._unended == who:
            octets = self._held + octets
        else:
            if self._unended is not None:
                pieces.append(escape(self._held).encode() + b"\\\n")
            self._count(int((seconds - self._started) * 1000 + 0.5))
            pieces += (self._time_text, _SIDES[who])
        if octets.endswith(b"\r\n"):
            self._unended, self._held = None, b""
            octets, end = octets[:-2], b"\n"
        else:
            incomplete = _INCOMPLETE.search(octets, max(0, len(octets) - 3))
            assert incomplete is not None  # it may be empty
            self._unended, self._held = who, incomplete[0]
            octets, end = octets[: incomplete.start()], b""
        pieces += (escape(octets, _NEXT_LINES[who].decode()).encode(), end)

    def _count(self, milliseconds: int) -> bytes:
        # Much is said within one millisecond, and writing the number is most of the work.
        self._milliseconds = milliseconds
        self._time_text = b"%9.3f" % (milliseconds / 1000)
        return self._time_text
