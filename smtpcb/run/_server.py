"""Everything that ``twistd smtpcb`` runs, and in which order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb import tls
from smtpcb.handlers._disk import DiskThreads
from smtpcb.interfaces import IReadyMadeHandler
from smtpcb.run._options import ConfigurationError
from smtpcb.run._start import announce, cannot_listen, give_up, one_line
from smtpcb.run._state import explained
from smtpcb.server._service import SmtpService
from smtpcb.transcript._record import TranscriptFolder, TranscriptSettings, prune

PRUNE_SECONDS = 3600.0
RELOAD_SECONDS = 86400.0
DISK_SECONDS = 4.0
"""How long the disk is waited for when all else has ended."""

_log = Logger(namespace="smtpcb")


def on_second_signal(reactor: Any, act: Callable[[], None]) -> dict[int, Any]:
    """Have whoever asks twice to stop not wait; return what the signals did before."""

    def come(*_: object) -> None:
        reactor.callFromThread(act)

    before: dict[int, Any] = {}
    with suppress(ValueError):  # not in the main thread: signals are somebody else's
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, come)
    return before


class ServerService(Service):
    """
    Everything that ``twistd smtpcb`` runs, in its order: handler, ports, and back.

    :param smtp: the ports.
    :param clear: how many of them, the first ones, are without implicit TLS.
    :param handler: started before them and stopped after them, if it is a service.
    :param identities: reloaded on SIGHUP and daily.
    :param transcripts: closed at the end, and cleared up every hour.
    :param report: what else to say once the ports are open; ``None``: say nothing at all.
    :param identity: what the identities were at first, where only root may be able to read them.
    :param as_root: what is done while we may still be root.
    :param first: what is done on disk when we are not any more, before anything else.
    """

    name = "smtpcb"

    def __init__(
        self,
        reactor: Any,
        smtp: SmtpService,
        clear: int,
        handler: object,
        identities: tls.ServerTls | None,
        transcripts: TranscriptFolder | None,
        transcript_settings: TranscriptSettings | None,
        report: Sequence[str] | None,
        identity: tls.Identity | None = None,
        *,
        as_root: Sequence[Callable[[], None]] = (),
        first: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._reactor = reactor
        self.smtp = smtp
        self._clear = clear
        self._handler = handler if IService.providedBy(handler) else None
        self._is_ready_made = IReadyMadeHandler.providedBy(handler)
        self._identities = identities
        self._transcripts = transcripts
        self._transcript_settings = transcript_settings
        self.report = report
        self.identity = identity
        self._as_root = as_root
        self._first = first
        self._disk = DiskThreads(reactor, "smtpcb-disk")
        self._loops: list[LoopingCall] = []
        self._old_signal: Any = None

    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        :raises StartError: one cannot be bound; a line on standard error says why, and nothing
            else does.
        """
        super().privilegedStartService()
        self.prepare_as_root()
        try:
            self.smtp.privilegedStartService()
        except Exception as error:  # an endpoint of a plug-in may raise anything
            cannot_listen(error)

    def prepare_as_root(self) -> None:
        """
        Do what only root can do beside binding ports.

        :raises StartError: it could not be done, which has been said.
        """
        self._do(self._as_root)

    def startService(self) -> None:
        """
        Start all of it.

        :raises StartError: a folder or file cannot be used, as for a port that cannot be bound.
        :raises ConfigurationError: the same for a worker, whose supervisor says it.
        """
        if self.running:
            return
        self._do([*self._first, self._start_handler])
        super().startService()
        self.smtp.startService()
        if self._identities is not None:
            self._every(RELOAD_SECONDS, self.reload)
        # Without TLS as well: who sends it to every server does not mean to end this one.
        with suppress(ValueError):  # not in the main thread: signals are somebody else's
            self._old_signal = signal.signal(
                signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload)
            )
        if self._transcript_settings is not None:
            self._every(PRUNE_SECONDS, self._prune, now=True)
        if self.report is not None:
            announce([port.getHost() for port in self.smtp.ports], self._clear, self.report)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop all of it: no message that was accepted is lost."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        if self._old_signal is not None:
            signal.signal(signal.SIGHUP, self._old_signal)
            self._old_signal = None
        again = on_second_signal(self._reactor, self.smtp.factory.cut)
        yield self.smtp.stopService()
        for number, handler in again.items():
            signal.signal(number, handler)
        # Beside the handler, which may have to wait for the same disk.
        idle = self._disk.stop(DISK_SECONDS)
        if self._handler is not None:
            yield maybeDeferred(self._handler.stopService)
        if self._transcripts is not None:
            self._transcripts.close()
        yield idle

    def reload(self) -> None:
        """Read keys and certificates again; a pair that is broken leaves the old one in force."""
        if self._identities is not None:
            # In a thread, since the disk may stall and somebody may have locked the folder.
            self._disk.run(self._identities.reload, self._reloaded)

    def _reloaded(self, result: Failure | None) -> None:
        if result is None:
            _log.info("certificates reloaded")
        elif result.check(tls.IdentityError):
            _log.error("certificates not reloaded: {error}", error=str(result.value))
        else:
            _log.failure("a regular task failed", result)

    def _do(self, steps: Sequence[Callable[[], None]]) -> None:
        try:
            for step in steps:
                step()
        except ConfigurationError as error:
            self.smtp.stopService()  # nobody has connected: the ports are closed at once
            if self.report is None:
                raise
            give_up(str(error))

    def _start_handler(self) -> None:
        if self._handler is None:
            return
        try:
            self._handler.startService()
        except (OSError, ValueError) as error:
            if not self._is_ready_made:
                raise  # where in the user's code it happened is worth more than a line
            with explained("--handler"):
                if isinstance(error, OSError):
                    raise
            raise ConfigurationError(f"--handler: {one_line(error)}") from None

    def _every(self, seconds: float, work: Callable[[], Any], *, now: bool = False) -> None:
        def once() -> Deferred[Any]:
            # An error here would end the loop.
            return maybeDeferred(work).addErrback(
                lambda failure: _log.failure("a regular task failed", failure)
            )

        loop = LoopingCall(once)
        loop.clock = self._reactor
        loop.start(seconds, now=now)
        self._loops.append(loop)

    def _prune(self) -> Deferred[Any]:
        assert self._transcript_settings is not None
        # In threads of its own, as a disk that has stalled must not keep the process from ending.
        pruned: Deferred[Any] = Deferred()
        self._disk.run(
            partial(prune, self._transcript_settings, time.time()),
            pruned.callback,
        )
        return pruned
