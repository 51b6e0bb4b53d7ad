"""The content of a message on its way: stuffed behind DATA, or in chunks behind BDAT."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._table import ClientState, ClientStep, Stage
from smtpcb.engine._client._transaction import Destination, Transaction
from smtpcb.smtp._content import DotStuffer, NewlineCheck
from smtpcb.smtp._parameter import BodyType
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._client._dialogue import ClientDialogue

_DATA, _CONTENT, _FINAL = Stage.DATA, Stage.CONTENT, Stage.FINAL
_BINARY = BodyType.BINARY_MIME


def wrong_code(reply: Reply, stage: Stage) -> ClientFailure:
    """Return what is wrong with a reply that fits nothing."""
    return ClientFailure(stage, Cause.PROTOCOL, "a reply that does not fit", reply, temporary=True)


def refuses(reply: Reply, stage: Stage) -> bool:
    """
    Tell whether a reply refuses what it answers.

    :raises ClientFailure: it neither refuses nor accepts it.
    """
    if 300 <= reply.code < 400:
        raise wrong_code(reply, stage)
    return reply.code >= 400


class Content:
    """
    What a transaction has to send.

    :param accepted: those of its recipients whom the server has taken, so far and from now on.
    :ivar chunked: it is sent by BDAT.
    :ivar waits: each chunk waits for the reply to the one before: without PIPELINING, and in LMTP,
        where the last chunk has as many replies as recipients, and another one has a single one.
    :ivar begun: DATA has been written.
    :ivar whole: it has been written to its end.
    """

    __slots__ = (
        *("_accepted", "_answers", "_dialogue", "_held", "_held_octets", "_newlines"),
        *("_stuffer", "_tail", "_transaction", "begun", "chunked", "waits", "whole"),
    )

    def __init__(
        self, dialogue: ClientDialogue, transaction: Transaction, accepted: list[Destination]
    ) -> None:
        offers = dialogue.offers
        self._dialogue = dialogue
        self._transaction = transaction
        self._accepted = accepted
        self.begun = self.whole = False
        self.chunked = offers.chunking
        self.waits = not offers.pipelining or dialogue.settings.lmtp
        binary = transaction.parameters.body == _BINARY
        self._newlines = None if binary else NewlineCheck()
        if not self.chunked:
            self._stuffer = DotStuffer()
            return
        self._answers = 0  # how many chunks were written and not answered
        self._held: list[bytes] = []  # of the next one
        self._held_octets = 0
        self._tail = b"\r\n"

    @property
    def ahead(self) -> bool:
        """Whether a chunk has been written before it was known that it is wanted."""
        return self.chunked and self._answers > 0

    # What the owner gives.

    def write(self, octets: bytes) -> None:
        """Take the next piece."""
        if self._newlines is not None and not self._newlines.passes(octets):
            self._refuse_newlines()
        elif not self.chunked:
            self._dialogue.outbox.write_content(self._stuffer.stuff(octets))
        else:
            self._held.append(octets)
            self._held_octets += len(octets)
            self._tail = (self._tail + octets[-2:])[-2:]
            if self._held_octets >= self._dialogue.settings.chunk_octets:
                self._write_chunk(b"")
                if self.waits or self._dialogue.state is ClientState.AHEAD:
                    self._dialogue.move(ClientStep.CHUNK_SENT)

    def end(self) -> None:
        """Take note that this was all."""
        dialogue = self._dialogue
        if self._newlines is not None and not self._newlines.ends():
            self._refuse_newlines()
            return
        self.whole = True
        replies = len(self._accepted) if dialogue.settings.lmtp else 1
        if self.chunked:
            if self._newlines is not None and self._tail != b"\r\n":
                self._held.append(b"\r\n")
            self._write_chunk(b" LAST", replies)
        else:
            dialogue.outbox.write_content(self._stuffer.end(), replies, ends=True)
        dialogue.move(ClientStep.CONTENT_SENT)

    def _write_chunk(self, last: bytes, replies: int = 1) -> None:
        octets = b"".join(self._held)
        self._held.clear()
        self._held_octets = 0
        self._answers += 1
        outbox = self._dialogue.outbox
        outbox.write(b"BDAT %d%b\r\n" % (len(octets), last), replies)
        outbox.write_content(octets, ends=True)

    def _refuse_newlines(self) -> None:
        """End it: whoever reads the message must not see lines where we have seen none."""
        self._dialogue.end(
            ClientFailure(
                _CONTENT, Cause.SOURCE, "a CR or LF alone in the content", temporary=False
            )
        )

    # What the server says.

    def to_data(self) -> Generator[Stage, Reply, None]:
        """Read what is said to DATA and to what follows it."""
        dialogue = self._dialogue
        if not self.begun:
            dialogue.outbox.write(b"DATA\r\n")
        reply = yield _DATA
        if reply.code != 354:
            if reply.code < 400:
                raise wrong_code(reply, _DATA)
            self._refused(reply, _DATA)
        elif self._accepted:
            dialogue.move(ClientStep.CONTENT_WANTED)
            yield from self._final((yield _FINAL))
        elif dialogue.settings.lmtp:
            raise wrong_code(reply, _DATA)  # RFC 2033 §4.2: it has to be refused
        else:
            # Nobody is there to get it, so it must be nothing (RFC 2920 §3.1).
            dialogue.outbox.write_content(b".\r\n", 1, ends=True)
            dialogue.move(ClientStep.CONTENT_SENT)
            yield _FINAL
            dialogue.unfinished = False

    def to_chunks(self) -> Generator[Stage, Reply, None]:
        """Read what is said to each BDAT."""
        dialogue = self._dialogue
        if not self._accepted:
            yield from self._ignored()
            return
        dialogue.move(ClientStep.CONTENT_SENT if self.whole else ClientStep.CONTENT_WANTED)
        while True:
            reply = yield _CONTENT
            self._answers -= 1
            if self.whole and not self._answers:
                break
            if refuses(reply, _CONTENT):
                self._refused(reply, _CONTENT)
                if self._answers:
                    dialogue.move(ClientStep.CHUNK_REFUSED)
                yield from self._ignored()
                return
            if dialogue.state is ClientState.CHUNK:
                dialogue.move(ClientStep.CONTENT_WANTED)
        yield from self._final(reply)

    def _ignored(self) -> Generator[Stage, Reply, None]:
        """Read what is said to chunks that nobody wants."""
        self._dialogue.unfinished = True  # RFC 3030 §2: RSET, whatever it was that failed
        while self._answers:
            yield _CONTENT
            self._answers -= 1

    def _final(self, reply: Reply) -> Generator[Stage, Reply, None]:
        """Take the reply to the whole message; in LMTP each recipient has one (RFC 2033 §4.2)."""
        dialogue = self._dialogue
        observer = dialogue.outbox.observer
        if reply.code >= 300:
            refuses(reply, _FINAL)
        self._transaction.final_reply = reply
        if not dialogue.settings.lmtp:
            if observer is not None:
                observer.replied(_FINAL, self._transaction, reply)
            for one in self._accepted:
                one.decide(reply, _FINAL)
        else:
            for number, one in enumerate(self._accepted):
                if number:
                    reply = yield _FINAL
                    refuses(reply, _FINAL)
                if observer is not None:
                    observer.replied(_FINAL, one, reply)
                one.decide(reply, _FINAL)
        # RFC 5321 §4.1.1.4 has the server forget the envelope in any case.  Postfix remembers it
        # where its end-of-data restrictions refuse, and would refuse the next MAIL for good.
        dialogue.unfinished = reply.code >= 400

    def _refused(self, reply: Reply, stage: Stage) -> None:
        self._transaction.final_reply = reply
        observer = self._dialogue.outbox.observer
        if observer is not None:
            observer.replied(stage, self._transaction, reply)
        for one in self._accepted:
            one.decide(reply, stage)
