"""SmtpServerFactory: one connection becomes one protocol, and limits over all of them."""

from __future__ import annotations

import inspect
import ipaddress
import itertools
import os
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.engine import _replies as replies
from smtpcb.engine._budget import Budget
from smtpcb.engine._connection import Connection
from smtpcb.engine._keeping import MailData
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.handling._factories import DECLARATIONS, EVENTS, Method, abilities_of, methods_of
from smtpcb.handling._factories import authenticator as adapt_authenticator
from smtpcb.handling._factories import handler_factory as adapt_handler
from smtpcb.server._protocol import LINGER_SECONDS, SmtpServerProtocol
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sasl import Credentials
from smtpcb.transcript import TranscriptFolder

Login = Callable[[Credentials], object]
_Known = dict[bool, tuple[tuple[str, ...], Abilities]]

# What is looked at in a handler.
_OF_A_HANDLER = frozenset({*EVENTS, *DECLARATIONS, "authenticate"})

_log = Logger(namespace="smtpcb.server")


class SmtpServerFactory(Factory):
    """
    Builds the protocol of each connection, and knows all that are there.

    :param handler: what `smtpcb.handling._factories.handler_factory` takes: a class, an instance,
        ``callbacks(…)``, ``threaded(…)``.
    :param settings: how dialogues are led.
    :param reactor: for time; the one that is installed, by default.
    :param tls: makes the TLS connections of STARTTLS; `smtpcb.tls.ServerTls`, or any other.
        ``None``: STARTTLS is not offered.
    :param authenticator: who may log in, for all handlers; by default a handler's own
        ``authenticate`` is asked.
    :param transcripts: where dialogues are recorded.
    :param memory_octets: how much of a message that is taken whole is kept in memory.
    :param spool_folder: where the rest goes; the system's temporary folder by default.
    :param worker: number of this process among several that serve the same ports.
    :raises TypeError: the handler or the authenticator is none.
    """

    noisy = False

    def __init__(
        self,
        handler: object,
        settings: Settings | None = None,
        *,
        reactor: Any = None,
        tls: IOpenSSLServerConnectionCreator | None = None,
        authenticator: object | None = None,
        transcripts: TranscriptFolder | None = None,
        memory_octets: int = 1_048_576,
        spool_folder: Path | None = None,
        worker: int = 0,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.reactor = reactor
        self.handler_factory = adapt_handler(handler)
        self.settings = settings if settings is not None else Settings()
        self.tls = tls
        self._login = adapt_authenticator(authenticator) if authenticator is not None else None
        self.transcripts = transcripts
        self._memory_octets = memory_octets
        self._spool_folder = spool_folder
        self._worker = worker
        # What ids are made of; to ask the system for each would take as long as a command does.
        self._ids = itertools.count(1)
        self._random = secrets.token_hex(4)
        self._second: datetime | None = None
        self._second_text = ""
        # By class, and whether STARTTLS is possible; ``None`` where each instance must be asked.
        self._known: WeakKeyDictionary[type, _Known | None] = WeakKeyDictionary()
        #: The connections that are there, or whose handlers are still at work.
        self.protocols: set[SmtpServerProtocol] = set()
        self._per_address: Counter[str] = Counter()
        self._stopping = False
        self._all_gone: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol of a new connection; one that is too many is told so and closed."""
        host = _normal(getattr(addr, "host", None) or "")
        share = _share_of(host)
        limits = self.settings.limits
        if (
            self._stopping
            or (limits.connections is not None and len(self.protocols) >= limits.connections)
            or (
                share is not None
                and limits.connections_per_address is not None
                and self._per_address[share] >= limits.connections_per_address
            )
        ):
            return _TurnedAway(
                replies.SHUTTING_DOWN if self._stopping else replies.TOO_MANY_CONNECTIONS,
                self.reactor,
            )
        now = datetime.now(UTC)
        connection = Connection(
            id=self._id_at(now),
            started=now,
            peer_address=host,
            peer_port=getattr(addr, "port", 0) or 0,
            budget=Budget(limits),
            worker=self._worker,
        )
        protocol = SmtpServerProtocol(self, connection)
        protocol.factory = self
        self.protocols.add(protocol)
        if share is not None:
            self._per_address[share] += 1
        return protocol

    def understand(self, handler: object, *, tls: bool) -> tuple[dict[str, Method], Abilities]:
        """
        Return a handler's methods by name, ``authenticate`` among them, and what it can do.

        What a class says of its instances is looked up once, unless an instance has such
        attributes of its own.

        :param tls: whether STARTTLS is possible on its connection.
        :raises TypeError: it is no handler; ValueError: nor can it do what it says.
        """
        kind = type(handler)
        try:
            known = self._known[kind]
        except KeyError:
            known = self._known[kind] = {} if _says_all(kind) else None
        if known is not None and not _OF_A_HANDLER.isdisjoint(getattr(handler, "__dict__", ())):
            known = None
        if known is not None and tls in known:
            names, abilities = known[tls]
            methods: dict[str, Method] = {name: getattr(handler, name) for name in names}
        else:
            methods = methods_of(handler)
            names = tuple(methods)
            authentication = self._login is not None or hasattr(handler, "authenticate")
            abilities = abilities_of(handler, methods, tls=tls, authentication=authentication)
            if known is not None:
                known[tls] = names, abilities
        if abilities.authentication:
            methods["authenticate"] = self._login or adapt_authenticator(handler)
        return methods, abilities

    def make_content(self) -> MailData:
        """Return the place for one message."""
        return MailData(self._memory_octets, self._spool_folder)

    def concluded(self, protocol: SmtpServerProtocol) -> None:
        """Forget a connection.  Its protocol says so when its handler has heard all."""
        if protocol not in self.protocols:
            return
        self.protocols.remove(protocol)
        share = _share_of(protocol.connection.peer_address)
        if share is not None:
            self._per_address[share] -= 1
            if not self._per_address[share]:
                del self._per_address[share]
        if not self.protocols:
            waiting, self._all_gone = self._all_gone, []
            for gone in waiting:
                gone.callback(None)

    def drain(self) -> Deferred[None]:
        """
        End all connections: let transactions finish, then 421 (RFC 5321 §3.8).

        :return: fires when the last one is gone.  What is not, after ``grace_seconds``, is cut.
        """
        self._stopping = True
        gone: Deferred[None] = Deferred()
        if not self.protocols:
            gone.callback(None)
            return gone
        self._all_gone.append(gone)
        cut = self.reactor.callLater(self.settings.limits.grace_seconds, self.cut)

        def in_time(result: None) -> None:
            if cut.active():
                cut.cancel()

        gone.addCallback(in_time)
        for protocol in list(self.protocols):
            protocol.shut_down()
        return gone

    def cut(self) -> None:
        """End all connections now."""
        for protocol in list(self.protocols):
            protocol.cut_short()

    def resume(self) -> None:
        """Take connections again after `drain`."""
        self._stopping = False

    def _id_at(self, now: datetime) -> str:
        second = now.replace(microsecond=0)
        if second != self._second:
            self._second = second
            self._process = os.getpid()  # not once and for all: twistd may still become a daemon
            self._second_text = f"{second:%Y%m%dT%H%M%S}"
        return (
            f"{self._second_text}.{now.microsecond:06}Z-{self._process}-{next(self._ids)}-"
            f"{self._random}"
        )


class _TurnedAway(Protocol):
    """One connection too many: no handler hears of it (P32)."""

    transport: Any

    def __init__(self, reply: Reply, clock: Any) -> None:
        self._reply = reply
        self._clock = clock

    def connectionMade(self) -> None:
        """Say why, and close."""
        transport = self.transport
        transport.write(self._reply.wire)
        transport.loseConnection()
        # Inside TLS that waits for the handshake, and for the client to say that it closes.
        self._timer = self._clock.callLater(LINGER_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the clock."""
        if self._timer.active():
            self._timer.cancel()


def _says_all(kind: type) -> bool:
    """Whether a class says of its instances what `SmtpServerFactory.understand` wants to know."""
    asked = inspect.getattr_static(kind, "__getattribute__")
    if asked is not object.__getattribute__ or hasattr(kind, "__getattr__"):
        return False
    for name in _OF_A_HANDLER:
        found = inspect.getattr_static(kind, name, None)
        if hasattr(type(found), "__get__") and not isinstance(
            found, (FunctionType, staticmethod, classmethod)
        ):
            return False  # a property or a slot: it may be another with each
    return True


def _normal(host: str) -> str:
    """An IPv4 client of an IPv6 socket is an IPv4 client."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


@lru_cache(maxsize=1024)
def _share_of(host: str) -> str | None:
    """Return what counts as one address; ``None`` for loopback and UNIX sockets."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if address.is_loopback:
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
