"""Relay: where messages go on to, and how; it makes what passes on those of each client."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.logger import Logger
from zope.interface import implementer

from smtpcb.client import ClientTimes, Server
from smtpcb.client._addresses import is_loopback
from smtpcb.client._credentials import GiveCredentials, nobody, settings_for
from smtpcb.client._place import Place
from smtpcb.client._protocol import ClientProtocol
from smtpcb.engine import ClientFailure, ClientSettings, Envelope, Recipient
from smtpcb.engine._client._settings import is_hostname
from smtpcb.engine._connection import Connection
from smtpcb.handlers._undemanding import Undemanding
from smtpcb.handlers.relay._changes import Opener
from smtpcb.handlers.relay._client import PASS_ON, as_xclient, introduce, proxy_header
from smtpcb.handlers.relay._passing import Holding, Passing, Streaming
from smtpcb.handlers.relay._replies import UNTRUSTED
from smtpcb.handlers.relay._sessions import OneEach, Pooled
from smtpcb.handling._compose import _made
from smtpcb.handling._composed import part_of, policies_first
from smtpcb.interfaces import ISmtpHandlerFactory
from smtpcb.smtp import Reply

TIMES = ClientTimes(greeting=60.0, envelope=240.0, data=110.0, content=170.0, final=570.0)
"""A little less than our own clients wait, and than a server gives its handler, so that they hear
what has happened."""

_log = Logger(namespace="smtpcb.handlers")


@implementer(ISmtpHandlerFactory)
class Relay(Undemanding, Service):
    """
    A handler that passes messages on to a server.

    :param server: where to: a `Server`.
    :param settings: how the dialogue with it is led; by default STARTTLS where it is offered, to
        another machine, and a ``hostname`` that is our server's; where somebody logs in there,
        not without TLS.
    :param filter: is asked before the next server, as a policy is (`smtpcb.around`), and may
        change what goes on by `changes`; if it has ``message``, nothing of a message goes on
        before that has answered, and else it streams.
    :param give: says who logs in there; see `smtpcb.client.SubmissionSession`.
    :param times: how long it may take; our own client waits all that time.
    :param size: so many sessions with it there are at most, for all clients together.
    :param wait_seconds: how long a client waits for one; then it hears 451.
    :param pass_on: how a server that trusts us is told who the client is: ``"xclient"`` and
        ``"xforward"`` as Postfix has them, ``"proxy"`` and ``"proxy-v1"`` as HAProxy has; where it
        does not take that from us, nothing goes on.
    :param reactor: by default the one that is installed.
    :raises ValueError: one of them cannot be.
    """

    #: Host and port, or a socket's path and None: whoever runs a server sees whether it is its own.
    goes_to: tuple[str, int | None] | None
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
        pass_on: str | None = None,
        reactor: Any = None,
    ) -> None:
        if size < 1 or not wait_seconds > 0:
            raise ValueError("size is 1 or more, and wait_seconds above 0")
        if pass_on not in (None, *PASS_ON):
            raise ValueError(f"pass_on is one of {', '.join(PASS_ON)}, not {pass_on!r:.40}")
        if pass_on is not None and "proxy" in pass_on and not isinstance(server, Server):
            raise ValueError(f"pass_on={pass_on!r} needs a Server")
        self.server = server
        self.goes_to = server.place if isinstance(server, Server) else None
        local = self.goes_to is not None and is_loopback(self.goes_to[0])
        if settings is None and give is nobody:
            settings = ClientSettings(starttls="off" if local else "opportunistic")
        self.settings = settings_for(settings, give)
        self.give = give
        self.times = times or TIMES
        self.size = size
        self.wait_seconds = wait_seconds
        self.introduction = pass_on
        self.filter = filter
        self._filter = None if filter is None else _made(filter, takes_mail=False)
        self._reactor = reactor
        self._sessions: Pooled | OneEach | None = None
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
        taking = ensureDeferred(self._take(envelope, domain))
        taking.addTimeout(self.wait_seconds, self.reactor)
        try:
            return await taking
        except DeferredTimeoutError:
            raise TimeoutError from None

    async def _take(self, envelope: Envelope, domain: str) -> ClientProtocol:
        shared = not self.by_domain and self.introduction in (None, "xforward")
        if shared:
            if self._sessions is None:
                settings = self._settings(envelope.connection)
                self._sessions = Pooled(self.server, settings, self.size, self._opening())
            assert isinstance(self._sessions, Pooled)
            return await self._sessions.take()
        if self._sessions is None:
            self._sessions = OneEach(self.size, self._opening())
        assert isinstance(self._sessions, OneEach)
        settings = self._settings(envelope.connection)
        if self.introduction == "xclient":
            settings = replace(settings, xclient=as_xclient(envelope.connection))
        return await self._sessions.take([self.place(envelope, domain)], settings)

    def _settings(self, connection: Connection) -> ClientSettings:
        """Return how a dialogue is led; who we are to our clients, we are there too."""
        own = connection.hostname
        if self.settings.hostname is not None or not is_hostname(own):
            return self.settings
        return replace(self.settings, hostname=own)

    def place(self, envelope: Envelope, domain: str) -> Place:
        """Return where a message goes, for which a session is opened that nobody else has."""
        place = self.server
        if isinstance(place, Server) and self.introduction in ("proxy", "proxy-v1"):
            version = 1 if self.introduction == "proxy-v1" else 2
            place = place.behind(proxy_header(envelope.connection, version))
        return place

    async def introduce(self, envelope: Envelope, session: ClientProtocol) -> Reply | None:
        """Say there whose message the next one is; return why it cannot be."""
        if self.introduction == "xforward":
            try:
                await introduce(envelope, session)
            except ClientFailure as failure:
                if session.is_ready:
                    _log.error("no message is passed on: {failure}", failure=failure)
                    return UNTRUSTED
                raise
        return None

    def refuses(self, recipient: Recipient, envelope: Envelope) -> Reply | None:
        """Return why a recipient cannot be named in a transaction."""
        return None

    def _opening(self) -> dict[str, Any]:
        return {"give": self.give, "times": self.times, "reactor": self.reactor}

    def give_back(self, session: ClientProtocol) -> None:
        """Let another client have it."""
        if self._sessions is None:
            session.abandon("the relay has stopped")
        else:
            self._sessions.give_back(session)
