"""A server that means no good, or is broken: an error with its stage, and bounded memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpcb.engine import (
    Cause,
    ClientObserver,
    ClientSettings,
    ClientState,
    ClientWants,
    Outcome,
    Stage,
    Transaction,
)
from smtpcb.smtp import Credentials, Reply
from smtpcb.smtp._reply_reader import MOST_LINE_OCTETS, MOST_OCTETS

from .talk import BOB, CARL, GREETING, PLAIN, STEPS, Owner, talk, to

SETTINGS = [
    PLAIN,
    replace(PLAIN, lmtp=True),
    replace(PLAIN, login="optional", allow_insecure_auth=True, next_mechanism=True),
    replace(PLAIN, chunk_octets=2),
    ClientSettings(starttls="opportunistic", login="required"),
]
EHLO = (
    "250-m\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n"
    "250-AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\r\n250-LIMITS RCPTMAX=1\r\n250 SIZE\r\n"
)
SAID = st.sampled_from(
    [
        *("220 m\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "235 ok\r\n", "334 \r\n"),
        *("334 YQ==\r\n", "421 bye\r\n", "450 no\r\n", "550 5.1.1 no\r\n", "503 no\r\n", EHLO),
        *("250-m\r\n250 CHUNKING\r\n", "250-m\r\n250 PIPELINING\r\n", "250-", "\r\n", "\n", "2"),
        *("x\r\n", "250 a\0b\r\n", "250-a\r\n251 b\r\n", "221 bye\r\n", "220 go\r\n250 in\r\n"),
    ]
).map(str.encode)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SETTINGS),
    st.lists(st.one_of(SAID, SAID, SAID, st.binary(max_size=20)), max_size=25),
    st.booleans(),
    st.sampled_from(["lost", "time_out", "abandon"]),
)
def test_whatever_a_server_says_there_is_a_result(
    how: ClientSettings, said: list[bytes], greets: bool, end: str
) -> None:
    """Nothing raises, no success is made up, and everything comes to an end (P52, P53, P59)."""
    accepted: list[int] = []

    class Notes(ClientObserver):
        def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
            if stage is Stage.FINAL and reply.code < 300:
                accepted.append(reply.code)

    messages = [to(BOB, CARL), to(CARL)]
    owner = Owner(
        messages,
        how,
        piece_octets=9,
        credentials=lambda mechanism: Credentials(mechanism, "anne", "secret"),
        observer=Notes(),
    )
    dialogue = owner.dialogue
    for octets in [b"220 m\r\n", EHLO.encode(), *said] if greets else said:
        dialogue.receive(octets)
        out = owner.go_on()
        assert out == b"" or out.endswith(b"\r\n") or b"BDAT" in out
    getattr(dialogue, end)()
    assert dialogue.state is ClientState.OVER
    assert dialogue.wants is ClientWants.NOTHING
    assert dialogue.take_output() == b""
    outcomes = [one.outcome for message in messages for one in message.destinations]
    assert outcomes.count(Outcome.DELIVERED) <= len(accepted) * (1 if how.lmtp else 2)
    if dialogue.failure is not None:
        assert isinstance(dialogue.failure.stage, Stage)
        assert str(dialogue.failure).startswith(dialogue.failure.stage.value)


ENDLESS: list[tuple[str, bytes]] = [
    ("a line without an end", b"250 " + b"x" * 1000),
    ("a reply without an end", b"250-x\r\n" * 150),
    ("a reply of long lines without an end", (b"250-" + b"x" * 1000 + b"\r\n") * 20),
    ("nothing but digits", b"2" * 1000),
    ("nothing but line ends", b"\r\n" * 500),
    ("replies without an end", b"250 ok\r\n" * 200),
]


@pytest.mark.parametrize(("name", "octets"), ENDLESS)
@pytest.mark.parametrize(
    ("start", "stage"),
    [("", Stage.GREETING), (GREETING, Stage.HELLO), (STEPS + "C: MAIL FROM:<>\n", Stage.MAIL)],
)
def test_what_has_no_end_is_ended(name: str, octets: bytes, start: str, stage: Stage) -> None:
    """Before it fills the memory, whatever it is (P53)."""
    work: list[Any] = [] if stage is not Stage.MAIL else [Transaction("", [BOB])]
    dialogue = talk(start, *work, cut=False).dialogue
    for _ in range(100):
        dialogue.receive(octets)
        dialogue.take_output()
        assert len(dialogue.reader._octets) <= MOST_OCTETS
        assert sum(map(len, dialogue.reader._lines)) <= MOST_OCTETS + MOST_LINE_OCTETS
    assert dialogue.wants is ClientWants.NOTHING
    assert dialogue.failure is not None
    assert dialogue.failure.cause is Cause.PROTOCOL
    assert dialogue.failure.temporary
    if name != "replies without an end":
        assert dialogue.failure.stage is stage


def test_a_trickle_is_no_reply() -> None:
    """Octet by octet, what is not at its end is waited for, and a time limit is the owner's."""
    dialogue = talk(GREETING, cut=False).dialogue
    for octet in b"250-mail.example.org\r\n250 SIZE":
        dialogue.receive(bytes([octet]))
        assert dialogue.wants is ClientWants.REPLY
        assert dialogue.take_output() == b""
    dialogue.time_out()
    assert dialogue.failure is not None
    assert (dialogue.failure.stage, dialogue.failure.cause) == (Stage.HELLO, Cause.TIMEOUT)


@pytest.mark.parametrize("early", ["250 mail.example.org\n", "250 a\nS: 250 b\n"])
def test_replies_before_there_was_a_command_end_it(early: str) -> None:
    """In the same octets as the greeting nothing can be an answer (P53)."""
    failure = talk("S: 220 mail\nS: " + early, cut=False).dialogue.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == (Stage.HELLO, Cause.PROTOCOL)
