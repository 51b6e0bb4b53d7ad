"""AUTH: challenges and responses until it is known who wants to log in (RFC 4954 §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpcb.engine import _questions as questions
from smtpcb.engine import _replies as replies
from smtpcb.engine._table import State, Step
from smtpcb.smtp import sasl
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Challenge, Credentials, Decide, ServerExchange

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


@dataclass(slots=True, eq=False)
class Login:
    """
    Somebody who wants to log in, and the exchange that may have a last word.

    :ivar credentials: what the mechanism has gathered; ``None`` until it asks for the verdict.
    :ivar identity: who that is, once the verdict was yes; nobody is logged in before the exchange
        has come to its end.
    :ivar yes: what the client will hear then.
    """

    exchange: ServerExchange
    credentials: Credentials | None = None
    identity: object | None = None
    yes: Reply | None = None

    def go_on_after_yes(self, dialogue: ServerDialogue, reply: Reply) -> None:
        """Give the mechanism the word once more, as SCRAM needs it; most are at their end."""
        connection = dialogue.connection
        self.yes = reply
        self.identity, connection.identity = connection.identity, None
        if self.identity is None and self.credentials is not None:
            self.identity = self.credentials.username
        _go_on(dialogue, self, None)


def auth(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """
    AUTH: begin an exchange.

    :raises PeerProtocolError: what came with it cannot be read.
    """
    connection, offer = dialogue.connection, dialogue.offer
    connection.budget.logins += 1
    if connection.identity is not None:
        return replies.AUTH_ALREADY
    if not offer.abilities.authentication:
        return replies.AUTH_UNAVAILABLE
    if not connection.budget.circumstances.may_log_in(connection.peer_address):
        return replies.AUTH_LATER
    command = sasl.read_auth(argument)
    mechanism = sasl.MECHANISMS.get(command.mechanism)
    if mechanism is None:
        return replies.AUTH_MECHANISM_UNKNOWN
    if mechanism.name not in offer.mechanisms:
        return replies.AUTH_NEEDS_TLS
    _go_on(dialogue, Login(mechanism.server(command.initial_response())), None)
    return None


def respond(dialogue: ServerDialogue, line: bytes) -> Reply | None:
    """Take a response line."""
    login = dialogue.login
    assert login is not None
    give_up(dialogue)
    if line.rstrip(b" \t") == b"*":
        return replies.AUTH_CANCELLED
    if len(line) + 2 > dialogue.offer.settings.limits.auth_octets:
        return replies.AUTH_TOO_LONG
    try:
        _go_on(dialogue, login, sasl.decode(line))
    except PeerProtocolError as error:
        return error.reply
    return None


def give_up(dialogue: ServerDialogue) -> None:
    """Leave the exchange under way, if one is."""
    if dialogue.state is State.RESPONSE:
        dialogue.login = None
        dialogue.move(Step.RESPONDED)


def _go_on(dialogue: ServerDialogue, login: Login, response: bytes | None) -> None:
    """
    Give an exchange what it waits for, and do what it wants next.

    :raises PeerProtocolError: the response is wrong.
    :raises LocalProtocolError: the mechanism is.
    """
    try:
        request = login.exchange.send(response)
    except StopIteration:
        _complete(dialogue, login)
        return
    if isinstance(request, Challenge):
        dialogue.login = login
        dialogue.move(Step.CHALLENGED)
        dialogue.out.append(sasl.challenge_line(request.octets))
    elif isinstance(request, Decide) and login.credentials is None:
        login.credentials = request.credentials
        dialogue.ask(questions.AUTHENTICATE, login, request.credentials, dialogue.connection)
    else:
        raise LocalProtocolError(f"a mechanism wants {type(request).__name__}, which nobody has")


def _complete(dialogue: ServerDialogue, login: Login) -> None:
    if login.yes is None:
        raise LocalProtocolError("a mechanism came to its end without a verdict")
    dialogue.connection.identity = login.identity
    dialogue.connection.budget.authenticated += 1
    dialogue.look_round()
    dialogue.move(Verb.AUTH)
    dialogue.send(login.yes)
