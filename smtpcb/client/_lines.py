"""
Text with any line ends becomes lines that end in CRLF (RFC 5321 §2.3.8), in bulk.

===============  ==================================================================
in the source    on the wire
===============  ==================================================================
CRLF             CRLF
LF               CRLF: what text files have
CR alone         refused.  It is no line end (§2.3.8 forbids both to read it as one and to send
                 it).  To make it one would add lines that nobody wrote: CR CR LF would become an
                 empty line, and in a header section that is where the body begins.
no line end      CRLF is added (§4.1.1.4)
NUL              refused: only BINARYMIME carries it (RFC 2045 §2.7, §2.8)
over 998 octets  refused: a server may cut such a line (RFC 5321 §4.5.3.1.6)
===============  ==================================================================

No step is taken for a line, only for a piece: what is looked for is looked for in a whole piece at
once, and the length of lines in strides of a thousand octets.
"""

from __future__ import annotations

import re
from typing import NoReturn

from smtpcb.client._errors import ContentError
from smtpcb.smtp import _scan as scan

MOST_LINE_OCTETS = 998  # RFC 5322 §2.1.1, without CRLF
_WITH_CRLF = MOST_LINE_OCTETS + 2
_BARE_CR = re.compile(rb"\r(?!\n)")


class LineEnds:
    """
    Lines that end in CRLF, out of pieces cut anywhere.

    The line of a `ContentError` that it raises is counted from the beginning of the piece.

    :param limited: whether NUL and long lines are refused; if not, they pass.
    :ivar changed: whether what came out is not what went in.
    """

    __slots__ = ("_cr", "_limited", "_run", "changed")

    def __init__(self, *, limited: bool = True) -> None:
        self._limited = limited
        self._cr = False  # the last piece ended in CR: it goes with the next octet
        self._run = 0  # octets given out since the last line end
        self.changed = False

    def read(self, octets: bytes) -> bytes:
        """
        Take the next octets.

        :return: the same with CRLF; a CR that is last is given out with the LF behind it.
        :raises ContentError: a line that cannot be sent.
        """
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        if self._cr:
            octets = octets[:-1]
        if octets.find(b"\r") < 0:
            if octets.find(b"\n") >= 0:
                octets = octets.replace(b"\n", b"\r\n")
                self.changed = True
        elif not scan.newlines_paired(octets):
            octets = _mended(octets)
            self.changed = True
        if self._limited:
            nul = octets.find(b"\0")
            if nul >= 0:
                _refuse("a NUL octet, which only BINARYMIME could carry", octets, nul)
            self._check_lengths(octets)
        elif octets:
            self._run = not octets.endswith(b"\n")
        return octets

    def finish(self) -> bytes:
        """Return what the end of the content still needs: CRLF, or nothing."""
        if self._cr:
            raise ContentError(_NO_LINE_END, 1)
        if not self._run:
            return b""
        self._run = 0
        self.changed = True
        return b"\r\n"

    def _check_lengths(self, octets: bytes) -> None:
        size = len(octets)
        start = -self._run
        while size - start > _WITH_CRLF:
            end = octets.rfind(b"\n", max(start, 0), start + _WITH_CRLF)
            if end < 0:
                _refuse(_TOO_LONG, octets, max(start, 0))
            start = end + 1
        end = octets.rfind(b"\n", max(start, 0))
        self._run = size - (start if end < 0 else end + 1)
        if self._run > MOST_LINE_OCTETS:
            _refuse(_TOO_LONG, octets, size)


_NO_LINE_END = (
    "a CR without LF, which is no line end (RFC 5321 §2.3.8): take it out, encode the part,"
    " or send the message as it is with exact=True to a server that has BINARYMIME"
)
_TOO_LONG = (
    f"a line of more than {MOST_LINE_OCTETS} octets, which servers may cut (RFC 5321 §4.5.3.1.6):"
    " wrap it, or have the message encoded anew with Outgoing.reencoded"
)


def _mended(octets: bytes) -> bytes:
    bare = octets.count(b"\r") != octets.count(b"\r\n") and _BARE_CR.search(octets)
    if bare:
        _refuse(_NO_LINE_END, octets, bare.start())
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _refuse(reason: str, octets: bytes, at: int) -> NoReturn:
    """Raise the error for the line that `at` is in."""
    start = octets.rfind(b"\n", 0, at) + 1
    shown = octets[start : start + 64].partition(b"\r")[0]
    raise ContentError(reason, 1 + octets.count(b"\n", 0, at), shown)
