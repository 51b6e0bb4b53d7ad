"""What a server may write (RFC 5321 §4.2, RFC 2034 §4)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE = re.compile(
    rb"([2-5][0-5][0-9])([ -])(?:([245])\.[0-9]{1,3}\.[0-9]{1,3} )?[^\x00-\x08\x0a-\x1f\x7f]*"
)
MOST_OCTETS = 512


def complaints(wire: bytes, sent: bytes, more: int = 0) -> Iterator[str]:
    """
    Say what is wrong with all that a server has written.

    :param sent: what the client has sent so far: there is a reply for the arrival, one for the
        farewell, and otherwise for lines only.
    :param more: how many there may be on top of that, where a message has several.
    """
    lines = wire.split(b"\r\n")
    if lines.pop():
        yield f"half a line: {wire[-80:]!r}"
    replies, code = 0, b""
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            yield f"no reply: {line[:80]!r}"
            continue
        if len(line) + 2 > MOST_OCTETS:
            yield f"{len(line) + 2} octets: {line[:80]!r}"
        if not line.isascii() and b"SMTPUTF8" not in sent.upper():
            yield f"not ASCII: {line[:80]!r}"
        if code and match[1] != code:
            yield f"{code!r} goes on as {line[:80]!r}"
        if match[3] and match[3] != match[1][:1]:
            yield f"a status of another class: {line[:80]!r}"
        code = match[1] if match[2] == b"-" else b""
        replies += not code
    if code:
        yield "half a reply"
    lines_sent = sent.count(b"\n")
    if replies > lines_sent + 2 + more:
        yield f"{replies} replies to {lines_sent} lines"
