"""Relay: where messages go on to, and how; it makes what passes on those of each client."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from zope.interface import implementer

from smtpcb.client import ClientTimes
from smtpcb.client._place import Place
from smtpcb.client._protocol import ClientProtocol, GiveCredentials, nobody
from smtpcb.engine import ClientSettings, Envelope, Recipient
from smtpcb.engine._connection import Connection
from smtpcb.handlers._undemanding import Undemanding
from smtpcb.handlers.relay._changes import Opener
from smtpcb.handlers.relay._passing import Holding, Passing, Streaming
from smtpcb.handlers.relay._sessions import Pooled
from smtpcb.handling._compose import _made
from smtpcb.handling._composed import part_of, policies_first
from smtpcb.interfaces import ISmtpHandlerFactory
from smtpcb.smtp import Reply

TIMES = ClientTimes(greeting=60.0, envelope=240.0, data=110.0, content=170.0, final=570.0)
"""A little less than our own clients wait, and than a server gives its handler, so that they hear
what has happened."""


@implementer(ISmtpHandlerFactory)
class Relay(Undemanding, Service):
    """
    A handler that passes messages on to a server.

    :param server: where to: a `Server`.
    :param settings: how the dialogue with it is led; by default STARTTLS where it is offered.
    :param filter: is asked before the next server, as a policy is (`smtpcb.around`), and may
        change what goes on by `changes`; if it has ``message``, nothing of a message goes on
        before that has answered, and else it streams.
    :param give: says who logs in there; see `smtpcb.client.SubmissionSession`.
    :param times: how long it may take; our own client waits all that time.
    :param size: so many sessions with it there are at most, for all clients together.
    :param wait_seconds: how long a client waits for one; then it hears 451.
    :param reactor: by default the one that is installed.
    """

    #: Whether a message goes to the exchangers of its recipients' domain.
    by_domain = False

    def __init__(
        self,
        server: Place,
        settings: ClientSettings | None = None,
        *,
        filter: object = None,
        give: GiveCredentials = nobody,
        times: ClientTimes | None = None,
        size: int = 50,
        wait_seconds: float = 60.0,
        reactor: Any = None,
    ) -> None:
        if size < 1 or not wait_seconds > 0:
            raise ValueError("size is 1 or more, and wait_seconds above 0")
        self.server = server
        self.settings = settings or ClientSettings(starttls="opportunistic")
        self.give = give
        self.times = times or TIMES
        self.size = size
        self.wait_seconds = wait_seconds
        self.filter = filter
        self._filter = None if filter is None else _made(filter, takes_mail=False)
        self._reactor = reactor
        self._sessions: Pooled | None = None
        self.report = (f"messages: they go on to {server.name}, and none is kept",)

    @property
    def reactor(self) -> Any:
        """For connections and their timers."""
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        return self._reactor

    def __call__(self, connection: Connection) -> object:
        """Return what passes on the messages of one client."""
        if self._filter is None:
            return Streaming(self)
        part = self._filter.part(connection)
        passing: Passing = Holding(self) if "message" in part.methods else Streaming(self)
        opener, last = part_of(Opener(), takes_mail=False), part_of(passing, takes_mail=True)
        return policies_first(f"Relay with {self._filter.given!r:.60}", [opener, part, last])

    def startService(self) -> None:
        """Start a filter that is a service."""
        if IService.providedBy(self.filter):
            self.filter.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Leave the next server, and wait until that is done."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._sessions is not None:
            await self._sessions.close()
            self._sessions = None
        if IService.providedBy(self.filter):
            await maybeDeferred(self.filter.stopService)

    # For those who pass on.

    async def session(self, envelope: Envelope, domain: str) -> ClientProtocol:
        """
        Return a session for a transaction, which is to be given back.

        :raises NoSession: there is none.
        :raises TimeoutError: nor has there been one in time.
        """
        if self._sessions is None:
            self._sessions = Pooled(self.server, self.settings, self.size, self._opening())
        taking = ensureDeferred(self._sessions.take())
        taking.addTimeout(self.wait_seconds, self.reactor)
        try:
            return await taking
        except DeferredTimeoutError:
            raise TimeoutError from None

    async def introduce(self, envelope: Envelope, session: ClientProtocol) -> Reply | None:
        """Say there whose message the next one is; return why it cannot be."""
        return None

    def refuses(self, recipient: Recipient, envelope: Envelope) -> Reply | None:
        """Return why a recipient cannot be named in a transaction."""
        return None

    def _opening(self) -> dict[str, Any]:
        return {"give": self.give, "times": self.times, "reactor": self.reactor}

    def give_back(self, session: ClientProtocol) -> None:
        """Let another client have it."""
        assert self._sessions is not None
        self._sessions.give_back(session)
