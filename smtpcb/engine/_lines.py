"""A line that is not kept: one too long, or with a lone LF in it, is thrown away up to its CRLF."""

from __future__ import annotations

MOST_LINE_OCTETS = 1_048_576
"""A line that goes on for longer is no mistake: the connection is closed."""


class Discarded:
    """
    A line that is being thrown away; no part of it is ever a command (RFC 5321 §4.5.3.1.9).

    :ivar octets: how many have gone by.
    """

    __slots__ = ("_cr", "octets")

    def __init__(self) -> None:
        self.octets = 0
        self._cr = False

    @property
    def endless(self) -> bool:
        """Whether it has gone on for longer than anybody's mistake."""
        return self.octets > MOST_LINE_OCTETS

    def take(self, octets: bytes) -> bytes | None:
        """
        Throw away some octets.

        :return: what stands behind the CRLF, or ``None``: it has not come yet.
        """
        if self._cr and octets.startswith(b"\n"):
            return octets[1:]
        line, crlf, rest = octets.partition(b"\r\n")
        self.octets += len(line)
        self._cr = octets.endswith(b"\r")
        return rest if crlf else None


def has_lone_lf(waiting: bytes | bytearray) -> bool:
    """
    Tell whether a line that has no CRLF yet will never be one: its client ends lines in LF alone.

    :param waiting: octets without a CRLF.
    """
    return b"\n" in waiting
