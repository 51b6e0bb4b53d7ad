"""
Several recipients decided at once, their replies in the order of the commands (RFC 2920 §3.2).

It exists only while a question is open and another command has come behind it.
"""

from __future__ import annotations

from smtpcb.engine._questions import RCPT, Question
from smtpcb.smtp._reply import Reply

# Most recipients that are asked about at once, and most replies that wait behind them.
MOST_OVERLAPPING = 100


class Pipeline:
    """
    Open questions, and what has been answered behind them.

    :ivar entries: in the order of the commands; the first one is an open question.
    :ivar held: a line that has to wait until all of them are answered.
    """

    __slots__ = ("entries", "held")

    def __init__(self, first: Question) -> None:
        self.entries: list[Question | Reply] = [first]
        self.held: bytes | None = None

    @property
    def may_grow(self) -> bool:
        """Whether one more recipient may join."""
        return (
            self.held is None and len(self.entries) < MOST_OVERLAPPING and may_overlap(self.entries)
        )


def may_overlap(entries: list[Question | Reply]) -> bool:
    """Whether a recipient may be asked about while these are open: there is nothing else."""
    last = entries[-1]
    return isinstance(last, Reply) or last.kind is RCPT
