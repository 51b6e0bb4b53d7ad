"""How we end a dialogue that the client would go on with, and what has to be waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._questions import MESSAGE, Question
from smtpcb.engine._reason import Reason
from smtpcb.engine._table import State
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


@dataclass(frozen=True, slots=True)
class Parting:
    """
    A dialogue is to end.

    :ivar reply: what the client is told; ``None``: nothing, nor what has not been sent yet.
    :ivar reason: what the handler is told.
    :ivar gently: a mail transaction may go on to its end (RFC 5321 §3.8).
    """

    reply: Reply | None
    reason: Reason
    gently: bool = False


SHUTDOWN = Parting(replies.SHUTTING_DOWN, Reason.SHUTDOWN, gently=True)


def may_part(dialogue: ServerDialogue, parting: Parting) -> bool:
    """Whether nothing is under way that has to come to its end first."""
    if parting.reply is None:
        return True
    if dialogue.state is State.HANDSHAKE:
        return False  # it will be told inside TLS
    waiting, intake = dialogue.open, dialogue.intake
    if parting.gently:
        return (
            waiting is None
            and not dialogue.owner.busy
            and not dialogue.in_transaction
            and dialogue.state is not State.RESPONSE
        )
    # A message that is complete gets its answer: whoever sent it must not send it again.
    if isinstance(waiting, Question) and waiting.kind is MESSAGE:
        return False
    return intake is None or not (intake.ended and intake.last and intake.refusal is None)
