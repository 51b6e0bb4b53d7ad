"""Text of any kind as lines that a reply may carry (RFC 5321 §4.2, RFC 6531 §3.7.4.1)."""

from __future__ import annotations

import re

# More than a client of ours would read (a reply of 200 lines ends its session), and far more than
# anybody means to say: what is longer is cut, and three dots say so.
MOST_LINES = 100

LINE_END = re.compile(r"\r\n|\r|\n")
# RFC 5321 §4.2: textstring = 1*(%d09 / %d32-126); RFC 6531 §3.7.4.1 adds what is not ASCII.  C1 and
# U+2028/9 are controls there, and a surrogate is no character at all.
_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN = re.compile("[\t -~]*+\\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")


def sendable(texts: tuple[str, ...], most_octets: int) -> tuple[str, ...]:
    """
    Return texts as lines without controls, each of at most so many octets in UTF-8.

    A line end within a text begins another line, any other control becomes a blank, a surrogate
    (an octet that was no UTF-8) a question mark.  A line that is too long goes on in the next one,
    at a blank where there is one near.
    """
    if len(texts) == 1 and len(texts[0]) <= most_octets and _PLAIN.match(texts[0]):
        return texts
    lines: list[str] = []
    for text in texts:
        parts = LINE_END.split(_shortened(text, most_octets))
        if len(parts) > 1 and not parts[-1]:
            del parts[-1]
        for part in parts:
            lines += _wrapped(_SURROGATE.sub("?", _UNSENDABLE.sub(" ", part)), most_octets)
            if len(lines) > MOST_LINES:
                del lines[MOST_LINES:]
                lines[-1] = _cut(lines[-1], most_octets - 3) + "..."
                return tuple(lines)
    return tuple(lines)


def _shortened(text: str, most_octets: int) -> str:
    """Return as much of a text as can be sent at all, and a little more, so that it shows."""
    return text[: (MOST_LINES + 1) * most_octets]


def _wrapped(line: str, most_octets: int) -> list[str]:
    lines = []
    while len(line) > most_octets or len(line.encode()) > most_octets:
        start = _cut(line, most_octets)
        blank = start.rfind(" ", len(start) // 2)
        if blank > 0:
            start = start[: blank + 1]
        lines.append(start.rstrip(" "))
        line = line[len(start) :]
    lines.append(line)
    return lines


def _cut(line: str, most_octets: int) -> str:
    """Return the beginning of a line, with no character cut through."""
    return line[:most_octets].encode()[:most_octets].decode("utf-8", "ignore")
