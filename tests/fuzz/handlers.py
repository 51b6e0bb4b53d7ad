"""A handler of the fuzz command: it answers anything, at any time, and keeps account."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from smtpcb import Connection, Envelope, Refusal, Reply
from smtpcb.interfaces import ISmtpEventHandler
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp.sasl import BY_SECRET, MECHANISMS

from .ledger import Ledger

# Whatever the interface declares, but for attributes.
EVENTS = [
    name
    for name, description in ISmtpEventHandler.namesAndDescriptions()
    if hasattr(description, "positional")
]
# No reply waits for these; an answer that comes later would be for nobody.
TOLD = frozenset({"command", "header", "chunk", "aborted", "disconnected"})
YES: tuple[Any, ...] = (None, None, None, None, True)
NO: tuple[Any, ...] = (
    *(False, 450, 451, 550, 552, (550, "no"), (450, ("two", "lines"))),
    *(Reply(554), Reply(550).closing(), 421, (550, "x" * 600), (550, "gr\u00fc\u00df\r\n250 ok")),
)  # fmt: skip
NONSENSE: tuple[Any, ...] = (
    42,
    99,
    600,
    334,
    "no",
    b"no",
    object(),
    (),
    (550,),
    [550, "no"],
    {},
    5.5,
)


class HandlerError(Exception):
    """What the handler's own mistakes raise."""


class Mood:
    """
    Answers by chance, for a handler, and keeps its accounts.

    :param succeeded: see `Ledger`.
    :ivar pending: what has not been answered yet.
    :ivar another: makes a handler that may take the place of one that is there.
    :ivar lines: of the messages that were taken whole, without their ends.
    """

    def __init__(self, random: Random, kindness: float, *, succeeded: bool = False) -> None:
        self.concurrent_recipients = random.random() < 0.3
        self._random = random
        self._kindness = kindness
        self._later = random.choice((0.0, 0.0, 0.2, 0.8))
        self._meddling = random.choice((0.0, 0.0, 0.0, 0.05))
        self.ledger = Ledger(concurrent=self.concurrent_recipients, succeeded=succeeded)
        self.another: Callable[[], object] = object
        self.lines: set[bytes] = set()
        self.pending: list[tuple[Deferred[Any], str]] = []

    def read(self, envelope: Envelope) -> None:
        """Look at a message in one of the ways there are."""
        content = envelope.content
        self.lines.update(re.split(rb"[\r\n]+", content.bytes()))
        with content.open() as file:
            if not content.bytes() == b"".join(content.pieces(7)) == file.read():
                self.ledger.complaints.append("the content is not always the same")
        if len(content.bytes()) != content.size_octets:
            self.ledger.complaints.append("the content is not as long as it says")

    def hear(self, name: str, arguments: Sequence[Any] = ()) -> Any:
        """Note a call, and return or raise an answer."""
        random = self._random
        self.ledger.called(name)
        if arguments and random.random() < self._meddling:
            self._meddle(getattr(arguments[-1], "connection", arguments[-1]))
        if name in TOLD:
            if random.random() > self._kindness:
                raise HandlerError(name)
            return None
        if random.random() < self._later:
            return self._wait(name)
        return self._decide(name)

    def _meddle(self, connection: Connection) -> None:
        """Do to the connection what a handler may do in any event."""
        way = self._random.randrange(4)
        with suppress(LocalProtocolError):  # the mail data are one handler's, or it is over
            if way == 0:
                connection.close()
            elif way == 1:
                connection.close(self._random.choice((Reply(421), Reply(550, "5.7.1", "no"))))
            elif way == 2:
                connection.abort()
            else:
                connection.handler = self.another()

    def _wait(self, name: str) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        entry = (deferred, name)

        def over(result: Any) -> Any:
            self.pending.remove(entry)
            self.ledger.ended(name)
            if getattr(result, "check", None) and result.check(CancelledError):
                if self._random.random() < 0.3:
                    raise HandlerError(name)  # in whatever it does to tidy up
                return result
            return self._decide(name)

        self.pending.append(entry)
        self.ledger.began(name)
        deferred.addBoth(over)
        return deferred

    def _decide(self, name: str) -> Any:
        random = self._random
        chance = random.random()
        if chance < self._kindness:
            self.ledger.accepted(name)
            if name == "authenticate":
                return random.choice(("anne", True))
            if name == "stored_secret":
                return random.choice((None, "secret", "secret", b"secret"))
            return random.choice(YES)
        way = random.randrange(4)
        if way == 0:
            raise HandlerError(name)
        if way == 1:
            raise Refusal(Reply(random.choice((450, 550))))
        return random.choice(NONSENSE if way == 2 else NO)


class Handler:
    """What all of them have; no name of its own that might be taken for an event's."""

    def __init__(self, mood: Mood, extensions: frozenset[str]) -> None:
        self._mood = mood
        if hasattr(self, "authenticate"):
            secret = hasattr(self, "stored_secret")
            self.mechanisms = frozenset(MECHANISMS).difference(() if secret else BY_SECRET)
        self.extensions = extensions
        self.concurrent_recipients = mood.concurrent_recipients


def _method(name: str) -> Callable[..., Any]:
    def call(self: Handler, *arguments: Any) -> Any:
        return self._mood.hear(name, arguments)

    return call


def _coroutine(name: str) -> Callable[..., Any]:
    async def call(self: Handler, *arguments: Any) -> Any:
        answer = self._mood.hear(name, arguments)
        return await answer if isinstance(answer, Deferred) else answer

    return call


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    def message(self: Handler, *arguments: Any) -> Any:
        self._mood.read(arguments[-1])
        return method(self, *arguments)

    return message


def _class(make: Callable[[str], Callable[..., Any]], without: frozenset[str]) -> type[Handler]:
    names = [name for name in (*EVENTS, "authenticate") if name not in without]
    methods = {name: (_method if name in TOLD else make)(name) for name in names}
    if "chunk" in without:
        methods["message"] = _reading(methods["message"])
    return type("Handler", (Handler,), methods)


# Of those who take a message whole and those who take it piece by piece, who write `def` and who
# write `async def`; VRFY and the like are left to the server, or not.
CLASSES = [
    _class(make, without)
    for make in (_method, _coroutine)
    for without in (
        frozenset(),
        frozenset({"chunk"}),
        frozenset({"chunk", "header", "command", "authenticate", "stored_secret", "data", "hello"}),
        frozenset({"verify", "expand", "help", "turn", "etrn"}),
    )
]
