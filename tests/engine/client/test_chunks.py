"""BDAT (RFC 3030): chunks instead of DATA, ahead of the replies where that is allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpcb.engine import Cause, ClientWants, Outcome, Stage
from smtpcb.smtp import BodyType, MailParameters

from .talk import (
    BOB,
    CARL,
    CHUNKS,
    GREETING,
    MAIL,
    PLAIN,
    QUIT,
    RCPT,
    RCPT_2,
    Owner,
    talk,
    to,
)

SMALL = replace(PLAIN, chunk_octets=4)
STEPWISE = GREETING + "S: 250-mail\nS: 250 CHUNKING\n"
BINARY = GREETING + "S: 250-mail\nS: 250-BINARYMIME\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
OK = "S: 250 ok\n"
WHOLE = "C: BDAT 6 LAST\nC: body\n"
BODY = b"body\r\n"
EIGHT = b"abcdefgh\r\n"


def outcomes(message: object) -> list[Outcome]:
    """Return what became of each recipient."""
    return [one.outcome for one in message.destinations]  # type: ignore[attr-defined]


def test_a_small_message_is_one_write() -> None:
    """Envelope and content, in one group, without a stuffed dot."""
    message = to(BOB, CARL)
    talk(
        CHUNKS
        + MAIL
        + RCPT
        + RCPT_2
        + "C: BDAT 9 LAST\nC: .a\nC: ...\n"
        + OK * 2
        + "S: 550 no\nS: 250 taken\n"
        + QUIT,
        message,
        content=b".a\r\n...",
        piece_octets=2,
    )
    assert outcomes(message) == [Outcome.DELIVERED, Outcome.REFUSED]
    assert message.final_reply is not None
    assert message.final_reply.text == "250 taken"


def test_a_large_message_waits_behind_its_first_chunk() -> None:
    """Until it is known that somebody gets it; the rest is sent without waiting."""
    script = (
        CHUNKS
        + MAIL
        + RCPT
        + "C: BDAT 4\nC: abcd\\\n"
        + OK * 2
        + "C: BDAT 4\nC: efghBDAT 2 LAST\nC:\n"
    )
    message = to()
    talk(script + OK * 3 + QUIT, message, settings=SMALL, content=EIGHT, piece_octets=4)
    assert outcomes(message) == [Outcome.DELIVERED]
    message = to()
    talk(
        CHUNKS + MAIL + RCPT + "C: BDAT 4\nC: abcd\\\n" + "S: 250 ok\nS: 550 no\nS: 503 no\n"
        "C: RSET\n" + MAIL + RCPT_2 + "C: BDAT 4\nC: abcd\\\n*: gone\n",
        message,
        to(CARL),
        settings=SMALL,
        content=EIGHT,
        piece_octets=4,
    )
    assert outcomes(message) == [Outcome.REFUSED]


def test_refused_mail_makes_its_chunk_void() -> None:
    """Whatever is said to it."""
    for last in ("503 no", "250 ok"):
        message = to()
        talk(
            CHUNKS
            + MAIL
            + RCPT
            + WHOLE
            + f"S: 550 no\nS: 503 no\nS: {last}\nC: RSET\n"
            + MAIL
            + RCPT_2
            + WHOLE
            + "*: gone",
            message,
            to(CARL),
            content=BODY,
        )
        assert outcomes(message) == [Outcome.REFUSED]
        assert message.destinations[0].stage is Stage.MAIL


def test_without_pipelining_one_waits_for_the_other() -> None:
    """Each chunk for the reply to the one before."""
    message = to()
    talk(
        STEPWISE
        + MAIL
        + OK
        + RCPT
        + OK
        + "C: BDAT 4\nC: abcd\\\n"
        + OK
        + "C: BDAT 4\nC: efgh\\\n"
        + OK
        + "C: BDAT 2 LAST\nC:\n"
        + OK
        + QUIT,
        message,
        settings=SMALL,
        content=EIGHT,
        piece_octets=4,
    )
    assert outcomes(message) == [Outcome.DELIVERED]
    talk(
        STEPWISE + MAIL + OK + RCPT + "S: 550 no\nC: RSET\n" + OK + MAIL + "*: gone",
        to(),
        to(),
        settings=SMALL,
        content=EIGHT,
    )


@pytest.mark.parametrize("start", [STEPWISE + MAIL + OK + RCPT + OK])
def test_a_refused_chunk_stops_the_rest(start: str) -> None:
    """The reply that refused it decides, and RSET comes before the next message (L47)."""
    message = to()
    talk(
        start + "C: BDAT 4\nC: abcd\\\nS: 452 full\nC: RSET\n" + OK + MAIL + "*: gone",
        message,
        to(),
        settings=SMALL,
        content=EIGHT,
        piece_octets=4,
    )
    (one,) = message.destinations
    assert one.reply is not None
    assert (one.outcome, one.stage, one.reply.code) == (Outcome.DEFERRED, Stage.CONTENT, 452)


def chunking(message: object, content: bytes = EIGHT) -> Owner:
    """Return an owner whose first chunk has been sent, and whose envelope was accepted."""
    owner = Owner([message], SMALL, content=content, piece_octets=4)
    for said in (b"220 m\r\n", b"250-m\r\n250-PIPELINING\r\n250 CHUNKING\r\n"):
        owner.dialogue.receive(said)
        owner.go_on()
    owner.dialogue.receive(b"250 ok\r\n250 ok\r\n")
    assert owner.dialogue.wants is ClientWants.CONTENT
    return owner


def test_a_chunk_refused_while_others_are_under_way_decides() -> None:
    """The others fail too, for a reason that says less; no more are sent (L47)."""
    message = to()
    owner = chunking(message)
    dialogue = owner.dialogue
    dialogue.content(b"efgh")
    dialogue.content(b"ijkl")
    assert dialogue.take_output() == b"BDAT 4\r\nefghBDAT 4\r\nijkl"
    dialogue.receive(b"250 ok\r\n452 full\r\n")
    assert dialogue.wants is ClientWants.REPLY
    assert dialogue.stage is Stage.FINAL
    dialogue.receive(b"503 what?\r\n")
    assert dialogue.wants is ClientWants.WORK
    assert outcomes(message) == [Outcome.DEFERRED]
    assert message.destinations[0].reply is not None
    assert message.destinations[0].reply.code == 452
    assert dialogue.unfinished


def test_a_refused_chunk_decides_although_the_last_one_is_taken() -> None:
    """What was taken then cannot be the message."""
    message = to()
    owner = chunking(message)
    assert owner.go_on() == b"BDAT 4\r\nefghBDAT 2 LAST\r\n\r\n"
    owner.dialogue.receive(b"250 ok\r\n552 too much\r\n250 taken\r\n")
    assert outcomes(message) == [Outcome.REFUSED]
    assert owner.dialogue.failure is None


@pytest.mark.parametrize(("code", "outcome"), [(451, Outcome.DEFERRED), (554, Outcome.REFUSED)])
def test_a_refused_last_chunk_refuses_the_message(code: int, outcome: Outcome) -> None:
    """And whatever is left of it is undone."""
    message = to()
    talk(
        CHUNKS
        + MAIL
        + RCPT
        + WHOLE
        + OK * 2
        + f"S: {code} no\nC: RSET\n"
        + MAIL
        + RCPT
        + WHOLE
        + "*: gone",
        message,
        to(),
        content=BODY,
    )
    assert outcomes(message) == [outcome]
    assert message.destinations[0].stage is Stage.FINAL


def test_all_or_nobody_waits_with_chunks_as_well() -> None:
    """No octet of it before it is known that all were taken."""
    message = to(BOB, CARL, require_all_recipients=True)
    talk(
        CHUNKS + MAIL + RCPT + RCPT_2 + OK * 3 + WHOLE + "S: 250 taken\n" + QUIT,
        message,
        content=BODY,
    )
    assert outcomes(message) == [Outcome.DELIVERED] * 2


def test_what_can_be_had_only_once_is_kept_until_somebody_is_taken() -> None:
    """A server that greylists would have cost the caller the message."""
    message = to(ahead=False)
    talk(
        CHUNKS + MAIL + RCPT + "S: 250 ok\nS: 450 later\n" + QUIT, message, content=BODY, cut=False
    )
    assert outcomes(message) == [Outcome.DEFERRED]
    message = to(ahead=False)
    talk(CHUNKS + MAIL + RCPT + OK * 2 + WHOLE + "S: 250 taken\n" + QUIT, message, content=BODY)
    assert outcomes(message) == [Outcome.DELIVERED]


@pytest.mark.parametrize(("script", "stage"), [("", Stage.MAIL), (OK, Stage.RCPT)])
def test_sent_ahead_to_its_end_a_message_may_have_been_delivered(script: str, stage: Stage) -> None:
    """Though no reply to its envelope has come; one that closes says that it was not."""
    for how in ("*: gone", "S: rubbish\n"):
        message = to()
        talk(CHUNKS + MAIL + RCPT + WHOLE + script + how, message, content=BODY)
        assert outcomes(message) == [Outcome.UNKNOWN]
        assert message.destinations[0].stage is stage
    message = to()
    talk(CHUNKS + MAIL + RCPT + WHOLE + script + "S: 421 closing\n", message, content=BODY)
    assert outcomes(message) == [Outcome.DEFERRED]


@pytest.mark.parametrize("what", [b"", b"rubbish\r\n", b"354 go\r\n"])
def test_chunks_without_the_last_one_are_no_message(what: bytes) -> None:
    """Whether the server leaves, or what it says fits nothing."""
    message = to()
    dialogue = chunking(message).dialogue
    assert dialogue.stage is Stage.CONTENT
    dialogue.receive(what) if what else dialogue.lost()
    assert outcomes(message) == [Outcome.DEFERRED]
    assert dialogue.failure is not None
    assert dialogue.failure.stage is Stage.CONTENT


def test_content_that_fails_between_chunks_has_no_end_either() -> None:
    """The link is dropped, as with DATA (L16)."""
    message = to()
    dialogue = chunking(message).dialogue
    dialogue.fail_content()
    assert dialogue.take_output() == b""
    assert dialogue.failure is not None
    assert dialogue.failure.cause is Cause.SOURCE
    assert outcomes(message) == [Outcome.DEFERRED]


def test_lines_are_ended_and_newlines_looked_at_but_for_binary_content() -> None:
    """What is declared BINARYMIME is sent octet for octet (RFC 3030 §3)."""
    talk(CHUNKS + MAIL + RCPT + WHOLE + OK * 3 + QUIT, to(), content=b"body", piece_octets=1)
    talk(CHUNKS + MAIL + RCPT + "C: BDAT 0 LAST\n" + OK * 3 + QUIT, to(), content=b"")
    message = to()
    owner = talk(CHUNKS + MAIL + RCPT, message, content=b"a\nb")
    assert owner.dialogue.failure is not None
    assert owner.dialogue.failure.cause is Cause.SOURCE
    message = to(parameters=MailParameters(body=BodyType.BINARY_MIME))
    talk(
        BINARY
        + "C: MAIL FROM:<anne@example.org> BODY=BINARYMIME\n"
        + RCPT
        + "C: BDAT 4 LAST\nC: a\\x0ab\\x0d\\\n"
        + OK * 3
        + QUIT,
        message,
        content=b"a\nb\r",
    )
    assert outcomes(message) == [Outcome.DELIVERED]


def test_chunking_can_be_switched_off() -> None:
    """Then DATA is said, whatever is offered."""
    talk(
        CHUNKS + MAIL + RCPT + "C: DATA\n" + OK * 2 + "S: 354 go\nC: body\nC: .\n" + OK + QUIT,
        to(),
        settings=replace(PLAIN, without=frozenset({"chunking"})),
        content=BODY,
    )
