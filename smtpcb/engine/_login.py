"""AUTH: challenges and responses until it is known who wants to log in (RFC 4954 §4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from smtpcb.engine import _questions as questions
from smtpcb.engine import _replies as replies
from smtpcb.engine._table import State, Step
from smtpcb.engine._verdict import NoVerdictError
from smtpcb.smtp import sasl
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import (
    AskSession,
    Challenge,
    Credentials,
    Decide,
    LoginRefused,
    Mechanism,
    ServerExchange,
    Session,
    StoredSecret,
    WrongProof,
)

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue


@dataclass(slots=True, eq=False)
class Login:
    """
    Somebody who wants to log in, and the exchange that may have a last word.

    :ivar credentials: what the mechanism has gathered; ``None`` until it asks for the verdict.
    :ivar secret: what is stored for them, between the answer and its use.
    :ivar identity: who that is, once the verdict was yes; nobody is logged in before the exchange
        has come to its end.
    :ivar yes: what the client will hear then.
    :ivar no: what it will hear once it has answered the mechanism's last word on a refusal.
    """

    mechanism: str
    exchange: ServerExchange = field(repr=False)
    credentials: Credentials | None = None
    secret: object = field(default=None, repr=False)
    identity: object | None = None
    yes: Reply | None = None
    no: Reply | None = None

    def go_on(self, dialogue: ServerDialogue, answer: object) -> None:
        """Give the mechanism the answer to what it has asked."""
        reply = _go_on(dialogue, self, answer)
        if reply is not None:
            dialogue.send(reply, own=True)

    def go_on_after_yes(self, dialogue: ServerDialogue, reply: Reply) -> None:
        """Give the mechanism the word once more, as SCRAM needs it; most are at their end."""
        connection = dialogue.connection
        self.yes = reply
        self.identity, connection.identity = connection.identity, None
        if self.identity is None and self.credentials is not None:
            self.identity = self.credentials.username
        dialogue.owner.logged_in(reply)
        self.go_on(dialogue, None)

    def refuse(self, dialogue: ServerDialogue, reply: Reply) -> None:
        """Count a no, and say it, unless the mechanism has a word to say before."""
        if reply.code >= 500:
            budget = dialogue.connection.budget
            budget.auth_failures += 1
            budget.circumstances.login_failed(dialogue.connection.peer_address)
        dialogue.owner.logged_in(reply)
        request: object = None
        try:
            request = self.exchange.throw(LoginRefused(reply))
        except (LoginRefused, StopIteration):
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _failed(dialogue, self, error)
        if isinstance(request, Challenge):
            self.no = reply
            _challenge(dialogue, self, request)
        else:
            _say_no(dialogue, self, reply)


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
    mechanism = offer.mechanisms.get(command.mechanism)
    if mechanism is None:
        if command.mechanism in offer.elsewhere:
            return replies.AUTH_NEEDS_TLS
        return replies.AUTH_MECHANISM_UNKNOWN
    begun = mechanism, command.initial_response()
    held = dialogue.owner.admit_login()
    if held is None or isinstance(held, Reply):
        return held or begin(dialogue, *begun)
    dialogue.ask(questions.HELD, begun, held)
    return None


def respond(dialogue: ServerDialogue, line: bytes) -> Reply | None:
    """Take a response line."""
    login = dialogue.login
    assert login is not None
    give_up(dialogue)
    if login.no is not None:  # whatever it says to that (RFC 7628 §3.2.3)
        _say_no(dialogue, login, login.no)
        return None
    if line.rstrip(b" \t") == b"*":
        return replies.AUTH_CANCELLED
    if len(line) + 2 > dialogue.offer.settings.limits.auth_octets:
        return replies.AUTH_TOO_LONG
    try:
        response = sasl.decode(line)
    except PeerProtocolError as error:
        return error.reply
    return _go_on(dialogue, login, response)


def give_up(dialogue: ServerDialogue) -> None:
    """Leave the exchange under way, if one is."""
    if dialogue.state is State.RESPONSE:
        dialogue.login = None
        dialogue.move(Step.RESPONDED)


def begin(dialogue: ServerDialogue, mechanism: Mechanism, initial: bytes | None) -> Reply | None:
    """Begin an exchange; return what is said instead if the client has done something wrong."""
    try:
        exchange = mechanism.server(initial)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it may be the user's
        return _incident(dialogue, mechanism.name, error)
    return _go_on(dialogue, Login(mechanism.name, exchange), None)


def _go_on(dialogue: ServerDialogue, login: Login, answer: object) -> Reply | None:
    """
    Give an exchange what it waits for, and do what it wants next.

    :return: what is said instead, if the client or the mechanism has done something wrong.
    """
    try:
        request = login.exchange.send(answer)
        while isinstance(request, AskSession):
            request = login.exchange.send(_session(dialogue))
    except StopIteration:
        if login.yes is None:
            return _failed(dialogue, login, NoVerdictError("it ends without a verdict"))
        dialogue.connection.identity = login.identity
        dialogue.connection.budget.authenticated += 1
        dialogue.look_round()
        dialogue.move(Verb.AUTH)
        dialogue.send(login.yes)
        return None
    except PeerProtocolError as error:
        return error.reply
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _failed(dialogue, login, error)
    return _do(dialogue, login, request)


def _do(dialogue: ServerDialogue, login: Login, request: object) -> Reply | None:
    if isinstance(request, Challenge):
        _challenge(dialogue, login, request)
    elif login.credentials is not None:
        kind = type(request).__name__
        return _failed(dialogue, login, NoVerdictError(f"it wants {kind} after the verdict"))
    elif isinstance(request, StoredSecret):
        connection = dialogue.connection
        username, mechanism = request.username, request.mechanism
        dialogue.ask(questions.STORED_SECRET, login, username, mechanism, connection)
    elif isinstance(request, Decide):
        login.credentials = request.credentials
        dialogue.ask(questions.AUTHENTICATE, login, request.credentials, dialogue.connection)
    elif isinstance(request, WrongProof):
        login.credentials = request.credentials
        dialogue.owner.denied(login, replies.AUTH_REFUSED)
        login.refuse(dialogue, replies.AUTH_REFUSED)
    else:
        kind = type(request).__name__
        return _failed(dialogue, login, NoVerdictError(f"it wants {kind}, which is no request"))
    return None


def _challenge(dialogue: ServerDialogue, login: Login, challenge: Challenge) -> None:
    dialogue.login = login
    dialogue.move(Step.CHALLENGED)
    dialogue.out.append(sasl.challenge_line(challenge.octets))


def _say_no(dialogue: ServerDialogue, login: Login, reply: Reply) -> None:
    _close(dialogue, login)
    if reply.code >= 500:
        dialogue.penalize()
    dialogue.send(reply)


def _session(dialogue: ServerDialogue) -> Session:
    """Return what a mechanism may know of the connection."""
    offer, tls = dialogue.offer, dialogue.connection.tls
    session = Session(offer.settings.hostname, offer.mechanisms)
    if tls is None:
        return session
    return replace(
        session,
        certificate=tls.client_certificate,
        certificate_name=tls.client_name,
        bind=tls.bind or session.bind,
    )


def _failed(dialogue: ServerDialogue, login: Login, error: BaseException) -> Reply:
    """Report a mechanism that has failed, and be done with it."""
    reply = _incident(dialogue, login.mechanism, error)
    _close(dialogue, login)
    return reply


def _close(dialogue: ServerDialogue, login: Login) -> None:
    try:
        login.exchange.close()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one of the user's that does not stop
        _incident(dialogue, login.mechanism, error)


def _incident(dialogue: ServerDialogue, mechanism: str, error: BaseException) -> Reply:
    kind = replace(questions.AUTHENTICATE, whose=f"the mechanism {mechanism}")
    return dialogue.owner.incident(kind, kind.method, error)
