"""A finished connection is freed at once, with all that belonged to it, and without a collector."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost

from smtpcb.engine import Conversation, Envelope, ServerDialogue
from smtpcb.server._protocol import SmtpServerProtocol
from smtpcb.smtp import Limits, Refusal
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, Client, Observer, Recorder


class Made(Observer):
    """One for each connection."""

    waiting: Any = None

    def __init__(self, connection: Any) -> None:
        super().__init__(**type(self).answers())

    @classmethod
    def answers(cls) -> dict[str, Any]:
        return {}


class Keeping(Recorder):
    def __init__(self, connection: Any) -> None:
        super().__init__()


class Slow(Made):
    """Everything is answered in the next moment."""

    @classmethod
    def answers(cls) -> dict[str, Any]:
        def hang(*_: Any) -> Any:
            cls.waiting = Deferred()
            return cls.waiting

        return {"rcpt": hang, "message": hang}


class Immediate(Made):
    @classmethod
    def answers(cls) -> dict[str, Any]:
        return dict.fromkeys(("rcpt", "message", "chunk"), lambda *_: succeed(None))


class Coroutines(Made):
    async def rcpt(self, recipient: Any, envelope: Any) -> None:
        pass

    async def message(self, envelope: Any) -> None:
        await succeed(None)


class Failing(Made):
    @classmethod
    def answers(cls) -> dict[str, Any]:
        return {"rcpt": lambda *_: 1 / 0}


class FailingLater(Made):
    @classmethod
    def answers(cls) -> dict[str, Any]:
        return {"message": lambda *_: fail(ArithmeticError())}


class FailingCoroutine(Made):
    async def mail(self, envelope: Any) -> None:
        raise ArithmeticError

    async def rcpt(self, recipient: Any, envelope: Any) -> None:
        await succeed(None)
        raise ArithmeticError


class FailingEverywhere(Made):
    @classmethod
    def answers(cls) -> dict[str, Any]:
        names = ("command", "header", "chunk", "aborted", "disconnected")
        return dict.fromkeys(names, lambda *_: 1 / 0)


class Refusing(Made):
    @classmethod
    def answers(cls) -> dict[str, Any]:
        def refuse(*_: Any) -> None:
            raise Refusal(550, "no")

        return {"rcpt": refuse, "chunk": refuse}


class Login(Made):
    def authenticate(self, credentials: Any, connection: Any) -> bool:
        return credentials.username == "a"


KINDS = (Made, SmtpServerProtocol, Conversation, ServerDialogue, Envelope, Keeping)


def there() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, KINDS)]


def finish(client: Client) -> None:
    client.send(b"QUIT\r\n")


def answer_late(client: Client) -> None:
    while not Slow.waiting.called:
        Slow.waiting.callback(None)


WAYS: dict[str, tuple[Any, bytes, Any]] = {
    "QUIT": (Made, HELLO + MESSAGE, finish),
    "kept": (Keeping, HELLO + MESSAGE, finish),
    "nothing said": (Made, b"", None),
    "in a transaction": (Made, HELLO + MAIL + RCPT, None),
    "in mail data": (Made, HELLO + MAIL + RCPT + b"DATA\r\nA: b\r\n\r\nxx", None),
    "in a chunk": (Made, HELLO + MAIL + RCPT + b"BDAT 10\r\nabc", None),
    "at once": (Immediate, HELLO + MESSAGE, finish),
    "coroutines": (Coroutines, HELLO + MESSAGE, finish),
    "answered late": (Slow, HELLO + MESSAGE, answer_late),
    "never answered": (Slow, HELLO + MAIL + RCPT, None),
    "no answer in time": (Slow, HELLO + MAIL + RCPT, lambda c: c.clock.advance(300)),
    "a fault": (Failing, HELLO + MAIL + RCPT, finish),
    "a fault later": (FailingLater, HELLO + MESSAGE, finish),
    "a fault in a coroutine": (FailingCoroutine, HELLO + MAIL, finish),
    "a fault in a coroutine later": (FailingCoroutine, HELLO + RCPT, finish),
    "faults everywhere": (FailingEverywhere, HELLO + MESSAGE + MAIL, finish),
    "a refusal": (Refusing, HELLO + MAIL + RCPT + RCPT, finish),
    "mistakes": (Made, b"WHAT\r\n" * 12, None),
    "too many": (Made, b"WHAT\r\n" * 20, lambda client: client.clock.advance(1)),
    "too long a line": (Made, b"x" * 20_000, None),
    "LF alone": (Made, b"NOOP\n", None),
    "a login": (Login, HELLO + b"AUTH PLAIN AGEAYg==\r\n", finish),
    "half a login": (Login, HELLO + b"AUTH LOGIN\r\n", None),
    "a wrong one": (Login, HELLO + b"AUTH PLAIN AGIAYg==\r\n", None),
    "idle": (Made, HELLO, lambda client: client.clock.advance(300)),
    "too slow": (Made, HELLO + MAIL + RCPT + b"DATA\r\nx", lambda c: c.clock.advance(60)),
    "half closed": (Made, HELLO + MAIL, lambda client: client.protocol.readConnectionLost()),
    "stopped": (Made, HELLO + MAIL, lambda client: client.factory.drain()),
    "cut": (Slow, HELLO + MESSAGE, lambda client: client.factory.cut()),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_finished_connection_stays(
    way: str, connect: Callable[..., Client], failures: list[Any]
) -> None:
    """Protocol, conversation, dialogue, envelope, handler: memory does not wait to be collected."""
    kind, octets, act = WAYS[way]
    made = Client(kind, limits=Limits(free_errors=8))  # what is made once is made
    factory, clock = made.factory, made.clock
    made.finish()
    del made
    gc.collect()
    gc.disable()
    try:
        before = len(there())
        client = Client(factory=factory, clock=clock)
        client.protocol.dataReceived(octets)
        if act is not None:
            act(client)
        client.leave(ConnectionLost() if way == "in a chunk" else None)
        if factory.protocols:
            factory.cut()  # a message in the handler's hands is waited for
        client.transport.producer = None
        del client
        kind.waiting = None
        clock.advance(31)
        assert len(there()) == before
    finally:
        gc.enable()
    assert clock.getDelayedCalls() == []


def test_one_whose_handler_cannot_be_made_is_freed_too(failures: list[Any]) -> None:
    """A fault of the factory's leaves nothing behind either."""
    broken = False

    def make(connection: Any) -> Made:
        if broken:
            raise ArithmeticError
        return Made(connection)

    factory = Client(make).factory
    broken = True
    gc.collect()
    gc.disable()
    try:
        before = len(there())
        client = Client(factory=factory, clock=factory.reactor)
        assert client.codes() == [421]
        client.leave()
        client.transport.producer = None
        del client
        assert len(there()) == before
    finally:
        gc.enable()
