"""SubmissionSession: several messages to one server, and what became of each for each recipient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from smtpcb.client._anywhere import awaited_anywhere
from smtpcb.client._complete import Origin
from smtpcb.client._opening import open_session
from smtpcb.client._outgoing import Outgoing
from smtpcb.client._place import Place
from smtpcb.client._protocol import ClientProtocol, GiveCredentials, nobody, settings_for
from smtpcb.client._rules import HeaderRules
from smtpcb.client._times import ClientTimes
from smtpcb.engine import (
    ClientFailure,
    ClientObserver,
    ClientSettings,
    Destination,
    Outcome,
    Transaction,
)
from smtpcb.handling._coroutines import awaited, is_asyncio
from smtpcb.smtp import BodyType, ForwardPath, MailParameters, RcptParameters, ReversePath

_NO_MAIL = MailParameters()
_NO_RCPT = RcptParameters()
_COMPLETED = HeaderRules()


class MessageRecipient(Destination):
    """
    One recipient of a message, what became of it, and whatever you want to know it by.

    :ivar message: what it is to get.
    :ivar data: yours.
    """

    __slots__ = ("data", "message")

    def __init__(
        self,
        message: Message,
        forward_path: ForwardPath | str,
        parameters: RcptParameters = _NO_RCPT,
        data: object = None,
    ) -> None:
        super().__init__(forward_path, parameters)
        self.message = message
        self.data = data


class Message:
    """
    One message of a session; `SubmissionSession.add_message` makes it.

    :ivar recipients: in the order in which they were added.
    :ivar transaction: its envelope, and what became of it.
    :ivar outgoing: what is sent.
    :ivar data: yours.
    """

    def __init__(
        self,
        reverse_path: ReversePath | str,
        source: object,
        *,
        parameters: MailParameters,
        rules: HeaderRules | None,
        require_all_recipients: bool,
        may_lack: Iterable[str],
        downgrade: bool,
        data: object,
        pause: Any,
        wait: Any,
    ) -> None:
        self.transaction = Transaction(
            reverse_path,
            [],
            parameters=parameters,
            require_all_recipients=require_all_recipients,
            may_lack=may_lack,
        )
        self._parameters = parameters
        self._to: list[ForwardPath] = []
        origin = Origin(self.transaction.reverse_path, self._to)
        body = parameters.body
        self.outgoing = Outgoing(
            source,
            origin,
            rules=rules,
            body=body,
            # Octets that are no lines are sent as they are, or not at all.
            exact=body is BodyType.BINARY_MIME,
            pause=pause,
            wait=wait,
        )
        self._downgrade = downgrade
        self.data = data

    @property
    def recipients(self) -> Sequence[MessageRecipient]:
        """Those that were added, in their order."""
        return [one for one in self.transaction.destinations if isinstance(one, MessageRecipient)]

    def add_recipient(
        self,
        forward_path: ForwardPath | str,
        parameters: RcptParameters = _NO_RCPT,
        data: object = None,
    ) -> MessageRecipient:
        """
        Add somebody who is to get it.

        :param forward_path: the mailbox, without brackets if it is text.
        :param parameters: of RCPT: NOTIFY, ORCPT, RRVS.
        :param data: yours.
        :raises ValueError: it is no mailbox.
        """
        recipient = MessageRecipient(self, forward_path, parameters, data)
        self.transaction.destinations.append(recipient)
        self._to.append(recipient.forward_path)
        return recipient

    @property
    def is_delivered(self) -> bool:
        """Whether the server has taken responsibility for it, for every recipient."""
        return all(one.outcome is Outcome.DELIVERED for one in self.recipients)

    async def prepare(self) -> None:
        """
        Look at the content: what it needs is said with MAIL.

        :raises ContentError: it cannot be sent.
        :raises OSError: it cannot be read.
        """
        needs = await self.outgoing.needs()
        transaction = self.transaction
        wide = any(not one.forward_path.wire.isascii() for one in self.recipients)
        wide = wide or not transaction.reverse_path.wire.isascii()
        transaction.parameters = replace(
            self._parameters,
            body=needs.body,
            smtputf8=self._parameters.smtputf8 or needs.smtputf8 or wide,
        )
        # Of what can be read once nobody knows it better than the caller.
        known = needs.size_octets is not None
        transaction.size_octets = needs.size_octets if known else self._parameters.size

    async def narrowed(self) -> None:
        """
        Write it anew in 7 bits, if that was allowed.

        :raises ContentError: it cannot be.
        """
        self.outgoing = await self.outgoing.reencoded()
        await self.prepare()

    @property
    def may_be_narrowed(self) -> bool:
        """Whether a server without 8BITMIME or SMTPUTF8 gets it all the same."""
        return self._downgrade


@dataclass(frozen=True, slots=True)
class SessionResult:
    """
    What became of a session.

    :ivar messages: those that were sent or tried.
    :ivar failure: why it ended early; ``None``: it was quit.
    """

    messages: tuple[Message, ...]
    failure: ClientFailure | None

    @property
    def is_delivered(self) -> bool:
        """Whether every recipient of every message was."""
        return all(one.is_delivered for one in self.messages)

    @property
    def not_delivered(self) -> Iterator[MessageRecipient]:
        """Those whom a message has not reached, or of whom that is not known."""
        for message in self.messages:
            for one in message.recipients:
                if one.outcome is not Outcome.DELIVERED:
                    yield one


class SubmissionSession:
    """
    Messages to a server: add them, and run it; as often as something is left to be done.

    :param servers: where to, each with all its addresses; the first that has a session gets all;
        see `Server`.
    :param settings: how the dialogue is led; by default inside TLS, with a login if there is
        ``give``.
    :param give: says who logs in: called with the name of a mechanism, it returns `Credentials` or
        ``None``, now or later.
    :param times: how long a server may take.
    :param observer: sees everything.
    :param reactor: by default the one that is installed.
    :raises ValueError: there is no server, or ``give`` would never be called.
    :raises TypeError: a server is none.
    :ivar messages: those that were added, in their order.
    """

    def __init__(
        self,
        *servers: Place,
        settings: ClientSettings | None = None,
        give: GiveCredentials = nobody,
        times: ClientTimes | None = None,
        observer: ClientObserver | None = None,
        reactor: Any = None,
    ) -> None:
        if not servers:
            raise ValueError("a session needs a server: Server('mail.example.org')")
        for one in servers:
            if not hasattr(one, "candidates"):
                raise TypeError(f"no Server: {one!r:.80}; say Server('mail.example.org', 587)")
        if reactor is None:
            from twisted.internet import reactor
        self._servers = servers
        self._settings = settings_for(settings, give)
        self._give = give
        self._times = times or ClientTimes()
        self._observer = observer
        self._reactor = reactor
        self.messages: list[Message] = []
        self._running = False

    def add_message(
        self,
        reverse_path: ReversePath | str,
        source: object,
        *,
        parameters: MailParameters = _NO_MAIL,
        rules: HeaderRules | None = _COMPLETED,
        require_all_recipients: bool = False,
        may_lack: Iterable[str] = (),
        downgrade: bool = False,
        data: object = None,
    ) -> Message:
        """
        Add a message; they are sent in their order.

        :param reverse_path: where reports go; ``""`` is nobody.
        :param source: the message: see `Outgoing`.
        :param parameters: of MAIL.  Without ``body`` and ``size`` they are what the message needs
            and has; with ``BODY=BINARYMIME`` it is sent octet for octet, whatever is in it.
        :param rules: what its header section is to have; ``None``: it goes as it is.
        :param require_all_recipients: send it only if no recipient was refused.
        :param may_lack: keywords whose parameters are left out where they are not offered.
        :param downgrade: write it anew in 7 bits for a server that takes nothing else.
        :param data: yours.
        :raises ValueError: the path is none.
        :raises TypeError: the source is nothing that can be sent.
        """
        message = Message(
            reverse_path,
            source,
            parameters=parameters,
            rules=rules,
            require_all_recipients=require_all_recipients,
            may_lack=may_lack,
            downgrade=downgrade,
            data=data,
            pause=lambda: deferLater(self._reactor, 0),
            wait=lambda one: awaited(one, is_asyncio(self._reactor)),
        )
        self.messages.append(message)
        return message

    @property
    def remaining(self) -> list[Message]:
        """Those for whom something is left to be done, which is what `run` does."""
        return [one for one in self.messages if one.transaction.remaining]

    @awaited_anywhere
    async def run(self) -> SessionResult:
        """
        Send what is left to be done: to those who were not reached and have not refused for good.

        Cancelling the Deferred of it leaves the server at once.

        :return: what became of it; a session that ended early is no error, its result says so.
        :raises ValueError: there is nothing to do.
        :raises ContentError: a message cannot be sent; nothing was.
        :raises NoSession: no server takes messages; nothing was sent.
        """
        if self._running:
            raise RuntimeError("the session is running")
        remaining = self.remaining
        if not remaining:
            raise ValueError("nothing to do: no message has a recipient that is left")
        self._running = True
        try:
            for message in remaining:
                await message.prepare()
            protocol = await self._session()
            try:
                for message in remaining:
                    await self._deliver(protocol, message)
                await protocol.quit()
            except CancelledError:
                protocol.abandon("cancelled")
                raise
            return SessionResult(tuple(remaining), protocol.failure)
        finally:
            self._running = False

    async def _session(self) -> ClientProtocol:
        return await open_session(
            self._servers,
            self._settings,
            times=self._times,
            give=self._give,
            observer=self._observer,
            reactor=self._reactor,
        )

    async def _deliver(self, protocol: ClientProtocol, message: Message) -> None:
        transaction = message.transaction
        while True:
            before = transaction.remaining
            if protocol.failure is not None:
                for one in before:
                    if one.outcome is Outcome.NOT_TRIED:
                        one.fail(protocol.failure, Outcome.NOT_TRIED)
                return
            try:
                if message.may_be_narrowed and protocol.is_narrow(transaction.parameters):
                    await message.narrowed()
                await protocol.deliver(transaction, message.outgoing)
            except ClientFailure:
                return  # it stands in the transaction, and another message may go
            # A server may have said that it takes only so many at once (RFC 9422).
            untried = [
                one
                for one in transaction.remaining
                if one.outcome is Outcome.NOT_TRIED and one.failure is None
            ]
            if not untried or len(untried) == len(before):
                return
