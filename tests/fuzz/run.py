"""Many sessions after each other, and what was wrong."""

from __future__ import annotations

import gc
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from .session import Session, is_ours

# An error that nobody has handled is logged when its Deferred is gone, which may be in a cycle.
COLLECT_EVERY = 1000


def sessions(seed: str, first: int, count: int) -> Iterator[tuple[str, list[str]]]:
    """
    Hold sessions; return the name and what was wrong with each that was not well.

    Session 7 of seed ``x`` is the same in every run.
    """
    with _faults() as faults, tempfile.TemporaryDirectory(prefix="smtpcb-fuzz-") as folder:
        for number in range(first, first + count):
            name = f"{seed}:{number}"
            complaints = hold(name, Path(folder))
            if number % COLLECT_EVERY == COLLECT_EVERY - 1 or number == first + count - 1:
                gc.collect()
            complaints += faults
            faults.clear()
            if complaints:
                yield name, complaints
        if left := list(Path(folder).iterdir()):
            yield f"{seed}:{first}+{count}", [f"files are left: {left}"]


def hold(name: str, spool_folder: Path) -> list[str]:
    """Hold one session; return what was wrong with it."""
    try:
        return Session(name, spool_folder).run()
    except Exception:
        return [traceback.format_exc()]


@contextmanager
def _faults() -> Iterator[list[str]]:
    found: list[str] = []

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        if is_ours(event):
            found.append(f"{event['log_format']}\n{event['log_failure'].getTraceback()}")

    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)
