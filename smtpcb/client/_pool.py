"""ConnectionPool: open sessions that are kept for the next message, so many and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from socket import MSG_PEEK
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater

from smtpcb.client._anywhere import awaited_anywhere
from smtpcb.client._credentials import GiveCredentials, nobody, settings_for
from smtpcb.client._opening import NoSession, open_session
from smtpcb.client._place import Place
from smtpcb.client._protocol import ClientProtocol
from smtpcb.client._times import ClientTimes
from smtpcb.engine import Cause, ClientFailure, ClientObserver, ClientSettings, Stage

SERVERS_PATIENCE_SECONDS = 300
"""A server may leave whoever says nothing for so long (RFC 5321 §4.5.3.2.7)."""


class ConnectionPool:
    """
    Sessions with the servers of one place; take one, send with it, and give it back.

    :param places: where to; see `open_session`.
    :param settings: how the dialogues are led; as for `SubmissionSession`.
    :param size: so many connections there are at most, in use or not.
    :param most_messages: a session that was taken so often is closed, and another one opened.
    :param most_waiting: so many may wait for a session at a time; the next one gets an error.
    :param idle_seconds: a session that nobody has wanted for so long is closed; servers do so after
        5 minutes, and a session that they close in the same moment is of no use to anybody.
    :param give: says who logs in; see `SubmissionSession`.
    :param times: how long a server may take.
    :param observer: sees everything, of all of them.
    :param reactor: by default the one that is installed.
    :raises ValueError: one of them cannot be.
    :ivar settings: those with which each dialogue is led.
    """

    def __init__(
        self,
        places: Iterable[Place],
        settings: ClientSettings | None = None,
        *,
        size: int = 10,
        most_messages: int = 100,
        most_waiting: int = 1000,
        idle_seconds: float = 60.0,
        give: GiveCredentials = nobody,
        times: ClientTimes | None = None,
        observer: ClientObserver | None = None,
        reactor: Any = None,
    ) -> None:
        self._places = tuple(places)
        if not self._places:
            raise ValueError("a pool needs a server: [Server('mail.example.org')]")
        if size < 1 or most_messages < 1 or most_waiting < 0:
            raise ValueError(
                "size and most_messages are 1 or more, and most_waiting is not below 0"
            )
        if not 0 < idle_seconds < SERVERS_PATIENCE_SECONDS:
            raise ValueError("idle_seconds is above 0 and below 300, when servers leave")
        if reactor is None:
            from twisted.internet import reactor
        self.reactor = reactor
        self.settings = settings_for(settings, give)
        self._size = size
        self._most_messages = most_messages
        self._most_waiting = most_waiting
        self._idle_seconds = idle_seconds
        self._opening: dict[str, Any] = {
            "settings": self.settings,
            "give": give,
            "times": times,
            "observer": observer,
            "reactor": reactor,
        }
        #: How often each session was taken.
        self._count: dict[ClientProtocol, int] = {}
        self._taken: set[ClientProtocol] = set()
        #: Those that nobody has, the one that was given back last at the end; and when it ends.
        self._idle: dict[ClientProtocol, Any] = {}
        self._used = 0  # of the size: taken, or about to be
        self._waiting: deque[Deferred[None]] = deque()
        self._leaving: set[Deferred[Any]] = set()
        self._closed = False

    @awaited_anywhere
    async def take(self) -> ClientProtocol:
        """
        Return a session that is ready for a message; it is yours until you give it back.

        If all are in use, whoever came first gets the next one.  Cancelling is safe at any time.

        :raises NoSession: no server takes messages, too many wait already, or the pool is closed.
        """
        await self._turn()
        try:
            protocol = await self._kept()
            if protocol is None:
                protocol = await open_session(self._places, **self._opening)
                self._count[protocol] = 0
            if self._closed:
                self._leave(protocol)
                raise self._none("the pool is closed")
        except BaseException:
            self._free()
            raise
        self._count[protocol] += 1
        self._taken.add(protocol)
        return protocol

    def give_back(self, protocol: ClientProtocol) -> None:
        """
        Let others have a session; it is kept if another message may be sent with it.

        One in the midst of a message is left at once.

        :raises ValueError: it was not taken, or given back already.
        """
        if protocol not in self._taken:
            raise ValueError("this session is not out: it was given back, or is of another pool")
        self._taken.remove(protocol)
        if self._may_be_kept(protocol):
            self._idle[protocol] = self.reactor.callLater(
                self._idle_seconds, self._expire, protocol
            )
        else:
            self._leave(protocol)
        self._free()

    @awaited_anywhere
    async def close(self) -> None:
        """
        Quit all sessions that nobody has, and wait until they are gone.

        Those that are out are closed when they are given back; who waits for one gets an error.
        """
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.errback(self._none("the pool is closed"))
        idle, self._idle = self._idle, {}
        for protocol, timer in idle.items():
            timer.cancel()
            self._leave(protocol)
        await DeferredList(list(self._leaving))

    async def _turn(self) -> None:
        """Wait until one more session may be in use."""
        if self._closed:
            raise self._none("the pool is closed")
        if self._used < self._size:
            self._used += 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise self._none(f"{self._size} sessions are in use, and too many wait for one")
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        await turn

    def _free(self) -> None:
        """Let the next one have what is not used any more."""
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self._used -= 1

    async def _kept(self) -> ClientProtocol | None:
        """Return a session that was given back, and that its server has not left."""
        while self._idle:
            protocol, timer = self._idle.popitem()
            timer.cancel()
            try:
                if not _is_silent(protocol):
                    # It is read before the server is believed to be there; the first turn may come
                    # before the reactor looks at any socket.
                    await deferLater(self.reactor, 0)
                    await deferLater(self.reactor, 0)
            except BaseException:
                self._leave(protocol)
                raise
            if protocol.is_ready:
                return protocol
            self._leave(protocol)
        return None

    def _may_be_kept(self, protocol: ClientProtocol) -> bool:
        dialogue = protocol.dialogue
        if self._closed or dialogue is None or not protocol.is_ready:
            return False
        return self._count[protocol] < self._most_messages and not dialogue.is_spent

    def _expire(self, protocol: ClientProtocol) -> None:
        del self._idle[protocol]
        self._leave(protocol)

    def _leave(self, protocol: ClientProtocol) -> None:
        """Be done with a session."""
        del self._count[protocol]
        if not protocol.is_ready:
            protocol.abandon("it was given back")
        leaving = ensureDeferred(protocol.quit())
        self._leaving.add(leaving)

        def left(result: object) -> None:
            self._leaving.discard(leaving)

        leaving.addBoth(left)

    def _none(self, text: str) -> NoSession:
        names = ", ".join(one.name for one in self._places)
        return NoSession([(names, ClientFailure(Stage.GREETING, Cause.LIMIT, text))])


def _is_silent(protocol: ClientProtocol) -> bool:
    """Whether nothing has come from the server, its end either, that the reactor has not seen."""
    try:
        protocol.transport.socket.recv(1, MSG_PEEK)
    except BlockingIOError:
        return True
    except (AttributeError, OSError):  # it is no socket, or is closed
        pass
    return False
