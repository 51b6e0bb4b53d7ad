"""
The few searches that mail data needs, in two makes.

Every octet of every message is looked at by these, and by nothing else of ours.  With
``smtpcb[fast]`` they are stringzilla's, which compares many octets at once; otherwise the standard
library's, chosen by what measured best on it.  Both give the same.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

try:
    import stringzilla
except ImportError:  # the extra is not installed
    stringzilla = None

_DOT_LINE = re.compile(rb"\r\n\.")


def plain_find_dot_line(octets: bytes) -> int:
    """Return where CRLF and a dot stand first, or -1."""
    # Much mail is base64, which has no dot at all: that is known at the speed of memory.  For the
    # rest, the search of `re` is twice as fast as `bytes.find`.
    dot = octets.find(b".")
    if dot < 0:
        return -1
    match = _DOT_LINE.search(octets, max(0, dot - 2))
    return match.start() if match is not None else -1


def plain_newlines_paired(octets: bytes) -> bool:
    """Tell whether every CR is followed by LF, and every LF preceded by CR."""
    decoder = io.IncrementalNewlineDecoder(None, False)
    decoder.decode(octets.decode("latin-1"), True)
    return decoder.newlines in (None, "\r\n")


def fast_find_dot_line(octets: bytes) -> int:
    """Do what `plain_find_dot_line` does."""
    found: int = stringzilla.find(octets, b"\r\n.")
    return found


def fast_newlines_paired(octets: bytes) -> bool:
    """Do what `plain_newlines_paired` does."""
    pairs = stringzilla.count(octets, b"\r\n")
    return bool(
        stringzilla.count(octets, b"\n") == pairs and stringzilla.count(octets, b"\r") == pairs
    )


find_dot_line: Callable[[bytes], int] = plain_find_dot_line
newlines_paired: Callable[[bytes], bool] = plain_newlines_paired
if stringzilla is not None:
    find_dot_line = fast_find_dot_line
    newlines_paired = fast_newlines_paired
