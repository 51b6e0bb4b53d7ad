"""Calls of a handler that need time: waited for, answered, given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from smtpcb.engine._pending import Call, Pending
from smtpcb.engine._questions import MESSAGE, Question
from smtpcb.engine._remarks import let_go, note_late
from smtpcb.engine._verdict import Failed, TimedOut
from smtpcb.smtp.sasl import Authenticated

if TYPE_CHECKING:
    from smtpcb.engine._conversation import Conversation


def wait(
    conversation: Conversation,
    name: str,
    pending: Pending,
    done: Callable[[object], None],
    limit: float,
    question: Question | None = None,
) -> None:
    """
    Wait for the answer of a method.

    :param done: called with the answer.
    :param limit: the seconds that it may take.
    :param question: what it answers, if it answers a question.
    """
    call = Call(name, pending, done, conversation.platform.seconds() + limit)
    call.limit = limit
    call.question = question
    conversation.calls = [*conversation.calls, call]
    look(conversation)
    pending.then(lambda outcome: _came(conversation, call, outcome))


def _charge(conversation: Conversation, call: Call, now: float) -> None:
    """Charge what a call has taken, now that nobody waits for it any more."""
    conversation.budget.handler_seconds += now - (call.deadline - call.limit)


def _came(conversation: Conversation, call: Call, outcome: object) -> None:
    if call not in conversation.calls:
        if isinstance(outcome, Authenticated) and outcome.release is not None:
            let_go(conversation, outcome.release)
        else:
            note_late(conversation, call.name, outcome)
        return
    _charge(conversation, call, conversation.platform.seconds())
    _forget(conversation, call)
    host = conversation.host  # of which a handler that stops the server from in here makes us part
    call.done(outcome)
    conversation.go_on()
    host.changed()


def give_up_what_is_late(conversation: Conversation, now: float) -> None:
    """Answer for the handler where its time is up."""
    for call in list(conversation.calls):
        if call.deadline <= now and call in conversation.calls:
            _charge(conversation, call, now)
            _cancel(conversation, call)
            call.done(Failed(TimedOut(call.limit)))


def give_up_what_is_unwanted(conversation: Conversation, *, keep: bool) -> None:
    """
    Cancel what nobody waits for when the dialogue is over.

    A message whose content is complete is no such thing: it was sent, so it is kept.

    :param keep: the pieces of such a one are still being taken.
    """
    for call in list(conversation.calls):
        question = call.question
        if question is not None:
            unwanted = question.kind is not MESSAGE
        else:
            unwanted = not keep and call.name in ("header", "chunk")
        if unwanted:
            _cancel(conversation, call)


def give_up_all(conversation: Conversation) -> None:
    """Cancel whatever is under way, a complete message included."""
    for call in list(conversation.calls):
        _cancel(conversation, call)


def look(conversation: Conversation) -> None:
    """See what is waited for, and until when."""
    calls = conversation.calls
    conversation.deadline = min((call.deadline for call in calls), default=float("inf"))
    conversation.busy = bool(conversation.notices) or any(call.question is None for call in calls)


def _cancel(conversation: Conversation, call: Call) -> None:
    if call in conversation.calls:  # cancelling another one may have made it answer
        pending = call.pending
        _forget(conversation, call)
        assert pending is not None
        pending.cancel()


def _forget(conversation: Conversation, call: Call) -> None:
    call.pending = None  # which knows the call
    conversation.calls = [one for one in conversation.calls if one is not call] or ()
    look(conversation)
