"""
Every state, every move: the table is what decides, and each of its entries shows in a dialogue.

A fixed corpus of dialogues leads into each state, makes each move that is legal there, and then
asks by every verb where it has led.  Whatever entry is changed, one of them goes otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from smtpcb.engine._commands import COMMANDS
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._plain import Driver
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import RESTRICTED, TRANSITIONS, WANTS, WHY, State, Step, Wants
from smtpcb.smtp._command import Verb
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._reply import Reply

from .scripts import Noting, Server

STRONG = TlsInformation("TLSv1.3", "any", 256)
WEAK = TlsInformation("TLSv1.2", "any", 56)

# What a step of a dialogue is, beside octets.
GREET, SECURE, SECURE_WEAKLY, WAIT = "greet", "secure", "secure weakly", "wait for too long"
# Ahead of all steps, where it is LMTP that is spoken.
LMTP = "LMTP"
Dialogue = tuple[bytes | str, ...]

TO_READY: Dialogue = (GREET, b"EHLO me\r\n")
TO_REVERSE_PATH = (*TO_READY, b"MAIL FROM:<>\r\n")
TO_FORWARD_PATH = (*TO_REVERSE_PATH, b"RCPT TO:<a@b>\r\n")
LEADS_TO: Mapping[State, Dialogue] = {
    State.ARRIVED: (),
    State.CONNECTED: (GREET,),
    State.READY: TO_READY,
    State.REVERSE_PATH: TO_REVERSE_PATH,
    State.FORWARD_PATH: TO_FORWARD_PATH,
    State.CHUNKS: (*TO_FORWARD_PATH, b"BDAT 2\r\nhi"),
    State.CHUNKS_FAILED: (*TO_FORWARD_PATH, b"BDAT 2 FOO\r\nhi"),
    State.MAIL_DATA: (*TO_FORWARD_PATH, b"DATA\r\n"),
    State.RESPONSE: (*TO_READY, b"AUTH LOGIN\r\n"),
    State.HANDSHAKE: (*TO_READY, b"STARTTLS\r\n"),
    State.INSECURE: (*TO_READY, b"STARTTLS\r\n", SECURE_WEAKLY),
    State.OVER: (*TO_READY, b"QUIT\r\n"),
}
SAID: Mapping[Verb, bytes] = {
    Verb.HELO: b"HELO me\r\n",
    Verb.EHLO: b"EHLO me\r\n",
    Verb.LHLO: b"LHLO me\r\n",
    Verb.MAIL: b"MAIL FROM:<>\r\n",
    Verb.RCPT: b"RCPT TO:<a@b>\r\n",
    Verb.DATA: b"DATA\r\n",
    Verb.QUIT: b"QUIT\r\n",
    Verb.RSET: b"RSET\r\n",
    Verb.NOOP: b"NOOP\r\n",
    Verb.HELP: b"HELP\r\n",
    Verb.VRFY: b"VRFY anne\r\n",
    Verb.AUTH: b"AUTH PLAIN AGEAYg==\r\n",
    Verb.STARTTLS: b"STARTTLS\r\n",
    Verb.BDAT: b"BDAT 2\r\nhi",
    Verb.EXPN: b"EXPN list\r\n",
    Verb.ETRN: b"ETRN example.org\r\n",
    Verb.XCLIENT: b"XCLIENT ADDR=192.0.2.7\r\n",
    Verb.XFORWARD: b"XFORWARD NAME=client.example\r\n",
    Verb.UNKNOWN: b"XPING\r\n",
}
HAPPENS: Mapping[tuple[State, Step], bytes | str] = {
    (State.ARRIVED, Step.GREETED): GREET,
    (State.READY, Step.CHALLENGED): b"AUTH LOGIN\r\n",
    # A BDAT line that is too long.
    (State.FORWARD_PATH, Step.CHUNK_REFUSED): b"BDAT 0 " + b"x" * 3000 + b"\r\n",
    (State.CHUNKS, Step.CHUNK_REFUSED): b"BDAT 0 " + b"x" * 3000 + b"\r\n",
    (State.CHUNKS_FAILED, Step.DISCARDED): b"BDAT 0 LAST\r\n",
    (State.MAIL_DATA, Step.MESSAGE_ENDED): b".\r\n",
    (State.RESPONSE, Step.RESPONDED): b"*\r\n",
    (State.HANDSHAKE, Step.SECURED): SECURE,
    (State.HANDSHAKE, Step.TOO_WEAK): SECURE_WEAKLY,
}
# Those that begin elsewhere.
LEADS_ELSEWHERE: Mapping[tuple[State, Step], Dialogue] = {
    (State.MAIL_DATA, Step.CHUNK_TAKEN): LEADS_TO[State.CHUNKS],
    (State.MAIL_DATA, Step.CHUNK_REFUSED): LEADS_TO[State.CHUNKS_FAILED],
}
# Each protocol's own words for hello; it takes no other's.
HELLOS = {False: {Verb.EHLO, Verb.HELO}, True: {Verb.LHLO}}
PROBES: tuple[bytes | str, ...] = (*SAID.values(), b"*\r\n", b"BDAT 0 LAST\r\n", WAIT)

Entry = tuple[State, Verb | Step]
ENTRIES: list[Entry] = [(state, key) for state, row in TRANSITIONS.items() for key in row]
BECAUSE = [(state, verb) for state, row in WHY.items() for verb in row]


def name_of(value: Any) -> str | None:
    """Name states and keys in the names of tests."""
    return getattr(value, "name", None)


def dialogue_of(entry: Entry) -> Dialogue:
    """Return what makes a move."""
    state, key = entry
    if key is Verb.LHLO:
        return (LMTP, *in_lmtp(LEADS_TO[state]), SAID[key])
    if isinstance(key, Verb):
        return (*LEADS_TO[state], SAID[key])
    if key is Step.ENDED:
        return (*LEADS_TO[state], WAIT)
    return LEADS_ELSEWHERE.get((state, key)) or (*LEADS_TO[state], HAPPENS[state, key])


def in_lmtp(dialogue: Dialogue) -> Dialogue:
    """Return the same dialogue as it is held in LMTP."""
    return tuple(SAID[Verb.LHLO] if step == SAID[Verb.EHLO] else step for step in dialogue)


class Everybody:
    """Says yes to all, but to a weak handshake."""

    answer = True

    def __init__(self) -> None:
        self.ended: object = None

    def reply(self, *arguments: object) -> bool:
        """Answer anything."""
        return self.answer

    authenticate = hello = mail = rcpt = data = message = expand = etrn = verify = help = reply

    def secured(self, tls: TlsInformation, connection: object) -> object:
        """Look at the key."""
        return tls.cipher_bits >= 128 or (554, "Too weak")

    def disconnected(self, reason: object, connection: object) -> None:
        """Note why."""
        self.ended = reason


def settings(**changes: Any) -> Settings:
    """Return settings with a verb of our own, that trust the peer with all there is."""
    ping = Extension("XPING", verbs={"XPING": lambda argument, connection: (250, "pong")})
    trust = {"xclient_from": ("unix",), "xforward_from": ("unix",)}
    return Settings(allow_insecure_auth=True, extensions=(ping,), **trust, **changes)


SETTINGS = settings()
LMTP_SETTINGS = settings(lmtp=True)


def hold(dialogue: Dialogue, settings: Settings = SETTINGS) -> list[object]:
    """Hold a dialogue; return all there is to see of it, a fault of ours included."""
    if dialogue[:1] == (LMTP,):
        settings, dialogue = LMTP_SETTINGS, dialogue[1:]
    handler, observer = Everybody(), Noting()
    driver = Driver(handler, settings, Connection("x"), tls=True, observer=observer)
    seen: list[object] = []
    try:
        for step in dialogue:
            seen += [take(driver, step), driver.finished, driver.handshaking]
        driver.disconnect()
    except Exception as error:
        seen.append(type(error))
    decisions = [(name, reply.wire) for name, reply in observer.decisions]
    return [*seen, decisions, observer.ends, handler.ended]


def take(driver: Driver, step: bytes | str) -> bytes:
    """Do one step."""
    if isinstance(step, bytes):
        return driver.receive(step)
    if step == GREET:
        return driver.start()
    if step == WAIT:
        return driver.time_out()
    return driver.secure(STRONG if step == SECURE else WEAK)


def corpus(entry: Entry) -> list[Dialogue]:
    """Return the dialogues that make a move and ask where it has led."""
    # A client may speak before it is greeted; it is not listened to yet.
    early = [(SAID[Verb.NOOP], GREET)] if entry[0] is State.ARRIVED else []
    return [*early, *((*dialogue_of(entry), probe) for probe in PROBES)]


@cache
def as_it_is(dialogue: Dialogue) -> list[object]:
    """Hold a dialogue with the table as it is; called before anything is changed."""
    return hold(dialogue)


def shows(first: Entry) -> bool:
    """Whether some dialogue goes otherwise; those that make this move are tried first."""
    for entry in [first, *ENTRIES]:
        for dialogue in corpus(entry):
            if hold(dialogue) != as_it_is(dialogue):
                return True
    return False


@pytest.fixture(scope="module", autouse=True)
def held_before() -> None:
    """Hold the whole corpus once, before any change."""
    for entry in ENTRIES:
        for dialogue in corpus(entry):
            as_it_is(dialogue)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry[0].name}-{entry[1].name}")
def test_wherever_else_a_move_led_a_dialogue_would_show_it(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No target in the table is decoration: with any other one some client is told otherwise."""
    state, key = entry
    row: Any = TRANSITIONS[state]
    target = row[key]
    for other in State:
        if other is not target:
            monkeypatch.setitem(row, key, other)
            assert shows(entry), f"{key} may lead to {other}"
    monkeypatch.delitem(row, key)
    assert shows(entry), f"{key} need not be there"


@pytest.mark.parametrize("state", State, ids=name_of)
def test_whatever_else_was_wanted_a_dialogue_would_show_it(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may come in a state is what its column says."""
    wants: Any = WANTS
    wanted = WANTS[state]
    for other in Wants:
        if other is not wanted:
            monkeypatch.setitem(wants, state, other)
            assert shows((state, Step.ENDED)), other


@pytest.mark.parametrize(("state", "verb"), BECAUSE, ids=name_of)
def test_whatever_else_was_the_reason_a_dialogue_would_show_it(
    state: State, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that may not come is told just what the table says."""
    row: Any = WHY[state]
    dialogue = (*LEADS_TO[state], SAID[verb])
    before = hold(dialogue)
    monkeypatch.setitem(row, verb, Reply(503, "For no reason"))
    assert hold(dialogue) != before


@pytest.mark.parametrize("verb", SAID, ids=name_of)
@pytest.mark.parametrize("state", [State.CONNECTED, State.READY, State.INSECURE], ids=name_of)
def test_what_is_legal_before_tls_or_a_login_is_what_the_table_says(
    state: State, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a policy wants something first, each verb that is taken before it has its entry."""
    restricted: Any = RESTRICTED
    policy = settings(require_auth=True)
    dialogue = (*LEADS_TO[state], SAID[verb], b"NOOP\r\n")
    before = hold(dialogue, policy)
    monkeypatch.setitem(restricted, state, RESTRICTED[state] ^ {verb})
    assert hold(dialogue, policy) != before


def server_in(state: State, handler: Everybody, *, lmtp: bool) -> Server:
    """Lead a new dialogue into a state."""
    server = Server(handler, LMTP_SETTINGS if lmtp else SETTINGS, greet=False)
    for step in in_lmtp(LEADS_TO[state]) if lmtp else LEADS_TO[state]:
        take(server.driver, step)
    assert server.dialogue.state is state
    return server


SPEAKING = [state for state in State if WANTS[state] is Wants.LINE and state is not State.RESPONSE]


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
@pytest.mark.parametrize("verb", SAID, ids=name_of)
@pytest.mark.parametrize("state", SPEAKING, ids=name_of)
def test_every_command_in_every_state(state: State, verb: Verb, lmtp: bool) -> None:
    """A verb missing from a row is refused; a positive reply leads where the row says (§4.1.4)."""
    server = server_in(state, Everybody(), lmtp=lmtp)
    dialogue = server.dialogue
    (code,) = server.send(SAID[verb])
    allowed = verb in TRANSITIONS[state]
    if allowed and verb in HELLOS[not lmtp]:
        allowed = False
        assert code == "500"
    elif allowed:
        assert code[0] in "23"
    else:
        # Why it was too weak, or why the first chunk failed, is said again.
        again = {State.INSECURE: "554"}
        if verb is Verb.BDAT:
            again[State.CHUNKS_FAILED] = "501"
        assert code == again.get(state, "503")
    target = TRANSITIONS[state][verb] if allowed else state
    if verb is Verb.BDAT and allowed:
        target = TRANSITIONS[target][Step.CHUNK_TAKEN]
    assert dialogue.state is target
    assert server.driver.finished is (verb is Verb.QUIT)


NOBODY_IS_ASKED = (
    *(Verb.RSET, Verb.QUIT, Verb.STARTTLS, Verb.BDAT),
    *(Verb.XCLIENT, Verb.XFORWARD),
)


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
@pytest.mark.parametrize("verb", SAID, ids=name_of)
@pytest.mark.parametrize("state", SPEAKING, ids=name_of)
def test_a_refusal_never_moves_the_state(state: State, verb: Verb, lmtp: bool) -> None:
    """Whatever a handler refuses has not happened (§4.1.4)."""
    handler = Everybody()
    server = server_in(state, handler, lmtp=lmtp)
    handler.answer = False
    dialogue = server.dialogue
    envelope = dialogue.envelope
    server.send(SAID[verb])
    if state is State.FORWARD_PATH and verb is Verb.BDAT:
        # The octets were on their way already, and so may be more (RFC 3030 §4.2).
        assert dialogue.state is State.CHUNKS_FAILED
    elif verb in NOBODY_IS_ASKED:
        assert server.codes[-1][0] in "23" or dialogue.state is state
    else:
        assert (dialogue.state, dialogue.envelope) == (state, envelope)


def test_every_command_has_its_rows() -> None:
    """What can be said stands in the table, and what is in the table can be said."""
    verbs = {verb for row in TRANSITIONS.values() for verb in row if isinstance(verb, Verb)}
    assert verbs == set(SAID)
    assert {row.verb for row in COMMANDS.values()} == verbs - {Verb.UNKNOWN}
    assert set(TRANSITIONS) == set(State) == set(WANTS)
    assert {key for row in TRANSITIONS.values() for key in row if isinstance(key, Step)} == set(
        Step
    )
    assert all(name.decode() == row.verb.name for name, row in COMMANDS.items())
    # A command that may come needs no reason why not; one that may not has one wherever it is read.
    for state in SPEAKING:
        legal = {key for key in TRANSITIONS[state] if isinstance(key, Verb)}
        assert not legal & set(WHY.get(state, ()))
        if state is not State.INSECURE:
            also = {Verb.BDAT} if state is State.CHUNKS_FAILED else set()
            assert legal | set(WHY[state]) | also == set(Verb)
