"""
ReplyReader: the replies of a server, however the network cuts them (RFC 5321 §4.2).

A server is a stranger too.  A line and a reply may be only so long, all lines of a reply have the
same code, and nothing but CRLF ends a line (§2.3.8): who takes a lone LF for a line end can be made
to see two replies where the server has sent one, and every later reply answers the wrong command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from smtpcb.smtp._errors import SMTPError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._status import STATUS

MOST_LINE_OCTETS = 2048
"""A line, with its CRLF; RFC 5321 §4.5.3.1.5 has 512, and servers that explain things say more."""

MOST_LINES = 200
"""Lines of one reply."""

MOST_OCTETS = 65_536
"""One reply."""

# What is longer is seldom said twice.
_REMEMBERED_OCTETS = 256

_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])([^\r\n\0]*+))?+\r\n")
_SO_FAR = re.compile(rb"(?:[2-5](?:[0-5](?:[0-9](?:[ -][^\r\n\0]*+)?+\r?+)?+)?+)?+\Z")


class MalformedReply(SMTPError):  # noqa: N818 - it is what came
    """What a server has sent is no reply; the text says why."""


class ReplyReader:
    """
    Reads what a server sends.

    :ivar enhanced: the server has offered ENHANCEDSTATUSCODES: what a text begins with may be a
        status (RFC 2034 §4).
    :ivar most_line_octets: how long a line may be; a challenge of AUTH may be longer than others
        (RFC 4954 §4).
    """

    __slots__ = ("_at", "_code", "_lines", "_octets", "_size", "enhanced", "most_line_octets")

    def __init__(self) -> None:
        self.enhanced = False
        self.most_line_octets = MOST_LINE_OCTETS
        self._octets = b""
        self._at = 0  # what is before it has been read
        self._code = b""
        self._lines: list[str] = []  # those of a reply that has not come to its end
        self._size = 0

    @property
    def waiting(self) -> bool:
        """Whether something has come that was not read yet, a whole reply or a part of one."""
        return self._at < len(self._octets) or bool(self._lines)

    def read(self, octets: bytes) -> Iterator[Reply]:
        """
        Take the next octets, and give out one reply after the other.

        Each is read when it is asked for, so what is done about one decides how the next is read.

        :raises MalformedReply: what follows is none; nothing can be read after that.
        """
        self._octets = self._octets[self._at :] + octets
        self._at = 0
        while True:
            match = _LINE.match(self._octets, self._at)
            if match is None:
                if self._at < len(self._octets):
                    self._require_beginning()
                return
            line = match[0]
            if len(line) > self.most_line_octets:
                raise MalformedReply("a line of a reply is too long")
            self._at = match.end()
            if match[2] == b"-" or self._lines:
                reply = self._add(match)
                if reply is None:
                    continue
            elif len(line) <= _REMEMBERED_OCTETS:
                reply = _alone(line, self.enhanced)
            else:
                reply = _reply(line, self.enhanced)
            yield reply

    def _add(self, match: re.Match[bytes]) -> Reply | None:
        """Take a line of a reply of several; return it if that was the last."""
        if not self._lines:
            self._code, self._size = match[1], 0
        elif match[1] != self._code:
            raise MalformedReply("the lines of a reply have different codes")
        self._lines.append(_text(match))
        self._size += len(match[0])
        if len(self._lines) > MOST_LINES or self._size > MOST_OCTETS:
            raise MalformedReply("a reply is too long")
        if match[2] == b"-":
            return None
        lines, self._lines = self._lines, []
        status = _status(lines[0], match[1]) if self.enhanced else None
        if status is not None:
            lines = [_behind(status, line) for line in lines]
        return Reply.received(int(match[1]), tuple(lines), status)

    def _require_beginning(self) -> None:
        """Refuse what can never become a line of a reply."""
        so_far = self._octets[self._at : self._at + self.most_line_octets]
        if not _SO_FAR.match(so_far):
            raise MalformedReply(_what_is_wrong(so_far))
        if len(self._octets) - self._at >= self.most_line_octets:
            raise MalformedReply("a line of a reply is too long")


def _what_is_wrong(so_far: bytes) -> str:
    if b"\0" in so_far:
        return "NUL in a reply"
    if re.match(rb"[2-5][0-5][0-9](?:[ -]|\r|\n)", so_far):
        return "a CR or LF alone in a reply"
    return "a line that is no reply"


def _reply(line: bytes, enhanced: bool) -> Reply:
    """Read a reply of one line."""
    match = _LINE.match(line)
    assert match is not None
    text = _text(match)
    status = _status(text, match[1]) if enhanced else None
    if status is not None:
        text = _behind(status, text)
    return Reply.received(int(match[1]), (text,), status)


# Most are said again and again.
_alone = lru_cache(maxsize=256)(_reply)


def _text(match: re.Match[bytes]) -> str:
    return (match[3] or b"").decode("utf-8", "backslashreplace")


def _status(text: str, code: bytes) -> str | None:
    """Return the status that a text begins with, if it fits the code (RFC 2034 §4)."""
    match = STATUS.match(text)
    # "2.0.0.1" is an address, and no status.
    if match is None or match[1] != chr(code[0]) or text[match.end() : match.end() + 1].strip(" "):
        return None
    return match[0]


def _behind(status: str, line: str) -> str:
    """Return a line without the status; one that has another one, or none, stays as it is."""
    rest = line.removeprefix(status)
    return rest[1:] if rest[:1] in ("", " ") else line
