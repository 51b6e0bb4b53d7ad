"""What blocks runs in threads, one call at a time per connection, and ends with the server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import methods_of, name_of, understand
from smtpcb.handling import SmtpEventHandler, threaded
from smtpcb.smtp._command import Verb
from smtpcb.smtp.sasl import Authenticated, Credentials

HERE = Connection("test")
LOGIN = Credentials("PLAIN", "u", "p")


@pytest.fixture
def threads() -> Iterator[Any]:
    """Make threaded handlers whose threads end with the test."""
    made: list[threaded] = []

    def make(handler: object, **options: Any) -> threaded:
        made.append(threaded(handler, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Blocking:
    """Says in which thread it was called, and waits to be let go."""

    command_mask = Verb.MAIL
    discards_content = True

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[str] = []
        self.inside = 0
        self.most = 0

    def verify(self, text: str, connection: Connection) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.seen.append(threading.current_thread().name)
        if text == "wait":
            self.gate.wait(5)
        self.inside -= 1
        if text == "raise":
            raise RuntimeError("in a thread")
        if text == "exit":
            sys.exit(3)
        return 250

    def etrn(self, domain: str, connection: Connection) -> Any:
        return Deferred()

    def help(self, text: str, connection: Connection) -> Any:
        async def later() -> int:
            return 250

        return later()

    def authenticate(self, credentials: Credentials, connection: Connection) -> Any:
        self.gate.wait(5)
        return Authenticated("x", release=self._release)

    def _release(self) -> None:
        self.seen.append(f"released in {threading.current_thread().name}")


@pytest_twisted.ensureDeferred
async def test_a_blocking_handler_runs_in_a_thread(threads: Any) -> None:
    """Off the reactor's thread; answers and exceptions come back, sys.exit() too."""
    inner = Blocking()
    handler: Any = threads(inner)(HERE)
    assert await handler.verify("x", HERE) == 250
    assert inner.seen != [threading.current_thread().name]
    with pytest.raises(RuntimeError, match="in a thread"):
        await handler.verify("raise", HERE)
    with pytest.raises(SystemExit):
        await handler.verify("exit", HERE)
    assert await handler.verify("x", HERE) == 250
    assert handler.command_mask == Verb.MAIL
    assert "chunk" not in methods_of(handler)
    assert name_of(handler) == "Blocking"


@pytest_twisted.ensureDeferred
async def test_calls_of_one_connection_do_not_overlap(threads: Any) -> None:
    """One at a time per connection, and side by side for two."""
    inner = Blocking()
    factory = threads(inner)
    one: Any = factory(HERE)
    waiting = [one.verify("wait", HERE), one.verify("x", HERE), one.verify("x", HERE)]
    other: Any = factory(Connection("other"))
    assert await other.verify("x", HERE) == 250  # does not wait for the other connection
    inner.most = 1
    inner.gate.set()
    for answer in waiting:
        assert await answer == 250
    assert inner.most == 1


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_the_waiting_and_not_the_thread(threads: Any) -> None:
    """The next call waits until the thread is free; one that had not begun never runs."""
    inner = Blocking()
    handler: Any = threads(inner)(HERE)
    running, queued, last = (handler.verify(text, HERE) for text in ("wait", "x", "x"))
    for cancelled in (running, queued):
        cancelled.cancel()
        with pytest.raises(CancelledError):
            await cancelled
    assert not last.called
    inner.gate.set()
    assert await last == 250
    assert len(inner.seen) == 2


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_login_runs_in_a_thread_too(threads: Any) -> None:
    """It may block as well; one that came too late is ended at once."""
    inner = Blocking()
    handler: Any = threads(inner)(HERE)
    answer = handler.authenticate(LOGIN, HERE)
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    inner.gate.set()
    vouched = await handler.authenticate(LOGIN, HERE)
    await handler.verify("x", HERE)
    released = [text for text in inner.seen if text.startswith("released")]
    assert len(released) == 1
    assert threading.current_thread().name not in released[0]
    assert vouched.identity == "x"
    vouched.release()
    await handler.verify("x", HERE)
    assert sum(text.startswith("released") for text in inner.seen) == 2


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_login_that_fails_hurts_nobody(
    threads: Any, clean_reactor: list[Any]
) -> None:
    """It is in the log, and the next call runs."""

    class Vouches:
        discards_content = True

        def authenticate(self, credentials: Credentials, connection: Connection) -> Any:
            return Authenticated("x", release=lambda: sys.exit(3))

    handler: Any = threads(Vouches)(HERE)
    (await handler.authenticate(LOGIN, HERE)).release()
    assert (await handler.authenticate(LOGIN, HERE)).identity == "x"
    assert [event["log_failure"].type for event in clean_reactor] == [SystemExit]
    clean_reactor.clear()


@pytest_twisted.ensureDeferred
async def test_what_is_no_plain_function_is_told_so(threads: Any) -> None:
    """Coroutines and Deferreds belong into the reactor's thread."""
    handler: Any = threads(Blocking())(HERE)
    for call in (handler.help, handler.etrn):
        with pytest.raises(TypeError, match="neither async def nor a Deferred"):
            await call("x", HERE)


@pytest_twisted.ensureDeferred
async def test_threads_may_be_stopped_and_started_again() -> None:
    """stop() waits for what they do; the next connection starts them anew."""
    factory = threaded(Blocking)
    factory.stop()
    handler: Any = factory(HERE)
    assert await handler.verify("x", HERE) == 250
    factory.stop()
    with pytest.raises(RuntimeError, match="have been stopped"):
        await handler.verify("x", HERE)
    handler = factory(HERE)
    assert await handler.verify("x", HERE) == 250
    factory.stop()


def test_a_call_that_never_returns_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads that do not end are left behind; they are daemons."""
    monkeypatch.setattr("smtpcb.handling._threaded.THREADS_SECONDS", 0.01)
    go_on = threading.Event()
    started = threading.Event()

    class Stuck:
        def message(self, envelope: object) -> None:
            started.set()
            go_on.wait(60)

    factory = threaded(Stuck)
    handler: Any = factory(HERE)
    handler.message(None).addErrback(lambda _: None)
    assert started.wait(10)
    factory.stop()
    assert not go_on.is_set()
    go_on.set()


def test_a_threaded_handler_with_little_overridden(threads: Any) -> None:
    """What is absent inside is absent outside."""
    kind = type("Sink", (SmtpEventHandler,), {"discards_content": True})
    assert understand(threads(kind)(HERE)).methods == {}


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: threaded(object()), "neither message"),
        (lambda: threaded(Blocking, threads="10"), "threads is a number, not str"),
        (lambda: threaded(Blocking, threads=True), "threads is a number, not bool"),
        (lambda: threaded(threaded(Blocking)), "in threads already"),
    ],
)
def test_a_mistake_is_told_at_once(make: Any, complaint: str) -> None:
    """When the server is configured."""
    with pytest.raises(TypeError, match=complaint):
        make()


def test_at_least_one_thread() -> None:
    """With none, nobody would ever be answered."""
    with pytest.raises(ValueError, match="at least 1, not 0"):
        threaded(Blocking, threads=0)
