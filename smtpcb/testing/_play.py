"""
Play: a written dialogue is held with the engine, and must go as it is written.

The notation is that of RFC 5321 Appendix D and of `smtpcb.transcript`::

    play('''
        C: EHLO client.example.org
        S: 250 ...
        C: MAIL FROM:<>
        S: 250 2.1.0
        *: 300 s pass
        S: 421
    ''', Inbox)

``C:`` is the client and ``S:`` the server.  ``\\xNN`` is an octet, ``\\\\`` a backslash, and a
lone backslash at the end of a line leaves its CRLF out.  Client lines that follow each other are
sent at once; all that the server says to them stands behind them.

An ``S:`` line may stop behind the code or any other word.  ``S: 250 ...`` stands for all the
lines of a reply that are left, ``S: 250-...`` for some of them.  Numbers of incidents and ids are
not compared, so that a transcript is a script.

``*: 2.5 s pass`` lets time pass, ``*: the client has gone`` ends the connection; any other ``*:``
line is a remark.  Where more is written than has been said, and the handler waits for the time, it
passes by itself.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.task import Clock

from smtpcb._ids import Ids
from smtpcb.engine._budget import Budget
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._handler import Handler, name_of, understand
from smtpcb.engine._observer import Observer
from smtpcb.engine._offer import try_own
from smtpcb.engine._plain import Driver
from smtpcb.engine._reason import Reason
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._settings import Settings
from smtpcb.engine._verdict import Incidents
from smtpcb.handling._check import require_login, require_mechanisms, wants_login
from smtpcb.handling._compose import Compound
from smtpcb.handling._examine import examine
from smtpcb.handling._factories import Factory, handler_factory
from smtpcb.handling._logins import authenticator as adapt_authenticator
from smtpcb.handling._threaded import threaded
from smtpcb.server._later import TwistedPlatform
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.testing._loop import PlayLoop
from smtpcb.testing._reactor import PlayReactor
from smtpcb.testing._script import Turn, aligned, fits, masked, text_of, turns
from smtpcb.transcript._replay import Line, read

TLS = TlsInformation("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
"""What a handshake in a script is said to have settled."""

_FOR_EVER = float("inf")
_IDS = Ids()


class DialogueDiffers(AssertionError):  # noqa: N818 - pytest shows it as the failure it is
    """The server said something else; the text shows where."""


class Accepting:
    """The handler of a script that is not about one: it takes every message."""

    def message(self, envelope: Envelope) -> None:
        """Take it."""


@dataclass
class Played:
    """
    What came of it.

    :ivar dialogue: as it is at the end of the script.
    :ivar handler: whom it asked.
    :ivar clock: what told the time.
    :ivar envelopes: the messages that were complete, whatever the answer was.
    :ivar aborted: why transactions ended without a message.
    :ivar events: the names of what was decided, in order, whether or not the handler has a method
        of that name; ``aborted`` among them.
    :ivar said: everything that the server said.
    """

    dialogue: ServerDialogue
    handler: object
    clock: Clock
    envelopes: list[Envelope] = field(default_factory=list)
    aborted: list[Reason] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    said: bytes = b""


class _Notes(Observer):
    """Remembers what there is to look at afterwards."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.reasons: list[Reason] = []
        self.events: list[str] = []

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        self.events.append(method)
        if method == "message" and isinstance(subject, Envelope):
            self.envelopes.append(subject)

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        self.events.append("aborted")
        self.reasons.append(reason)


def play(
    script: str | Iterable[Line],
    handler: object = Accepting,
    *,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    connection: Connection | None = None,
    tls: bool = True,
    authenticator: object | None = None,
    clock: Clock | None = None,
    asyncio: bool | None = None,
) -> Played:
    """
    Hold a dialogue twice, in whole turns and octet by octet.

    After the 220 to STARTTLS the handshake succeeds by itself.  Until it returns,
    ``twisted.internet.reactor`` is one that keeps the time by the clock.

    :param script: it begins behind the greeting, unless it shows that first.
    :param handler: whatever a server takes: a class, to get a new one each time; an object;
        ``callbacks(…)``, ``threaded(…)``, any factory.
    :param settings: how the dialogue is led.
    :param connection: whose dialogue it is; each time a copy of it, with the same id.  By default
        each time another one's.
    :param tls: whether STARTTLS is offered.
    :param authenticator: who may log in, as a server takes it.
    :param clock: for handlers that were given one; a new one by default.
    :param asyncio: whether its loop runs, as with ``twistd --reactor=asyncio``; its time is the
        clock's too.  By default it does where that reactor is installed.
    :return: what came of it the first time, in whole turns.
    :raises AssertionError: it went otherwise; or otherwise, octet by octet.  Its ``__cause__`` is
        what the handler raised, if that is why.
    :raises TypeError: a server would not start with such a handler.
    :raises ValueError: likewise; or the script cannot be read.
    """
    _require(script, (str, Iterable), "script is text, or lines")
    _require(settings, Settings, "settings is a Settings")
    _require(connection, (Connection, type(None)), "connection is a Connection")
    _require(clock, (Clock, type(None)), "clock is a twisted.internet.task.Clock")
    _require(tls, bool, "tls is True or False")
    _require(asyncio, (bool, type(None)), "asyncio is True or False")
    try_own(settings)
    parts = list(turns(read(script) if isinstance(script, str) else script))
    clock = Clock() if clock is None else clock
    if asyncio is None:
        asyncio = isinstance(sys.modules.get("twisted.internet.reactor"), AsyncioSelectorReactor)
    reactor = PlayReactor(clock, PlayLoop(clock) if asyncio else None)
    login = None if authenticator is None else adapt_authenticator(authenticator)
    with reactor.installed():
        if isinstance(handler, (threaded, Compound)):
            handler = handler.on(reactor)
        factory = _factory(handler)
        played = []
        try:
            for cut in (False, True):
                # As of two clients, unless it is given: handlers name files by it.
                ours = connection or Connection(_IDS.at(datetime.now(UTC)))
                copied = replace(
                    ours,
                    budget=Budget(settings.limits),
                    hostname=settings.hostname,
                    lmtp=settings.lmtp,
                )
                try:
                    made = factory(copied)
                except Refusal as refusal:
                    made = _Unwelcome(refusal)
                understood = _understood(made, settings, tls=tls, login=login)

                def adapt(other: object, connection: Connection = copied) -> Handler:
                    if isinstance(other, (threaded, Compound)):
                        other = other.on(reactor)
                    return _understood(
                        handler_factory(other)(connection), settings, tls=tls, login=login
                    )

                player = _Player(copied, settings, understood, reactor, adapt)
                played.append(player.play(parts, made, cut=cut))
        finally:
            reactor.stop()
    _compare_both(*played)
    return played[0]


def _require(given: object, kind: type | tuple[type, ...], sentence: str) -> None:
    if not isinstance(given, kind) or isinstance(given, (bytes, bytearray)):
        raise TypeError(f"{sentence}, not {type(given).__name__}")


class _Unwelcome:
    """In place of the handler of a client whom what makes handlers has refused."""

    discards_content = True

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def connected(self, connection: Connection) -> None:
        raise self._refusal


def _factory(handler: object) -> Factory:
    if isinstance(handler, Handler):
        return lambda connection: handler
    return handler_factory(handler)


def _understood(made: object, settings: Settings, *, tls: bool, login: Any) -> Handler:
    if isinstance(made, Handler):
        return made
    own = frozenset(one.keyword for one in settings.extensions)
    examine(made, own=own)
    understood = understand(made, tls=tls, login=login, own=own)
    if not isinstance(made, _Unwelcome):
        wanted = wants_login(settings)
        if wanted:
            require_login(understood, wanted)
        named = [one for one in settings.mechanisms or () if isinstance(one, str)]
        require_mechanisms(named, understood.abilities, name_of(made))
    return understood


def _compare_both(by_turns: Played, by_octets: Played) -> None:
    if by_turns.events != by_octets.events:
        raise DialogueDiffers(
            f"other events octet by octet:\n  {by_turns.events}\n  {by_octets.events}"
        )
    contents = [_content_of(envelope) for envelope in by_turns.envelopes]
    if contents != [_content_of(envelope) for envelope in by_octets.envelopes]:
        raise DialogueDiffers("another content octet by octet")


def _content_of(envelope: Envelope) -> bytes | None:
    try:
        return envelope.kept.bytes() if envelope.kept is not None else None
    except ValueError:  # the handler has closed it
        return None


class _Faults(Incidents):
    """The incidents of a platform, of which the last one is remembered."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self.last: BaseException | None = None

    def report(self, method: str, handler: str, error: BaseException, connection_id: str) -> str:
        """See `Incidents.report`."""
        self.last = error
        return self._incidents.report(method, handler, error, connection_id)


class _Player:
    """Has the connection: passes on what the client says, and lets time pass."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        handler: Handler,
        reactor: PlayReactor,
        adapt: Callable[[object], Handler],
    ) -> None:
        self._notes = _Notes()
        platform = TwistedPlatform(reactor, runs_asyncio=reactor.loop is not None)
        platform.incidents = self._faults = _Faults(platform.incidents)
        self._driver = Driver(
            handler,
            settings,
            connection,
            platform=platform,
            observer=self._notes,
            changed=self._advance,
            adapt=adapt,
        )
        self._reactor = reactor
        self._clock = reactor.clock
        self._id = connection.id
        self._said = b""
        self._idle_seconds = settings.limits.idle_seconds
        self._quiet_since = self._clock.seconds()

    def play(self, parts: list[Turn], made: object, *, cut: bool) -> Played:
        """Hold the dialogue once."""
        driver = self._driver
        played = Played(driver.conversation.dialogue, made, self._clock)
        self._say(driver.start())
        greeting = parts[0] if parts and parts[0] == Turn(answer=parts[0].answer) else None
        if greeting is None:
            self._wait(None)
            self._said = b""
        for number, turn in enumerate(parts):
            self._faults.last = None
            self._take(turn, cut)
            self._wait([masked(line, self._id) for line in turn.answer])
            try:
                _compare(parts[: number + 1], self._said, self._id, cut)
            except DialogueDiffers as difference:
                raise difference from self._faults.last
            played.said += self._said
            self._said = b""
        if driver.finished:
            driver.disconnect()
        self._wait(None)
        played.envelopes, played.aborted = self._notes.envelopes, self._notes.reasons
        played.events = self._notes.events
        return played

    def _take(self, turn: Turn, cut: bool) -> None:
        driver = self._driver
        if turn.seconds is not None:
            self._pass(turn.seconds)
        if driver.handshaking:
            self._say(driver.secure(TLS))
        pieces = [turn.octets[at : at + 1] for at in range(len(turn.octets))] if cut else None
        for piece in pieces if pieces is not None else [turn.octets]:
            if piece:
                self._quiet_since = self._clock.seconds()
                self._say(driver.receive(piece))
        if turn.gone:
            driver.disconnect()

    def _say(self, octets: bytes) -> None:
        if octets:
            self._said += octets
            self._quiet_since = self._clock.seconds()

    def _advance(self) -> None:
        self._say(self._driver.advance())

    def _lines(self) -> list[str]:
        return [masked(line, self._id) for line in text_of(self._said).split("\r\n")[:-1]]

    def _wait(self, wanted: list[str] | None) -> None:
        """
        Let threads and time go on, as far as the handler waits for them.

        :param wanted: up to where this has been said; ``None``: for as long as it has calls open
            that end by themselves.
        """
        conversation = self._driver.conversation
        while wanted is None or not fits(wanted, self._lines()):
            if self._reactor.let_threads_come(wait=bool(conversation.calls)):
                self._advance()
            elif not conversation.calls:
                break
            elif not self._go_on(conversation.deadline, last=False):
                if self._reactor.let_real_time_pass():
                    self._advance()
                elif wanted is None or not self._go_on(conversation.deadline):
                    break

    def _go_on(self, until: float, *, last: bool = True) -> bool:
        """
        Let the next thing happen that time brings; return whether there was one by then.

        :param last: what is due at the very end counts too.
        """
        clock, conversation = self._clock, self._driver.conversation
        times = [call.getTime() for call in clock.getDelayedCalls() if call.active()]
        due = min([*times, conversation.deadline])
        if due == _FOR_EVER or due > until or (due == until and not last):
            return False
        clock.advance(max(due - clock.seconds(), 0))
        if conversation.deadline <= clock.seconds():
            conversation.expire(clock.seconds())
        self._advance()
        return True

    def _pass(self, seconds: float) -> None:
        """Let time pass, and see to whatever is due."""
        driver = self._driver
        until = self._clock.seconds() + seconds
        while True:
            idle_at = self._quiet_since + self._idle_seconds
            waiting = bool(driver.conversation.calls)
            idle = not (waiting or driver.finished or driver.handshaking)
            if self._reactor.let_threads_come(wait=waiting):
                self._advance()
            elif not self._go_on(min(until, idle_at) if idle else until):
                if not (idle and idle_at <= until):
                    break
                self._clock.advance(max(idle_at - self._clock.seconds(), 0))
                self._say(driver.time_out())
        self._clock.advance(until - self._clock.seconds())


def _compare(parts: list[Turn], said: bytes, connection_id: str, cut: bool) -> None:
    """Raise if what was said is not what the last turn has."""
    lines = [masked(line, connection_id) for line in text_of(said).split("\r\n")]
    unended = lines.pop()
    wanted = [masked(line, connection_id) for line in parts[-1].answer]
    if fits(wanted, lines) and not unended:
        return
    got = [*aligned(wanted, lines), *filter(None, [unended])]
    difference = difflib.ndiff([f"S: {line}" for line in wanted], [f"S: {line}" for line in got])
    client = [f"  C: {line!r}"[:110] for part in parts for line in part.octets.split(b"\r\n")[:-1]]
    raise DialogueDiffers(
        "\n".join(
            [
                f"the server says something else{' octet by octet' if cut else ''}"
                " (- written, + said):",
                *client[-10:],
                *(line.rstrip("\n") for line in difference),
            ]
        )
    )


__all__ = ["TLS", "Accepting", "DialogueDiffers", "Played", "Turn", "play", "turns"]
