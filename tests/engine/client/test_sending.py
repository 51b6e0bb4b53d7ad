"""One message and then another: step by step, in groups, refused at each stage."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine import Cause, ClientWants, Outcome, Stage, Transaction
from smtpcb.smtp import Command, LocalProtocolError, Verb

from .talk import (
    ANNE,
    BOB,
    CARL,
    CONTENT,
    GROUPS,
    MAIL,
    QUIT,
    RCPT,
    RCPT_2,
    STEPS,
    TEXT,
    Owner,
    talk,
    to,
)

DELIVERED, REFUSED, DEFERRED = Outcome.DELIVERED, Outcome.REFUSED, Outcome.DEFERRED
UNKNOWN, NOT_TRIED = Outcome.UNKNOWN, Outcome.NOT_TRIED
GROUP = MAIL + RCPT + RCPT_2 + "C: DATA\n"


def results(transaction: Transaction) -> list[tuple[Outcome, Stage | None, int | None]]:
    """Return what became of each recipient, at which stage, and by which reply."""
    return [
        (one.outcome, one.stage, None if one.reply is None else one.reply.code)
        for one in transaction.destinations
    ]


def test_step_by_step_each_command_waits_for_its_reply() -> None:
    """Where PIPELINING is not offered; one bad recipient costs the others nothing (P57)."""
    message = to(BOB, CARL)
    talk(
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 250 ok\n" + RCPT_2 + "S: 550 no\nC: DATA\n"
        "S: 354 go\n" + CONTENT + "S: 250 taken\n" + QUIT,
        message,
    )
    assert results(message) == [
        (DELIVERED, Stage.FINAL, 250),
        (REFUSED, Stage.RCPT, 550),
    ]
    assert message.mail_reply is not None
    assert message.final_reply is not None
    assert message.final_reply.text == "250 taken"
    assert message.failure is None
    assert not message.remaining


def test_in_a_group_all_goes_in_one_write() -> None:
    """And the replies belong to the commands in their order, whatever they are (RFC 2920)."""
    message = to(BOB, CARL)
    talk(
        GROUPS
        + GROUP
        + "S: 250 ok\nS: 450 later\nS: 251 will forward\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        message,
    )
    assert results(message) == [(DEFERRED, Stage.RCPT, 450), (DELIVERED, Stage.FINAL, 250)]
    assert message.remaining == [message.destinations[0]]


@pytest.mark.parametrize(
    ("reply", "outcome", "undone"),
    [
        ("250 taken", DELIVERED, ""),
        ("451 later", DEFERRED, "C: RSET\n"),
        ("554 no", REFUSED, "C: RSET\n"),
    ],
)
def test_the_next_message_follows_on_the_same_session(
    reply: str, outcome: Outcome, undone: str
) -> None:
    """
    Without RSET where the first one was taken (L32).

    Where it was not, Postfix may not have forgotten its envelope, as RFC 5321 §4.1.1.4 wants it.
    """
    first, second = to(), to(CARL)
    talk(
        GROUPS
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + f"S: {reply}\n"
        + undone
        + MAIL
        + RCPT_2
        + ("C: DATA\n" + ("S: 250 reset\n" if undone else ""))
        + "S: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        first,
        second,
    )
    assert results(first) == [(outcome, Stage.FINAL, int(reply[:3]))]
    assert results(second) == [(DELIVERED, Stage.FINAL, 250)]


@pytest.mark.parametrize(("code", "outcome"), [(452, DEFERRED), (550, REFUSED)])
def test_refused_mail_decides_for_all(code: int, outcome: Outcome) -> None:
    """And nothing has to be undone before the next message (L29)."""
    bounce = "C: MAIL FROM:<>\n"
    for script in (
        STEPS + MAIL + f"S: {code} no\n" + bounce + "*: gone\n",
        GROUPS
        + (GROUP + f"S: {code} no\nS: 503 no\nS: 503 no\nS: 503 no\n")
        + (bounce + RCPT + "C: DATA\n*: gone\n"),
    ):
        message = to(BOB, CARL)
        talk(script, message, Transaction("", [BOB]))
        assert results(message) == [(outcome, Stage.MAIL, code)] * 2
        assert message.failure is None


def test_where_all_recipients_are_refused_no_content_is_sent() -> None:
    """Step by step, DATA is not even said; the envelope is undone before the next one (P57)."""
    message = to(BOB, CARL)
    talk(
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 550 no\n" + RCPT_2 + "S: 450 no\n"
        "C: RSET\nS: 250 ok\n"
        + MAIL
        + "S: 250 ok\n"
        + RCPT
        + "S: 250 ok\nC: DATA\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        message,
        to(),
    )
    assert results(message) == [(REFUSED, Stage.RCPT, 550), (DEFERRED, Stage.RCPT, 450)]
    talk(
        GROUPS + GROUP + "S: 250 ok\nS: 550 no\nS: 550 no\nS: 554 no\n"
        "C: RSET\n"
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        to(BOB, CARL),
        to(),
    )


def test_where_data_is_taken_for_nobody_a_lone_dot_is_sent() -> None:
    """Whatever is said to that: the recipients have been decided on (RFC 2920 §3.1, L30)."""
    for last in ("250 taken", "554 no recipients"):
        message = to(BOB, CARL)
        talk(
            GROUPS
            + GROUP
            + "S: 250 ok\nS: 550 no\nS: 450 no\nS: 354 go\nC: .\nS: "
            + last
            + "\n"
            + MAIL
            + RCPT
            + "C: DATA\n*: gone\n",
            message,
            to(),
        )
        assert results(message) == [(REFUSED, Stage.RCPT, 550), (DEFERRED, Stage.RCPT, 450)]


def test_mail_refused_and_data_taken_all_the_same() -> None:
    """However odd the server is, nothing is sent that somebody could get."""
    message = to()
    talk(
        GROUPS + MAIL + RCPT + "C: DATA\nS: 550 no\nS: 250 ok\nS: 354 go\nC: .\nS: 250 ok\n" + QUIT,
        message,
    )
    assert results(message) == [(REFUSED, Stage.MAIL, 550)]


@pytest.mark.parametrize(("code", "outcome"), [(451, DEFERRED), (554, REFUSED)])
def test_refused_data_decides_for_those_who_were_taken(code: int, outcome: Outcome) -> None:
    """The reply to DATA is theirs (L31); the envelope is undone before the next message."""
    message = to(BOB, CARL)
    talk(
        GROUPS + GROUP + f"S: 250 ok\nS: 250 ok\nS: 550 no\nS: {code} no\n"
        "C: RSET\n" + MAIL + RCPT + "C: DATA\n*: gone",
        message,
        to(),
    )
    assert results(message) == [(outcome, Stage.DATA, code), (REFUSED, Stage.RCPT, 550)]
    assert message.final_reply is not None
    assert message.final_reply.code == code


@pytest.mark.parametrize(("code", "outcome"), [(452, DEFERRED), (552, REFUSED)])
def test_a_refused_message_is_refused_for_all(code: int, outcome: Outcome) -> None:
    """Of those who were taken (L31)."""
    message = to(BOB, CARL)
    talk(
        GROUPS
        + GROUP
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + f"S: {code} no\n"
        + QUIT,
        message,
    )
    assert results(message) == [(outcome, Stage.FINAL, code)] * 2


def test_all_or_nobody() -> None:
    """With require_all_recipients one refusal keeps the content back (L34), and says why."""
    for script in (
        GROUPS + MAIL + RCPT + RCPT_2 + "S: 250 ok\nS: 250 ok\nS: 450 no\n",
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 250 ok\n" + RCPT_2 + "S: 450 no\n",
    ):
        message = to(BOB, CARL, require_all_recipients=True)
        talk(script + QUIT, message)
        assert results(message) == [(NOT_TRIED, Stage.RCPT, 450), (DEFERRED, Stage.RCPT, 450)]
        assert str(message.failure) == "rcpt: another recipient was refused: 450 no"
    message = to(BOB, CARL, require_all_recipients=True)
    talk(
        GROUPS
        + MAIL
        + RCPT
        + RCPT_2
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        message,
    )
    assert [one.outcome for one in message.destinations] == [DELIVERED, DELIVERED]


def test_sent_again_a_message_goes_to_whom_it_has_not_reached() -> None:
    """Not to those who have it, nor to those who refuse it for good (L33)."""
    message = Transaction(ANNE, [BOB, CARL, "dora@example.org"])
    rest = "C: RCPT TO:<dora@example.org>\n"
    talk(
        GROUPS + MAIL + RCPT + RCPT_2 + rest + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 450 later\n"
        "S: 550 no\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + MAIL
        + RCPT_2
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        message,
        message,
        cut=False,
    )
    assert [one.outcome for one in message.destinations] == [DELIVERED, DELIVERED, REFUSED]
    assert [one.complete for one in message.destinations] == [True] * 3
    owner = talk(GROUPS + QUIT, message, cut=False)
    assert "no recipient is left" in str(owner.failures[0])
    message.destinations[2].again()
    assert message.remaining == [message.destinations[2]]
    assert repr(message.destinations[2]) == "<Destination dora@example.org: not tried>"


def test_after_all_or_nobody_was_nobody_it_can_be_sent_again() -> None:
    """What was said the last time counts no more."""
    message = to(BOB, CARL, require_all_recipients=True)
    talk(
        GROUPS
        + MAIL
        + RCPT
        + RCPT_2
        + "S: 250 ok\nS: 250 ok\nS: 450 no\nC: RSET\n"
        + MAIL
        + RCPT
        + RCPT_2
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\n"
        + QUIT,
        message,
        message,
        cut=False,
    )
    assert [one.outcome for one in message.destinations] == [DELIVERED, DELIVERED]
    assert message.failure is None


def test_where_one_has_refused_for_good_the_others_are_not_tried_without() -> None:
    """All or nobody is so for ever; whoever is tried again by hand, is tried with all."""
    message = to(BOB, CARL, require_all_recipients=True)
    talk(
        GROUPS + MAIL + RCPT + RCPT_2 + "S: 250 ok\nS: 250 ok\nS: 550 no\n" + QUIT,
        message,
        cut=False,
    )
    assert message.remaining == []
    message.destinations[1].again()
    assert message.remaining == message.destinations


def test_reset_by_hand_undoes_it_as_well() -> None:
    """RSET need not be said twice."""
    talk(
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 550 no\nC: RSET\nS: 250 ok\n" + MAIL + "*: gone",
        to(),
        Command(Verb.RSET),
        to(),
    )
    talk(
        STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 550 no\nC: RSET\nS: 500 no\nC: RSET\n*: gone",
        to(),
        Command(Verb.RSET),
        to(),
    )


@pytest.mark.parametrize("start", [STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 550 no\n"])
def test_refused_rset_ends_the_session(start: str) -> None:
    """Nobody knows to whom the next message would go."""
    message = to(CARL)
    failure = talk(start + "C: RSET\nS: 500 no\n", to(), message).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.MAIL, Cause.REFUSED)
    assert results(message) == [(DEFERRED, Stage.MAIL, 500)]


# The content.


@pytest.mark.parametrize("piece_octets", [1, 2, 3, 5, 1000])
def test_dots_are_stuffed_and_the_last_line_is_ended(piece_octets: int) -> None:
    """However the content comes (RFC 5321 §4.5.2, L14, L15)."""
    start = STEPS + MAIL + "S: 250 ok\n" + RCPT + "S: 250 ok\nC: DATA\nS: 354 go\n"
    for content, wanted in (
        (b".a\r\n.\r\n..\r\nb", "C: ..a\nC: ..\nC: ...\nC: b\nC: .\n"),
        (b"", "C: .\n"),
        (b".", "C: ..\nC: .\n"),
        (b"\r\n", "C:\nC: .\n"),
        (b"a\r\n.b", "C: a\nC: ..b\nC: .\n"),
    ):
        talk(
            start + wanted + "S: 250 taken\n" + QUIT,
            to(),
            content=content,
            piece_octets=piece_octets,
        )


def data(content: bytes | None, message: Transaction, **how: Any) -> Owner:
    """Return an owner that has said DATA."""
    owner = Owner([message], content=content, **how)
    for said in (b"220 mail\r\n", b"250 mail\r\n", b"250 ok\r\n", b"250 ok\r\n"):
        owner.dialogue.receive(said)
        owner.go_on()
    return owner


@pytest.mark.parametrize(
    "content", [b"a\nb\r\n", b"a\r", b"a\rb\r\n", b"\n", b"a\r\n\n.\r\n", b"\r\r\n"]
)
@pytest.mark.parametrize("piece_octets", [1, 1000])
def test_a_bare_newline_in_the_content_ends_it(content: bytes, piece_octets: int) -> None:
    """Somebody would see a line where the stuffing saw none: no final dot is sent (P6, LX9)."""
    message = to()
    owner = data(content, message, piece_octets=piece_octets)
    owner.dialogue.receive(b"354 go\r\n")
    sent = owner.go_on()
    assert not sent.endswith(b".\r\n")
    failure = owner.dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause, failure.temporary) == (Stage.CONTENT, Cause.SOURCE, False)
    assert owner.dialogue.wants is ClientWants.NOTHING


def test_content_that_fails_has_no_end() -> None:
    """The server must not take half a message for a whole one (L16)."""
    message = to()
    owner = data(None, message)
    owner.dialogue.receive(b"354 go\r\n")
    assert owner.dialogue.wants is ClientWants.CONTENT
    assert owner.go_on() == b""
    failure = owner.dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.CONTENT, Cause.SOURCE)
    assert str(failure) == "content: the disk is gone"
    assert results(message) == [(DEFERRED, Stage.CONTENT, None)]


def test_content_is_taken_only_where_it_is_wanted() -> None:
    """Before 354 and behind the end it is the owner's mistake."""
    owner = data(TEXT, to())
    dialogue = owner.dialogue
    with pytest.raises(LocalProtocolError, match="no content is wanted"):
        dialogue.content(b"x\r\n")
    dialogue.receive(b"354 go\r\n")
    owner.go_on()
    with pytest.raises(LocalProtocolError, match="no content is wanted"):
        dialogue.end_content()


# What is not known.


@pytest.mark.parametrize("how", ["*: gone\n", "*: late\n", "S: rubbish\n", "S: 354 go\n"])
def test_a_message_whose_last_reply_never_came_is_unknown(how: str) -> None:
    """It may have been delivered, and may not (P55, RFC 1047)."""
    message = to(BOB, CARL)
    owner = talk(
        GROUPS + GROUP + "S: 250 ok\nS: 250 ok\nS: 550 no\nS: 354 go\n" + CONTENT + how, message
    )
    assert message.destinations[0].outcome is UNKNOWN
    assert message.destinations[0].stage is Stage.FINAL
    assert message.destinations[1].outcome is REFUSED
    assert message.failure is owner.dialogue.failure is message.destinations[0].failure
    assert message.remaining == [message.destinations[0]]


def test_a_message_that_was_given_up_behind_its_end_is_unknown() -> None:
    """Whoever gives it up does not undo it."""
    message = to()
    owner = data(TEXT, message)
    owner.dialogue.receive(b"354 go\r\n")
    owner.go_on()
    owner.dialogue.abandon()
    assert message.destinations[0].outcome is UNKNOWN
    assert message.failure is not None
    assert message.failure.cause is Cause.CANCELLED


@pytest.mark.parametrize(
    ("script", "stage"),
    [
        ("", Stage.MAIL),
        ("S: 250 ok\n", Stage.RCPT),
        ("S: 250 ok\nS: 250 ok\n", Stage.RCPT),
        ("S: 250 ok\nS: 250 ok\nS: 250 ok\n", Stage.DATA),
    ],
)
@pytest.mark.parametrize("how", ["*: gone\n", "*: late\n", "S: rubbish\n", "S: 421 closing\n"])
def test_a_message_whose_end_was_not_sent_is_not_delivered(
    script: str, stage: Stage, how: str
) -> None:
    """That is certain, and to try it again is safe; the stage is that of the oldest command."""
    message = to(BOB, CARL)
    failure = talk(GROUPS + GROUP + script + how, message).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.temporary) == (stage, True)
    assert {one.outcome for one in message.destinations} == {DEFERRED}
    # Where all have been decided on by replies, these say why.
    assert message.failure is (None if stage is Stage.DATA and "421" in how else failure)


def test_while_content_is_sent_the_stage_is_content() -> None:
    """A server that leaves, or says that it does."""
    for what, code in ((b"421 closing\r\n", 421), (b"", None)):
        message = to()
        owner = data(TEXT, message)
        owner.dialogue.receive(b"354 go\r\n")
        owner.dialogue.take_output()
        owner.dialogue.content(b"Subject: hi\r\n")
        owner.dialogue.receive(what) if what else owner.dialogue.lost()
        assert results(message) == [(DEFERRED, Stage.CONTENT, code)]


def test_421_to_the_message_is_a_no_for_now() -> None:
    """The server has said so, and then the session is over."""
    message = to()
    owner = talk(
        GROUPS
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 421 closing\n",
        message,
        to(),
    )
    assert results(message) == [(DEFERRED, Stage.FINAL, 421)]
    assert owner.dialogue.failure is not None
    assert owner.dialogue.failure.stage is Stage.FINAL
    assert message.failure is None


# What fits nothing.


@pytest.mark.parametrize(
    ("script", "stage"),
    [
        ("S: 354 go\n", Stage.MAIL),
        ("S: 250 ok\nS: 354 go\n", Stage.RCPT),
        ("S: 250 ok\nS: 250 ok\nS: 334 go\n", Stage.RCPT),
        ("S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n", Stage.DATA),
        ("S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 334 go\n", Stage.DATA),
    ],
)
def test_a_code_that_fits_nothing_ends_the_session(script: str, stage: Stage) -> None:
    """What else it says would be about something else (P53)."""
    message = to(BOB, CARL)
    failure = talk(GROUPS + GROUP + script, message).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause, failure.temporary) == (stage, Cause.PROTOCOL, True)
    assert {one.outcome for one in message.destinations} == {DEFERRED}


def test_a_reply_before_its_command_ends_the_session() -> None:
    """Who answers what was not asked answers the next thing wrongly (P53)."""
    message = to()
    owner = talk(STEPS + MAIL + "S: 250 ok\nS: 250 ok\n", message, cut=False)
    failure = owner.dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.RCPT, Cause.PROTOCOL)
    for said in (b"250 hello\r\n", b"554 spam\r\n"):
        message = to()
        dialogue = data(TEXT, message).dialogue
        dialogue.receive(b"354 go\r\n")
        dialogue.take_output()
        dialogue.content(b"a\r\n")
        dialogue.receive(said)
        assert results(message) == [(DEFERRED, Stage.CONTENT, int(said[:3]))]
        assert dialogue.failure is not None
        assert dialogue.failure.cause is Cause.PROTOCOL
        assert dialogue.failure.temporary


def test_a_reply_more_than_there_were_commands_ends_the_session() -> None:
    """It is found at once, before it could be taken for the next one's."""
    message = to()
    owner = talk(
        GROUPS
        + MAIL
        + RCPT
        + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 taken\nS: 250 taken\n",
        message,
        to(CARL),
        cut=False,
    )
    assert owner.dialogue.failure is not None
    assert owner.dialogue.failure.stage is Stage.IDLE
    assert message.destinations[0].outcome is DELIVERED
