"""
LMTP: the same dialogue for who delivers and keeps no queue (RFC 2033).

LHLO stands in the place of EHLO and HELO, and the end of a message has one reply for each
recipient that was accepted, in the order of their commands; for twice the same one it has two.
The client counts them: one too many or too few, and its next message would hear of this one.
So whom they are for is noted by the dialogue itself, and they are one `ReplyToEach`, which leaves
as a whole wherever a single reply would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpcb.engine import _replies as replies
from smtpcb.engine._commands import COMMANDS, Row, extended_hello
from smtpcb.engine._envelope import Recipient
from smtpcb.engine._table import WHY, State
from smtpcb.smtp._command import Verb
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


@dataclass(frozen=True, slots=True, init=False)
class ReplyToEach(Reply):
    """
    What the end of a message is answered with in LMTP (RFC 2033 §4.2).

    As one reply it is that of the first recipient whose message was taken; else the first
    temporary one, else the first.

    :ivar each: every accepted recipient and what is said of it, in the order of their RCPT.
    """

    each: tuple[tuple[Recipient, Reply], ...]

    def __init__(self, each: Iterable[tuple[Recipient, Reply]]) -> None:
        each = tuple(each)
        said = [reply for _, reply in each]
        one = mildest(said)
        self._fill(one.code, one.lines, one.status, any(reply.closes for reply in said), True, True)
        put = object.__setattr__
        put(self, "wire", b"".join([reply.wire for reply in said]))
        put(self, "_wide", b"".join([reply.encoded(utf8=True) for reply in said]))
        put(self, "each", each)

    @property
    def taken(self) -> int:
        """How many recipients' message was taken."""
        return sum(reply.positive for _, reply in self.each)

    @property
    def text(self) -> str:
        """For logs: what is said, and of how many."""
        text = mildest(reply for _, reply in self.each).text
        return f"{text} ({self.taken} of {len(self.each)} taken)" if len(self.each) > 1 else text

    @property
    def refused(self) -> tuple[tuple[Recipient, Reply], ...]:
        """Those whose message was not taken, if what is said is not the same for all."""
        if len({reply.wire for _, reply in self.each}) == 1:
            return ()
        return tuple((recipient, reply) for recipient, reply in self.each if not reply.positive)

    def closing(self) -> ReplyToEach:
        """Return the same replies, after which the connection is closed."""
        return ReplyToEach((recipient, reply.closing()) for recipient, reply in self.each)

    def bare(self) -> ReplyToEach:
        """Return the same replies without their status."""
        return ReplyToEach((recipient, reply.bare()) for recipient, reply in self.each)

    def fitted(self, refuse: Reply) -> Reply:
        """
        Refuse to be a verdict: it would be said as often as it has recipients.

        :raises TypeError: always.
        """
        raise TypeError("a ReplyToEach is no verdict: answer with a mapping of recipients")


def mildest(said: Iterable[Reply]) -> Reply:
    """Return the first reply that accepts; else the first temporary one, else the first."""
    return min(said, key=lambda reply: (reply.code >= 400, reply.code >= 500))


# Commands.


def lhlo(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """LHLO (RFC 2033 §4.1)."""
    return extended_hello(dialogue, argument, Verb.LHLO)


def _of_smtp(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """Refuse EHLO or HELO."""
    return replies.THIS_IS_LMTP


LMTP_COMMANDS: Mapping[bytes, Row] = {
    **COMMANDS,
    b"LHLO": Row(Verb.LHLO, lhlo),
    b"EHLO": Row(Verb.EHLO, _of_smtp),
    b"HELO": Row(Verb.HELO, _of_smtp),
}

LMTP_WHY: Mapping[State, Mapping[Verb, Reply]] = {
    **WHY,
    State.CONNECTED: dict.fromkeys(WHY[State.CONNECTED], replies.LHLO_FIRST),
}


# Replies.


def for_each(dialogue: ServerDialogue, reply: Reply) -> Reply:
    """Return what is said to the end of a message where the same is said of each recipient."""
    recipients = dialogue.addressees
    assert recipients, "a message for nobody"
    return ReplyToEach([(recipient, reply) for recipient in recipients])


def as_often(said: Reply, instead: Reply) -> Reply:
    """Return what takes the place of a reply, as often as that would have been said."""
    if isinstance(said, ReplyToEach):
        return ReplyToEach([(recipient, instead) for recipient, _ in said.each])
    return instead


def to_what_is_open(dialogue: ServerDialogue, reply: Reply) -> Reply:
    """Return what ends a session: the client may be waiting for what became of a message."""
    intake = dialogue.intake
    if intake is None:
        waits = dialogue.state is State.MAIL_DATA
    else:
        waits = intake.last and (not intake.stray or dialogue.state is State.CHUNKS_FAILED)
    return for_each(dialogue, reply) if waits else reply
