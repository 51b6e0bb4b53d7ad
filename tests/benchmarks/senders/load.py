"""What all senders send, and how they say what it cost; nothing but the standard library."""

from __future__ import annotations

import sys
import time

SENDER = "sender@example.com"
RECIPIENT = "recipient@example.com"
_HEADER = (
    b"From: <sender@example.com>\r\nTo: <recipient@example.com>\r\nSubject: a benchmark\r\n"
    b"Date: Sat, 28 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\n"
)
_LINE = b"x" * 70 + b"\r\n"

PORT, SESSIONS, MESSAGES, OCTETS = map(int, sys.argv[1:5])
CONTENT = _HEADER + _LINE * max(1, (OCTETS - len(_HEADER)) // len(_LINE))
WARM = (max(1, SESSIONS // 10), MESSAGES) if MESSAGES == 1 else (1, max(1, MESSAGES // 10))


class Cost:
    """CPU and time since it was made."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._time = time.perf_counter()

    def tell(self) -> None:
        """Print both."""
        print(time.process_time() - self._cpu, time.perf_counter() - self._time)
