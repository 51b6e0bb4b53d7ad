"""SubmissionSession: several messages to one server, and what became of each for each recipient."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import threadable

from smtpcb.client._anywhere import awaited_anywhere
from smtpcb.client._connect import Server
from smtpcb.client._credentials import GiveCredentials, nobody, settings_for
from smtpcb.client._message import Message, MessageRecipient, SaidWithMail
from smtpcb.client._opening import NoSession, open_session
from smtpcb.client._place import Place
from smtpcb.client._pool import ConnectionPool
from smtpcb.client._protocol import ClientProtocol
from smtpcb.client._rules import HeaderRules
from smtpcb.client._times import ClientTimes
from smtpcb.engine import (
    Cause,
    ClientFailure,
    ClientObserver,
    ClientSettings,
    Offers,
    Outcome,
)
from smtpcb.engine._client._asking import askable
from smtpcb.handling._coroutines import awaited, is_asyncio
from smtpcb.smtp import (
    Command,
    LocalProtocolError,
    MailParameters,
    Reply,
    ReversePath,
    Verb,
)
from smtpcb.smtp import _grammar as grammar

_NO_MAIL = MailParameters()
_COMPLETED = HeaderRules()
_DOMAIN = re.compile(grammar.DOMAIN)
_log = Logger(namespace="smtpcb.client")


class SessionCommand:
    """
    A command of a session that is no part of a message, and what was said to it.

    :ivar command: which.
    :ivar reply: the server's; ``None``: there is none, and `failure` says why.
    :ivar failure: why it was not asked, or not answered.
    :ivar data: yours.
    """

    __slots__ = ("command", "data", "failure", "reply")

    def __init__(self, command: Command, data: object = None) -> None:
        self.command = command
        self.data = data
        self.reply: Reply | None = None
        self.failure: ClientFailure | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the server has said yes."""
        return self.reply is not None and self.reply.positive

    async def ask(self, protocol: ClientProtocol) -> None:
        """Ask it, and keep what is said."""
        self.reply = self.failure = None
        try:
            self.reply = await protocol.ask(self.command)
        except ClientFailure as failure:
            self.failure = failure
        else:
            self.failure = None if self.reply is not None else protocol.failure

    def __repr__(self) -> str:
        said = self.failure if self.reply is None else self.reply.text
        return f"<SessionCommand {self.command.wire.decode().strip()}: {said}>"


@dataclass(frozen=True, slots=True)
class SessionResult:
    """
    What became of a session.

    :ivar messages: those that were sent or tried.
    :ivar failure: why it ended early; ``None``: it was quit.
    :ivar commands: those that were asked.
    :ivar where: the host and address that has had it.
    """

    messages: tuple[Message, ...]
    failure: ClientFailure | None
    commands: tuple[SessionCommand, ...] = ()
    where: str = ""

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

    :param servers: where to: a host's name and, if it is not 587, its port; or any number of
        `Server`, `MailExchangers` and the like, each with all its addresses, of which the first
        that has a session gets all.
    :param settings: how the dialogue is led; by default inside TLS, with a login if there is
        ``give``.
    :param give: says who logs in: called with the name of a mechanism, it returns `Credentials` or
        ``None``, now or later.
    :param pool: lends a connection to each `run`, in place of servers, settings and all that.
    :param times: how long a server may take.
    :param observer: sees everything; `Transcripts` and `Monitor` are ready-made ones.
    :param data: yours.
    :param reactor: by default the one that is installed.
    :raises ValueError: there is no server, ``give`` would never be called, or what a pool has is
        said again.
    :raises TypeError: a server is none.
    :ivar messages: those that were added, in their order.
    :ivar commands: likewise.
    """

    def __init__(
        self,
        *servers: Place | str | int,
        settings: ClientSettings | None = None,
        give: GiveCredentials = nobody,
        pool: ConnectionPool | None = None,
        times: ClientTimes | None = None,
        observer: ClientObserver | None = None,
        data: object = None,
        reactor: Any = None,
    ) -> None:
        if pool is not None:
            if servers or settings or times or observer or give is not nobody:
                raise ValueError("a pool has its servers, settings, times and observer already")
            reactor = pool.reactor
        elif not servers:
            raise ValueError("a session needs a server: Server('mail.example.org')")
        if reactor is None:
            from twisted.internet import reactor
        self._servers = _places(servers)
        self._settings = settings_for(settings, give) if pool is None else pool.settings
        self._pool = pool
        self._out: ClientProtocol | None = None
        self._give = give
        self._times = times or ClientTimes()
        self._observer = observer
        self._reactor = reactor
        self.data = data
        self.messages: list[Message] = []
        self.commands: list[SessionCommand] = []
        self._running = False

    def add_message(
        self,
        reverse_path: ReversePath | str,
        source: object,
        *,
        parameters: SaidWithMail = _NO_MAIL,
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
            and has; with ``BODY=BINARYMIME`` it is sent octet for octet, whatever is in it.  Or a
            callable that returns those that suit a server, called with its `Offers`; what it says
            of ``body`` counts for nothing.
        :param rules: what its header section is to have; ``None``: it goes as it is.
        :param require_all_recipients: send it only if no recipient was refused.
        :param may_lack: keywords whose parameters are left out where they are not offered.
        :param downgrade: write it anew in 7 bits for a server that takes nothing else.
        :param data: yours.
        :raises ValueError: the path is none.
        :raises TypeError: the source is nothing that can be sent.
        :raises RuntimeError: the session is running.
        """
        self._check_idle()
        reactor = self._reactor
        message = Message(
            reverse_path,
            source,
            parameters=parameters,
            rules=rules,
            require_all_recipients=require_all_recipients,
            may_lack=may_lack,
            downgrade=downgrade,
            data=data,
            pause=lambda: deferLater(reactor, 0),
            wait=lambda one: awaited(one, is_asyncio(reactor)),
        )
        self.messages.append(message)
        return message

    def add_etrn(
        self, domain: str, *, subdomains: bool = False, data: object = None
    ) -> SessionCommand:
        """
        Have the server start its queue for a domain (RFC 1985), each time the session is run.

        A session may have nothing else to do.  What the server says stands in the ``reply``; where
        it has not offered ETRN, ``failure`` says so.

        :param subdomains: and for all domains below it.
        :param data: yours.
        :raises ValueError: it is no domain.
        """
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise ValueError(f"ETRN is for a domain, not {domain!r:.80}")
        return self.add_command(Command(Verb.ETRN, f"{'@' if subdomains else ''}{domain}"), data)

    def add_command(self, command: Command, data: object = None) -> SessionCommand:
        """
        Have something said each time the session is run, behind the login and before any message.

        :param command: NOOP, HELP, VRFY, EXPN, ETRN, XFORWARD, or of an extension of yours.
        :param data: yours.
        :raises ValueError: it is none of these, or cannot be written.
        """
        self._check_idle()
        try:
            with suppress(ClientFailure):  # whether it is offered, is not known yet
                askable(command, Offers(), self._settings)
            _ = command.wire
        except LocalProtocolError as error:
            raise ValueError(str(error)) from None
        self.commands.append(SessionCommand(command, data))
        return self.commands[-1]

    @property
    def remaining(self) -> list[Message]:
        """Those for whom something is left to be done, which is what `run` does."""
        return [one for one in self.messages if one.transaction.remaining]

    @awaited_anywhere
    async def run(self) -> SessionResult:
        """
        Send what is left to be done: to those who were not reached and have not refused for good.

        A message that cannot be sent, or whose source fails, keeps no other one back.  Cancelling
        the Deferred of it leaves the server at once, and closes the sources: what can be read only
        once cannot be sent any more.

        :return: what became of it; a session that ended early is no error, its result says so.
        :raises ValueError: there is nothing to do, or a message has no recipient.
        :raises ContentError: no message can be sent; this is what is wrong with the first.  A
            source that fails in another way has its own exception.
        :raises NoSession: no server takes messages; nothing was sent.
        :raises RuntimeError: the session is running already, or this is not the reactor's thread.
        """
        self._check_idle()
        if threadable.ioThread is not None and not threadable.isInIOThread():
            raise RuntimeError(
                "a session is run in the reactor's thread: from another one, by"
                " twisted.internet.threads.blockingCallFromThread"
            )
        remaining = self.remaining
        if not remaining and not self.commands:
            raise ValueError("nothing to do: no message has a recipient that is left")
        self._check_recipients()
        self._running = True
        try:
            for message in remaining:
                message.begin()
            result = await self._run(remaining)
            await _close(one for one in remaining if not one.transaction.remaining)
            return result
        except (CancelledError, asyncio.CancelledError):
            await _close(remaining)
            raise
        finally:
            self._running = False
            for message in remaining:
                message.end()

    def _check_recipients(self) -> None:
        for number, message in enumerate(self.messages, 1):
            if not message.recipients:
                raise ValueError(f"message {number} goes to nobody: message.add_recipient(...)")

    async def _run(self, remaining: list[Message]) -> SessionResult:
        ready = await self._prepared(remaining)
        protocol = await self._session()
        try:
            for command in self.commands:
                await command.ask(protocol)
            for message in ready:
                protocol = await self._after(protocol)
                await self._deliver(protocol, message)
            if self._pool is None:
                await protocol.quit()
        except BaseException as error:
            cancelled = isinstance(error, CancelledError)
            protocol.abandon("cancelled" if cancelled else type(error).__name__)
            raise
        finally:
            self._give_back()
        commands = tuple(self.commands)
        return SessionResult(tuple(remaining), protocol.failure, commands, protocol.where)

    async def _prepared(self, messages: list[Message]) -> list[Message]:
        """Return those that can be sent; of the others it is told why they cannot."""
        ready: list[Message] = []
        errors: list[Exception] = []
        for message in messages:
            try:
                await message.prepare()
            except CancelledError:
                raise
            except Exception as error:  # the source is the user's own, perhaps
                message.give_up(error)
                errors.append(error)
            else:
                ready.append(message)
        if errors and not (ready or self.commands):
            raise errors[0]
        return ready

    async def _after(self, protocol: ClientProtocol) -> ClientProtocol:
        """
        Return the session for the next message: another one, if the last message has cost the one
        there was, as it does when its source fails.
        """
        failure = protocol.failure
        if failure is not None and failure.cause is Cause.SOURCE:
            await protocol.quit()
            self._give_back()
            try:
                return await self._session()
            except NoSession as error:
                protocol.failure = error.failures[-1][1]
        return protocol

    def _check_idle(self) -> None:
        if self._running:
            raise RuntimeError("the session is running")

    async def _session(self) -> ClientProtocol:
        if self._pool is not None:
            self._out = await self._pool.take()
            return self._out
        return await open_session(
            self._servers,
            self._settings,
            times=self._times,
            give=self._give,
            observer=self._observer,
            reactor=self._reactor,
        )

    def _give_back(self) -> None:
        """Let others have what a pool has lent."""
        out, self._out = self._out, None
        if self._pool is not None and out is not None:
            self._pool.give_back(out)

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
                message.suit(protocol.offers)
                if message.may_be_narrowed and protocol.is_narrow(transaction.parameters):
                    await message.narrowed()
                await protocol.deliver(transaction, message.outgoing)
            except ClientFailure:
                return  # it stands in the transaction, and another message may go
            except CancelledError:
                raise
            except Exception as error:  # something in it cannot be written; nothing was sent
                message.give_up(error)
                return
            # A server may have said that it takes only so many at once (RFC 9422).
            untried = [
                one
                for one in transaction.remaining
                if one.outcome is Outcome.NOT_TRIED and one.failure is None
            ]
            if not untried or len(untried) == len(before):
                return


def _places(said: tuple[Any, ...]) -> tuple[Place, ...]:
    """Return where to; a host with its port is one server."""
    if said and isinstance(said[0], str) and all(isinstance(one, int) for one in said[1:2]):
        said = (Server(*said[:2]), *said[2:])
    for one in said:
        if not hasattr(one, "candidates"):
            raise TypeError(f"no Server: {one!r:.80}; say Server('mail.example.org', 587)")
    return said


async def _close(messages: Iterable[Message]) -> None:
    """Close what these messages are read from, if it still is open."""
    for message in messages:
        try:
            await message.outgoing.aclose()
        except Exception:  # somebody's own, and what became of the message is known
            _log.failure("a message could not be closed")
