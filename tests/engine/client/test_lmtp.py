"""LMTP (RFC 2033): each recipient who was taken has a reply of its own at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpcb.engine import Cause, Outcome, Stage

from .talk import BOB, CARL, MAIL, PLAIN, QUIT, RCPT, RCPT_2, talk, to

LMTP = replace(PLAIN, lmtp=True, chunk_octets=4)
START = "S: 220 mail LMTP\nC: LHLO me.example.org\nS: 250-mail\nS: 250 PIPELINING\n"
CHUNKS = START.replace("250 P", "250-P") + "S: 250 CHUNKING\n"
BODY = b"body\r\n"
DORA = "dora@example.org"
GROUP = MAIL + RCPT + RCPT_2 + "C: RCPT TO:<dora@example.org>\n"
TAKEN = "S: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\n"
OUTCOMES = [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DEFERRED]


def outcomes(message: object) -> list[Outcome]:
    """Return what became of each recipient."""
    return [one.outcome for one in message.destinations]  # type: ignore[attr-defined]


def test_each_recipient_has_a_reply() -> None:
    """In the order of their commands, the refused left out; the first is the message's too."""
    message = to(BOB, CARL, DORA)
    talk(
        START + GROUP + "C: DATA\n" + TAKEN + "S: 354 go\nC: body\nC: .\n"
        "S: 250 taken\nS: 452 full\n" + QUIT,
        message,
        settings=LMTP,
        content=BODY,
    )
    assert outcomes(message) == OUTCOMES
    assert message.final_reply is not None
    assert message.final_reply.text == "250 taken"


def test_chunks_go_one_by_one_and_the_last_has_all_replies() -> None:
    """A refused one before it has a single reply, so it cannot be sent ahead."""
    start = CHUNKS + GROUP + TAKEN + "C: BDAT 4\nC: body\\\n"
    message = to(BOB, CARL, DORA)
    talk(
        start + "S: 250 ok\nC: BDAT 2 LAST\nC:\nS: 250 taken\nS: 452 full\n" + QUIT,
        message,
        settings=LMTP,
        content=BODY,
        piece_octets=4,
    )
    assert outcomes(message) == OUTCOMES
    message = to(BOB, CARL, DORA)
    talk(start + "S: 451 no\n" + QUIT, message, settings=LMTP, content=BODY, piece_octets=4)
    assert outcomes(message) == [Outcome.DEFERRED, Outcome.REFUSED, Outcome.DEFERRED]


@pytest.mark.parametrize("how", ["*: gone", "S: 354 go\n"])
def test_a_reply_that_is_missing_leaves_its_recipient_unknown(how: str) -> None:
    """The others have had theirs (P55)."""
    message = to(BOB, CARL, DORA)
    talk(
        START + GROUP + "C: DATA\n" + TAKEN + "S: 354 go\nC: body\nC: .\nS: 250 taken\n" + how,
        message,
        settings=LMTP,
        content=BODY,
    )
    assert outcomes(message) == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.UNKNOWN]


def test_one_reply_too_many_ends_the_session() -> None:
    """It would be taken for that of the next message."""
    message = to()
    owner = talk(
        START + MAIL + RCPT + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: body\nC: .\n"
        "S: 250 taken\nS: 250 taken\n",
        message,
        to(CARL),
        settings=LMTP,
        content=BODY,
        cut=False,
    )
    assert outcomes(message) == [Outcome.DELIVERED]
    assert owner.dialogue.failure is not None
    assert owner.dialogue.failure.cause is Cause.PROTOCOL


def test_data_taken_for_nobody_ends_the_session() -> None:
    """It has to be refused (RFC 2033 §4.2), and how many replies would come nobody knows."""
    message = to()
    owner = talk(
        START + MAIL + RCPT + "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\n", message, settings=LMTP
    )
    assert outcomes(message) == [Outcome.REFUSED]
    assert owner.dialogue.failure is not None
    assert (owner.dialogue.failure.stage, owner.dialogue.failure.cause) == (
        Stage.DATA,
        Cause.PROTOCOL,
    )
