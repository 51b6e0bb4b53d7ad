"""What every test is held to: nothing logged, nothing left running."""

from __future__ import annotations

import gc
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.base import DelayedCall
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

# How long a closing connection may take to be gone after its test, in steps of 10 ms.
SETTLING_STEPS = 50


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder of root's that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="smtpcb-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True, scope="session")
def small_heap() -> None:
    """
    Let a full garbage collection look at what the tests made, not at every imported module.

    A Deferred's error is logged as unhandled only when the Deferred is gone, and one that is in
    a cycle with a traceback is gone only after a collection of whatever generation it is in by
    then.  So each test ends in a full one, or the error is blamed on a later test, or on none.
    Over the whole heap that costs some 20 ms; past a freeze it is next to nothing, so it need not
    be guessed which tests could have made a Deferred.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def settled_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file that a test has just written be one that nobody is writing any more."""
    monkeypatch.setattr("smtpcb._reread.SETTLED_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def clean_reactor(request: pytest.FixtureRequest) -> Iterator[list[LogEvent]]:
    """
    Fail a test that logs a failure, or leaves a delayed call, a port or a connection behind.

    A test that provokes failures takes this fixture, looks at the events and clears the list.
    Threads of the reactor's pool may stay.
    """
    # Imported here: at module level it would settle the reactor before --reactor is read.
    from twisted.internet import reactor as installed

    reactor: Any = installed
    events: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            events.append(event)

    def sockets() -> set[object]:
        selected = {*reactor.getReaders(), *reactor.getWriters()}
        return {one for one in selected if hasattr(one, "getHost")}

    calls_before, sockets_before = set(reactor.getDelayedCalls()), sockets()

    def left_over() -> list[object]:
        calls = [call for call in reactor.getDelayedCalls() if call not in calls_before]
        return [*(call for call in calls if call.active()), *(sockets() - sockets_before)]

    hangup_before = signal.getsignal(signal.SIGHUP)
    globalLogPublisher.addObserver(observe)
    try:
        yield events
        if request.cls is not None and issubclass(request.cls, SynchronousTestCase):
            events.clear()  # trial has judged them: what it did not flush has failed the test
        # The other end of a connection learns only in the reactor's next turns that it is closed.
        for _ in range(SETTLING_STEPS):
            if not left_over():
                break
            pytest_twisted.blockon(deferLater(reactor, 0.01))
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
        # A service that a test has not stopped would hear it in the midst of another one.
        signal.signal(signal.SIGHUP, hangup_before)
    complaints = ["logged: " + event["log_failure"].getTraceback() for event in events]
    for left in left_over():
        complaints.append(f"left over: {left}")
        if isinstance(left, DelayedCall):
            left.cancel()  # it would run in the midst of another test
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
