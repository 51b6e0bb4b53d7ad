"""
Several recipients decided at once, their replies in the order of the commands (RFC 2920 §3.2).

It exists only while a question is open and another command has come behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine._questions import RCPT, Question
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue

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


def room_for_recipients(dialogue: ServerDialogue) -> bool:
    """Whether the limit leaves room for one more (RFC 5321 §4.5.3.1.8)."""
    most = dialogue.settings.limits.recipients
    envelope = dialogue.envelope
    if most is None or envelope is None:
        return True
    waiting = dialogue.open
    others = len(waiting.entries) if isinstance(waiting, Pipeline) else waiting is not None
    return len(envelope.recipients) + others < most


def join(dialogue: ServerDialogue, line: bytes) -> bool:
    """Whether a line can be acted on while recipients are decided; if not, it is held."""
    if line[:5].upper() == b"RCPT " and room_for_recipients(dialogue):
        return True
    _of(dialogue).held = line
    dialogue.look_ahead()
    return False


def wait_behind(dialogue: ServerDialogue, entry: Question | Reply) -> None:
    """Let something wait behind what is open."""
    _of(dialogue).entries.append(entry)
    dialogue.look_ahead()


def _of(dialogue: ServerDialogue) -> Pipeline:
    waiting = dialogue.open
    if not isinstance(waiting, Pipeline):
        assert waiting is not None
        waiting = dialogue.open = Pipeline(waiting)
    return waiting


def drain(dialogue: ServerDialogue, pipeline: Pipeline) -> None:
    """Settle what has its answer, in order, up to what has none."""
    entries = pipeline.entries
    while entries and dialogue.finished is None:
        first = entries[0]
        if isinstance(first, Question) and first.reply is None:
            return
        del entries[0]
        if not entries:
            dialogue.open = None
        if isinstance(first, Reply):
            dialogue.send(first, own=True)
        else:
            assert first.reply is not None
            dialogue.settle(first, first.reply)
    if not entries and pipeline.held is not None and dialogue.finished is None:
        dialogue.look_ahead()
        dialogue.line(pipeline.held)
