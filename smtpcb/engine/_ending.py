"""The end of mail data: what becomes of a message, or of a chunk, when all its octets have come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._intake import NEWLINES_REPAIRED
from smtpcb.engine._lmtp import for_each
from smtpcb.engine._questions import MESSAGE
from smtpcb.engine._table import State, Step
from smtpcb.smtp._content import NewlineRepair

if TYPE_CHECKING:
    from smtpcb.engine._intake import Intake
    from smtpcb.engine._server import ServerDialogue


def finish(dialogue: ServerDialogue, intake: Intake) -> None:
    """
    Ask about a message, or answer a chunk.

    It comes again if the handler needs time for what the end completes.
    """
    refusal = intake.refusal
    if intake.last and refusal is None and not intake.completed:
        intake.completed = True
        newlines = intake.newlines
        if isinstance(newlines, NewlineRepair) and newlines.found:
            dialogue.note(NEWLINES_REPAIRED)
        assert dialogue.envelope is not None
        dialogue.owner.complete(dialogue.envelope)
        if dialogue.owner.busy or dialogue.intake is None:  # it may have been aborted
            return
        refusal = intake.refusal
    reply = replies.CHUNK_OK if refusal is None else dialogue.last_word(refusal)
    dialogue.intake = None
    if intake.last and refusal is None:
        envelope, dialogue.envelope = dialogue.envelope, None
        accept = None if dialogue.addressees is None else for_each(dialogue, MESSAGE.accept)
        dialogue.ask(MESSAGE, envelope, envelope, accept=accept)
        return
    if intake.stray:
        if intake.last and dialogue.state is State.CHUNKS_FAILED:
            dialogue.why = None
            dialogue.move(Step.DISCARDED)
    elif intake.last:
        dialogue.move(Step.MESSAGE_ENDED)
    elif refusal is not None:
        # Chunks that are under way behind this one must fail too (RFC 3030 §4.2), and alike.
        dialogue.why = refusal
        dialogue.move(Step.CHUNK_REFUSED)
    else:
        dialogue.move(Step.CHUNK_TAKEN)
    dialogue.look_ahead()
    dialogue.send(reply, own=intake.ours)
