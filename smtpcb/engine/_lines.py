"""A line that is not kept: one too long, or with a lone LF in it, is thrown away up to its CRLF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._reason import Reason

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue
    from smtpcb.smtp._limits import Limits
    from smtpcb.smtp._reply import Reply

MOST_LINE_OCTETS = 1_048_576
"""A line that goes on for longer is no mistake: the connection is closed."""


def most_line_octets(limits: Limits) -> int:
    """Return how long a line may be that is kept, without its CRLF."""
    return max(limits.command_octets, limits.auth_octets) - len(b"\r\n")


class Discarded:
    """
    A line that is being thrown away; no part of it is ever a command (RFC 5321 §4.5.3.1.9).

    One that is too long is answered where it ends.  One with a lone LF is answered at once: its
    client never sends the CRLF, and would wait for ever.

    :param dialogue: gives the answer.
    :param start: the octets that have come so far.
    :param lone_lf: what is wrong with it.
    :ivar octets: how many have gone by.
    """

    __slots__ = ("_cr", "_dialogue", "_start", "octets")

    def __init__(self, dialogue: ServerDialogue, start: bytes, *, lone_lf: bool) -> None:
        self.octets = 0
        self._cr = False
        self._dialogue = dialogue
        self._start: bytes | None = start[:64]
        if lone_lf:
            self._say(replies.LINES_END_IN_CRLF)

    def take(self, octets: bytes) -> bytes | None:
        """
        Throw away some octets.

        :return: what stands behind the CRLF, or ``None``: it has not come yet.
        """
        if self._cr and octets.startswith(b"\n"):
            rest: bytes | None = octets[1:]
        else:
            line, crlf, behind = octets.partition(b"\r\n")
            self.octets += len(line)
            self._cr = octets.endswith(b"\r")
            rest = behind if crlf else None
        if self.octets > MOST_LINE_OCTETS:
            self._dialogue.close(replies.LINE_ENDLESS, Reason.LIMIT)
        elif rest is not None:
            self._say(replies.LINE_TOO_LONG)
        return rest

    def _say(self, reply: Reply) -> None:
        start, self._start = self._start, None
        if start is not None:
            self._dialogue.broken_line(start, reply)


def has_lone_lf(waiting: bytes | bytearray) -> bool:
    """
    Tell whether a line that has no CRLF yet will never be one: its client ends lines in LF alone.

    :param waiting: octets without a CRLF.
    """
    return b"\n" in waiting


def has_lone_newline(waiting: bytes | bytearray) -> bool:
    """
    Tell whether a client that says no more has ended its lines otherwise than in CRLF.

    While it may say more, a CR that is last may be the first half of one.

    :param waiting: octets without a CRLF.
    """
    return b"\n" in waiting or b"\r" in waiting
