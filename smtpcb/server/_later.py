"""
An answer that needs time, on Twisted: a Deferred, a coroutine, under its reactor asyncio's too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from smtpcb._steady import steady_seconds
from smtpcb.engine._envelope import Content
from smtpcb.engine._keeping import MailData
from smtpcb.engine._pending import Pending
from smtpcb.engine._verdict import CannotWaitError, Failed, Incidents, Log
from smtpcb.handling._coroutines import NEEDS_ASYNCIO, begin, cancel, handler_log, is_asyncio
from smtpcb.smtp import Limits, Reply

_UNSET = object()


class Waiting(Pending):
    """What a Deferred will bring."""

    __slots__ = ("_came", "_deferred", "outcome")

    def __init__(self, deferred: Deferred[Any]) -> None:
        self._came: Callable[[object], None] | None = None
        self._deferred = deferred
        #: What it has brought already.
        self.outcome: object = _UNSET
        deferred.addCallbacks(self._succeeded, self._failed)

    def then(self, came: Callable[[object], None]) -> None:
        """See `Pending.then`."""
        self._came = came
        if self.outcome is not _UNSET:
            came(self.outcome)

    def cancel(self) -> None:
        """See `Pending.cancel`."""
        cancel(self._deferred)

    # Both return what another event gets for which the handler has given the same Deferred.

    def _succeeded(self, result: object) -> object:
        self._take(result)
        return result

    def _failed(self, failure: Failure) -> object:
        error = failure.value
        if error is not None and not (self._came is None and failure.check(CancelledError)):
            self._take(Failed(error))
        return Reply(451)

    def _take(self, outcome: object) -> None:
        self.outcome = outcome
        came, self._came = self._came, None
        if came is not None:
            came(outcome)


class TwistedPlatform:
    """
    Where conversations run that a reactor serves.

    :param memory_octets: how much of a message is kept in memory.
    :param spool_folder: where the rest goes; ``None``: where temporary files go.
    :param header_octets: how much of a header section is parsed.
    :param runs_asyncio: whether asyncio's loop runs too; by default, where it is the reactor's.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        memory_octets: int = 1_048_576,
        spool_folder: Path | None = None,
        header_octets: int = Limits().header_octets,
        runs_asyncio: bool | None = None,
    ) -> None:
        self._header_octets = header_octets
        self.log: Log = handler_log
        self._reactor = reactor
        #: Tells the time for deadlines.  The reactor's own follows the wall clock, which jumps.
        self.seconds = steady_seconds(reactor)
        self._memory_octets = memory_octets
        self._spool_folder = spool_folder
        self._asyncio = is_asyncio(reactor) if runs_asyncio is None else runs_asyncio
        kind = Incidents if self._asyncio else _IncidentsWithAdvice
        self.incidents = kind(self.log, self.seconds)

    def later(self, result: Any) -> object:
        """See `smtpcb.engine.Platform`."""
        if not isinstance(result, Deferred):
            result = begin(result, self._asyncio)
            if not isinstance(result, Deferred):
                return result
        waiting = Waiting(result)
        return waiting if waiting.outcome is _UNSET else waiting.outcome

    def soon(self, step: Callable[[], object]) -> None:
        """Do something at the reactor's next turn."""
        self._reactor.callLater(0, step)

    def make_content(self) -> Content:
        """Make the place for one message."""
        return MailData(
            self._memory_octets,
            self._spool_folder,
            header_octets=self._header_octets,
            in_thread=self.in_thread,
        )

    def in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do what takes long in a thread of the reactor's."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)


class _IncidentsWithAdvice(Incidents):
    """Incidents where asyncio's loop does not run: what asks for that loop is told the cure."""

    __slots__ = ()

    def report(self, method: str, handler: str, error: BaseException, connection_id: str) -> str:
        """See `Incidents.report`."""
        # What it was made of, and not its text: to make that may be users' code, which fails.
        said = [one for one in error.args if type(one) is str]
        if isinstance(error, RuntimeError) and any("running event loop" in one for one in said):
            error = CannotWaitError(NEEDS_ASYNCIO).with_traceback(error.__traceback__)
        return super().report(method, handler, error, connection_id)
