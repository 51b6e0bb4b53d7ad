"""A handler of the fuzz command: it answers anything, at any time, and keeps account."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from smtpcb import Envelope, Refusal, Reply
from smtpcb.interfaces import ISmtpEventHandler

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


class Ledger:
    """
    Which calls came, and whether they may have.

    :ivar complaints: what a handler must not live to see.
    """

    def __init__(self, *, concurrent: bool) -> None:
        self.complaints: list[str] = []
        self.calls: list[str] = []
        self._concurrent = concurrent
        self._deciding: list[str] = []
        self._open = False  # an accepted MAIL waits for its end

    def called(self, name: str) -> None:
        """Note a call."""
        expect_first = "connected" if "connected" not in self.calls else name
        if name != expect_first:
            self.complaints.append(f"{name} before connected")
        if name in ("connected", "disconnected") and name in self.calls:
            self.complaints.append(f"{name} twice")
        if "disconnected" in self.calls:
            self.complaints.append(f"{name} after disconnected")
        overlapping = self._deciding
        if self._concurrent and name in ("rcpt", "command"):
            overlapping = [other for other in overlapping if other != "rcpt"]
        if overlapping:
            self.complaints.append(f"{name} during {overlapping}")
        if name == "mail" and self._open:
            self.complaints.append("mail within a transaction")
        if name in ("message", "aborted"):
            if not self._open:
                self.complaints.append(f"{name} without an accepted mail")
            self._open = False
        self.calls.append(name)

    def began(self, name: str) -> None:
        """Note that a call has not been answered at once."""
        self._deciding.append(name)

    def ended(self, name: str) -> None:
        """Note that it has been now."""
        self._deciding.remove(name)

    def accepted(self, name: str) -> None:
        """Note a yes that the server will hear."""
        if name == "mail":
            self._open = True

    def conclude(self) -> None:
        """Note that nothing more may come."""
        if self.calls and self.calls[-1] != "disconnected":
            self.complaints.append(f"{self.calls[-1]} is the last call, not disconnected")
        if self._open:
            self.complaints.append("an accepted mail ended in neither message nor aborted")


class Moody:
    """
    Answers by chance.

    :ivar pending: what has not been answered yet.
    """

    def __init__(self, random: Random, kindness: float) -> None:
        self.concurrent_recipients = random.random() < 0.3
        self.extensions = frozenset({"DSN"}) if random.random() < 0.5 else frozenset()
        self._random = random
        self._kindness = kindness
        self._later = random.choice((0.0, 0.0, 0.2, 0.8))
        self.ledger = Ledger(concurrent=self.concurrent_recipients)
        self.pending: list[tuple[Deferred[Any], str]] = []

    def read(self, envelope: Envelope) -> None:
        """Look at a message in one of the ways there are."""
        content = envelope.content
        with content.open() as file:
            if not content.bytes() == b"".join(content.pieces(7)) == file.read():
                self.ledger.complaints.append("the content is not always the same")
        if len(content.bytes()) != content.size_octets:
            self.ledger.complaints.append("the content is not as long as it says")

    def _hear(self, name: str) -> Any:
        random = self._random
        self.ledger.called(name)
        if name in TOLD:
            if random.random() > self._kindness:
                raise HandlerError(name)
            return None
        if random.random() < self._later:
            return self._wait(name)
        return self._decide(name)

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
            return random.choice(YES)
        way = random.randrange(4)
        if way == 0:
            raise HandlerError(name)
        if way == 1:
            raise Refusal(Reply(random.choice((450, 550))))
        return random.choice(NONSENSE if way == 2 else NO)


def _method(name: str) -> Callable[..., Any]:
    def call(self: Moody, *arguments: Any) -> Any:
        if name == "message" and not hasattr(self, "chunk"):
            self.read(arguments[-1])
        return self._hear(name)

    return call


def _coroutine(name: str) -> Callable[..., Any]:
    async def call(self: Moody, *arguments: Any) -> Any:
        if name == "message" and not hasattr(self, "chunk"):
            self.read(arguments[-1])
        answer = self._hear(name)
        return await answer if isinstance(answer, Deferred) else answer

    return call


def _class(make: Callable[[str], Callable[..., Any]], without: frozenset[str]) -> type[Moody]:
    names = [name for name in (*EVENTS, "authenticate") if name not in without]
    methods = {name: (_method if name in TOLD else make)(name) for name in names}
    return type("Handler", (Moody,), methods)


# Of those who take a message whole and those who take it piece by piece, who write `def` and who
# write `async def`; VRFY and the like are left to the server, or not.
CLASSES = [
    _class(make, without)
    for make in (_method, _coroutine)
    for without in (
        frozenset(),
        frozenset({"chunk"}),
        frozenset({"chunk", "header", "command", "authenticate", "data", "hello"}),
        frozenset({"verify", "expand", "help", "turn", "etrn"}),
    )
]
