"""around, all_of, shadow: handlers made of handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import name_of
from smtpcb.handling._composed import (
    Composed,
    Composer,
    Part,
    all_together,
    part_of,
    policies_first,
)
from smtpcb.handling._factories import Factory, OneForAll, handler_factory
from smtpcb.handling._shadow import Shadow
from smtpcb.handling._threaded import threaded
from smtpcb.interfaces import ISmtpHandlerFactory

_Join = Callable[[str, Sequence[Part]], Composed]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """
    What makes one of the parts.

    :ivar given: by the user.
    :ivar factory: called with a connection.
    :ivar shared: the part itself, of an instance that is the same for all connections.
    """

    given: object
    factory: Factory
    takes_mail: bool
    shared: Part | None = None
    blocking: bool = False

    def part(self, connection: Connection) -> Part:
        if self.shared is not None:
            return self.shared
        handler = self.factory(connection)
        return part_of(handler, takes_mail=self.takes_mail, blocking=self.blocking)


def _made(given: object, *, takes_mail: bool = True) -> _Made:
    factory = handler_factory(given, takes_mail=takes_mail)
    shared = None
    if isinstance(factory, OneForAll):
        shared = part_of(factory.handler, takes_mail=takes_mail)
    return _Made(given, factory, takes_mail, shared)


@implementer(ISmtpHandlerFactory)
class Compound(Service, Composer):
    """
    Makes a handler of several for each connection.

    Those of its parts that are services start and stop with it.

    :param alike: what is made of parts that all connections share can be shared too.
    :ivar start_part: starts one of them; whoever runs the server may explain there what fails.
    """

    def __init__(
        self, name: str, join: _Join, parts: Sequence[_Made], *, alike: bool = True
    ) -> None:
        self._name = name
        self._join = join
        self._parts = tuple(parts)
        self.start_part: Callable[[Any], None] = _start
        self._shared = None
        if alike and all(part.shared for part in parts):
            self._shared = self._joined([part.shared for part in self._parts if part.shared])

    def __repr__(self) -> str:
        parts = [_name_of(part.given) for part in self._parts]
        if self._join is policies_first:
            parts = [parts[-1], *parts[:-1]]
        return f"{self._name}({', '.join(parts)})"

    def _joined(self, parts: Sequence[Part]) -> Composed:
        composed = self._join(repr(self), parts)
        if self._join is policies_first:
            composed.renew = _renewed
        return composed

    def __call__(self, connection: Connection) -> Composed:
        """Make the handler of a connection."""
        if self._shared is not None:
            return self._shared
        return self._joined([part.part(connection) for part in self._parts])

    @property
    def inner(self) -> Compound:
        """The same without threads, to look at."""
        return self._with(_without_threads)

    def on(self, reactor: Any) -> Compound:
        """Return the same on another reactor, with threads of its own."""
        return self._with(lambda part: _on(part, reactor))

    def _with(self, change: Callable[[_Made], _Made]) -> Compound:
        other: Compound = copy(self)
        other._parts = tuple(change(part) for part in self._parts)
        return other

    def startService(self) -> None:
        """Start what is a service, the policies first; what was started is stopped if one fails."""
        begun: list[Any] = []
        try:
            for service in self._services():
                self.start_part(service)
                begun.append(service)
        except BaseException:
            for service in reversed(begun):
                maybeDeferred(service.stopService)
            raise
        super().startService()

    async def _stop(self) -> None:
        for service in reversed(self._services()):
            await maybeDeferred(service.stopService)

    def stopService(self) -> Deferred[None]:
        """Stop them, the handler first: what it still answers its policies have let through."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def _services(self) -> list[Any]:
        return [part.given for part in self._parts if IService.providedBy(part.given)]

    @property
    def folders(self) -> list[Path]:
        """Where the parts write, those of them that say so: there must be room for mail."""
        named = [getattr(part.given, "folders", ()) for part in self._parts]
        several = [one for one in named if isinstance(one, (list, tuple))]
        return [folder for one in several for folder in one if isinstance(folder, Path)]


def _renewed(policies: Sequence[Part], handler: object) -> Compound:
    """Put another handler behind policies that have begun to look at a connection."""
    begun = [_Made(part.handler, _never, takes_mail=False, shared=part) for part in policies]
    return Compound("around", policies_first, [*begun, _made(handler)])


def _never(connection: Connection) -> object:
    raise AssertionError("a part that is there is not made")


def _start(service: Any) -> None:
    service.startService()


def _name_of(given: object) -> str:
    return repr(given) if isinstance(given, Compound) else name_of(given)


def _without_threads(part: _Made) -> _Made:
    if isinstance(part.factory, threaded):
        return replace(part, factory=part.factory.inner, blocking=True)
    if isinstance(part.factory, Compound):
        return replace(part, factory=part.factory.inner)
    return part


def _on(part: _Made, reactor: Any) -> _Made:
    if isinstance(part.factory, (threaded, Compound)):
        return replace(part, factory=part.factory.on(reactor))
    return part


def around(handler: object, *policies: object) -> Compound:
    """
    Ask policies before a handler: ``around(Inbox, LocalDomains(["example.org"]), Greylist())``.

    A policy has any of the events of `ISmtpEventHandler`, as a handler has them, and takes no
    mail.  They are asked in their order, and the handler last: the first that refuses is the
    answer, and nobody behind it is asked; ``None`` goes on.  Words of a yes (``250, "text"``) are
    those of the last who has some.  Who logs in is decided by the first that answers at all.

    All are told what nobody decides (``command``, ``aborted``, ``disconnected``), and all hear the
    content (``header``, ``chunk``) up to the first that refuses it; whoever has ``message`` and no
    ``chunk`` finds it in ``envelope.content``.  If a policy refuses the message, those behind it
    hear ``aborted`` in its place.

    What is offered (``extensions``) is the handler's.  ``concurrent_recipients`` holds if all say
    it who have ``rcpt``.

    :param handler: whatever a server takes.
    :param policies: each a class, an instance, ``callbacks(…)``, any factory; what is a service
        starts and stops with the server.
    :return: whatever takes a handler takes it.
    :raises TypeError: something is wrong with one of them that can be seen before it is called.
    """
    if not policies:
        raise TypeError("around(handler, policy, ...) has no policy")
    parts = [*(_made(one, takes_mail=False) for one in policies), _made(handler)]
    return Compound("around", policies_first, parts)


def all_of(*handlers: object) -> Compound:
    """
    Give all mail to several handlers: ``all_of(Archive, Inbox)``.

    All are asked, one after the other, and the worst answer is sent: 5yz before 4yz before a yes.
    One that fails counts as 4yz.

    A message is accepted only when all have accepted it.  If one has, and another wants the client
    to try again, it comes again to both: the first one then has it twice, and knows it by its
    Message-ID.  So put first who may refuse, and make the others able to bear a second copy.

    :param handlers: each whatever a server takes.
    :return: whatever takes a handler takes it.
    :raises TypeError: something is wrong with one of them that can be seen before it is called.
    """
    if len(handlers) < 2:
        raise TypeError("all_of(handler, handler, ...) wants at least two")
    return Compound("all_of", all_together, [_made(one) for one in handlers])


def shadow(
    handler: object, candidate: object, *, seconds: float = 30.0, reactor: Any = None
) -> Compound:
    """
    Try a handler on real mail: ``shadow(Inbox, NewInbox)``.

    The candidate hears all that the handler hears, the content too.  What it answers is logged
    beside the handler's answer and never sent; nobody waits for it, and what it raises is logged.
    Where both differ the log has a line at level ``info``; where they agree, at ``debug``.  Log in
    nobody, and deliver nothing, in a candidate that may see passwords and mail.

    Both run in one thread: code of a candidate that blocks delays everybody, as that of any
    handler does; ``shadow(Inbox, threaded(NewInbox))`` prevents it.

    :param seconds: how long one answer of the candidate may take before it is given up.
    :param reactor: by default the one that is installed when the first client connects.
    :return: whatever takes a handler takes it.
    :raises TypeError: something is wrong with one of them that can be seen before it is called.
    """
    made = [_made(handler), _made(candidate, takes_mail=False)]
    return Compound("shadow", Shadow(seconds, reactor).join, made, alike=False)
