"""Every command in every state, against the table."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._plain import Driver
from smtpcb.engine._server import COMMANDS, ServerDialogue
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.engine._table import TRANSITIONS, State
from smtpcb.smtp._command import Verb

LEADS_TO: Mapping[State, bytes] = {
    State.CONNECTED: b"",
    State.READY: b"EHLO me\r\n",
    State.REVERSE_PATH: b"EHLO me\r\nMAIL FROM:<>\r\n",
    State.FORWARD_PATH: b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n",
    State.CHUNKS: b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 2\r\nhi",
}
# How each command is said right, and in some cases what follows until it has had its effect.
SAID: Mapping[Verb, bytes] = {
    Verb.HELO: b"HELO me\r\n",
    Verb.EHLO: b"EHLO me\r\n",
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
}


class Everybody:
    """Says yes to all."""

    answer = True

    def reply(self, *arguments: object) -> bool:
        """Answer anything."""
        return self.answer

    authenticate = hello = mail = rcpt = data = expand = turn = verify = help = reply


def driver_in(state: State, handler: Everybody) -> Driver:
    """Lead a new dialogue into a state."""
    dialogue = ServerDialogue(
        Connection("x"),
        Settings(allow_insecure_auth=True),
        Abilities(tls=True, authentication=True, expand=True, turn=True),
    )
    driver = Driver(dialogue, handler)
    driver.start()
    driver.receive(LEADS_TO[state])
    assert dialogue.state is state
    return driver


@pytest.mark.parametrize("verb", SAID)
@pytest.mark.parametrize("state", State)
def test_every_command_in_every_state(state: State, verb: Verb) -> None:
    """A verb missing from a row is 503; a positive reply leads where the row says (§4.1.4)."""
    driver = driver_in(state, Everybody())
    dialogue = driver._dialogue
    said = driver.receive(SAID[verb])
    allowed = verb in TRANSITIONS[state]
    assert said.startswith(b"503") is not allowed
    if verb is Verb.STARTTLS and allowed:
        driver.secure(TlsInformation("TLSv1.3", "any", 256))
    elif verb is Verb.DATA and allowed:
        assert said.startswith(b"354")
        driver.receive(b".\r\n")
    assert dialogue.state is (TRANSITIONS[state][verb] if allowed else state)
    assert driver.finished is (verb is Verb.QUIT)


@pytest.mark.parametrize("verb", SAID)
@pytest.mark.parametrize("state", State)
def test_a_refusal_never_moves_the_state(state: State, verb: Verb) -> None:
    """Whatever a handler refuses has not happened (§4.1.4)."""
    handler = Everybody()
    driver = driver_in(state, handler)
    dialogue = driver._dialogue
    handler.answer = False
    envelope = dialogue.envelope
    driver.receive(SAID[verb])
    if state is State.FORWARD_PATH and verb is Verb.BDAT:
        # The octets were on their way already, and so may be more (RFC 3030 §4.2).
        assert dialogue.state is State.CHUNKS
    elif verb is Verb.RSET:
        assert dialogue.state is TRANSITIONS[state][verb]
    elif verb is not Verb.QUIT:
        assert (dialogue.state, dialogue.envelope) == (state, envelope)


def test_every_command_has_its_rows() -> None:
    """What can be said stands in the table, and what is in the table can be said."""
    assert {row.verb for row in COMMANDS.values()} == set(SAID)
    assert {verb for row in TRANSITIONS.values() for verb in row} == set(SAID)
    assert set(TRANSITIONS) == set(State)
    assert all(name.decode() == row.verb.name for name, row in COMMANDS.items())
