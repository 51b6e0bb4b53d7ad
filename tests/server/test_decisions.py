"""Whatever a handler does, the client gets one right reply and the session goes on (P40, P41)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import LogEvent

from smtpcb.engine import Reason
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, TEXT, Client, Observer, Recorder

SECRET = "the text of an exception"
Connect = Callable[..., Client]


class Answering(Observer):
    def authenticate(self, credentials: Any, connection: Any) -> Any:
        answer = self._answers.get("authenticate", True)
        return answer(credentials) if callable(answer) else answer


# What is said up to the event, and what makes it happen.
TRANSACTION = HELLO + MAIL + RCPT
DECISIONS = {
    "hello": (b"", HELLO),
    "mail": (HELLO, MAIL),
    "rcpt": (HELLO + MAIL, RCPT),
    "data": (TRANSACTION, b"DATA\r\n"),
    "message": (TRANSACTION + b"DATA\r\n" + TEXT, b".\r\n"),
    "verify": (HELLO, b"VRFY x\r\n"),
    "expand": (HELLO, b"EXPN x\r\n"),
    "help": (HELLO, b"HELP\r\n"),
    "etrn": (HELLO, b"ETRN x\r\n"),
    "authenticate": (HELLO, b"AUTH PLAIN AGEAYg==\r\n"),
}
CONTENT = {"header", "chunk"}
SILENT = {
    "command": (HELLO, b"NOOP\r\n", 250),
    "aborted": (TRANSACTION, b"RSET\r\n", 250),
}


def raises(*arguments: Any) -> Any:
    raise RuntimeError(SECRET)


def exits(*arguments: Any) -> Any:
    raise SystemExit(SECRET)


def cancelled_by_asyncio(*arguments: Any) -> Any:
    raise asyncio.CancelledError


def fails(*arguments: Any) -> Any:
    return fail(RuntimeError(SECRET))


async def coroutine_raises(*arguments: Any) -> Any:
    raise RuntimeError(SECRET)


async def coroutine_raises_late(*arguments: Any) -> Any:
    await succeed(None)
    raise RuntimeError(SECRET)


def raising_lines() -> Any:
    yield "one"
    raise RuntimeError(SECRET)


FAULTS = [raises, exits, cancelled_by_asyncio, fails, coroutine_raises, coroutine_raises_late]
NONSENSE: list[Any] = [
    object(),
    "text",
    99,
    (550, "4.1.1", "text"),
    (550, "text", "more"),
    ("550", "x"),
    (550, 7),
    [],
    b"250",
    3.5,
]


def nonsense(value: Any) -> Callable[..., Any]:
    return lambda *arguments: value


def garbled(*arguments: Any) -> Any:
    return (550, raising_lines())


def raises_positive_refusal(*arguments: Any) -> Any:
    raise Refusal(Reply(250))


ALL_FAULTS: list[Any] = [
    *FAULTS,
    garbled,
    raises_positive_refusal,
    *(pytest.param(nonsense(value), id=f"returns {value!r:.20}") for value in NONSENSE),
    pytest.param(lambda *a: succeed("text"), id="Deferred of text"),
]


def incident_of(reply: str) -> str:
    match = re.search(r"4\.3\.0 Local error in processing \(incident ([0-9a-f]{8})\)", reply)
    assert match is not None, reply
    return match[1]


def in_sync(client: Client) -> None:
    assert client.codes(b"NOOP\r\nRSET\r\n" + MESSAGE) == [250, 250, 250, 250, 354, 250]
    assert client.codes(b"QUIT\r\n") == [221]
    assert client.closing


@pytest.mark.parametrize("fault", ALL_FAULTS)
@pytest.mark.parametrize("event", DECISIONS)
def test_a_fault_in_a_decision_is_a_451_with_a_number(
    event: str, fault: Any, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """A bug of yours costs the command under way, for now; nothing else (P19, P40)."""
    broken = [fault]
    handler = Answering(**{event: lambda *a: broken.pop()(*a) if broken else None})
    client = connect(handler)
    before, trigger = DECISIONS[event]
    client.send(before)
    (reply,) = client.send(trigger)
    assert reply.startswith("451 ")
    number = incident_of(reply)
    assert sum(f"incident {number} on" in text for text in log) == 1
    assert SECRET not in reply
    if event == "hello":
        assert client.codes(HELLO) == [250]
    in_sync(client)


@pytest.mark.parametrize("fault", ALL_FAULTS)
def test_a_fault_in_connected_is_a_421(
    fault: Any, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """There is no 451 in place of a greeting: the client is asked to come again (P40)."""
    handler = Recorder(connected=fault)
    client = connect(handler)
    (reply,) = client.replies()
    assert reply.startswith("421 ")
    assert sum(f"incident {incident_of(reply)} on" in text for text in log) == 1
    assert client.closing
    client.leave()
    assert handler.names() == ["connected", "disconnected"]


@pytest.mark.parametrize(
    "factory",
    [
        raises,
        exits,
        cancelled_by_asyncio,
        coroutine_raises,
        nonsense(succeed(None)),
        *(
            pytest.param(nonsense(value), id=f"returns {value!r:.20}")
            for value in [object(), "text", None, (550, "x")]
        ),
        pytest.param(nonsense(type("Odd", (), {"rcpt": 3})()), id="method is none"),
        pytest.param(
            nonsense(type("Odd", (), {"rcpt": raises, "extensions": {"X"}})()), id="extension"
        ),
    ],
)
def test_a_factory_that_makes_no_handler_is_a_421(
    factory: Any, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """A handler that could not be made takes no mail: the client comes again (P40)."""
    client = connect(Recorder(), start=False)
    client.factory.handlers.make = factory
    client.protocol.makeConnection(client.transport)
    (reply,) = client.replies()
    assert reply.startswith("421 ")
    assert sum(f"incident {incident_of(reply)} on" in text for text in log) == 1
    assert client.closing
    failures.clear()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("event", sorted(CONTENT))
@pytest.mark.parametrize("bdat", [False, True])
def test_a_fault_in_the_content_is_answered_at_its_end(
    bdat: bool, event: str, fault: Any, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """Content already partly taken is read to its end, and then refused for now (P40)."""
    broken = [fault]
    handler = Answering(**{event: lambda *a: broken.pop()(*a) if broken else None})
    client = connect(handler)
    client.send(TRANSACTION)
    if bdat:
        client.send(b"BDAT %d LAST\r\n" % (2 * len(TEXT)), TEXT)
    else:
        client.send(b"DATA\r\n", TEXT)
    assert client.replies() == []
    (reply,) = client.send(TEXT if bdat else TEXT + b".\r\n")
    assert sum(f"incident {incident_of(reply)} on" in text for text in log) == 1
    assert "message" not in handler.names()
    assert handler.said("aborted") == [(Reason.FAILED,)]
    in_sync(client)


@pytest.mark.parametrize("event", sorted(CONTENT))
@pytest.mark.parametrize(
    ("refusal", "code"),
    [(Refusal(Reply(554, "No", status="5.6.0")), "554 5.6.0 No"), (False, "550")],
)
def test_refusing_the_content_as_it_comes(
    event: str, refusal: Any, code: str, connect: Connect
) -> None:
    """Raising a Refusal in header or chunk refuses the message, at its end."""

    def refuse(*arguments: Any) -> None:
        raise refusal if refusal else Refusal(refusal)

    handler = Observer(**{event: refuse})
    client = connect(handler)
    client.send(TRANSACTION, b"DATA\r\n")
    (reply,) = client.send(TEXT, TEXT, b".\r\n")
    assert reply.startswith(code)
    assert handler.said("aborted") == [(Reason.REFUSED,)]
    assert len(handler.said(event)) == 1
    assert handler.names()[-1] == "aborted"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_last_header_refuses_the_message(
    fault: Any, connect: Connect, failures: list[LogEvent]
) -> None:
    """A header field that only the end of the message completes may still refuse it."""
    handler = Observer(header=fault)
    client = connect(handler)
    client.send(TRANSACTION, b"DATA\r\n")
    (reply,) = client.send(b"Subject: x\r\n.\r\n")
    incident_of(reply)
    assert handler.said("aborted") == [(Reason.FAILED,)]
    assert "message" not in handler.names()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("event", SILENT)
def test_a_fault_in_what_has_no_answer_changes_nothing(
    event: str, fault: Any, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """An observer that fails is logged, and the client never knows (P40)."""
    broken = [fault]
    handler = Answering(**{event: lambda *a: broken.pop()(*a) if broken else None})
    before, trigger, code = SILENT[event]
    client = connect(Recorder())
    client = connect(handler)
    if event == "command":
        broken.clear()
    client.send(before)
    if event == "command":
        broken.append(fault)
    assert client.codes(trigger) == [code]
    assert sum("incident" in text for text in log) == 1
    in_sync(client)


@pytest.mark.parametrize("fault", [*FAULTS, nonsense("text")])
def test_a_fault_at_the_very_end_leaves_nothing_behind(
    fault: Any, connect: Connect, log: list[str]
) -> None:
    """A handler that fails in disconnected has still been told, and the server forgets it."""
    handler = Recorder(disconnected=fault)
    client = connect(handler)
    client.send(HELLO)
    client.finish()
    assert handler.names()[-1] == "disconnected"
    assert sum("disconnected of Recorder failed: incident" in text for text in log) == 1


@pytest.mark.parametrize("event", DECISIONS)
def test_no_answer_in_time_is_a_451(event: str, connect: Connect, log: list[str]) -> None:
    """A callback that hangs costs its command; its answer, when it comes, is dropped (P41)."""
    hanging: list[Deferred[Any]] = []
    seen: list[object] = []

    def hang(*arguments: Any) -> Deferred[Any] | None:
        if hanging:
            return None
        hanging.append(Deferred(lambda _: None))
        hanging[0].addErrback(lambda f: seen.append(f.type))
        return hanging[0]

    client = connect(Answering(**{event: hang}))
    before, trigger = DECISIONS[event]
    client.send(before)
    assert client.send(trigger, b"NOOP\r\n") == []
    limits = Limits()
    seconds = limits.message_seconds if event == "message" else limits.decision_seconds
    client.clock.advance(seconds - 0.5)
    assert client.replies() == []
    client.clock.advance(0.5)
    late, noop = client.replies()
    assert sum(f"incident {incident_of(late)} on" in text for text in log) == 1
    assert noop.startswith("250 ")
    assert seen == [CancelledError]
    if event == "hello":
        client.send(HELLO)
    in_sync(client)


def test_no_answer_to_connected_in_time_is_a_421(connect: Connect) -> None:
    """A client is not kept waiting for its greeting for ever (P41)."""
    client = connect(Recorder(connected=lambda _: Deferred()))
    client.clock.advance(300)
    (reply,) = client.replies()
    assert reply.startswith("421 ")
    incident_of(reply)
    assert client.closing


@pytest.mark.parametrize("event", sorted(CONTENT))
def test_content_not_taken_in_time_is_refused(event: str, connect: Connect) -> None:
    """A chunk that is never done costs the message (P41)."""
    handler = Observer(**{event: lambda *a: Deferred()})
    client = connect(handler)
    client.send(TRANSACTION, b"DATA\r\n")
    assert client.send(TEXT, b".\r\nNOOP\r\n") == []
    client.clock.advance(300)
    late, noop = client.replies()
    incident_of(late)
    assert noop.startswith("250")
    assert handler.said("aborted") == [(Reason.FAILED,)]


@pytest.mark.parametrize("event", ["command", "aborted", "disconnected"])
def test_what_has_no_answer_is_not_waited_for_for_ever(event: str, connect: Connect) -> None:
    """Notifications have the same time limit (P41)."""
    client = connect(Answering(**{event: lambda *a: Deferred()}))
    client.send(HELLO)
    for _ in range(6):
        client.clock.advance(300)
        client.send(MAIL)
        client.clock.advance(300)
        client.send(b"RSET\r\n")
    client.leave()
    for _ in range(12):
        client.clock.advance(300)


def test_a_late_answer_is_never_taken_for_another_commands(
    connect: Connect, log: list[str]
) -> None:
    """What comes after the time limit is dropped, and the log says so (P41)."""
    released: list[str] = []

    class Stubborn:
        def __init__(self) -> None:
            self.waiting: list[Deferred[Any]] = []

        discards_content = True

        async def mail(self, envelope: Any) -> Any:
            await self._hang()
            return 550

        async def authenticate(self, credentials: Any, connection: Any) -> Any:
            await self._hang()
            return Authenticated("x", release=lambda: released.append("x"))

        async def verify(self, text: Any, connection: Any) -> Any:
            await self._hang()
            raise RuntimeError("too late")

        async def _hang(self) -> None:
            try:
                await Deferred()
            except CancelledError:
                later: Deferred[None] = Deferred()
                self.waiting.append(later)
                await later

    handler = Stubborn()
    client = connect(handler)
    client.send(HELLO)
    for line in (b"AUTH PLAIN AGEAYg==\r\n", b"VRFY x\r\n", MAIL):
        client.send(line)
        client.clock.advance(300)
        assert [reply[:3] for reply in client.replies()] == ["451"]
    for waiting in handler.waiting:
        waiting.callback(None)
    assert client.replies() == []
    assert released == ["x"]
    assert any("mail answered too late" in text for text in log)
    assert any("verify failed too late" in text for text in log)
    assert client.codes(RCPT) == [503]


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (None, "250 2.1.5"),
        (True, "250 2.1.5"),
        (False, "550 5.1.1 Recipient refused"),
        (550, "550 5.1.1 Recipient refused"),
        ((550, "5.7.1", "No"), "550 5.7.1 No"),
        (450, "450 4.2.0"),
        ((450, "Later"), "450 4.2.0 Later"),
        ((550, ("One", "Two")), "550 5.1.1 One|5.1.1 Two"),
        (Reply(251, "Will forward", status="2.1.5"), "251 2.1.5 Will forward"),
        (Reply(450, "Grey", status="4.7.1"), "450 4.7.1 Grey"),
        (Reply(550, "Bye", status="5.7.1").closing(), "550 5.7.1 Bye"),
        (421, "421 4.3.0"),
    ],
)
@pytest.mark.parametrize("how", ["def", "async def", "suspended", "Deferred", "late"])
def test_every_kind_of_verdict_in_every_kind_of_function(
    how: str, verdict: Any, reply: str, connect: Connect
) -> None:
    """def, async def, Deferred and asyncio's future: the client cannot tell."""
    late: list[Deferred[Any]] = []

    async def coroutine() -> Any:
        return verdict

    async def suspended() -> Any:
        try:
            await fail(RuntimeError())
        except RuntimeError:
            waiting: Deferred[Any] = Deferred()
            late.append(waiting)
            return await waiting

    class Awaitable:
        def __await__(self) -> Any:
            return suspended().__await__()

    def answer(*arguments: Any) -> Any:
        if how == "def":
            return verdict
        if how == "async def":
            return coroutine()
        if how == "suspended":
            return Awaitable()
        if how == "Deferred":
            return succeed(verdict)
        if how == "late":
            late.append(Deferred())
            return late[0]
        raise AssertionError(how)

    client = connect(Recorder(rcpt=answer))
    client.send(HELLO, MAIL)
    got = client.send(RCPT)
    if late:
        assert got == []
        late[0].callback(verdict)
        got = client.replies()
    assert got[0].startswith(reply)
    closes = "Bye" in reply or reply.startswith("421")
    assert client.closing is closes


def test_refusal_may_be_raised(connect: Connect) -> None:
    """Raising Refusal(reply) is the same as returning its reply."""

    def refuse(*arguments: Any) -> None:
        raise Refusal(Reply(550, "Nobody", status="5.1.1"))

    client = connect(Recorder(rcpt=refuse, mail=nonsense(fail(Refusal(Reply(450))))))
    client.send(HELLO)
    assert client.codes(MAIL) == [450]
    client = connect(Recorder(rcpt=refuse))
    client.send(HELLO + MAIL)
    assert client.send(RCPT) == ["550 5.1.1 Nobody"]


@pytest.mark.parametrize(
    ("event", "reply"),
    [("data", 250), ("mail", 354), ("hello", 354), ("authenticate", 250), ("message", 354)],
)
def test_a_yes_that_would_put_the_client_out_of_step_is_a_fault(
    event: str, reply: int, connect: Connect, failures: list[LogEvent]
) -> None:
    """354 answers DATA and nothing else (RFC 5321 §4.3.2); the rest is a 451 (P40)."""
    client = connect(Answering(**{event: nonsense(Reply(reply))}))
    before, trigger = DECISIONS[event]
    client.send(before)
    (answer,) = client.send(trigger)
    incident_of(answer)


def test_authenticate_without_an_answer_opens_no_door(connect: Connect, log: list[str]) -> None:
    """A forgotten return in authenticate is a fault, not a yes."""
    client = connect(Answering(authenticate=nonsense(None)))
    client.send(HELLO)
    (reply,) = client.send(b"AUTH PLAIN AGEAYg==\r\n")
    incident_of(reply)
    assert client.protocol.connection.identity is None


@pytest.mark.parametrize("late", [False, True])
def test_the_same_deferred_for_two_recipients_gives_both_the_same(
    late: bool, connect: Connect, failures: list[LogEvent]
) -> None:
    """One lookup for two recipients: neither a refusal nor a fault of it becomes a yes."""
    for fire, codes in (
        (lambda d: d.callback(550), [550, 550]),
        (lambda d: d.errback(RuntimeError()), [451, 451]),
    ):
        shared: Deferred[Any] = Deferred()
        handler = Recorder(rcpt=nonsense(shared))
        if late:
            handler.concurrent_recipients = True
        client = connect(handler)
        client.send(HELLO + MAIL + RCPT + RCPT)
        fire(shared)
        assert [int(reply[:3]) for reply in client.replies()][-2:] == codes


def test_a_verdict_is_sent_when_it_is_there(connect: Callable[..., Client]) -> None:
    """From the dot to the reply there is the handler's own time, and nothing of ours (P47)."""
    verdict: Deferred[None] = Deferred()
    client = connect(Recorder(message=lambda _: verdict))
    assert client.codes(HELLO, MESSAGE) == [220, 250, 250, 250, 354]
    timers = client.timers
    verdict.callback(None)
    assert client.codes() == [250]  # no time has passed, and no turn of the reactor
    assert client.timers <= timers
