"""
One message's octets on their way in: behind DATA up to the lone dot, or behind one BDAT as many as
it says.

What is refused is read to its end all the same, so that the dialogue stays in step; then the client
hears why.  The first reason stays: a temporary no does not become a permanent one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._reason import Reason
from smtpcb.smtp._content import ChunkReader, DotReader, NewlineCheck, NewlineRepair

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue
    from smtpcb.smtp._reply import Reply

# Past twice the limit and so much more, with no end in sight, we hang up.
SLACK_OCTETS = 1_048_576

#: Told of a message that was repaired, since its sender will not be understood everywhere.
NEWLINES_REPAIRED = "bare CR or LF: a strict server would refuse this message"


class Intake:
    """
    What the next octets belong to.

    :ivar reader: finds their end.
    :ivar last: whether the message ends with them.
    :ivar newlines: looks for, or mends, a CR or LF alone; ``None`` behind BDAT.
    :ivar octets: how many have come, wanted or not.
    :ivar refusal: what the client will hear behind them, if they are not wanted.
    :ivar ours: whether that is our word, and not the handler's.
    :ivar stray: they follow a BDAT that may not come now; no message is under way in them.
    :ivar ended: whether all of them have come.
    :ivar completed: whether the handler has been told so, and been given what only the end brings.
    """

    __slots__ = (
        "completed",
        "ended",
        "last",
        "newlines",
        "octets",
        "ours",
        "reader",
        "refusal",
        "stray",
    )

    def __init__(self, reader: DotReader | ChunkReader, *, last: bool) -> None:
        self.reader = reader
        self.last = last
        self.newlines: NewlineCheck | NewlineRepair | None = None
        self.octets = 0
        self.refusal: Reply | None = None
        self.ours = True
        self.stray = False
        self.ended = False
        self.completed = False

    @property
    def lone_newlines(self) -> bool:
        """Whether a CR or LF alone has come in; behind BDAT that is as good as any octet."""
        return self.newlines is not None and self.newlines.found

    def take(self, dialogue: ServerDialogue, data: bytes) -> None:
        """Count some octets, check them, and pass on what is wanted."""
        self.octets += len(data)
        envelope = dialogue.envelope
        if self.refusal is not None or envelope is None:
            return
        newlines = self.newlines
        if isinstance(newlines, NewlineRepair):
            data = newlines.repair(data)
        limit = dialogue.offer.settings.limits.message_octets
        # What fits is looked at first, so that the reply does not depend on how data was cut.
        too_big = limit is not None and envelope.size_octets + len(data) > limit
        if too_big:
            assert limit is not None
            data = data[: limit - envelope.size_octets]
        if isinstance(newlines, NewlineCheck) and not newlines.passes(data):
            refuse_content(dialogue, replies.BARE_NEWLINE, Reason.BARE_NEWLINE, ours=True)
            return
        if data:
            envelope.size_octets += len(data)
            dialogue.owner.take(envelope, data)
        if too_big:
            refuse_content(dialogue, replies.MESSAGE_TOO_BIG, Reason.TOO_BIG, ours=True)


def begin_content(dialogue: ServerDialogue) -> None:
    """Read what stands behind DATA."""
    intake = dialogue.intake = Intake(DotReader(), last=True)
    if dialogue.offer.settings.bare_newline == "refuse":
        intake.newlines = NewlineCheck()
    else:
        intake.newlines = NewlineRepair()


def refuse_content(dialogue: ServerDialogue, reply: Reply, reason: Reason, *, ours: bool) -> None:
    """Refuse the message whose octets are coming in, unless that has been done."""
    intake = dialogue.intake
    if intake is not None and intake.refusal is None:
        intake.refusal = reply
        intake.ours = ours
        dialogue.abort(reason)


def read_on(dialogue: ServerDialogue) -> None:
    """Wait for the octets; a chunk of none ends where it begins."""
    dialogue.look_ahead()
    intake = dialogue.intake
    if intake is not None and isinstance(intake.reader, ChunkReader) and not intake.reader.left:
        intake.ended = True
        dialogue.resume()
