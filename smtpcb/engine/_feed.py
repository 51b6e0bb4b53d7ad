"""
The content of one message on its way to a handler that wants it in pieces: header fields, chunks.

Only handlers that have ``header`` or ``chunk`` have one, and only while a message comes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from smtpcb.engine._calls import wait
from smtpcb.engine._pending import Pending
from smtpcb.engine._questions import CHUNK, HEADER, Kind
from smtpcb.engine._reason import Reason
from smtpcb.engine._verdict import Failed, reply_of, reply_of_refusal
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._header import HeaderReader

if TYPE_CHECKING:
    from smtpcb.engine._conversation import Conversation
    from smtpcb.engine._envelope import Envelope

Pieces = Iterator[tuple[Kind, tuple[object, ...]]]


class Feed:
    """
    Calls the handler for one piece after the other, however long each takes.

    :param conversation: whose handler it is.
    """

    __slots__ = ("_conversation", "_headers")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        limits = conversation.dialogue.offer.settings.limits
        self._headers = (
            HeaderReader(limits.header_octets) if conversation.handler.reads_headers else None
        )

    def take(self, envelope: Envelope, octets: bytes) -> None:
        """Pass on a piece, behind the header fields that it completes."""
        self._go_on(self._of(envelope, octets))

    def finish(self, envelope: Envelope) -> None:
        """Pass on the field that only the end completes; then the content is whole."""
        self._go_on(self._last(envelope))

    def _of(self, envelope: Envelope, octets: bytes) -> Pieces:
        conversation = self._conversation
        if self._headers is not None:
            for name, value in self._headers.read(octets):
                yield HEADER, (name, value, envelope)
        if conversation.handler.keeps_content:
            conversation.keep(octets)
        if CHUNK.method in conversation.methods:
            yield CHUNK, (octets, envelope)

    def _last(self, envelope: Envelope) -> Pieces:
        if self._headers is not None:
            for name, value in self._headers.finish():
                yield HEADER, (name, value, envelope)
        self._conversation.hand_over(envelope)

    def _go_on(self, pieces: Pieces) -> None:
        """Call for what is left, up to one that needs time."""
        conversation = self._conversation
        for kind, arguments in pieces:
            answer = conversation.call(kind.method, arguments)
            if isinstance(answer, Pending):
                limit = conversation.dialogue.offer.settings.limits.decision_seconds
                came = partial(self._came, pieces, kind)
                wait(conversation, kind.method, answer, came, limit)
                return
            if answer is not None and not self._judge(kind, answer):
                return
            dialogue = conversation.dialogue
            if dialogue.parting is not None:
                dialogue.part_if_due()
                if dialogue.finished is not None:
                    return

    def _came(self, pieces: Pieces, kind: Kind, outcome: object) -> None:
        if outcome is None or self._judge(kind, outcome):
            self._go_on(pieces)

    def _judge(self, kind: Kind, answer: object) -> bool:
        """Go on with the message, or have it read to its end and refused."""
        reason = Reason.REFUSED
        try:
            if not isinstance(answer, Failed):
                reply = reply_of(kind, kind.accept, answer)
            elif isinstance(error := answer.take(), Refusal):
                reply = reply_of_refusal(kind, error)
            else:
                raise error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            reply = self._conversation.incident(kind, kind.method, error)
            reason = Reason.FAILED
        if not reply.positive:
            self._conversation.dialogue.refuse_content(reply, reason)
        return reply.positive
