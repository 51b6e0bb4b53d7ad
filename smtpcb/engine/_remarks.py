"""What a conversation says in the log of users' code that was slow, late, or failed at the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from smtpcb.engine._handler import name_of
from smtpcb.engine._pending import Pending
from smtpcb.engine._questions import AUTHENTICATE, STORED_SECRET, Kind
from smtpcb.engine._verdict import Failed

if TYPE_CHECKING:
    from smtpcb.engine._conversation import Conversation


def blamed(conversation: Conversation, kind: Kind | None) -> str:
    """Return what logs call whose code it is: an extension, an authenticator, the handler."""
    if kind is not None and kind.whose:
        return kind.whose
    if kind is AUTHENTICATE or kind is STORED_SECRET:
        asked = getattr(conversation.methods.get(kind.method), "__self__", None)
        if asked is not None:
            return name_of(asked)
    return conversation.handler.name


def note_slow(conversation: Conversation, name: str, seconds: float, whose: str = "") -> None:
    """
    Name a method that has kept everybody waiting.

    :param whose: what logs call that; by default it is the handler.
    """
    conversation.platform.log.warn(
        "{name} of {handler} kept everybody waiting for {seconds:.1f} s on {id}",
        name=name,
        handler=whose or conversation.handler.name,
        seconds=seconds,
        id=conversation.dialogue.connection.id,
    )


def note_late(conversation: Conversation, name: str, outcome: object) -> None:
    """Say what became of an answer that nobody waits for any more."""
    how, what = "answered", "dropped"
    if isinstance(outcome, Failed):
        kind = type(outcome.take()).__name__  # not its text, which may quote a password
        if kind == "CancelledError":
            return
        how, what = "failed", kind
    conversation.platform.log.info(
        "{name} {how} too late on {id}: {what}",
        name=name,
        how=how,
        id=conversation.dialogue.connection.id,
        what=what,
    )


def let_go(conversation: Conversation, release: Callable[[], object]) -> None:
    """Tell whoever vouched for the client that the login is over."""
    try:
        answer = release()
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("release is async def, so that calling it does nothing")
        later = conversation.platform.later(answer)
        if isinstance(later, Pending):
            later.then(lambda outcome: _released(conversation, outcome))
        else:
            _released(conversation, later)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        conversation.incident(None, "release", error)


def _released(conversation: Conversation, outcome: object) -> None:
    if isinstance(outcome, Failed):
        conversation.incident(None, "release", outcome.take())
