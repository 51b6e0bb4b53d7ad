"""Commands between two transactions: NOOP, RSET, ETRN, and what else wants a reply alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._opening import Script, refusal
from smtpcb.engine._client._settings import ClientSettings
from smtpcb.engine._client._table import ClientStep, Stage
from smtpcb.smtp._command import Command, Verb
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._text import upper

if TYPE_CHECKING:
    from smtpcb.engine._client._dialogue import ClientDialogue

# Those of RFC 5321, and of which extensions the others are.
_STANDARD = frozenset({Verb.NOOP, Verb.RSET, Verb.HELP, Verb.VRFY, Verb.EXPN})
_EXTENDED = {Verb.ETRN: "ETRN", Verb.XFORWARD: "XFORWARD"}


def askable(command: Command, offers: Offers, settings: ClientSettings) -> bytes:
    """
    Return the line of a command that may be asked.

    :raises ClientFailure: its extension is not offered.
    :raises LocalProtocolError: it is no such command, or cannot be written.
    """
    verb, name = command.verb, upper(command.name)
    keyword = _EXTENDED.get(verb)
    if verb is Verb.UNKNOWN:
        keyword = next((one.keyword for one in settings.extensions if name in one.verbs), None)
    elif name not in ("", verb.name):
        raise LocalProtocolError(f"{verb.name} is not called {command.name!r:.40}")
    if keyword is None and verb not in _STANDARD:
        raise LocalProtocolError(f"{name or verb.name} is no command that can be asked")
    if keyword is not None and keyword not in offers:
        raise ClientFailure(Stage.COMMAND, Cause.LACKING, f"{keyword} is not offered")
    return command.wire


def asking(dialogue: ClientDialogue, command: Command) -> Script:
    """Wait for the reply to a command that is no part of a transaction."""
    reply = yield None
    if 300 <= reply.code < 400:
        raise refusal(Stage.COMMAND, reply)
    dialogue.answer = reply
    if command.verb is Verb.RSET and reply.positive:
        dialogue.unfinished = False
    observer = dialogue.outbox.observer
    if observer is not None:
        observer.replied(Stage.COMMAND, command, reply)
    dialogue.move(ClientStep.ANSWERED)
    yield None
