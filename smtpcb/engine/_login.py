"""AUTH: challenges and responses until it is known who wants to log in (RFC 4954 §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpcb.engine import _questions as questions
from smtpcb.engine import _replies as replies
from smtpcb.engine._table import State, Step
from smtpcb.smtp import sasl
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Challenge, Credentials, Decide, Request, ServerExchange

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


@dataclass(frozen=True, slots=True)
class Login:
    """
    Somebody who wants to log in, and the exchange that may have a last word.

    :ivar credentials: what the mechanism has gathered.
    """

    credentials: Credentials
    exchange: ServerExchange


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
    command = sasl.read_auth(argument)
    mechanism = sasl.MECHANISMS.get(command.mechanism)
    if mechanism is None:
        return replies.AUTH_MECHANISM_UNKNOWN
    if mechanism.name not in offer.mechanisms:
        return replies.AUTH_NEEDS_TLS
    exchange = mechanism.server(command.initial_response())
    return _go_on(dialogue, exchange, next(exchange))


def respond(dialogue: ServerDialogue, line: bytes) -> Reply | None:
    """Take a response line."""
    exchange = dialogue.login
    assert exchange is not None
    give_up(dialogue)
    if line == b"*":
        return replies.AUTH_CANCELLED
    if len(line) + 2 > dialogue.offer.settings.limits.auth_octets:
        return replies.AUTH_TOO_LONG
    try:
        return _advance(dialogue, exchange, sasl.decode(line))
    except PeerProtocolError as error:
        return error.reply


def give_up(dialogue: ServerDialogue) -> None:
    """Leave the exchange under way, if one is."""
    if dialogue.state is State.RESPONSE:
        dialogue.login = None
        dialogue.move(Step.RESPONDED)


def _advance(dialogue: ServerDialogue, exchange: ServerExchange, response: bytes) -> Reply | None:
    return _go_on(dialogue, exchange, exchange.send(response))


def _go_on(dialogue: ServerDialogue, exchange: ServerExchange, request: Request) -> Reply | None:
    if isinstance(request, Decide):
        login = Login(request.credentials, exchange)
        dialogue.ask(questions.AUTHENTICATE, login, request.credentials, dialogue.connection)
    else:
        _challenge(dialogue, exchange, request)
    return None


def _challenge(dialogue: ServerDialogue, exchange: ServerExchange, request: Request) -> None:
    if not isinstance(request, Challenge):
        raise LocalProtocolError(f"a mechanism wants {request}, which nobody has")
    dialogue.login = exchange
    dialogue.move(Step.CHALLENGED)
    dialogue.out.append(sasl.challenge_line(request.octets))
