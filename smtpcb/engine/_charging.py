"""What a negative reply costs, and why a reply is the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._lmtp import as_often
from smtpcb.engine._reason import Reason
from smtpcb.engine._table import State
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


def affords(dialogue: ServerDialogue, reply: Reply, *, own: bool) -> bool:
    """Charge a negative reply; where the budget is used up, 421 takes its place."""
    budget = dialogue.connection.budget
    if own and reply.code >= 500:
        budget.errors += 1
        free = budget.limits.free_errors
        if free is not None and budget.errors > free:
            dialogue.penalize()
    else:
        budget.refusals += 1
    exhausted = budget.exhausted
    if exhausted is None or reply.closes:
        return True
    dialogue.close(as_often(reply, replies.exhausted(exhausted)), Reason.LIMIT)
    return False


def ending(dialogue: ServerDialogue, reply: Reply, *, own: bool) -> Reason:
    """Return why a reply is the last one."""
    if dialogue.state is State.OVER:  # a command of the client has led there
        return Reason.QUIT
    if reply is replies.DATA_BEHIND_STARTTLS:
        return Reason.INJECTED
    return Reason.LIMIT if own else Reason.REFUSED
