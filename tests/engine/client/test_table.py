"""
Every state, every move: the table is what decides, and each of its entries shows in a session.

A fixed corpus of sessions makes each move that there is.  Whatever entry is changed, one of them
goes otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from smtpcb.engine import (
    CLIENT_TRANSITIONS,
    ClientState,
    ClientStep,
    ClientWants,
    Stage,
    Transaction,
)
from smtpcb.engine._client import _dialogue
from smtpcb.engine._client._table import CLIENT_WANTS, STAGES
from smtpcb.smtp import Command, Credentials, LocalProtocolError, Verb
from smtpcb.testing._play import TLS

from .talk import BOB, CARL, PLAIN, Owner, to

SECURE = replace(PLAIN, starttls="required")
LOGIN = replace(PLAIN, login="optional", allow_insecure_auth=True, next_mechanism=True)
CHUNKS = replace(PLAIN, chunk_octets=3)

OPEN = ["220 m", "250 m"]
GROUPS = ["220 m", "250-m\r\n250 PIPELINING"]
CHUNKED = ["220 m", "250-m\r\n250-PIPELINING\r\n250 CHUNKING"]
PACED = ["220 m", "250-m\r\n250 CHUNKING"]
TLS_OFFERED = ["220 m", "250-m\r\n250 STARTTLS"]
LOGINS = ["220 m", "250-m\r\n250 AUTH PLAIN LOGIN"]
BYE = ["221 bye"]
# A step that is no reply.
LOST = ""

SESSIONS: list[tuple[Any, list[Any], list[str]]] = [
    (PLAIN, [], [*OPEN, *BYE]),
    (PLAIN, [], [LOST]),
    (PLAIN, [], ["220 m", LOST]),
    (PLAIN, [], ["554 no", *BYE]),
    (PLAIN, [], ["220 m", "550 no", *BYE]),
    (PLAIN, [], [*OPEN, LOST]),
    (PLAIN, [Command(Verb.NOOP)], [*OPEN, "250 ok", *BYE]),
    (PLAIN, [Command(Verb.NOOP)], [*OPEN, LOST]),
    (SECURE, [], [*TLS_OFFERED, "220 go", "250 m", *BYE]),
    (SECURE, [], [*TLS_OFFERED, "454 no", *BYE]),
    (SECURE, [], [*TLS_OFFERED, LOST]),
    (SECURE, ["no handshake"], [*TLS_OFFERED, "220 go"]),
    (LOGIN, [], [*LOGINS, "235 ok", *BYE]),
    (LOGIN, [], [*LOGINS, "535 no", "334 ", "334 ", "235 ok", *BYE]),
    (LOGIN, [], [*LOGINS, LOST]),
    (LOGIN, ["no credentials"], [*LOGINS, *BYE]),
    (replace(LOGIN, login="required"), [], [*LOGINS, "454 no", "535 no", *BYE]),
    (replace(LOGIN, login="required"), ["no credentials"], [*LOGINS, *BYE]),
    (PLAIN, [to, to], [*OPEN, "250", "250", "354", "250", "250", "550", "250", "250", *BYE]),
    (PLAIN, [to], [*OPEN, "250", "250", "354", LOST]),
    (PLAIN, [to], [*OPEN, "250", "250", LOST]),
    (PLAIN, [to], [*GROUPS, "250\r\n250\r\n354", "250", *BYE]),
    (PLAIN, ["open"], [*GROUPS, "250\r\n250", "354", "250", *BYE]),
    (PLAIN, ["open"], [*GROUPS, "550\r\n503", *BYE]),
    (PLAIN, ["stays open"], [*GROUPS, LOST]),
    (PLAIN, [to], [*GROUPS, "250\r\n550\r\n354", "250", *BYE]),
    (PLAIN, [to], [*GROUPS, "250\r\n550\r\n354", LOST]),
    (PLAIN, ["source fails", to], [*GROUPS, "250\r\n250\r\n354", "250"]),
    (CHUNKS, [to, to], [*CHUNKED, "250\r\n250", "250", "250", *BYE]),
    (CHUNKS, [to], [*CHUNKED, "250\r\n250", "452", "503", *BYE]),
    (CHUNKS, [to], [*CHUNKED, "250\r\n550\r\n503", *BYE]),
    (CHUNKS, [to], [*CHUNKED, LOST]),
    (CHUNKS, ["slowly", to], [*CHUNKED, "250\r\n250", "250", "452", "503", *BYE]),
    (CHUNKS, ["later", to], [*CHUNKED, "250\r\n250", "250", "250", *BYE]),
    (CHUNKS, ["never", to], [*CHUNKED, LOST]),
    (PLAIN, ["idle"], [*OPEN, LOST]),
    (LOGIN, ["idle"], [*LOGINS, LOST]),
    (CHUNKS, ["never", to], [*CHUNKED, "250\r\n550", *BYE]),
    (CHUNKS, ["never", to], [*CHUNKED, "250\r\n250", "250", LOST]),
    (CHUNKS, ["one", to], [*CHUNKED, "250\r\n250\r\n250", LOST]),
    (CHUNKS, ["one", to], [*CHUNKED, "250\r\n250\r\n452", *BYE]),
    (PLAIN, [to], [*CHUNKED, "250\r\n250\r\n250", *BYE]),
    (PLAIN, [to], [*CHUNKED, "250\r\n250", LOST]),
    (CHUNKS, [to], [*PACED, "250", "250", "250", "250", "250", *BYE]),
    (CHUNKS, [to], [*PACED, "250", "250", "250", "451", *BYE]),
    (CHUNKS, [to], [*PACED, "250", "250", "451", *BYE]),
    (CHUNKS, [to], [*PACED, "250", "250", LOST]),
]


def held(settings: Any, work: list[Any], replies: list[str]) -> list[object]:
    """Hold a session; return what shows of it after each reply."""
    pace = next((one for one in work if isinstance(one, str)), "")
    shown: list[object] = []
    messages = [one(BOB) if one is to else one for one in work if not isinstance(one, str)]
    if "open" in pace:
        messages = [lambda dialogue: dialogue.open(Transaction("", []))]

    def anne(mechanism: str) -> Credentials | None:
        return None if pace == "no credentials" else Credentials(mechanism, "anne", "secret")

    owner = Owner(
        messages,
        settings,
        content=None
        if pace == "source fails"
        else b"abcdefg\r\n"
        if pace == "slowly"
        else b"abc\r\n",
        piece_octets=3,
        credentials=anne,
        handshake=None if pace == "no handshake" else TLS,
        later=[BOB],
    )
    dialogue = owner.dialogue
    try:
        for at, reply in enumerate(replies):
            dialogue.receive(reply.encode() + b"\r\n") if reply else dialogue.lost()
            for _ in range(20):
                wants = dialogue.wants
                shown.append((wants, dialogue.stage))
                if wants in WAITS or waits(pace, wants, at, owner._given):
                    break
                owner._do(wants)
                shown.append(dialogue.take_output())
            shown.append(dialogue.take_output())
        shown.append(str(dialogue.failure))
    except (LocalProtocolError, AssertionError, AttributeError, StopIteration, ValueError) as error:
        shown.append(type(error))
    shown += [repr(destination) for one in messages if hasattr(one, "destinations")
              for destination in one.destinations]  # fmt: skip
    return shown


WAITS = (ClientWants.REPLY, ClientWants.NOTHING)


def waits(pace: str, wants: ClientWants, at: int, given: int) -> bool:
    """Return whether the owner does nothing yet, at that reply and with so much content given."""
    if wants is not ClientWants.CONTENT:
        return pace == "idle" or (pace == "stays open" and wants is ClientWants.RECIPIENTS)
    return {
        "never": True,
        "later": at < 2,
        "one": given >= 3,
        "slowly": given >= (3 if at < 2 else 9),
    }.get(pace, False)


def corpus() -> list[list[object]]:
    """Hold them all."""
    return [held(*session) for session in SESSIONS]


def entries() -> Iterable[tuple[ClientState, ClientStep]]:
    """Return every move of the table."""
    return [(state, step) for state, moves in CLIENT_TRANSITIONS.items() for step in moves]


def test_each_entry_of_the_table_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever other state it led to, some session would go otherwise."""
    right = corpus()
    survived = []
    for state, step in entries():
        for wrong in ClientState:
            if wrong is CLIENT_TRANSITIONS[state][step]:
                continue
            table: Mapping[Any, Any] = {
                **CLIENT_TRANSITIONS,
                state: {**CLIENT_TRANSITIONS[state], step: wrong},
            }
            monkeypatch.setattr(_dialogue, "CLIENT_TRANSITIONS", table)
            if corpus() == right:
                survived.append((state.name, step.name, wrong.name))
    assert survived == []


def test_each_column_is_complete() -> None:
    """Every state wants something, and is about something; but an envelope's stage varies."""
    assert set(CLIENT_TRANSITIONS) == set(CLIENT_WANTS) == set(ClientState)
    assert set(ClientState) - set(STAGES) == {
        *(ClientState.OPEN, ClientState.AHEAD, ClientState.ENVELOPE)
    }
    assert {Stage.MAIL, Stage.RCPT, Stage.DATA}.isdisjoint(STAGES.values())
    for state, moves in CLIENT_TRANSITIONS.items():
        assert moves.get(ClientStep.ENDED) is (ClientState.OVER if moves else None), state


def test_a_step_that_leads_nowhere_is_a_mistake() -> None:
    """And moves nothing."""
    dialogue = Owner([to(CARL)]).dialogue
    with pytest.raises(LocalProtocolError, match="the handshake succeeded: not while"):
        dialogue.move(ClientStep.SECURED)
    assert dialogue.state is ClientState.ARRIVING
