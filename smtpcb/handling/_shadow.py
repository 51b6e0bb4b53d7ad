"""
A candidate hears all that a handler hears, and what it would have said is logged.

The handler is asked first, and its answer leaves as if nobody listened.  A candidate answers one
call after the other, as handlers do; what it has not come to yet waits in a queue with a bound, and
each of its answers has a time limit.  Nothing of it is waited for, and nothing it raises is felt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smtpcb.engine._handler import EVENTS, Method, name_of
from smtpcb.engine._questions import KIND_OF
from smtpcb.engine._verdict import reply_of, reply_of_refusal
from smtpcb.handling._composed import TOLD, Composed, Part, commands
from smtpcb.handling._joined import apart, code_of, needs_time, outcome_of
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp.sasl import Authenticated

MOST_WAITING = 1000
"""So many calls of one connection may wait for a candidate; then it hears no more of that one."""

# Only whoever is asked for real can make these possible; else the client would be offered nothing.
_OFFERED = ("authenticate", "expand", "etrn")
_SILENT = frozenset({*TOLD, "command"})

_log = Logger(namespace="smtpcb.shadow")


class Shadow:
    """
    Composes a handler and its candidate.

    :param seconds: how long one answer of the candidate may take.
    :param reactor: keeps that time; by default the one that is installed.
    """

    def __init__(self, seconds: float, reactor: Any) -> None:
        self._seconds = seconds
        self._reactor = reactor

    def join(self, name: str, parts: Sequence[Part]) -> Composed:
        """Compose them; see `Composed`."""
        real, candidate = parts
        reactor = self._reactor
        if reactor is None:
            from twisted.internet import reactor
        follower = _Follower(candidate, self._seconds, reactor)
        methods = dict(real.methods)
        for event in EVENTS:
            if event in candidate.methods and (event in methods or event not in _OFFERED):
                methods[event] = follower.beside(event, methods.get(event))
        composed = Composed(name, parts)
        if "command" in candidate.methods:
            heard = follower.beside("command", None)
            mine = Part(candidate.handler, {"command": heard}, takes_mail=False)
            both = [real, mine] if "command" in real.methods else [mine]
            methods["command"] = commands(both)
        composed.take(methods)
        composed.declare([real])
        return composed


class _Follower:
    """Calls the candidate of one connection."""

    def __init__(self, candidate: Part, seconds: float, reactor: Any) -> None:
        self._candidate = candidate
        self._name = name_of(candidate.handler)
        self._seconds = seconds
        self._reactor = reactor
        self._waiting: deque[tuple[str, tuple[Any, ...], str]] = deque()
        self._busy = False
        self._lost = False

    def beside(self, event: str, real: Method | None) -> Method:
        """Return what calls the handler, and has the candidate called with the same."""

        def call(*arguments: Any) -> object:
            if real is None:
                self._hear(event, arguments, None)
                return None
            try:
                answer = real(*arguments)
            except BaseException as error:
                self._hear(event, arguments, error)
                raise
            if needs_time(answer):
                return wait(answer, arguments)
            self._hear(event, arguments, answer)
            return answer

        async def wait(answer: Any, arguments: tuple[Any, ...]) -> object:
            try:
                answer = await apart(answer)
            except GeneratorExit:
                raise
            except BaseException as error:
                self._hear(event, arguments, error)
                raise
            self._hear(event, arguments, answer)
            return answer

        return call

    def _hear(self, event: str, arguments: tuple[Any, ...], answer: object) -> None:
        """Put it behind what the candidate has not answered yet."""
        if self._lost:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._lost = True
            self._waiting.clear()
            _log.warn("the candidate {name} is too slow, and left behind", name=self._name)
            return
        self._waiting.append((event, arguments, _said(event, answer)))
        if not self._busy:
            self._busy = True
            following = Deferred.fromCoroutine(self._follow())
            following.addErrback(lambda failure: _log.failure("a candidate failed", failure))

    async def _follow(self) -> None:
        try:
            while self._waiting:
                await self._ask(*self._waiting.popleft())
        finally:
            self._busy = False

    async def _ask(self, event: str, arguments: tuple[Any, ...], said: str) -> None:
        outcome: object
        try:
            outcome = self._candidate.methods[event](*arguments)
            if needs_time(outcome):
                outcome = await self._in_time(outcome)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            outcome = error
        if isinstance(outcome, Authenticated) and outcome.release is not None:
            outcome.release()
        would = _said(event, outcome)
        if event in _SILENT and would == said:
            return
        differs = said[:3] != would[:3]
        (_log.info if differs else _log.debug)(
            "{id}: {event}{subject}: {real}; {name} would say {candidate}",
            id=_id_of(arguments[-1]),
            event=event,
            # Of a login and of content nothing is told.
            subject=f" {arguments[0]}" if event == "rcpt" else "",
            real=said,
            name=self._name,
            candidate=would,
            differs=differs,
        )

    def _in_time(self, answer: Any) -> Deferred[Any]:
        """Wait for an answer, and give it up when its time is over."""
        waiting: Deferred[Any] = Deferred.fromCoroutine(outcome_of(answer))
        return waiting.addTimeout(self._seconds, self._reactor)


def _id_of(whose: Any) -> str:
    return str(getattr(whose, "id", ""))


def _said(event: str, outcome: object) -> str:
    """Return what the client hears of an outcome, or would hear."""
    kind = KIND_OF.get(event)
    if isinstance(outcome, BaseException) and not isinstance(outcome, Refusal):
        return f"451 ({type(outcome).__name__})"
    if kind is None or event in _SILENT:
        return "nothing"
    if isinstance(outcome, Mapping):  # LMTP: an answer for each recipient
        return " ".join(str(code_of(one)) for one in outcome.values())
    try:
        if isinstance(outcome, Refusal):
            return reply_of_refusal(kind, outcome).text
        return reply_of(kind, kind.accept, outcome).text
    except Exception as error:
        return f"451 ({type(error).__name__})"
