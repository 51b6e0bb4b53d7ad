"""Commands that a session may give so often only, or until it has used up something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._commands import Act, Row
from smtpcb.engine._reason import Reason
from smtpcb.smtp._command import Verb

if TYPE_CHECKING:
    from smtpcb.engine._connection import Connection
    from smtpcb.engine._server import ServerDialogue
    from smtpcb.smtp._limits import Limits
    from smtpcb.smtp._reply import Reply


def rationed(commands: Mapping[bytes, Row], limits: Limits) -> Mapping[bytes, Row]:
    """
    Return the rows of all commands, those that have a limit of their own with what looks at it.

    Where there are no such limits, the rows are the same, and nothing is looked at.
    """
    of_all = any(
        limit is not None for limit in (limits.octets_in, limits.octets_out, limits.handler_seconds)
    )
    found = dict(commands)
    for word, row in commands.items():
        verb = word.decode("ascii")
        most = limits.commands_per_verb.get(verb)
        if most is not None:
            found[word] = replace(found[word], act=_so_often(row.act, verb, most))
        if of_all and row.verb is not Verb.QUIT:
            found[word] = replace(found[word], act=_while_it_may(found[word].act, limits))
    return found


def used_up(connection: Connection, limits: Limits) -> str | None:
    """Return what a session has had too much of, in words for the client."""
    most_in, most_out, most_seconds = limits.octets_in, limits.octets_out, limits.handler_seconds
    if most_in is not None and connection.octets_in > most_in:
        return "Too many octets"
    if most_out is not None and connection.octets_out > most_out:
        return "Too many octets"
    if most_seconds is not None and connection.budget.handler_seconds > most_seconds:
        return "Too much work"
    return None


def _so_often(act: Act, verb: str, most: int) -> Act:
    def counted(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
        budget = dialogue.connection.budget
        if budget.verbs is None:
            budget.verbs = {}
        count = budget.verbs[verb] = budget.verbs.get(verb, 0) + 1
        if count <= most:
            return act(dialogue, argument)
        dialogue.close(replies.exhausted(f"Too many {verb} commands"), Reason.LIMIT)
        return None

    return counted


def _while_it_may(act: Act, limits: Limits) -> Act:
    def looked_at(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
        what = used_up(dialogue.connection, limits)
        if what is None:
            return act(dialogue, argument)
        dialogue.close(replies.exhausted(what), Reason.LIMIT)
        return None

    return looked_at
