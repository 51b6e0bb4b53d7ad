"""
Many connections that are one descriptor to the reactor.

For each event of a descriptor Twisted enters a context for the log and asks the descriptor for its
name and number: ten calls before the first octet is read.  An epoll(7) can be watched like a socket
is, by every reactor that watches descriptors: it is readable when something has happened to one of
the sockets that it watches itself.  So the reactor watches ours, and ours watches the connections.
"""

from __future__ import annotations

import select
from typing import Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.server._transport import DirectServer

# How many events are seen to before the reactor has its turn.
EVENTS_A_TURN = 256
# While few connections are busy they are looked at again, so often, before that: a turn
# of the reactor costs as much as a command.
LOOKS_A_TURN = 4
FEW_EVENTS = 32

_IN: Final = getattr(select, "EPOLLIN", 1)
_OUT: Final = getattr(select, "EPOLLOUT", 4)
_OVER: Final = getattr(select, "EPOLLHUP", 16) | getattr(select, "EPOLLERR", 8)

_DONE: Final = Failure(ConnectionDone())
_LOST: Final = Failure(ConnectionLost())

_log = Logger(namespace="smtpcb.server")


@implementer(IReadDescriptor)
class Nest:
    """
    Watches connections, and is watched while there are any.

    The system hands out what has happened in turn, so those past the `EVENTS_A_TURN` of one turn
    are the first of the next.  Time is no limit here: who takes too much of it yields by itself.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # Not when the first connection comes: there might be no descriptor left for it by then.
        self._epoll = select.epoll()
        self._last = False
        self._members: dict[int, NestedServer] = {}

    def watch(self, member: NestedServer, events: int) -> None:
        """Watch a connection for other events than before; none: leave it alone."""
        descriptor = member.fileno()
        if events == 0:
            del self._members[descriptor]
            self._epoll.unregister(descriptor)
            if not self._members:
                self._reactor.removeReader(self)
                if self._last:
                    self._epoll.close()
        elif member.watched:
            self._epoll.modify(descriptor, events)
        else:
            if self._epoll.closed:
                # Nothing was awaited of the last connection when the port was closed; now it is.
                self._epoll = select.epoll()
            self._epoll.register(descriptor, events)
            if not self._members:
                self._reactor.addReader(self)
            self._members[descriptor] = member
        member.watched = events

    def close(self) -> None:
        """Close when the last connection has gone: there will be no other."""
        self._last = True
        if not self._members:
            self._epoll.close()

    def doRead(self) -> None:
        """See to what has happened, and to what happens meanwhile while that is little."""
        for _ in range(LOOKS_A_TURN):
            if not self._members:
                return
            events = self._epoll.poll(0, EVENTS_A_TURN)
            self._see_to_all(events)
            if not 0 < len(events) <= FEW_EVENTS:
                return

    def _see_to_all(self, events: list[tuple[int, int]]) -> None:
        members = self._members
        for descriptor, event in events:
            member = members.get(descriptor)
            if member is None:
                continue  # what happened to another one has ended it
            try:
                if event == _IN and member.watched & _IN:
                    why = member.doRead()
                    if why is not None:
                        _disconnect(member, why, reading=True)
                else:
                    _see_to(member, event)
            except BaseException as error:
                _log.failure("a fault on {connection}", connection=member)
                self._give_up(member, error)

    def _give_up(self, member: NestedServer, error: BaseException) -> None:
        try:
            _disconnect(member, error, reading=False)
        except Exception:
            _log.failure("a fault at the end of {connection}", connection=member)

    def fileno(self) -> int:
        """Return the one descriptor."""
        return int(self._epoll.fileno())

    def logPrefix(self) -> str:
        """Return what the log shows beside what happens here."""
        return "smtpcb"

    def connectionLost(self, reason: Failure) -> None:
        """End all connections: the reactor ends."""
        for member in list(self._members.values()):
            member.connectionLost(reason)


class NestedServer(DirectServer):
    """
    A connection that is watched by the nest of its port.

    :ivar watched: the events that it is watched for.
    """

    watched = 0

    def startReading(self) -> None:
        """Watch for what arrives."""
        if not self.watched & _IN:
            self.server.nest.watch(self, self.watched | _IN)

    def stopReading(self) -> None:
        """Do not watch for what arrives any more."""
        if self.watched & _IN:
            self.server.nest.watch(self, self.watched & ~_IN)

    def startWriting(self) -> None:
        """Watch for room to write."""
        if not self.watched & _OUT:
            self.server.nest.watch(self, self.watched | _OUT)

    def stopWriting(self) -> None:
        """Do not watch for room to write any more."""
        if self.watched & _OUT:
            self.server.nest.watch(self, self.watched & ~_OUT)


def _see_to(member: NestedServer, event: int) -> None:
    """The same as `twisted.internet.posixbase._PollLikeMixin` does."""
    if event & _OVER and not event & _IN:
        reading = bool(member.watched & _IN)
        _disconnect(member, ConnectionDone() if reading else ConnectionLost(), reading=reading)
        return
    why = None
    reading = False
    if event & _IN and member.watched & _IN:
        why = member.doRead()
        reading = True
    if why is None and event & _OUT and member.watched & _OUT:
        why = member.doWrite()
        reading = False
    if why is not None:
        _disconnect(member, why, reading=reading)


def _disconnect(member: NestedServer, why: BaseException, *, reading: bool) -> None:
    """The same as `twisted.internet.posixbase._DisconnectSelectableMixin` does."""
    member.stopReading()
    if isinstance(why, ConnectionDone):
        if reading:
            # It may have closed one side only: the protocol knows what that means.
            member.readConnectionLost(_DONE)
            return
        reason = _DONE
    else:
        reason = _LOST if isinstance(why, ConnectionLost) else Failure(why)
    member.stopWriting()
    member.connectionLost(reason)
