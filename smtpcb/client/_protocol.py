"""ClientProtocol: octets, TLS and time of one connection to a server; no rule of SMTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb import tls
from smtpcb.client import _at_once as at_once
from smtpcb.client._credentials import GiveCredentials, nobody, tell_who
from smtpcb.client._ends import own_name, seen
from smtpcb.client._outgoing import Outgoing
from smtpcb.client._patience import Patience
from smtpcb.client._times import ClientTimes
from smtpcb.engine import (
    Cause,
    ClientDialogue,
    ClientFailure,
    ClientObserver,
    ClientSettings,
    ClientWants,
    Destination,
    Offers,
    Stage,
    Transaction,
)
from smtpcb.engine._client._observer import Watched
from smtpcb.handling._coroutines import cancel, is_asyncio
from smtpcb.smtp import BodyType, Command, MailParameters, Reply

_DER = crypto.FILETYPE_ASN1
_CONTENT = ClientWants.CONTENT
_NOTHING = ClientWants.NOTHING
_WORK = ClientWants.WORK
_THE_END = object()

_log = Logger(namespace="smtpcb.client")


@implementer(IHandshakeListener, IPushProducer)
class ClientProtocol(Protocol):
    """
    One connection to a server, from its beginning to its end.

    :param settings: how the dialogue is led.
    :param reactor: for the timers.
    :param times: how long the server may take.
    :param creator: makes the TLS of STARTTLS: an ``IOpenSSLClientConnectionCreator``, which checks
        whose certificate it is, and says in ``failed`` what is wrong with it.
    :param give: says who logs in.
    :param observer: sees everything.
    :ivar dialogue: ``None`` before the connection has its TLS, where it begins with that.
    :ivar where: the host and its address, for errors.
    :ivar failure: why there is no session, or none any more.
    """

    transport: Any
    dialogue: ClientDialogue | None = None
    where = ""

    def __init__(
        self,
        settings: ClientSettings,
        reactor: Any,
        times: ClientTimes,
        creator: Any = None,
        give: GiveCredentials = nobody,
        observer: ClientObserver | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._creator = creator
        self._give = give
        self._observer = None if observer is None else Watched(observer)
        self._patience = Patience(reactor, times, self._late)
        self._waiting: list[Deferred[None]] = []
        self._reading: Deferred[bytes | None] | None = None
        self._choked = False
        self._asked: Deferred[Any] | None = None  # for credentials
        self._waits_for: object = None
        self._lost = False
        self.failure: ClientFailure | None = None

    # Twisted's hooks.

    def connectionMade(self) -> None:
        """Begin, or wait for TLS if the connection begins with it."""
        at_once.prepare(self.transport)
        self.transport.registerProducer(self, True)
        if self._observer is not None:
            self._observer.connected(seen(self.transport, self.where))
            self._observer.note(f"connected to {self.where}")
        if ISSLTransport.providedBy(self.transport):
            self._patience.begin(Stage.TLS)
        else:
            self._begin()

    def handshakeCompleted(self) -> None:
        """Go on inside TLS."""
        if self.dialogue is None:
            self._begin()
        else:
            self.dialogue.secured(self._information())
            self._go_round()

    def dataReceived(self, data: bytes) -> None:
        """Take what the server sends."""
        if self._waits_for is _THE_END:
            self._cut()  # it goes on behind its last word
        elif self.dialogue is not None:
            self.dialogue.receive(data)
            self._go_round()

    def pauseProducing(self) -> None:
        """Send nothing more for a while: the server does not take what was sent."""
        self._choked = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._choked = False
        self._go_round()

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, and that is said by itself."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Find out what has become of what was under way."""
        self._lost = True
        self._patience.end()
        # Which check it was, OpenSSL does not say.
        refused = getattr(self._creator, "failed", None)
        text = _why(reason) if refused is None else str(refused)
        if self.dialogue is None:
            # Nobody has greeted us: where the connection begins with TLS it is like a refusal.
            cause = _cause_of(reason) if refused is None else Cause.TLS
            self._fail(ClientFailure(Stage.TLS, cause, text, elsewhere=cause is Cause.LOST))
        elif self.dialogue.wants is ClientWants.HANDSHAKE:
            self.dialogue.handshake_failed(text)
            self.failure = self.dialogue.failure
        else:
            self.dialogue.lost(text)
        if refused is not None and self.failure is not None:
            self.failure.__cause__ = refused
        if self.dialogue is None:
            self._part()
        self._go_round()
        self._ask_no_more()

    # What the session wants.

    async def opened(self) -> None:
        """
        Wait until messages can be sent.

        :raises ClientFailure: there is no session.
        """
        await self._until(_WORK)
        if self.failure is not None:
            raise self.failure

    @property
    def is_ready(self) -> bool:
        """Whether the session is there and nothing is under way, as far as is known."""
        ready = self.dialogue is not None and self.dialogue.wants is _WORK
        return ready and self.failure is None and not self._lost

    @property
    def is_verified(self) -> bool:
        """Whether it has TLS, and the server has shown the right certificate for it."""
        if self.dialogue is None or self.dialogue.tls is None:
            return False
        creator = self._creator
        # An endpoint of the user's own may have brought a TLS of which nobody here knows.
        return getattr(creator, "is_strict", False) and creator.checks(self.transport.getHandle())

    async def ask(self, command: Command) -> Reply | None:
        """
        Send a command that is no part of a transaction; return the reply, if there is one.

        :raises ClientFailure: its extension is not offered; nothing was sent.
        """
        dialogue = self._opened()
        dialogue.ask(command)
        self._go_round()
        await self._until(_WORK)
        return dialogue.answer

    async def deliver(self, transaction: Transaction, outgoing: Outgoing) -> None:
        """
        Send one message; what became of it stands in its transaction.

        :raises ClientFailure: the server lacks what it needs; nothing was sent, and another message
            may be.
        """
        dialogue = self._opened()
        dialogue.send(transaction)
        await self._finish(dialogue, outgoing)

    async def open(self, transaction: Transaction) -> None:
        """
        Begin a message whose recipients are named one by one, and wait for the reply to MAIL.

        Where the connection is lost meanwhile, there is none.

        :raises ClientFailure: the server lacks what it needs; nothing was sent.
        """
        dialogue = self._opened()
        dialogue.open(transaction)
        self._go_round()
        while transaction.mail_reply is None and dialogue.wants is not _NOTHING:
            await self._change()

    async def add(self, destination: Destination) -> None:
        """
        Name another recipient, and wait for the reply to RCPT; there may be none.

        :raises ClientFailure: the server takes no more, or lacks what is needed.
        """
        dialogue = self._opened()
        dialogue.add(destination)
        self._go_round()
        while destination.rcpt_reply is None and dialogue.wants is not _NOTHING:
            await self._change()

    async def proceed(self, outgoing: Outgoing) -> None:
        """Send the content of the message that was opened; see `deliver`.  It is closed then."""
        try:
            dialogue = self._opened()
            dialogue.proceed()
            await self._finish(dialogue, outgoing)
        finally:
            await outgoing.aclose()

    async def drop(self) -> None:
        """Give up the message that was opened; the session goes on."""
        dialogue = self._opened()
        if dialogue.wants is ClientWants.RECIPIENTS:
            dialogue.drop()
            self._go_round()
            await self._until(_WORK)

    async def _finish(self, dialogue: ClientDialogue, outgoing: Outgoing) -> None:
        self._go_round()
        await self._until(_CONTENT, _WORK)
        if dialogue.wants is _CONTENT:
            try:
                await self._send_content(dialogue, outgoing)
            except CancelledError:
                raise
            except Exception:  # it was read as far as was wanted, and cannot even be closed
                _log.failure("closing the source of a message failed")
        await self._until(_WORK)

    @property
    def offers(self) -> Offers:
        """What the server has said that it can do."""
        return self._opened().offers

    def is_narrow(self, parameters: MailParameters) -> bool:
        """Whether the server takes no message that needs so much."""
        offers = self.offers
        if parameters.smtputf8 and "SMTPUTF8" not in offers:
            return True
        return parameters.body not in (None, BodyType.SEVEN_BIT) and "8BITMIME" not in offers

    async def quit(self) -> None:
        """End the session well, and wait until the connection is gone."""
        if self.dialogue is not None and self.dialogue.wants is _WORK:
            self.dialogue.quit()
            self._go_round()
        while not self._lost:
            await self._change()

    def abandon(self, text: str = "") -> None:
        """Leave at once: what was not sent to its end is not delivered."""
        if self.dialogue is not None:
            self.dialogue.abandon(text)
            self._go_round()
        self._cut()

    async def _send_content(self, dialogue: ClientDialogue, outgoing: Outgoing) -> None:
        whole = outgoing.whole
        if whole is not None and not self._choked:
            await self._send_whole(dialogue, whole)
            return
        async with aclosing(outgoing.pieces()) as pieces:
            piece: bytes | None = b""
            while piece is not None:
                failed: Exception | None = None
                try:
                    piece = await self._read(pieces)
                except CancelledError:
                    if dialogue.wants in (_NOTHING, _WORK):
                        return  # the server wants no more of it
                    self.abandon("cancelled")
                    raise
                except Exception as error:
                    piece, failed = None, error
                # A chunk may have to be answered first, and the server may have refused it all.
                await self._until(_CONTENT, _WORK)
                while self._choked and failed is None and dialogue.wants is _CONTENT:
                    await self._change()
                if dialogue.wants is not _CONTENT:
                    return
                if failed is not None:
                    dialogue.fail_content(f"{type(failed).__name__}: {failed}")
                elif piece is None:
                    dialogue.end_content()
                else:
                    dialogue.content(piece)
                self._go_round()

    async def _send_whole(self, dialogue: ClientDialogue, whole: bytes) -> None:
        """Send a short message: its end goes out in one write with all before it."""
        dialogue.content(whole)
        if dialogue.wants is not _CONTENT:
            self._go_round()
            await self._until(_CONTENT, _WORK)
        if dialogue.wants is _CONTENT:
            dialogue.end_content()
            self._go_round()

    async def _read(self, pieces: AsyncGenerator[bytes, None]) -> bytes | None:
        """Return the next piece; whoever waits for one is cancelled when the server leaves."""
        reading = Deferred.fromCoroutine(_next(pieces))
        if not reading.called:
            self._reading = reading
        try:
            return await reading
        finally:
            self._reading = None

    # Each round.

    def _begin(self) -> None:
        secured = ISSLTransport.providedBy(self.transport)
        information = self._information() if secured else None
        self.dialogue = ClientDialogue(
            self._settings,
            tls=information,
            observer=self._observer,
            # Where it is not known, whoever is asked may not know it either.
            hostname="localhost"
            if self._settings.hostname is not None
            else own_name(self.transport.getHost()),
        )
        self._go_round()

    def _information(self) -> Any:
        # Of the server's certificate nobody is told here: that it is right was checked.
        connection = self.transport.getHandle()
        own = connection.get_certificate()
        return replace(
            tls.describe(connection, of_client=True),
            client_certificate=None if own is None else crypto.dump_certificate(_DER, own),
            client_subject=None,
            client_names=(),
        )

    def _go_round(self) -> None:
        """Send what is due, and see what is wanted next."""
        dialogue = self.dialogue
        if dialogue is not None:
            out = dialogue.take_output()
            if out and not self._lost:
                at_once.send(self.transport, out)
            if self.failure is None:
                self.failure = dialogue.failure
            wants = dialogue.wants
            if wants is _NOTHING:
                self._close()
            elif (
                wants is ClientWants.REPLY
                or wants is ClientWants.HANDSHAKE
                or (wants is _CONTENT and self._choked)
                or (wants is ClientWants.RECIPIENTS and dialogue.outbox.due)
            ):
                # What is no whole reply is no progress: a server may not trickle for ever.
                waits_for = (dialogue.stage, dialogue.outbox.due, self._choked)
                if out or waits_for != self._waits_for:
                    self._patience.begin(dialogue.stage)
                    self._waits_for = waits_for
            else:
                self._patience.rest()
                self._waits_for = None
            if wants is ClientWants.HANDSHAKE:
                self._shake_hands(dialogue)
            elif wants is ClientWants.CREDENTIALS and self._asked is None:
                self._ask(dialogue)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
        reading = self._reading
        if reading is not None and dialogue is not None and dialogue.wants in (_NOTHING, _WORK):
            reading.cancel()

    def _close(self) -> None:
        """Close the connection: at once behind a failure, else behind what was written."""
        if not self._lost and self._waits_for is not _THE_END:
            self._waits_for = _THE_END
            self._ask_no_more()
            if self.failure is not None:
                self._patience.end()
                self.transport.abortConnection()
            else:
                # Inside TLS the server has to say that it ends, too; one that does not is not
                # asked.
                self._patience.begin(Stage.QUIT)
                self.transport.unregisterProducer()
                self.transport.loseConnection()
        self._part()

    def _part(self) -> None:
        """Tell that the connection is gone, or as good as that; once."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.disconnected(self.failure)

    def _cut(self) -> None:
        self._patience.end()
        self._waits_for = _THE_END
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()

    def _shake_hands(self, dialogue: ClientDialogue) -> None:
        if ISSLTransport.providedBy(self.transport):
            return  # under way
        try:
            if self._creator is None:
                raise ValueError("nobody has said which hostname the certificate must have")
            self.transport.startTLS(self._creator)
        except Exception as error:  # the creator may be the user's own
            self.transport.protocol = self  # in place of the layer that does not work
            dialogue.handshake_failed(f"there can be none: {error}")
            self._go_round()

    def _ask(self, dialogue: ClientDialogue) -> None:
        def told(_: object) -> None:
            self._asked = None
            self._go_round()

        self._asked = asked = tell_who(dialogue, self._give, is_asyncio(self._reactor))
        asked.addBoth(told)

    def _ask_no_more(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            cancel(asked)

    def _opened(self) -> ClientDialogue:
        if self.failure is not None:
            raise self.failure
        assert self.dialogue is not None
        return self.dialogue

    def _fail(self, failure: ClientFailure) -> None:
        if self.failure is None:
            self.failure = failure

    async def _until(self, *wants: ClientWants) -> None:
        """Wait until one of these is wanted, or nothing will be any more."""
        while not (self._lost and self.dialogue is None):
            dialogue = self.dialogue
            if dialogue is not None and (dialogue.wants in wants or dialogue.wants is _NOTHING):
                return
            await self._change()

    def _change(self) -> Deferred[None]:
        changed: Deferred[None] = Deferred(self._forget)
        self._waiting.append(changed)
        return changed

    def _forget(self, changed: Deferred[None]) -> None:
        self._waiting = [one for one in self._waiting if one is not changed]

    def _late(self) -> None:
        if self.dialogue is None:
            self._fail(ClientFailure(Stage.TLS, Cause.TIMEOUT, elsewhere=True))
        else:
            self.dialogue.time_out()
        self._go_round()
        self._cut()


async def _next(pieces: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(pieces, None)


def _cause_of(reason: Failure) -> Cause:
    return Cause.TLS if isinstance(reason.value, (SSL.Error, VerificationError)) else Cause.LOST


def _why(reason: Failure) -> str:
    error = reason.value
    if isinstance(error, SSL.Error):
        text = "; ".join(text for *_, text in error.args[0]) if error.args else "TLS failed"
        # What OpenSSL says of a server that speaks first, which is what one does without TLS.
        plain = "wrong version number" in text
        return f"the server does not begin with TLS ({text})" if plain else text
    return str(error).rstrip(".") or type(error).__name__
