"""What a worker says to its supervisor: log events, and how the start went; each is one line."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from threading import Condition, Thread

from twisted.logger import ILogObserver, LogEvent, eventAsJSON, eventAsText
from zope.interface import implementer

# So much may wait for a supervisor that does not read; what comes then is dropped and counted.
MOST_OCTETS = 1_048_576


@implementer(ILogObserver)
class Reporter:
    """
    Sends lines to the supervisor, and never waits for it.

    A pipe holds 64 KiB, and a write to a full one blocks: a supervisor that is stopped or busy
    would stop the reactor of each worker that has something to log.  So a thread writes.

    :param descriptor: of the pipe that the supervisor reads.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._octets = 0
        self._dropped = 0
        self._changed = Condition()
        self._closed = False
        # A daemon: a pipe that nobody reads must not keep the process from ending.
        self._thread = Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def __call__(self, event: LogEvent) -> None:
        """Pass on an event, whichever thread it comes from."""
        if event.get("log_failure") is not None:
            # In JSON the error would lose its text, which may be all that there is to know.
            event = _as_text(event)
        try:
            line = eventAsJSON(event)
        except Exception:  # it holds something that is more than JSON can say
            line = eventAsJSON(_as_text(event))
        octets = line.encode()
        with self._changed:
            if self._octets + len(octets) > MOST_OCTETS and self._lines:
                self._dropped += 1
            else:
                if self._dropped:
                    self._put(_of_dropped(self._dropped))
                    self._dropped = 0
                self._put(octets)

    def say(self, line: bytes) -> None:
        """Send a line that is no event, and that is never dropped."""
        with self._changed:
            self._put(line)

    def close(self, seconds: float) -> None:
        """Send what waits, but not for longer than so long; nothing is sent afterwards."""
        with self._changed:
            if self._dropped:
                self._put(_of_dropped(self._dropped))
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _put(self, line: bytes) -> None:
        self._lines.append(line + b"\n")
        self._octets += len(line) + 1
        self._changed.notify()

    def _write_all(self) -> None:
        # OSError: the supervisor has been killed; nobody is left to tell.
        while rest := self._next():
            with suppress(OSError):
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]

    def _next(self) -> bytes:
        """Wait for a line and take it; an empty one is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closed)
            if not self._lines:
                return b""
            line = self._lines.popleft()
            self._octets -= len(line)
            return line


def _of_dropped(count: int) -> bytes:
    return eventAsJSON(
        {
            "log_format": "{count} log events were dropped: twistd's process did not read them",
            "count": count,
            "log_time": time.time(),
            "log_namespace": "smtpcb.workers",
        }
    ).encode()


def _as_text(event: LogEvent) -> LogEvent:
    """Return an event that says the same, and has nothing but its text."""
    kept = ("log_time", "log_namespace", "log_level", "log_system")
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return {
        **{key: event[key] for key in kept if key in event},
        "log_format": "{text}",
        "text": text,
    }
