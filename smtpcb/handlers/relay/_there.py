"""A transaction with the next server: begun, its recipients named, and given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from smtpcb.client import NoSession
from smtpcb.client._protocol import ClientProtocol
from smtpcb.engine import Cause, ClientFailure, Destination, Envelope, Transaction
from smtpcb.handlers.relay import _replies as replies
from smtpcb.smtp import MailParameters, Reply

if TYPE_CHECKING:
    from smtpcb.handlers.relay._relay import Relay

_ATTEMPTS = 3  # a session of a pool may just have been left by its server
_MAY_LACK = ("DSN", "MT-PRIORITY")

_log = Logger(namespace="smtpcb.handlers")


class There:
    """
    What is under way there for one client: one transaction at a time, over a session of its own.

    :ivar transaction: ``None``: there is none.
    :ivar domain: whose servers it is with, where that decides.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._session: ClientProtocol | None = None
        self.transaction: Transaction | None = None
        self.domain = ""

    @property
    def both(self) -> tuple[ClientProtocol, Transaction]:
        """The session and the transaction, where they are known to be there."""
        assert self._session is not None
        assert self.transaction is not None
        return self._session, self.transaction

    async def open(self, envelope: Envelope, domain: str = "") -> Reply | None:
        """Begin a transaction; return the refusal, after which there is none."""
        parameters = _passed_on(envelope.parameters)
        self.domain = domain
        refusal: Reply | None = replies.LOST
        for _ in range(_ATTEMPTS):
            try:
                refusal = await self._try_to_open(envelope, parameters)
            except BaseException:
                self.give_back()
                raise
            if refusal is None:
                return None
            failure = None if self._session is None else self._session.failure
            slow = failure is not None and failure.cause is Cause.TIMEOUT
            self.give_back()
            if refusal is not replies.LOST or slow:
                break
        return refusal

    async def _try_to_open(self, envelope: Envelope, parameters: MailParameters) -> Reply | None:
        try:
            session = self._session = await self._relay.session(envelope, self.domain)
        except NoSession as failure:
            _log.warn("no message is passed on: {failure}", failure=failure)
            return replies.not_sent(failure, for_good=self._relay.by_domain)
        except TimeoutError:
            return replies.BUSY
        lacking = replies.lacking(parameters, session)
        if lacking is not None:
            return lacking
        transaction = Transaction(
            envelope.reverse_path, [], parameters=parameters, may_lack=_MAY_LACK
        )
        try:
            refusal = await self._relay.introduce(envelope, session)
            if refusal is not None:
                return refusal
            await session.open(transaction)
        except ClientFailure as failure:
            return replies.not_sent(failure)
        reply = transaction.mail_reply
        if reply is None or reply.code == 421:
            return replies.LOST
        self.transaction = transaction
        return replies.passed_on(reply)

    async def name(self, destination: Destination) -> Reply | None:
        """Name a recipient; return the refusal."""
        session, _ = self.both
        try:
            await session.add(destination)
        except ClientFailure as failure:
            return replies.not_sent(failure)
        reply = destination.rcpt_reply
        return replies.LOST if reply is None else replies.passed_on(reply)

    @property
    def named(self) -> list[Destination]:
        """Those who would get the message, as far as is known."""
        _, transaction = self.both
        return [
            one
            for one in transaction.destinations
            if one.rcpt_reply is None or one.rcpt_reply.code < 300
        ]

    async def drop(self) -> None:
        """Give up a transaction of which no content was sent, and its session back."""
        session, transaction = self._session, self.transaction
        self.transaction = None
        try:
            if session is not None and transaction is not None and session.failure is None:
                await session.drop()
        finally:
            self.give_back()

    def give_back(self) -> None:
        """Let others have the session."""
        session, self._session = self._session, None
        self.transaction = None
        if session is not None:
            self._relay.give_back(session)


def _passed_on(said: MailParameters) -> MailParameters:
    """Return those parameters of MAIL that the next server is to see."""
    return MailParameters(
        size=said.size,
        body=said.body,
        smtputf8=said.smtputf8,
        ret=said.ret,
        envid=said.envid,
        mt_priority=said.mt_priority,
        requiretls=said.requiretls,
    )
