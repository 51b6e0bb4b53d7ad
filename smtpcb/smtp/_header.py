"""The header section of a message, field by field as it arrives (RFC 5322 §2.2).

There is one reader: what it tells the ``header`` event is what ``envelope.content.mime()`` has.  A
filter that looks at one of them has seen the other.

============================  =======================================================
a line that is                is
============================  =======================================================
``Name: value``               a field; blanks before the colon are taken (RFC 5322 §4.5)
a blank and more              the rest of the field above it (RFC 5322 §2.2.3)
that, and nothing above it    passed over, and so is what begins with a colon or
                              with ``From`` and a blank, as an mbox file has it
empty                         the end of the section
anything else                 the end of the section, and the first line of the body
============================  =======================================================

A field with a bare CR or LF in it is "anything else": to others it would be two.  But when the very
first line ends in a bare LF, so do all: it is a text file of UNIX, which BDAT lets pass.
"""

from __future__ import annotations

import re
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MessageDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)

# Of one section: twenty times what honest mail has.  A field can be four octets, and a hundred
# times that in the memory of whoever keeps it.
MOST_FIELDS = 10_000
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
# A field that goes on in the next line is folded there (RFC 5322 §2.2.3).
_BARE_LF = re.compile(rb"(?<!\r)\n")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# Lines that are no field, and that other readers of mail pass over.
_NO_FIELD = {
    b" ": FirstHeaderLineIsContinuationDefect,
    b"\t": FirstHeaderLineIsContinuationDefect,
    b":": InvalidHeaderDefect,
    b"From ": MisplacedEnvelopeHeaderDefect,
}
_PASSED_OVER = re.compile(rb"[ \t:]|From ")


class BareLineFeedDefect(MessageDefect):
    """The lines of the message end in a bare LF; they are read as if they ended in CRLF."""


class HeaderReader:
    """
    Header fields out of mail data, however it is cut.

    It keeps what came of the field that is not complete, no more than ``most_octets`` (and
    the eighth by which Python lets a buffer grow), and nothing once the section has ended.  A field
    is told whole: for that moment it is in memory twice, and as text, up to 4 octets a character.

    :param most_octets: how much of the header section is looked at; a field that is not complete
        then is where the section ends, and so is one after `MOST_FIELDS`.
    :ivar done: whether the section has ended.
    :ivar body_at: where the body begins, counted in octets from the first; known once it is done.
    :ivar cut: whether it has ended only because there is a limit: more fields may follow.
    :ivar defects: what was wrong, each kind once.
    """

    __slots__ = (
        "_bare",
        "_before",
        "_buffer",
        "_fields_left",
        "_left",
        "_searched",
        "body_at",
        "cut",
        "defects",
        "done",
    )

    def __init__(self, most_octets: int) -> None:
        self._buffer = bytearray()
        # Where in the buffer to look for the next CRLF: folds before it have been seen, and are
        # not looked at again, so that a field of a thousand lines costs each line once.
        self._searched = 0
        self._left = most_octets
        self._fields_left = MOST_FIELDS
        self._bare: bool | None = None  # whether lines end in a bare LF; None: none has ended
        self._before = b""  # the octet before the next ones
        self.body_at = 0
        self.cut = False
        self.defects: list[type[MessageDefect]] = []
        self.done = False

    def read(self, octets: bytes) -> list[tuple[str, str]]:
        """
        Take the next octets of the message.

        :return: the fields that are complete now; see `field`.
        """
        return [field(source) for source in self.sources(octets)]

    def finish(self) -> list[tuple[str, str]]:
        """Return the field that only the end of the message completes, if there is one."""
        return [field(source) for source in self.last_sources()]

    def sources(self, octets: bytes) -> list[bytes]:
        """Take the next octets of the message; return the fields as they came, without CRLF."""
        if self.done:
            return []
        buffer = self._buffer
        octets = self._with_crlf(octets[: self._left])
        buffer += octets[: self._left]
        self._left -= len(octets)
        sources: list[bytes] = []
        start, searched = 0, self._searched
        while True:
            end = buffer.find(b"\r\n", searched)
            if end < 0:
                searched = max(start, len(buffer) - 1)
                break
            if end == start:  # the empty line
                start = end + 2
                self.done = True
                break
            # Whether a field is complete shows in the first octet of the line behind it.
            if end + 2 >= len(buffer):
                searched = end
                break
            if buffer[end + 2] in b" \t":
                searched = end + 2
                continue
            if _FIELD.match(buffer, start, end) and not _BARE.search(buffer, start, end):
                if not self._fields_left:
                    self.cut = True
                    self._end_early()
                    break
                self._fields_left -= 1
                sources.append(bytes(buffer[start:end]))
            elif not self._pass_over(start, end):
                break
            start = searched = end + 2
        self._end_turn(start, searched)
        return sources

    def last_sources(self) -> list[bytes]:
        """As `sources`, for the field that only the end of the message completes."""
        if self.done:
            return []
        # What is not there is not counted: neither against the limit, nor by `body_at`.
        length = self.body_at + len(self._buffer)
        self._left = 4
        sources = self.sources(b"\r\n\r\n")
        if self.body_at > length:
            self.body_at = length
        self.done = True
        return sources

    def _with_crlf(self, octets: bytes) -> bytes:
        if self._bare is None and (at := octets.find(b"\n")) >= 0:
            self._bare = (octets[at - 1 : at] if at else self._before) != b"\r"
            if self._bare:
                self._note(BareLineFeedDefect)
        if self._bare:
            kept = int(self._before == b"\r" and octets.startswith(b"\n"))
            octets = octets[:kept] + _BARE_LF.sub(b"\r\n", octets[kept:])
        self._before = octets[-1:] or self._before
        return octets

    def _pass_over(self, start: int, end: int) -> bool:
        """Return whether reading goes on behind this line, which is no field."""
        line = _PASSED_OVER.match(self._buffer, start, end)
        if line is None or _BARE.search(self._buffer, start, end):
            self._end_early()
            return False
        self._note(_NO_FIELD[line[0]])
        return True

    def _end_turn(self, start: int, searched: int) -> None:
        self.body_at += start
        if self._left <= 0 and not self.done:
            self.cut = True
            self._end_early()
        if self.done:
            self._buffer = bytearray()
        else:
            del self._buffer[:start]
            self._searched = searched - start

    def _end_early(self) -> None:
        self._note(MissingHeaderBodySeparatorDefect)
        self.done = True

    def _note(self, defect: type[MessageDefect]) -> None:
        if defect not in self.defects:
            self.defects.append(defect)


def with_crlf(octets: bytes) -> bytes:
    """Return a message as `HeaderReader` reads it: CRLF for each bare LF, if the first is one."""
    at = octets.find(b"\n")
    if at < 0 or octets[max(at - 1, 0) : at] == b"\r":
        return octets
    return _BARE_LF.sub(b"\r\n", octets)


def field(source: bytes) -> tuple[str, str]:
    """
    Read one field that `HeaderReader` has found.

    :return: its name, and its value unfolded, without blanks at its ends; octets that are no
        UTF-8 stand as surrogate escapes, as in `email`.
    """
    name, _, value = source.partition(b":")
    unfolded = _FOLD.sub(b"", value).strip(b" \t")
    return name.rstrip(b" \t").decode("ascii"), unfolded.decode("utf-8", "surrogateescape")
