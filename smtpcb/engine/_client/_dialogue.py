"""ClientDialogue: octets in, octets out, and what the owner has to do next; no clock, no I/O."""

from __future__ import annotations

from typing import Any

from smtpcb.engine._client._asking import askable, asking
from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._limits import TOO_MANY, chosen, has_room
from smtpcb.engine._client._login import AskedMechanism, check
from smtpcb.engine._client._observer import ClientObserver
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._opening import injected, opening, quitting
from smtpcb.engine._client._outbox import Outbox
from smtpcb.engine._client._parameters import written, written_later
from smtpcb.engine._client._sending import Sending
from smtpcb.engine._client._settings import ClientSettings
from smtpcb.engine._client._table import (
    CLIENT_TRANSITIONS,
    CLIENT_WANTS,
    STAGES,
    ClientState,
    ClientStep,
    ClientWants,
    Stage,
)
from smtpcb.engine._client._transaction import Destination, Outcome, Transaction
from smtpcb.engine._connection import TlsInformation
from smtpcb.smtp._command import Command
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._reply_reader import MalformedReply, ReplyReader
from smtpcb.smtp.sasl import Credentials

_CONTENT = ClientWants.CONTENT
_NOT_TRIED = Outcome.NOT_TRIED


class ClientDialogue:
    """
    One connection's SMTP or LMTP, from the client's side (RFC 5321, RFC 2033).

    Give it what `wants` says, send what `take_output` returns after each, and close the connection
    when it wants nothing.  Nothing in here waits, or raises because of what a server says.

    :param settings: how it is led.
    :param tls: what is known of the TLS that the connection began with, if it did.
    :param observer: sees everything.
    :param hostname: who we say we are, where the settings leave that open.
    :ivar state: what is under way; only `move` changes it.
    :ivar wants: what the owner has to do next.
    :ivar offers: what the server has said that it can do.
    :ivar tls: what is known of the TLS that is in force.
    :ivar mechanism: by which somebody logs in, while it wants credentials, and after; it knows
        whether the secret will be said in the clear.
    :ivar answer: the reply to the last command that was asked.
    :ivar failure: why the session is over before it was quit, or is about to be.
    :ivar hostname: who we say we are.
    :ivar unfinished: a transaction is open at the server that has come to nothing.
    :ivar sending: the transaction under way.
    """

    __slots__ = (
        *("_awaited", "_script", "_transactions", "answer", "failure", "hostname", "mechanism"),
        *("offers", "outbox", "reader", "sending", "settings", "state", "tls", "unfinished"),
        "wants",
    )

    def __init__(
        self,
        settings: ClientSettings,
        *,
        tls: TlsInformation | None = None,
        observer: ClientObserver | None = None,
        hostname: str = "localhost",
    ) -> None:
        self.settings = settings
        self.hostname = hostname if settings.hostname is None else settings.hostname
        self.tls = tls
        self.state = ClientState.ARRIVING
        self.wants = CLIENT_WANTS[self.state]
        self.offers = Offers()
        self.mechanism: AskedMechanism | None = None
        self.answer: Reply | None = None
        self.failure: ClientFailure | None = None
        self.unfinished = False
        self.sending: Sending | None = None
        self.outbox = Outbox(observer)
        self.reader = ReplyReader()
        self._transactions = 0
        self._awaited: Stage | None = None
        self._script: Any = None
        if tls is not None and self.outbox.observer is not None:
            self.outbox.observer.secured(tls)
        self._begin(opening(self))

    @property
    def stage(self) -> Stage:
        """What an error would be about now: that of the oldest command without a reply."""
        return STAGES.get(self.state) or self._awaited or Stage.MAIL

    @property
    def is_spent(self) -> bool:
        """Whether the server has said that it takes no more messages in a session (RFC 9422)."""
        most = self.offers.limits.get("MAILMAX")
        return most is not None and self._transactions >= most

    def move(self, step: ClientStep) -> None:
        """
        Go on to where a step leads.

        :raises LocalProtocolError: it leads nowhere from here.
        """
        target = CLIENT_TRANSITIONS[self.state].get(step)
        if target is None:
            raise LocalProtocolError(f"{step.value}: not while the session is {self.state.value}")
        self.state = target
        self.wants = CLIENT_WANTS[target]

    # What comes from the server.

    def receive(self, octets: bytes) -> None:
        """Take octets from the server, cut anywhere."""
        outbox = self.outbox
        if outbox.observer is not None:
            outbox.observer.server(octets)
        if self.state is ClientState.HANDSHAKE:
            self.end(injected())
        if self.state is ClientState.OVER:
            return
        try:
            for reply in self.reader.read(octets):
                if reply.code == 421 or not outbox.due:
                    self._closing(reply)
                    return
                outbox.due -= 1
                self._awaited = self._script.send(reply)
        except ClientFailure as failure:
            self._give_up(failure)
        except MalformedReply as error:
            self.end(ClientFailure(self.stage, Cause.PROTOCOL, str(error)))

    def _closing(self, reply: Reply) -> None:
        """Take a reply after which nothing goes on."""
        stage = self.stage
        if not self.outbox.due and reply.code != 421:
            text = "a reply to nothing"
            self.end(ClientFailure(stage, Cause.PROTOCOL, text, reply, temporary=True))
            return
        failure = ClientFailure(stage, Cause.REFUSED, "the server closes the connection", reply)
        if self.outbox.due:
            try:
                self._script.send(reply)
            except ClientFailure as other:
                other.__traceback__ = None
                failure = other
        self.end(failure)

    def lost(self, text: str = "") -> None:
        """Take note that the connection is gone; behind QUIT that is as well as a reply."""
        self._leave(Cause.LOST, text)

    def time_out(self) -> None:
        """Take note that the server has taken too long; what that is, the stage says."""
        self._leave(Cause.TIMEOUT, "")

    def abandon(self, text: str = "") -> None:
        """Give it all up: a message whose end was not sent is not delivered."""
        self._leave(Cause.CANCELLED, text)

    def _leave(self, cause: Cause, text: str) -> None:
        self.end(ClientFailure(self.stage, cause, text))

    # What the owner gives.

    def take_output(self) -> bytes:
        """Return what is to be sent to the server, once."""
        return self.outbox.take()

    def secured(self, tls: TlsInformation) -> None:
        """Go on inside TLS, after STARTTLS."""
        self._require(ClientStep.SECURED)
        if self.outbox.observer is not None:
            self.outbox.observer.secured(tls)
        self.resume(tls)

    def handshake_failed(self, text: str = "the handshake failed") -> None:
        """Take note that there will be no TLS: nothing goes on without."""
        self._require(ClientStep.SECURED)
        self.end(ClientFailure(Stage.TLS, Cause.TLS, text))

    def give(self, credentials: Credentials | None) -> None:
        """
        Say who logs in, by the `mechanism` that was chosen.

        :param credentials: ``None``: nobody does by that mechanism; the next one is tried.
        :raises ValueError: they cannot be said; give others.
        """
        self._require(ClientStep.CREDENTIALS_GIVEN)
        if credentials is not None:
            check(credentials)
        self.resume(credentials)

    def fail_credentials(self, text: str = "") -> None:
        """
        Take note that it cannot be found out who logs in.

        That is not the same as nobody: no message is sent, also where no login is required.

        :param text: why; without any secret.
        """
        self._require(ClientStep.CREDENTIALS_GIVEN)
        self._give_up(ClientFailure(Stage.AUTH, Cause.LOGIN, text))

    def send(self, transaction: Transaction) -> None:
        """
        Begin to send a message; its content is wanted later.

        :raises ClientFailure: the server lacks what it needs, or takes no more.  Nothing was sent,
            and another message may be.
        :raises ValueError: something in it cannot be written; likewise.
        """
        self._require(ClientStep.TRANSACTION)
        if not transaction.remaining:
            text = "no recipient is left"
            raise ClientFailure(Stage.RCPT, Cause.CANCELLED, text, temporary=False)
        self._start(transaction, named=True)

    def open(self, transaction: Transaction) -> None:
        """
        Begin to send a message whose recipients are not all known: `add` names another one.

        The reply to each stands in its ``rcpt_reply`` as soon as it has come, that to MAIL in
        ``mail_reply``; if MAIL is refused, the transaction ends at once.

        :raises ClientFailure: see `send`.
        :raises ValueError: likewise.
        """
        self._require(ClientStep.TRANSACTION_OPEN)
        self._start(transaction, named=False)

    def _start(self, transaction: Transaction, *, named: bool) -> None:
        transaction.forget()
        destinations = transaction.remaining
        for one in destinations:
            if one.stage is not None:
                one.again()
        try:
            destinations = chosen(transaction, destinations, self.offers, self._transactions)
            commands = written(transaction, destinations, self.offers, self.settings)
        except ClientFailure as failure:
            transaction.failure = failure
            for one in destinations:
                one.fail(failure, _NOT_TRIED)
            if self.outbox.observer is not None:
                self.outbox.observer.finished(transaction)
            raise
        if self.outbox.observer is not None:
            self.outbox.observer.begun(transaction)
        self._transactions += 1
        self.sending = Sending(self, transaction, destinations, commands, named=named)
        self.sending.begin()
        self._begin(self.sending.replies())

    def add(self, destination: Destination) -> None:
        """
        Name another recipient of the message that was opened; several may be under way.

        :raises ClientFailure: the server lacks what it needs, or takes no more; the transaction
            goes on without it.
        :raises ValueError: something in it cannot be written; likewise.
        """
        sending = self._opened()
        try:
            if not has_room(sending.destinations, destination, self.offers):
                raise ClientFailure(Stage.RCPT, Cause.LIMIT, TOO_MANY)
            command = written_later(sending.transaction, destination, self.offers, self.settings)
        except ClientFailure as failure:
            destination.fail(failure, _NOT_TRIED)
            raise
        sending.add(destination, command)

    def proceed(self) -> None:
        """Go on to the content: the message that was opened has no more recipients."""
        self._opened().proceed()

    def drop(self) -> None:
        """Give up the message that was opened; the session goes on."""
        self._opened().proceed(drop=True)

    def _opened(self) -> Sending:
        self._require(ClientStep.RECIPIENTS_NAMED)
        assert self.sending is not None
        return self.sending

    def content(self, octets: bytes) -> None:
        """
        Take the next piece of the content, of any length, its lines ended in CRLF.

        :raises LocalProtocolError: none is wanted.
        """
        self._content_of().write(octets)

    def end_content(self) -> None:
        """
        Take note that the content is at its end.

        :raises LocalProtocolError: none is wanted.
        """
        self._content_of().end()

    def fail_content(self, text: str = "") -> None:
        """
        Take note that there is no more content although it is not at its end.

        There is no way to tell a server so but to leave it: what it has got has no end.
        """
        self._content_of()
        self.end(ClientFailure(Stage.CONTENT, Cause.SOURCE, text))

    def ask(self, command: Command) -> None:
        """
        Send a command that is no part of a transaction; `answer` will have the reply.

        :param command: NOOP, RSET, HELP, VRFY, EXPN, ETRN (RFC 1985), XFORWARD, or of a verb of
            your own.
        :raises ClientFailure: its extension is not offered.
        :raises LocalProtocolError: it is no such command, or cannot be sent now.
        """
        self._require(ClientStep.COMMAND)
        octets = askable(command, self.offers, self.settings)
        self.answer = None
        self.outbox.write(octets)
        self.move(ClientStep.COMMAND)
        self._begin(asking(self, command))

    def quit(self) -> None:
        """
        End the session well.

        :raises LocalProtocolError: something is under way; `abandon` ends that too.
        """
        if self.wants not in (ClientWants.WORK, ClientWants.CREDENTIALS):
            raise LocalProtocolError(f"QUIT: not while the session is {self.state.value}")
        self._quit()

    # What happens between.

    def forget(self, offers: Offers) -> None:
        """Go by other offers: what was known before counts no more."""
        self.offers = offers
        self.reader.enhanced = "ENHANCEDSTATUSCODES" in offers

    def end(self, failure: ClientFailure | None) -> None:
        """End the session, without a word."""
        if self.state is ClientState.OVER:
            return
        if self.failure is None and self.state is not ClientState.QUITTING:
            self.failure = failure  # behind QUIT nothing can go wrong that matters
        self._part()
        self.outbox.clear()
        self._script = None  # it knows the dialogue, which would wait for the garbage collector
        self.move(ClientStep.ENDED)
        if self.outbox.observer is not None:
            self.outbox.observer.ended(self.failure)

    def _part(self) -> None:
        sending, self.sending = self.sending, None
        if sending is not None and self.failure is not None:
            sending.fail(self.failure)

    def _give_up(self, failure: ClientFailure) -> None:
        """End the session, by QUIT where a server that keeps the rules waits for a command."""
        failure.__traceback__ = None  # likewise
        if failure.cause is Cause.PROTOCOL or ClientStep.QUIT not in CLIENT_TRANSITIONS[self.state]:
            self.end(failure)
        else:
            self.failure = failure
            self._quit()

    def _quit(self) -> None:
        self.outbox.write(b"QUIT\r\n")
        self.move(ClientStep.QUIT)
        self._begin(quitting(self))

    def _begin(self, script: Any) -> None:
        """Have another script read the replies."""
        self._script = script
        self._awaited = next(script)

    def resume(self, given: object) -> None:
        """Give the script what it has waited for, and is no reply."""
        try:
            self._awaited = self._script.send(given)
        except ClientFailure as failure:
            self._give_up(failure)

    def _require(self, step: ClientStep) -> None:
        if step not in CLIENT_TRANSITIONS[self.state]:
            raise LocalProtocolError(f"{step.value}: not while the session is {self.state.value}")

    def _content_of(self) -> Any:
        if self.wants is not _CONTENT or self.sending is None:
            raise LocalProtocolError(f"no content is wanted, but {self.wants.value}")
        return self.sending.content
