"""Many sessions after each other, and what was wrong."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from typing import Any

from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from .relayed import RelayedSession
from .session import Session

# An error that nobody has handled is logged when its Deferred is gone, which may be in a cycle.
COLLECT_EVERY = 1000


def sessions(
    seed: str,
    first: int,
    count: int,
    delivered: list[int] | None = None,
    *,
    relayed: bool = False,
) -> Iterator[tuple[str, list[str]]]:
    """
    Hold sessions; return the name and what was wrong with each that was not well.

    Session 7 of seed ``x`` is the same in every run.

    :param delivered: gets the number of recipients that each has reached.
    :param relayed: there is a relay between the client and the server.
    """
    faults: list[str] = []

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        if event.get("log_failure") is not None:
            faults.append(f"{event.get('log_format')}\n{event['log_failure'].getTraceback()}")

    globalLogPublisher.addObserver(observe)
    try:
        for number in range(first, first + count):
            name = f"{seed}:{number}"
            try:
                session = RelayedSession(name) if relayed else Session(name)
                complaints = session.run()
                if delivered is not None:
                    delivered.append(session.accepted)
                del session
            except Exception:
                complaints = [traceback.format_exc()]
            if number % COLLECT_EVERY == COLLECT_EVERY - 1 or number == first + count - 1:
                gc.collect()
            complaints += faults
            faults.clear()
            if complaints:
                yield name, complaints
    finally:
        globalLogPublisher.removeObserver(observe)
