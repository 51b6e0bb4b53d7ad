"""
BDAT: so many octets, whatever they are (RFC 3030).

Wherever a size can be read at all, so many octets follow the command, whether or not it is taken:
they are read to their end, and never as commands.  Where none can be read nobody knows what
follows, and the session ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpcb.engine import _questions as questions
from smtpcb.engine import _replies as replies
from smtpcb.engine._intake import Intake, read_on, refuse_content
from smtpcb.engine._reason import Reason
from smtpcb.engine._table import State
from smtpcb.smtp._command import Verb
from smtpcb.smtp._content import ChunkReader
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


# RFC 3030 §2: chunk-size = 1*20DIGIT.  If there is a rest the command is refused, behind its
# octets.
_CHUNK = re.compile(
    rb"[ \t]*+(?P<size>[0-9]{1,20})(?:(?P<last>[ \t]++LAST)?+[ \t]*+\Z|(?P<rest>[ \t].*))",
    re.IGNORECASE | re.DOTALL,
)


def is_bdat(start: bytes) -> bool:
    """Tell whether the beginning of a line is that of BDAT, or was meant to be."""
    return start.lstrip(b" \t")[:4].upper() == b"BDAT"


def bdat(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """Take a chunk."""
    match = _CHUNK.match(argument)
    if match is None:
        return replies.SYNTAX_OF_BDAT.closing()
    size = int(match["size"])
    if not size:
        budget = dialogue.connection.budget
        budget.commands += 1
        if budget.commands > dialogue.offer.most_commands and match["last"] is None:
            dialogue.close(replies.exhausted(budget.exhausted or ""), Reason.LIMIT)
            return None
    intake = Intake(ChunkReader(size), last=match["last"] is not None)
    dialogue.intake = intake
    if match["rest"]:
        # It cannot be known what was meant, so the message cannot be completed any more.
        dialogue.move(Verb.BDAT)
        refuse_content(dialogue, replies.SYNTAX_OF_BDAT, Reason.REFUSED, ours=True)
        intake.last = False
        read_on(dialogue)
    elif dialogue.state is State.CHUNKS:
        dialogue.move(Verb.BDAT)
        read_on(dialogue)
    else:
        dialogue.ask(questions.BDAT, dialogue.envelope, dialogue.envelope)
    return None


def refuse_bdat(dialogue: ServerDialogue, verb: Verb, argument: bytes) -> Reply | None:
    """Refuse a chunk that may not come now."""
    state = dialogue.state
    # Why the first chunk was refused stands for the later ones too: a sender that was told to try
    # again later must not be told the contrary by the next reply.
    if state is State.CHUNKS_FAILED or state is State.INSECURE:
        reply = dialogue.why
        assert reply is not None
    else:
        reply = dialogue.offer.why_not(state, verb)
    return discard(dialogue, argument, reply)


def spoil(dialogue: ServerDialogue, argument: bytes, reply: Reply) -> Reply | None:
    """Refuse a BDAT line that cannot be read, and with it the message it was for."""
    dialogue.spoil(reply, Reason.REFUSED)
    return discard(dialogue, argument, reply)


def discard(dialogue: ServerDialogue, argument: bytes, reply: Reply) -> Reply | None:
    """Read a chunk that nobody wants to its end; the reply comes behind it."""
    match = _CHUNK.match(argument)
    if match is None:
        return reply.closing()
    intake = Intake(ChunkReader(int(match["size"])), last=match["last"] is not None)
    intake.refusal, intake.stray = reply, True
    dialogue.intake = intake
    read_on(dialogue)
    return None
