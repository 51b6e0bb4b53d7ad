"""SmtpServerFactory: one connection becomes one protocol, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any

from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb._ids import Ids
from smtpcb.engine import (
    Budget,
    Connection,
    Conversation,
    Settings,
    replies,
)
from smtpcb.engine._conversation import Host
from smtpcb.engine._offer import try_own
from smtpcb.engine._xclient import address_of, successor
from smtpcb.server._admission import Admission, Ticket, normal
from smtpcb.server._certificates import Reloads
from smtpcb.server._circumstances import ServerCircumstances
from smtpcb.server._clock import Deadlines
from smtpcb.server._connections import Doorway
from smtpcb.server._counters import Counters, Tally
from smtpcb.server._farewell import LINGER_SECONDS
from smtpcb.server._flow import Turns
from smtpcb.server._free import FreeSpace
from smtpcb.server._handlers import Handlers
from smtpcb.server._later import TwistedPlatform
from smtpcb.server._logins import Logins
from smtpcb.server._observers import Lines, ObserverFactory, Observers
from smtpcb.server._preface import Preface, ProxiedAddress
from smtpcb.server._protocol import SmtpServerProtocol
from smtpcb.smtp import Reply, XClient
from smtpcb.transcript import TranscriptFolder

# A client that has said nothing for so long makes room for one who comes, where all places are
# taken.
IDLE_SECONDS = 10.0

_log = Logger(namespace="smtpcb.server")


class SmtpServerFactory(Doorway):
    """
    Builds the protocol of each connection, and knows all that are there.

    :param handler: what `smtpcb.handling.handler_factory` takes: a class, an instance, any
        callable, ``callbacks(…)``, ``threaded(…)``.
    :param settings: how dialogues are led.
    :param reactor: for time; the one that is installed, by default.
    :param tls: makes the TLS connections of STARTTLS; `smtpcb.tls.ServerTls`, or any other.
        ``None``: STARTTLS is not offered.
    :param authenticator: who may log in, for all handlers; by default a handler's own
        ``authenticate`` is asked.
    :param transcripts: where dialogues are recorded; see `transcripts`.
    :param observers: called with each connection; what they return, an `Observer` or ``None``, sees
        all of it.
    :param log_messages: write a line into the log for each message, refusal and login.
    :param memory_octets: how much of a message that is taken whole is kept in memory.
    :param spool_folder: where the rest goes; the system's temporary folder by default.
    :param worker: number of this process among several that serve the same ports.
    :raises TypeError: the handler, the authenticator or a setting is none.
    :raises ValueError: the handler says of itself what cannot be, a number is below 0, no file can
        be made in ``spool_folder``, an extension of the settings fails, ``require_tls`` is set
        without ``tls``, or nobody can decide on a mechanism that the settings name.
    """

    def __init__(
        self,
        handler: object,
        settings: Settings | None = None,
        *,
        reactor: Any = None,
        tls: IOpenSSLServerConnectionCreator | None = None,
        authenticator: object | None = None,
        transcripts: TranscriptFolder | None = None,
        observers: Sequence[ObserverFactory] = (),
        log_messages: bool = True,
        memory_octets: int = 1_048_576,
        spool_folder: Path | None = None,
        worker: int = 0,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        settings = Settings() if settings is None else settings
        _require(settings, Settings, "settings")
        _require(log_messages, bool, "log_messages")
        _require_number(memory_octets, "memory_octets")
        _require_number(worker, "worker")
        _require_or_none(transcripts, TranscriptFolder, "transcripts")
        _require_or_none(spool_folder, Path, "spool_folder")
        _require_room(spool_folder)
        _require_makers(reactor, tls, observers)
        self.reactor = reactor
        self._users = 0
        try_own(settings)
        _require_reachable(settings, tls)
        self.handlers = Handlers(handler, authenticator)
        super().__init__(self, settings, self.handlers.known(settings))
        self.tls = tls
        self.reloads = Reloads(tls, reactor)
        self._worker = worker
        self._ids = Ids()
        self.platform = TwistedPlatform(
            reactor,
            memory_octets=memory_octets,
            spool_folder=spool_folder,
            header_octets=settings.limits.header_octets,
        )
        lines = Lines(reactor) if log_messages else None
        self.observers = Observers(transcripts, observers, lines, self.platform)
        self.seconds = self.platform.seconds
        #: Who is there, over all services, on which ticket.
        self.everybody: dict[SmtpServerProtocol | Preface, Ticket] = {}
        self.admission = Admission(settings.limits)
        self.logins = Logins(settings.limits, reactor, self.seconds)
        self.circumstances = ServerCircumstances(settings.limits, self.seconds)
        self.tally = Tally()
        spool = Path(gettempdir()) if spool_folder is None else spool_folder
        self._free_space = FreeSpace(
            # What is no number has been made one by then.
            settings.limits.min_free if isinstance(settings.limits.min_free, int) else None,
            lambda: (spool, *self.handlers.folders),
            self.circumstances,
            reactor,
        )
        self.deadlines = Deadlines(reactor, self.seconds, lambda: self.everybody)
        self.turns = Turns(reactor, self.seconds)

    def doorway(self, settings: Settings | None = None) -> Doorway:
        """
        Return a door of its own to this server.

        :param settings: how dialogues behind it are led; ``None``: as all others.  What its limits
            say of several connections, how long they have when we stop, how much room there must
            be on the disk, and how much of a header ``mime`` parses, is the server's to say and not
            looked at.
        :raises TypeError: they are none, or nobody decides on logins where everybody has to log in.
        :raises ValueError: an extension of theirs fails.
        """
        if settings is None or settings is self.settings:
            return Doorway(self, self.settings, self.known)
        _require(settings, Settings, "settings")
        try_own(settings)
        _require_reachable(settings, self.tls)
        return Doorway(self, settings, self.handlers.known(settings))

    @property
    def transcripts(self) -> TranscriptFolder | None:
        """
        Where connections that come from now on are recorded; ``None``: nowhere.

        It can be exchanged while the server runs.  Who is connected is recorded as it was begun.
        """
        return self.observers.transcripts

    @transcripts.setter
    def transcripts(self, transcripts: TranscriptFolder | None) -> None:
        _require_or_none(transcripts, TranscriptFolder, "transcripts")
        self.observers.record(transcripts)
        if transcripts is not None and self._users:
            transcripts.start()

    def begin(self) -> None:
        """Start what belongs to the server; the first of its services does it."""
        if not self._users:
            self.handlers.start()
            self._free_space.start()
            if self.transcripts is not None:
                self.transcripts.start()
            self.reloads.start()
        self._users += 1

    @inlineCallbacks
    def end(self) -> Any:
        """Stop it; the last of its services does it, when its connections are gone."""
        self._users -= 1
        if self._users:
            return
        self.reloads.stop()
        self._free_space.stop()
        if self.tally.arrived:
            _log.info(
                "served since {counters.since:%Y-%m-%d %H:%M}: {counters}", counters=self.counters
            )
        # Together: they may have to wait for the same disk, and each for as long as it may take.
        closed = gatherResults([folder.close() for folder in self.observers.folders])
        try:
            yield self.handlers.stop()
        finally:
            yield closed
            # Not before: by default SIGHUP would end us while sessions are being finished.
            self.reloads.give_back()

    def protocol_for(self, addr: IAddress | None, doorway: Doorway) -> Protocol:
        """
        Return the protocol of a new connection.

        :param addr: the client's address.
        :param doorway: through which it has come.
        """
        host = normal(getattr(addr, "host", None) or "")
        if doorway.stopping:
            return self._turned_away(replies.SHUTTING_DOWN, doorway, "stopping")
        counts_for = getattr(addr, "counts_for", host)
        if not self.circumstances.may_log_in(counts_for):
            return self._turned_away(replies.TOO_MANY_FAILED_LOGINS, doorway, "failed logins")
        ticket = self._ticket_for(counts_for)
        if isinstance(ticket, Reply):
            self.admission.turn_away(host, self.seconds())
            return self._turned_away(ticket, doorway, "connections")
        connection = self._connection(host, getattr(addr, "port", 0) or 0, doorway)
        if isinstance(addr, ProxiedAddress):
            addr.describe(connection)
        protocol = SmtpServerProtocol(self, doorway, connection)
        self.everybody[protocol] = ticket
        self.tally.arrived += 1
        doorway.protocols[protocol] = None
        return protocol

    def _turned_away(self, reply: Reply, doorway: Doorway, why: str) -> Protocol:
        self.tally.turned_away[why] += 1
        return TurnedAway(doorway.settings.said(reply), self.reactor)

    @property
    def counters(self) -> Counters:
        """What this server has done up to now, over all its services."""
        return self.tally.counters(
            [one.connection for one in self.everybody if isinstance(one, SmtpServerProtocol)],
            self.platform.incidents.count,
        )

    def await_header(self, preface: Preface, address: str, doorway: Doorway) -> Protocol | None:
        """
        Give a connection its place while it is not known whose it is.

        :param address: the balancer's.
        :return: what turns it away, if there is no place.
        """
        if doorway.stopping:
            return self._turned_away(replies.SHUTTING_DOWN, doorway, "stopping")
        ticket = self._ticket_for("")
        if isinstance(ticket, Reply):
            self.admission.turn_away(address, self.seconds())
            return self._turned_away(ticket, doorway, "connections")
        self.everybody[preface] = ticket
        doorway.protocols[preface] = None
        return None

    def succeed(self, protocol: SmtpServerProtocol, client: XClient) -> Reply | None:
        """
        Exchange the place of a connection for one of the client that XCLIENT names.

        :return: what is said if that one has none; the connection has lost its own then too.
        """
        address = address_of(protocol.connection, client)
        self.everybody[protocol].give_back()
        if not self.circumstances.may_log_in(address):
            self.tally.turned_away["failed logins"] += 1
            return replies.TOO_MANY_FAILED_LOGINS
        ticket = self._ticket_for(address)
        if isinstance(ticket, Reply):
            self.tally.turned_away["connections"] += 1
            self.admission.turn_away(address, self.seconds())
            return ticket
        self.everybody[protocol] = ticket
        return None

    def successor_of(self, old: Connection, client: XClient) -> Connection:
        """Return the connection of the client that XCLIENT names, over the same transport."""
        now = datetime.now(UTC)
        self.tally.add(old)
        self.tally.arrived += 1
        return successor(old, client, self._ids.at(now), now)

    def _ticket_for(self, address: str) -> Ticket | Reply:
        ticket = self.admission.admit(address)
        # Nobody goes for one who would not be let in either.
        if isinstance(ticket, Reply) and not self.admission.has_its_share(address):
            self._make_room()
            ticket = self.admission.admit(address)
        return ticket

    def _connection(self, address: str, port: int, doorway: Doorway) -> Connection:
        now = datetime.now(UTC)
        return Connection(
            id=self._ids.at(now),
            started=now,
            peer_address=address,
            peer_port=port,
            hostname=doorway.settings.hostname,
            budget=Budget(doorway.settings.limits, circumstances=self.circumstances),
            worker=self._worker,
            lmtp=doorway.settings.lmtp,
        )

    def _make_room(self) -> None:
        """Send away the one who has been idle for longest, if anybody is idle."""
        idle = [one for one in self.everybody if isinstance(one, SmtpServerProtocol) and one.idle]
        if idle:
            longest = min(idle, key=lambda protocol: protocol.patience.since)
            waited = self.seconds() - longest.patience.since
            if waited >= min(IDLE_SECONDS, longest.factory.idle_seconds):
                # Now, and not when the client has gone.
                self.everybody[longest].give_back()
                longest.send_away(replies.TOO_MANY_CONNECTIONS)

    def left(self, protocol: SmtpServerProtocol | Preface) -> None:
        """Forget a connection.  Its protocol says so when its handler has heard all."""
        ticket = self.everybody.pop(protocol, None)
        if ticket is not None:
            ticket.give_back()
            if isinstance(protocol, SmtpServerProtocol):
                self.tally.add(protocol.connection)
            if not self.everybody:
                self.deadlines.stop()
                self.observers.rest()
        protocol.factory.concluded(protocol)

    def converse(
        self, connection: Connection, doorway: Doorway, host: Host, *, tls: bool
    ) -> tuple[Conversation, Reply | None]:
        """
        Return the conversation of a new connection, and what the client is told if it has no
        handler.

        :param doorway: through which it has come.
        :param host: who has the connection.
        :param tls: whether a handshake can be made on it.
        """
        observer = self.observers.of(connection)
        platform = self.platform
        starttls = tls and self.tls is not None
        handler, refusal = self.handlers.of(connection, platform, doorway.known, tls=starttls)
        conversation = Conversation(connection, doorway.settings, handler, platform, host, observer)
        return conversation, refusal


class TurnedAway(Protocol):
    """One connection too many: no handler hears of it."""

    transport: Any

    def __init__(self, reply: Reply, clock: Any) -> None:
        self._reply = reply
        self._clock = clock
        self._timer: Any = None

    def connectionMade(self) -> None:
        """Say why, and close; where nothing can be said before a handshake, close at once."""
        transport = self.transport
        if ISSLTransport.providedBy(transport):
            transport.abortConnection()
            return
        transport.write(self._reply.wire)
        transport.loseConnection()
        self._timer = self._clock.callLater(LINGER_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the clock."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def _require(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a {kind.__name__}, not {_kind(value)}")


def _require_reachable(settings: Settings, tls: object) -> None:
    """Nobody could send mail who has to begin TLS, and cannot."""
    if settings.require_tls and tls is None:
        raise ValueError(
            "require_tls needs tls, such as a ServerTls: STARTTLS is not offered, and nothing else "
            "would be taken; a port of wrapServerTLS has TLS already, and does not need it"
        )


def _require_number(value: object, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a number, not {_kind(value)}")
    if value < 0:
        raise ValueError(f"{name} is at least 0, not {value}")


def _require_or_none(value: object, kind: type, name: str) -> None:
    if value is not None:
        _require(value, kind, name)


def _require_room(folder: Path | None) -> None:
    """A message that is not kept in memory needs a file: try it before the first one comes."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        if folder is not None:
            raise ValueError(f"no file can be made in spool_folder {folder}: {why}") from error
        _log.warn("no message over memory_octets can be taken: {why}", why=why)


def _require_makers(reactor: object, tls: object, observers: object) -> None:
    """Of those nobody asks what they are, only what they do."""
    if not IReactorTime.providedBy(reactor) and not hasattr(reactor, "callLater"):
        raise TypeError(f"reactor is a reactor, not {_kind(reactor)}")
    if tls is not None and not IOpenSSLServerConnectionCreator.providedBy(tls):
        raise TypeError(f"tls makes TLS connections, as ServerTls does; {_kind(tls)} does not")
    if isinstance(observers, (str, bytes)) or not isinstance(observers, Sequence):
        raise TypeError(f"observers is a list of callables, not {_kind(observers)}")
    for observer in observers:
        if not callable(observer):
            raise TypeError(f"an observer is made by a callable; {_kind(observer)} is none")


def _kind(value: object) -> str:
    return type(value).__name__
