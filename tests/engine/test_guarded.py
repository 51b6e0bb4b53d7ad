"""An observer that fails costs nobody else anything, whoever leads the conversation."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from smtpcb.engine import Observer
from smtpcb.engine._guarded import Guarded
from smtpcb.server._observers import Several
from tests.engine.scripts import Does, Server, returns

METHODS = [
    *("client", "server", "content", "end_of_content"),
    *("decided", "refused", "aborted", "note", "ended"),
]
TRANSACTION = b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<>\r\n"
DIALOGUE = (b"EHLO c\r\n", b"x" * 9999 + b"\r\n", TRANSACTION)


def failing(method: str, error: type[BaseException]) -> tuple[Observer, list[str]]:
    calls: list[str] = []

    def fail(*_: object) -> None:
        calls.append(method)
        raise error

    return type("Broken", (Observer,), {method: fail})(), calls


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("method", METHODS)
def test_a_dialogue_goes_on_whatever_an_observer_raises(
    method: str, error: type[BaseException]
) -> None:
    """The client hears the same as without it; it is called no more."""
    observer, calls = failing(method, error)
    handler = Does(message=returns((250, "Taken")))
    server, plain = Server(handler, observer=observer), Server(handler)
    for octets in DIALOGUE:
        server.send(octets)
        plain.send(octets)
    if method == "note":
        server.conversation.note("something")
    server.driver.disconnect()
    assert server.codes == plain.codes
    assert calls == [method]


@pytest.mark.parametrize("made", [Guarded, Several])
def test_whatever_can_be_observed_is_passed_on(made: type[Observer]) -> None:
    """An observer of yours is called for all that `Observer` says it is, alone or with others."""
    calls: list[tuple[str, tuple[object, ...]]] = []

    def method(name: str) -> Any:
        return lambda _, *arguments: calls.append((name, arguments))

    mine = type("Mine", (Observer,), {name: method(name) for name in METHODS})()
    others = [name for name in vars(Observer) if callable(getattr(Observer, name))]
    assert sorted(name for name in others if name[0] != "_") == sorted(METHODS)
    observer = Guarded(mine, Any, "id") if made is Guarded else Several([mine])
    for name in METHODS:
        count = len(inspect.signature(getattr(Observer, name)).parameters) - 1
        given = tuple(object() for _ in range(count))
        getattr(observer, name)(*given)
        assert calls[-1:] == [(name, given)]


@pytest.mark.parametrize("answer", ["coroutine", "generator"])
def test_what_nobody_would_run_is_a_fault(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    """An observer whose method is async def, or has a yield, sees nothing: that is said."""

    async def waits(*_: Any) -> None: ...

    def yields(*_: Any) -> Any:
        yield

    method = waits if answer == "coroutine" else yields
    server = Server(observer=type("Waits", (Observer,), {"decided": method})())
    (line,) = server.log
    assert "decided of the observer Waits failed" in line
    assert "is a plain def: nobody would run it" in line


def test_an_observer_that_blocks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps everybody waiting, as a handler may."""
    monkeypatch.setattr("smtpcb.engine._guarded.SLOW_SECONDS", -1.0)
    line = Server(observer=Observer()).log[0]
    assert "decided of the observer Observer kept everybody waiting for 0.0 s" in line


def test_somebody_who_interrupts_is_obeyed() -> None:
    """Control-C ends the program, wherever it comes."""
    with pytest.raises(KeyboardInterrupt):
        Server(observer=failing("decided", KeyboardInterrupt)[0])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (42, "an Observer is wanted: int has no client()"),
        (Observer, "an Observer is wanted: Observer is a class"),
        (Does(), "an Observer is wanted: Does has no client()"),
    ],
)
def test_what_is_no_observer_is_refused(given: Any, why: str) -> None:
    """Before the dialogue begins."""
    with pytest.raises(TypeError) as caught:
        Server(observer=given)
    assert str(caught.value) == why


def test_an_observer_need_not_be_of_the_class() -> None:
    """What has its methods will do; it sees all of it unless it says otherwise."""
    seen: list[str] = []

    class Own:
        def __getattr__(self, name: str) -> Any:
            if name not in METHODS:
                raise AttributeError(name)
            return lambda *_: seen.append(name)

    guarded: Any = Guarded(Own(), None, "id")  # type: ignore[arg-type]  # nothing fails here
    assert guarded.sees_octets
    assert guarded.sees_plain_answers
    guarded.note("x")
    assert seen == ["note"]
