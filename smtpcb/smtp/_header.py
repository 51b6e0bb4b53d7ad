"""The header section of a message, field by field as it arrives (RFC 5322 §2.2)."""

from __future__ import annotations

import re

# A field that goes on in the next line is folded there (RFC 5322 §2.2.3).
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_FOLD = re.compile(rb"\r\n(?=[ \t])")


class HeaderReader:
    """
    Header fields out of mail data, however it is cut.

    It stops at the empty line, at a line that is no field, and after ``header_octets``.

    :param most_octets: how much of the header section is looked at.
    """

    __slots__ = ("_buffer", "_left", "_searched", "done")

    def __init__(self, most_octets: int) -> None:
        self._buffer = bytearray()
        # Where in the buffer to look for the next CRLF: folds before it have been seen, and are
        # not looked at again, so that a field of a thousand lines costs each line once.
        self._searched = 0
        self._left = most_octets
        self.done = False

    def read(self, octets: bytes) -> list[tuple[str, str]]:
        """
        Take the next octets of the message.

        :return: the fields that are complete now: name, and value unfolded, without blanks at
            its ends; octets that are no UTF-8 stand as surrogate escapes, as in `email`.
        """
        if self.done:
            return []
        buffer = self._buffer
        buffer += octets[: self._left]
        self._left -= len(octets)
        fields: list[tuple[str, str]] = []
        start, searched = 0, self._searched
        while True:
            end = buffer.find(b"\r\n", searched)
            if end < 0:
                searched = max(start, len(buffer) - 1)
                break
            # Whether a field is complete shows in the first octet of the line behind it.
            if end > start and end + 2 >= len(buffer):
                searched = end
                break
            if end > start and buffer[end + 2] in b" \t":
                searched = end + 2
                continue
            match = _FIELD.match(buffer, start, end)
            # A bare CR or LF (BDAT lets it pass) may look like the end of a line to whoever reads
            # the message: what is behind it is no field, and not part of one.
            if match is None or _BARE.search(buffer, start, end):
                self.done = True
                break
            value = _FOLD.sub(b"", buffer[match.end() : end])
            fields.append(
                (
                    buffer[start : match.end() - 1].rstrip().decode("ascii"),
                    value.strip(b" \t").decode("utf-8", "surrogateescape"),
                )
            )
            start = searched = end + 2
        if self._left <= 0:
            self.done = True
        if self.done:
            buffer.clear()
        else:
            del buffer[:start]
            self._searched = searched - start
        return fields

    def finish(self) -> list[tuple[str, str]]:
        """Return the field that only the end of the message completes, if there is one."""
        fields = self.read(b"\r\n\r\n") if self._buffer else []
        self.done = True
        return fields
