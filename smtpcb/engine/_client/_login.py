"""AUTH: which mechanisms may be used, and one after the other until one succeeds (RFC 4954)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._table import ClientStep, Stage
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._reply_reader import MOST_LINE_OCTETS
from smtpcb.smtp._secret import shown, shown_response
from smtpcb.smtp._text import CONTROL
from smtpcb.smtp.sasl import (
    MECHANISMS,
    AskSession,
    ClientExchange,
    Credentials,
    Mechanism,
    Session,
    decode,
    encode,
    write_auth,
)
from smtpcb.smtp.sasl._scram import BINDINGS

if TYPE_CHECKING:
    from smtpcb.engine._client._dialogue import ClientDialogue
    from smtpcb.engine._client._opening import Script

MOST_COMMAND_OCTETS = 512
"""AUTH with its initial response is a command like others (RFC 4954 §4, RFC 5321 §4.5.3.1.4)."""

MOST_RESPONSE_OCTETS = 12_288
"""A line of the exchange (RFC 4954 §4)."""

_MECHANISM_UNKNOWN = 504


class AskedMechanism(str):
    """
    The name of a mechanism for which credentials are wanted, and what becomes of the secret.

    :ivar plaintext: the mechanism says it to the server, or lets whoever reads the connection try
        guesses at it.
    :ivar secure: the connection has TLS.
    """

    __slots__ = ("plaintext", "secure")

    def __new__(cls, name: str, plaintext: bool, *, secure: bool) -> Self:
        """Make one."""
        asked = super().__new__(cls, name)
        asked.plaintext = plaintext
        asked.secure = secure
        return asked

    plaintext: bool
    secure: bool

    @property
    def in_the_clear(self) -> bool:
        """Whether whoever is on the way can learn the secret."""
        return self.plaintext and not self.secure


def usable(dialogue: ClientDialogue) -> list[Mechanism]:
    """Return the mechanisms that may be used on this connection, in the order of the attempts."""
    offered, wished = dialogue.offers.mechanisms, dialogue.settings.mechanisms
    if wished is None:
        rows = [MECHANISMS[name] for name in offered if name in MECHANISMS]
    else:
        rows = [row for row in wished if isinstance(row, Mechanism) and row.name in offered]
    return [row for row in rows if _fits(row, dialogue)]


def _fits(row: Mechanism, dialogue: ClientDialogue) -> bool:
    tls = dialogue.tls
    if tls is None:
        in_the_clear = dialogue.settings.allow_insecure_auth or not row.plaintext
        return in_the_clear and not (row.binds or row.certificate)
    bind = tls.bind
    bound = bind is not None and any(bind(kind) is not None for kind in BINDINGS)
    certified = tls.client_certificate is not None
    return (bound or not row.binds) and (certified or not row.certificate)


def log_in(dialogue: ClientDialogue) -> Script:
    """
    Log in by the first mechanism for which there are credentials.

    :raises ClientFailure: nobody could be logged in, and somebody has to be.
    """
    failure: ClientFailure | None = None
    rows = usable(dialogue)
    for row in rows:
        dialogue.mechanism = AskedMechanism(
            row.name, row.plaintext, secure=dialogue.tls is not None
        )
        dialogue.move(ClientStep.MECHANISM_CHOSEN)
        credentials = yield None
        if credentials is None:
            continue
        dialogue.reader.most_line_octets = MOST_RESPONSE_OCTETS
        failure = yield from _attempt(dialogue, row, credentials)
        dialogue.reader.most_line_octets = MOST_LINE_OCTETS
        if failure is None:
            return
        unknown = failure.reply is not None and failure.reply.code == _MECHANISM_UNKNOWN
        if not (unknown or dialogue.settings.next_mechanism):
            break
    why = failure or _nothing_usable(dialogue, rows)
    if dialogue.settings.login == "required":
        raise why
    if dialogue.outbox.observer is not None:
        dialogue.outbox.observer.note(f"going on without a login: {why}")


def _nothing_usable(dialogue: ClientDialogue, rows: list[Mechanism]) -> ClientFailure:
    if rows:
        return ClientFailure(Stage.AUTH, Cause.LOGIN, "no credentials were given")
    offered = dialogue.offers.mechanisms
    if not offered:
        return ClientFailure(Stage.AUTH, Cause.LACKING, "the server does not offer AUTH")
    text = f"the server offers {', '.join(offered)[:200]}, of which none may be used"
    if dialogue.tls is None:
        return ClientFailure(Stage.AUTH, Cause.TLS, f"{text} outside TLS")
    return ClientFailure(Stage.AUTH, Cause.LACKING, text)


def check(credentials: Credentials) -> None:
    """
    Refuse credentials that no server reads as they are written.

    :raises ValueError: a control character is in a name, or a line end or NUL in a secret.
    """
    if CONTROL.search(credentials.username) or CONTROL.search(credentials.authorization_id):
        raise ValueError("a control character in the name of who logs in")
    token = credentials.token or ""
    if any(char in credentials.password for char in "\0\r\n"):
        raise ValueError("NUL, CR or LF in a password")
    if not token.isascii() or CONTROL.search(token):
        raise ValueError("a token is printable ASCII (RFC 6750 §2.1)")


class _Exchange:
    """
    A mechanism at work: what it says next, whatever it raises.

    :ivar error: why it has nothing more to say.
    """

    def __init__(self, dialogue: ClientDialogue, row: Mechanism, credentials: Credentials) -> None:
        tls = dialogue.tls
        offers = dialogue.offers
        self._session = Session(offers.hostname, offers.mechanisms)
        if tls is not None and tls.bind is not None:
            self._session = replace(self._session, bind=tls.bind)
        self._row = row
        self._credentials = credentials
        self._generator: ClientExchange | None = None
        self.error: Exception | None = None

    def first(self) -> bytes | None:
        """Return the initial response, ``None`` if the server speaks first."""
        return self._next(None)

    def respond(self, reply: Reply) -> bytes | None:
        """Return the response to a challenge; ``None``: there is none, and the error says why."""
        try:
            # A text that is longer than a line of a reply was divided; base64 has no blanks.
            challenge = decode("".join(reply.lines).encode())
        except PeerProtocolError as error:
            self.error = error
            return None
        response = self._next(challenge)
        if response is None and self.error is None:
            self.error = LocalProtocolError("the mechanism has no response")
        return response

    def _next(self, challenge: bytes | None) -> bytes | None:
        try:
            if self._generator is None:
                self._generator = self._row.client(self._credentials)
            said = self._generator.send(challenge)
            while isinstance(said, AskSession):
                said = self._generator.send(self._session)
        except StopIteration:
            self.error = LocalProtocolError("the mechanism is at its end")
        except Exception as error:  # the user's own, perhaps
            self.error = error
        else:
            return said
        return None

    def confirm(self) -> bool:
        """Tell whether the mechanism believes the server's yes; that of SCRAM wants a proof."""
        assert self._generator is not None
        try:
            self._generator.send(None)
        except StopIteration:
            pass
        except Exception as error:
            self.error = error
            return False
        self.close()
        return True

    def close(self) -> None:
        """Be done with it."""
        if self._generator is not None:
            with suppress(Exception):
                self._generator.close()


def _attempt(
    dialogue: ClientDialogue, row: Mechanism, credentials: Credentials
) -> Generator[None, Any, ClientFailure | None]:
    """Try one mechanism; return why it has failed, ``None`` if it has not."""
    exchange, outbox = _Exchange(dialogue, row, credentials), dialogue.outbox
    response = exchange.first()
    if exchange.error is not None:
        return _gave_up(row, exchange)
    line = f"AUTH {write_auth(row.name, response)}\r\n".encode("ascii")
    if len(line) > MOST_COMMAND_OCTETS:
        line = f"AUTH {row.name}\r\n".encode("ascii")
    else:
        response = None
    outbox.write(line, shown=shown(line[:-2]) + b"\r\n")
    dialogue.move(ClientStep.CREDENTIALS_GIVEN)
    while True:
        reply = yield None
        if reply.code != 334:
            break
        if response is None:
            response = exchange.respond(reply)
        # else it was too long to come with AUTH, and the challenge is empty
        line = b"*" if response is None else encode(response)
        if len(line) + 2 > MOST_RESPONSE_OCTETS:
            exchange.error = LocalProtocolError("the response is too long")
            line = b"*"
        outbox.write(line + b"\r\n", shown=shown_response(line) + b"\r\n")
        response = None
        if exchange.error is not None:
            reply = yield None  # 501: RFC 4954 §4
            if reply.code < 400:
                break
            return _gave_up(row, exchange)
    if reply.code >= 400:
        exchange.close()
        return ClientFailure(Stage.AUTH, Cause.REFUSED, row.name, reply)
    if not 200 <= reply.code < 300 or exchange.error is not None or not exchange.confirm():
        text = f"a yes that {row.name} does not believe"
        raise ClientFailure(Stage.AUTH, Cause.PROTOCOL, text, reply, temporary=True)
    if outbox.observer is not None:
        outbox.observer.note(f"logged in by {row.name}")
    return None


def _gave_up(row: Mechanism, exchange: _Exchange) -> ClientFailure:
    """Return why a mechanism has failed by itself; not its words, which may quote a secret."""
    exchange.close()
    error = exchange.error
    failure = ClientFailure(Stage.AUTH, Cause.LOGIN, f"{row.name} failed: {type(error).__name__}")
    failure.__cause__ = error
    return failure
