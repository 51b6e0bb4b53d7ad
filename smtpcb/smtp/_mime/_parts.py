"""A message taken apart: its header section, its parts, and theirs (RFC 2045, RFC 2046 §5).

Lines end as they do for `HeaderReader`: in CRLF, and a bare LF ends neither a field nor a boundary.
Each octet is looked at once for each level of parts, and there are `MOST_DEPTH` of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import (
    CloseBoundaryNotFoundDefect,
    InvalidMultipartContentTransferEncodingDefect,
    MessageDefect,
    MultipartInvariantViolationDefect,
    NoBoundaryInMultipartDefect,
    StartBoundaryNotFoundDefect,
)
from itertools import pairwise

from smtpcb.smtp._header import BareLineFeedDefect, HeaderReader, with_crlf
from smtpcb.smtp._mime._fields import Told
from smtpcb.smtp._mime._message import ReadMessage

# No part is nested deeper than 30 levels and no message has more than 1,000 parts: what Exchange
# takes, and ten times what mail programs make.  A part takes some 1.5 KB, a boundary four octets.
MOST_DEPTH = 30
MOST_PARTS = 1000
# Of all parts together.  A field of four octets takes 300 in memory.
MOST_PART_HEADER_OCTETS = 1_048_576
_PIECE_OCTETS = 16_384
# RFC 2046 §5.1.1 allows 70 characters; a line has room for these.
_BOUNDARY = re.compile(r"[ -~]{1,990}")
_REST_OF_DELIMITER = re.compile(rb"(--)?[ \t]*(?=\r\n|\Z)")


class TooManyPartsDefect(MessageDefect):
    """More parts than are taken apart: the rest is one part more, of octets."""


class TooDeepDefect(MessageDefect):
    """Parts within parts, more than are taken apart: what is in this one is its payload."""


def read_message(octets: bytes, header_octets: int) -> ReadMessage:
    """
    Return a message, all of it in memory.

    :param octets: the mail data.
    :param header_octets: how much of its header section is read, as for the ``header`` event.
    """
    read = with_crlf(octets)
    message = _Parts(read, header_octets).read(0, len(read), 0)
    if read is not octets:
        message.note(BareLineFeedDefect())
    return message


class _Parts:
    """Takes one message apart."""

    def __init__(self, octets: bytes, header_octets: int) -> None:
        self._octets = octets
        self._header_octets = header_octets  # of the next header section
        self._part_header_octets = MOST_PART_HEADER_OCTETS
        self._left = MOST_PARTS

    def read(
        self, start: int, end: int, depth: int, default_type: str | None = None
    ) -> ReadMessage:
        """Read a message or part, of which the header section stands at ``start``."""
        message = ReadMessage()
        if default_type is not None:
            message.set_default_type(default_type)
        body = self._read_header(message, start, end)
        content_type = message.get_content_type()
        main = content_type.partition("/")[0]
        if main not in ("multipart", "message"):
            message.set_payload(self._text(body, end))
        elif depth >= MOST_DEPTH:
            message.note(TooDeepDefect())
            message.set_payload(self._text(body, end))
        elif main == "multipart":
            self._read_multipart(message, body, end, depth)
        elif content_type == "message/delivery-status":
            self._read_blocks(message, body, end, depth)
        elif self._may_add(message):
            message.attach(self.read(body, end, depth + 1))
        else:
            message.set_payload(self._text(body, end))
        return message

    def _read_header(self, message: ReadMessage, start: int, end: int) -> int:
        """Return where the body begins."""
        reader = HeaderReader(self._header_octets)
        at = start
        sources: list[bytes] = []
        while at < end and not reader.done:
            sources += reader.sources(self._octets[at : min(at + _PIECE_OCTETS, end)])
            at += _PIECE_OCTETS
        sources += reader.last_sources()
        for source in sources:
            message.set_raw(*Told.of(source))
        for defect in reader.defects:
            message.note(defect())
        if start:
            self._part_header_octets -= reader.body_at
        self._header_octets = self._part_header_octets
        return start + reader.body_at

    def _read_multipart(self, message: ReadMessage, start: int, end: int, depth: int) -> None:
        boundary = message.get_boundary("")
        if not _BOUNDARY.fullmatch(boundary):
            message.note(NoBoundaryInMultipartDefect())
            message.note(MultipartInvariantViolationDefect())
            message.set_payload(self._text(start, end))
            return
        encoding = message.get("content-transfer-encoding")
        if encoding is not None and encoding.cte not in ("7bit", "8bit", "binary"):
            message.note(InvalidMultipartContentTransferEncodingDefect())
        delimiters, epilogue = self._delimiters(boundary.encode("ascii"), start, end)
        if not delimiters:
            message.note(StartBoundaryNotFoundDefect())
            message.note(MultipartInvariantViolationDefect())
            message.set_payload(self._text(start, end))
            return
        if delimiters[0][0] > start:
            message.preamble = self._text(start, delimiters[0][0])
        if epilogue is None:
            message.note(CloseBoundaryNotFoundDefect())
            delimiters.append((end, end))
        else:
            delimiters.append((epilogue[0], epilogue[0]))
            if epilogue[1] < end:
                message.epilogue = self._text(min(epilogue[1] + 2, end), end)
        self._read_parts(message, delimiters, depth)

    def _read_parts(
        self, message: ReadMessage, delimiters: list[tuple[int, int]], depth: int
    ) -> None:
        digest = message.get_content_type() == "multipart/digest"
        for (_, start), (end, _) in pairwise(delimiters):
            if not self._may_add(message):
                rest = ReadMessage()
                rest.set_default_type("application/octet-stream")
                rest.note(TooManyPartsDefect())
                rest.set_payload(self._text(start, delimiters[-1][0]))
                message.attach(rest)
                return
            default_type = "message/rfc822" if digest else None
            message.attach(self.read(start, max(start, end), depth + 1, default_type))

    def _delimiters(
        self, boundary: bytes, start: int, end: int
    ) -> tuple[list[tuple[int, int]], tuple[int, int] | None]:
        """
        Find the lines that part a multipart.

        :return: where each begins, with the CRLF that belongs to it (RFC 2046 §5.1.1), and where
            what is behind it does; and the same, without its CRLF, of the one that closes.
        """
        delimiters: list[tuple[int, int]] = []
        needle = b"\r\n--" + boundary
        # The CRLF before the first one may be the one that ended the header section.
        at = max(start - 2, 0)
        # What is behind more of them than are read is not looked for.
        while len(delimiters) <= MOST_PARTS and (at := self._octets.find(needle, at, end)) >= 0:
            match = _REST_OF_DELIMITER.match(self._octets, at + len(needle), end)
            if match is None:
                at += 2
                continue
            if match[1] and delimiters:
                return delimiters, (at, match.end())
            if match[1]:
                break  # it closes what has not begun
            behind = min(match.end() + 2, end)
            # Two in a row are one.
            if delimiters and at <= delimiters[-1][1] - 2:
                delimiters[-1] = (delimiters[-1][0], behind)
            else:
                delimiters.append((at, behind))
            at = match.end()
        return delimiters, None

    def _read_blocks(self, message: ReadMessage, start: int, end: int, depth: int) -> None:
        """Read a delivery status: header sections, parted by empty lines (RFC 3464 §2.1)."""
        message.set_payload([])
        for at, behind in self._blocks(start, end):
            if not self._may_add(message):
                rest = ReadMessage()
                rest.note(TooManyPartsDefect())
                rest.set_payload(self._text(at, end))
                message.attach(rest)
                return
            message.attach(self.read(at, behind, MOST_DEPTH))

    def _blocks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        while start < end:
            empty = self._octets.find(b"\r\n\r\n", start, end)
            behind = end if empty < 0 else empty + 2
            yield start, behind
            start = end if empty < 0 else empty + 4

    def _may_add(self, message: ReadMessage) -> bool:
        self._left -= 1
        if self._left < 0:
            message.note(TooManyPartsDefect())
            return False
        return True

    def _text(self, start: int, end: int) -> str:
        return self._octets[start:end].decode("ascii", "surrogateescape")
