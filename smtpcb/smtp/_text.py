"""What a stranger wrote: as text, and as text that is safe to show."""

from __future__ import annotations

import re

# RFC 5321 §2.3.8 and RFC 6531 §3.3: C0, DEL, C1 and the two separators of Unicode end lines or
# steer terminals; anything else is a character, also one that this Python does not know yet.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_TAB = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def read_text(octets: bytes) -> str:
    """
    Return the text of a command line's argument; a tab in it is a blank.

    :raises ValueError: it is no UTF-8 (so it has no surrogates), or holds a control character.
    """
    text = octets.decode("utf-8")
    if _CONTROL_BUT_TAB.search(text):
        raise ValueError("a control character")
    return text


def upper(text: str) -> str:
    """
    Return a keyword in upper case.

    SMTP's keywords are ASCII: folding by Unicode would make ``LAST`` of a word with U+017F.
    """
    return text.upper() if text.isascii() else text


def printable(text: str | bytes, most: int = 512) -> str:
    """
    Return what came from outside in a form that is safe in a log, a reply or a terminal.

    What does not print stands as the octets of its UTF-8, ``\\xNN``: controls (ESC, line ends, C1),
    marks that change the direction of text, and octets that are no UTF-8, also as the surrogates
    that stand for them in a str.

    :param most: at most so many characters of it; three dots stand for the rest.
    """
    if isinstance(text, bytes):
        text = text[: 4 * most + 4].decode("utf-8", "surrogateescape")
    more = len(text) > most
    text = text[:most]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return text + "..." if more else text


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # an octet that was no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return "".join(f"\\x{octet:02x}" for octet in char.encode("utf-8", "surrogatepass"))
