"""One worker process as its supervisor sees it, from its start to its end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import LogEvent, Logger, LogLevel, eventFromJSON, globalLogPublisher
from twisted.python.failure import Failure

from smtpcb.run.workers._words import CUT, FAILED, READY, RELOAD, STOP

# How long the last words of a worker may take that has ended.
HEIRS_SECONDS = 1.0
_LONGEST_LINE = 1_048_576

_log = Logger(namespace="smtpcb.workers")


class Overseer(Protocol):
    """Whom a worker's process tells what happens to it."""

    def works(self, worker: Worker) -> None:
        """It is ready."""

    def died(self, worker: Worker) -> None:
        """It has ended, or could not be started."""

    def later(self, seconds: float, work: Callable[[], None]) -> IDelayedCall:
        """Do something in a while."""


class Worker(ProcessProtocol):
    """
    One process, from its start to its end.

    :param number: from 1; who takes the place of one that died has the same.
    :param task: what it is to do.
    :ivar pid: of the process, also when that has ended.
    :ivar ready: whether it takes mail.
    :ivar ended: how it ended, once it has.
    :ivar clean: whether it ended by itself, and in order.
    :ivar why: what it has said of that.
    :ivar gone: fires when it has ended, and all that it said has been read.
    """

    transport: Any

    def __init__(self, number: int, task: bytes, supervisor: Overseer) -> None:
        self.number = number
        self.pid: int | None = None
        self.ready = False
        self.ended = ""
        self.clean = False
        self.why = ""
        self.gone: Deferred[None] = Deferred()
        self._task = task
        self._supervisor = supervisor
        self._rest = {1: b"", 2: b""}
        self._told = self._failed = False
        self._heirs: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Say what to do."""
        self.pid = self.transport.pid  # Twisted forgets it when the process has ended
        self.transport.write(self._task)

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        """Read lines."""
        *lines, rest = (self._rest[descriptor] + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:  # nobody of ours says that
            lines, rest = [*lines, rest], b""
        self._rest[descriptor] = rest
        for line in lines:
            (self._said if descriptor == 1 else self._caught)(line)

    def processExited(self, reason: Failure) -> None:
        """Tell how it ended, at once if it was at work: its heirs may hold its outputs open."""
        value: Any = reason.value
        if isinstance(value, ProcessDone):
            self.ended, self.clean = "ended", True
        elif value.signal is not None:
            self.ended = f"was killed by {signal.Signals(value.signal).name}"
        else:
            self.ended = f"ended with status {value.exitCode}"
        if self.ready:
            self._tell()
        else:
            # It may have said why, in octets that are still on their way; but an heir of its
            # outputs is not waited for.
            self._heirs = self._supervisor.later(HEIRS_SECONDS, self._tell)

    def processEnded(self, reason: Failure) -> None:
        """Tell that nothing more will come; one that never was at work has said why by now."""
        for descriptor in (1, 2):
            if self._rest[descriptor]:
                self.childDataReceived(descriptor, b"\n")
        self._tell()
        self.forget()

    def _tell(self) -> None:
        if self._heirs is not None and self._heirs.active():
            self._heirs.cancel()
        if not self._told:
            self._told = True
            self._supervisor.died(self)

    def forget(self) -> None:
        """Wait for it no longer."""
        if not self.gone.called:
            self.gone.callback(None)

    def reload(self) -> None:
        """Have it read its certificates again."""
        self._say(RELOAD)

    def stop(self) -> None:
        """Let it end: no more connections, what is under way is finished."""
        self._say(STOP)

    def cut(self) -> None:
        """Have it end at once, after `stop`; what is under way is cut."""
        self._say(CUT)

    def kill(self) -> bool:
        """End it; tell whether it was still there."""
        if self.ended:
            return False
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return False
        return True

    def _say(self, word: bytes) -> None:
        # One that is not at work yet finds it when it is: the pipe keeps it.
        if not self.ended:
            self.transport.write(word + b"\n")

    def _said(self, line: bytes) -> None:
        if line == READY:
            if not self.ended:
                self.ready = True
                self._supervisor.works(self)
        elif line.startswith(FAILED):
            self._failed, self.why = True, line.removeprefix(FAILED).decode(errors="replace")
        else:
            event = _event(line)
            if event is None:
                self._caught(line)
            else:
                level = event.get("log_level")
                name = event.get("log_namespace", "-")
                event.setdefault("log_system", f"{name}#{level.name if level else '-'}")
                event["log_system"] = f"worker {self.number}: {event['log_system']}"
                event["worker"] = self.number
                globalLogPublisher(event)

    def _caught(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip()
        if text:
            if not self.ready and not self._failed:
                self.why = text
            _log.warn("worker {worker}: {text}", worker=self.number, text=text)


def _event(line: bytes) -> LogEvent | None:
    """Return the log event that a worker has sent, or ``None``: it is something else."""
    try:
        event = eventFromJSON(line.decode())
    except Exception:  # the loaders of Twisted raise what they like
        return None
    if not isinstance(event, dict) or not isinstance(event.get("log_level"), _LEVEL_OR_NONE):
        return None
    # Objects of the other process.
    for key in ("log_logger", "log_source"):
        event.pop(key, None)
    return event


_LEVEL_OR_NONE = (type(LogLevel.info), type(None))
