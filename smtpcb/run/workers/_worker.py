"""One of several processes that serve the same ports: what the supervisor starts."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    eventAsJSON,
    eventAsText,
    globalLogBeginner,
)
from zope.interface import implementer

from smtpcb.run._options import ConfigurationError

_log = Logger(namespace="smtpcb.workers")


@implementer(ILogObserver)
class Reporter:
    """
    Tells the supervisor what is logged, and how the start went; each is one line.

    :param descriptor: of the pipe that it reads.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = Lock()

    def __call__(self, event: LogEvent) -> None:
        """Pass on an event, whichever thread it comes from."""
        if event.get("log_failure") is not None:
            # In JSON the error would lose its text, which may be all that there is to know.
            event = _as_text(event)
        try:
            line = eventAsJSON(event)
        except Exception:  # it holds something that is more than JSON can say
            line = eventAsJSON(_as_text(event))
        self.say(line.encode())

    def say(self, line: bytes) -> None:
        """Send a line."""
        rest = line + b"\n"
        # OSError: the supervisor has been killed; nobody is left to tell.
        with self._lock, suppress(OSError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def _as_text(event: LogEvent) -> LogEvent:
    """Return an event that says the same, and has nothing but its text."""
    kept = ("log_time", "log_namespace", "log_level", "log_system")
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return {
        **{key: event[key] for key in kept if key in event},
        "log_format": "{text}",
        "text": text,
    }


def read_task(descriptor: int) -> dict[str, Any] | None:
    """Return what the supervisor says, or ``None``: it has gone."""
    with open(descriptor, "rb", closefd=False, buffering=0) as file:
        size = int.from_bytes(_exactly(file, 4), "big")
        told = _exactly(file, size)
    if not size or len(told) < size:
        return None
    task: dict[str, Any] = json.loads(told)
    return task


def _exactly(file: Any, octets: int) -> bytes:
    pieces = b""
    while len(pieces) < octets:
        piece = file.read(octets - len(pieces))
        if not piece:
            break
        pieces += piece
    return pieces


def wait_for_end(descriptor: int, ask: Callable[[], object], seconds: float) -> None:
    """
    Have the process end when the supervisor closes the pipe or is killed.

    It runs in a thread, since whatever keeps the reactor busy must not keep the process.

    :param ask: asks for it.
    :param seconds: how long that may take.
    """
    with suppress(OSError):
        while os.read(descriptor, 4096):
            pass
    ask()
    time.sleep(seconds)
    os._exit(1)


def serve(task: dict[str, Any], reactor: Any, reporter: Reporter) -> int:
    """
    Do it, until somebody stops the reactor; return the exit status.

    :param task: as `read_task` returned it.
    """
    # They may look for the reactor, which must be the right one.
    from smtpcb.run.build import make_service
    from smtpcb.run.workers._supervisor import FAILED, READY, understood

    try:
        configuration, share = understood(task)
        service = make_service(configuration, reactor, share=share)
        service.privilegedStartService()
        service.startService()
    except Exception as error:
        if not isinstance(error, ConfigurationError):
            _log.failure("a worker cannot start")
        text = " ".join(str(error).split())
        if not isinstance(error, ConfigurationError):
            text = f"{type(error).__name__}: {text}"
        reporter.say(FAILED + text.encode(errors="replace"))
        return 1

    def begin() -> None:
        # Here, since Twisted has its own by now, which logs an error when it comes twice.
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop, reactor))
        reporter.say(READY)

    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.callWhenRunning(begin)
    reactor.run()
    return 0


def stop(reactor: Any) -> None:
    """Stop the reactor, unless that is stopping already."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def main() -> None:
    """Run the process."""
    # Ctrl-C goes to all processes of a terminal: the supervisor decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # The usual descriptors stay free for what they are for; the other ones nobody inherits.
    control, out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    task = read_task(control)
    if task is None:
        sys.exit(0)
    for descriptor, _ in task["share"][2]:
        os.set_inheritable(descriptor, False)
    sys.path[:] = task["path"]
    with suppress(ImportError, AttributeError):
        importlib.import_module(task["reactor"]).install()
    from twisted.internet import reactor

    reporter = Reporter(out)
    globalLogBeginner.beginLoggingTo([reporter])
    Thread(
        target=wait_for_end,
        args=(
            control,
            lambda: reactor.callFromThread(stop, reactor),  # type: ignore[attr-defined]
            task["seconds"],
        ),
        daemon=True,
    ).start()
    sys.exit(serve(task, reactor, reporter))
