"""Threads that wait for a disk."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from smtpcb.handlers._disk import DiskThreads


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor as installed

    return installed


@pytest_twisted.ensureDeferred
async def test_results_and_failures(reactor: Any) -> None:
    """Both come back in the reactor's thread."""
    threads = DiskThreads(reactor, "disk")
    for work, expected in [(lambda: 3, 3), (lambda: [][0], IndexError)]:
        done: Deferred[Any] = Deferred()
        threads.run(work, lambda result, done=done: done.callback([result, threading.get_ident()]))
        result, thread = await done
        assert thread == threading.get_ident()
        assert (result.type if isinstance(result, Failure) else result) == expected
    assert await threads.stop(30) == 0


@pytest_twisted.ensureDeferred
async def test_what_was_begun_is_finished(reactor: Any) -> None:
    """Also what had to queue; then other threads may start."""
    threads = DiskThreads(reactor, "disk")
    assert await threads.stop(0) == 0
    done: list[object] = []
    for _ in range(2):
        for number in range(20):
            threads.run(lambda number=number: number, done.append)
        assert await threads.stop(30) == 0
    assert sorted(done) == sorted([*range(20)] * 2)


@pytest_twisted.ensureDeferred
async def test_a_disk_that_stalls(reactor: Any) -> None:
    """It is waited for as long as was said, and the reactor goes on meanwhile and afterwards."""

    class Both(Clock):
        callFromThread = reactor.callFromThread

    clock, stalled = Both(), threading.Event()
    threads = DiskThreads(clock, "disk")
    done: list[object] = []
    threads.run(stalled.wait, done.append)
    ended = threads.stop(5.0)
    clock.advance(4.9)
    await deferLater(reactor, 0)
    assert not ended.called
    clock.advance(0.1)
    assert await ended == 1
    stalled.set()
    while not done:
        await deferLater(reactor, 0.001)
    assert not clock.getDelayedCalls()
