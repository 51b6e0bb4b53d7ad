"""Faults in handlers: what the log says of them, and what they must not cost."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogEvent

from smtpcb.engine import Observer as EngineObserver
from smtpcb.engine import Settings
from smtpcb.smtp import Extension, Limits, Refusal, Reply
from smtpcb.smtp.sasl import Authenticated
from tests.server.client import (
    HELLO,
    MAIL,
    MESSAGE,
    RCPT,
    Client,
    Observer,
    Recorder,
    Transport,
)

Connect = Callable[..., Client]


def leave(*_: Any) -> None:
    sys.exit(3)


def places(client: Client) -> int:
    """How many places are taken."""
    return client.factory.admission.count


# Who it was.


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock of calls is a second after the last one."""
    seconds = iter(range(1_000_000))

    def tick() -> float:
        return float(next(seconds))

    monkeypatch.setattr("smtpcb.engine._conversation.perf_counter", tick)
    monkeypatch.setattr("smtpcb.server._handlers.perf_counter", tick)


class Inbox(Observer):
    pass


class Asynchronous(Recorder):
    async def rcpt(self, recipient: Any, envelope: Any) -> None:
        pass


@pytest.mark.parametrize(
    "method",
    ["connected", "hello", "mail", "rcpt", "data", "header", "chunk", "message", "aborted"],
)
def test_a_handler_that_blocks_is_named(
    method: str, connect: Connect, log: list[str], slow: None
) -> None:
    """The log says which method of which handler kept everybody waiting, how long, and for whom."""
    client = connect(Inbox())
    client.send(HELLO + MESSAGE + MAIL + b"RSET\r\n")
    found = [line for line in log if f"{method} of Inbox kept everybody waiting for 1.0 s" in line]
    assert found
    assert client.protocol.connection.id in found[0]


def test_a_coroutine_that_blocks_is_named(connect: Connect, log: list[str], slow: None) -> None:
    """Calling it takes no time; what it does before it waits for something does."""
    client = connect(Asynchronous())
    client.send(HELLO + MAIL + RCPT)
    assert sum("rcpt of Asynchronous kept everybody waiting" in line for line in log) >= 2


def test_a_coroutine_that_blocks_after_having_waited_is_named(
    connect: Connect, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own name: nobody has called it by then."""
    monkeypatch.setattr("smtpcb.handling._coroutines.SLOW_SECONDS", -1.0)
    waiting: Deferred[None] = Deferred()

    class Later(Recorder):
        async def rcpt(self, recipient: Any, envelope: Any) -> None:
            await waiting

    client = connect(Later())
    client.send(HELLO + MAIL + RCPT)
    assert not any("kept everybody waiting" in line for line in log)
    waiting.callback(None)
    (line,) = [line for line in log if "kept everybody waiting" in line]
    assert "Later.rcpt kept everybody waiting for 0.0 s" in line


def test_a_handler_that_is_made_slowly_is_named(
    connect: Connect, log: list[str], slow: None
) -> None:
    """A constructor blocks as well as any method."""

    class Heavy(Recorder):
        def __init__(self, connection: Any) -> None:
            super().__init__()

    connect(Heavy)
    assert any("making" in line and "Heavy kept everybody" in line for line in log)


def test_who_is_quick_is_not_named(connect: Connect, log: list[str]) -> None:
    """The warning means something."""
    client = connect(Inbox())
    client.send(HELLO + MESSAGE)
    assert not any("kept everybody" in line for line in log)


def test_an_incident_names_the_handler(connect: Connect, log: list[str]) -> None:
    """Its class, the method, the number that the client has heard, the connection, the place."""
    client = connect(Inbox(rcpt=lambda *_: {}["no such thing"]))
    client.send(HELLO + MAIL)
    (reply,) = client.send(RCPT)
    number = re.findall(r"incident (\w{8})", reply)[0]
    (line,) = [line for line in log if number in line]
    assert "rcpt of Inbox failed" in line
    assert client.protocol.connection.id in line
    assert "KeyError" in line
    assert "test_incidents.py" in line


def test_a_fault_is_logged_once_a_minute(connect: Connect, log: list[str]) -> None:
    """A client that provokes one again and again fills no log."""
    client = connect(Inbox(rcpt=lambda *_: 1 / 0))
    client.send(HELLO + MAIL)
    replies = [client.send(RCPT)[0] for _ in range(50)]
    assert len(set(replies)) == 1
    assert sum("rcpt of Inbox failed" in line for line in log) == 1
    client.clock.advance(61)
    client.send(RCPT)
    assert sum("rcpt of Inbox failed" in line for line in log) == 2
    assert any("and 49 like it before" in line for line in log)


def test_unlike_faults_are_logged_each(connect: Connect, log: list[str]) -> None:
    """Another method, or another error, is another fault."""
    faults: list[Any] = [ArithmeticError(), LookupError(), OSError()]

    def fail(*_: Any) -> None:
        raise faults.pop(0)

    client = connect(Inbox(rcpt=fail, mail=lambda _: 1 / 0))
    client.send(HELLO + MAIL)
    other = connect(Inbox(rcpt=fail))
    other.send(HELLO + MAIL + RCPT * 3)
    assert sum("failed: incident" in line for line in log) == 4


def test_a_client_of_a_unix_socket(connect: Connect) -> None:
    """The path is our address, so that handlers and transcripts can tell sockets apart."""
    transport = Transport()
    transport.getHost = lambda: UNIXAddress(b"/run/smtpcb.sock")
    handler = Recorder()
    connect(handler, transport=transport, address=UNIXAddress(None))
    ((connection,),) = handler.said("connected")
    assert connection.host_address == "/run/smtpcb.sock"
    assert (connection.host_port, connection.peer_address) == (0, "")


@pytest.mark.parametrize("name", [None, b"", "/x", b"/\xff"])
def test_any_name_of_a_unix_socket(name: Any, connect: Connect) -> None:
    """One without a name, or with odd octets, is a client like others."""

    class Address:
        def __init__(self) -> None:
            self.name = name

    transport = Transport()
    transport.getHost = Address
    assert connect(Recorder(), transport=transport).codes() == [220]


@pytest.mark.parametrize(
    "answer", [550, (550, "no"), (550, "5.7.1", "no"), False, (421, "4.3.2", "later")]
)
def test_no_status_in_greeting_and_ehlo_reply(answer: Any, connect: Connect) -> None:
    """RFC 2034 §4 has none there, whatever a handler says."""
    client = connect(Recorder(connected=lambda _: answer))
    (greeting,) = client.replies()
    client = connect(Recorder(hello=lambda _: answer))
    _, hello = client.send(HELLO)
    for reply in (greeting, hello):
        assert not re.match(r"\d{3} \d\.\d", reply), reply
    client = connect(Recorder(mail=lambda _: answer))
    assert re.match(r"\d{3} \d\.\d+\.\d+ ", client.send(HELLO + MAIL)[-1])


# What leaves a place taken.


def test_a_release_that_exits_gives_the_place_back(connect: Connect, log: list[str]) -> None:
    """sys.exit() in it is a fault, and no reason to keep a place for ever."""

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Authenticated:
            return Authenticated("anne", leave)

    client = connect(Login())
    assert client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n")[-1] == 235
    client.leave()
    assert places(client) == 0
    assert any("release of " in line and "Login failed" in line for line in log)


@pytest.mark.parametrize("late", [False, True])
def test_a_release_that_fails_later_is_an_incident(
    late: bool, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """A Deferred that it returns is looked at as well."""
    released: Deferred[None] = Deferred()
    if not late:
        released.errback(LookupError("no such session"))

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Any:
            return Authenticated("anne", lambda: released)

    client = connect(Login())
    client.send(HELLO + b"AUTH PLAIN AGEAYg==\r\n")
    client.leave()
    assert places(client) == 0
    if late:
        released.errback(LookupError("no such session"))
    assert any("release of " in line and "no such session" in line for line in log)
    assert not failures


@pytest.mark.parametrize(
    ("arguments", "why"),
    [((None,), "is nobody"), (("anne", 42), "not int"), (("anne", "x"), "not str")],
)
def test_what_lets_nobody_in_is_no_login(arguments: Any, why: str, connect: Connect) -> None:
    """The client is not told 235 where nobody is logged in; the log says why."""

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Any:
            return Authenticated(*arguments)

    client = connect(Login())
    assert client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n")[-1] == 451
    with pytest.raises(TypeError, match=why):
        Authenticated(*arguments)


def test_a_release_that_is_never_run_is_a_fault(connect: Connect, log: list[str]) -> None:
    """As ``async def`` it would do nothing, and nobody would know."""

    async def release() -> None:
        """Nobody awaits this."""

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Authenticated:
            return Authenticated("anne", release)

    client = connect(Login())
    assert client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n")[-1] == 235
    client.leave()
    assert places(client) == 0
    assert any("release is async def" in line for line in log)


@pytest.mark.parametrize("how", ["leaves", "time", "stop"])
def test_a_canceller_that_exits_gives_the_place_back(
    how: str, connect: Connect, log: list[str]
) -> None:
    """Whoever cancels."""
    client = connect(Recorder(rcpt=lambda *_: Deferred(leave)))
    client.send(HELLO + MAIL + RCPT)
    if how == "time":
        client.clock.advance(300)
        assert client.codes() == [451]
    elif how == "stop":
        client.factory.cut()
        assert client.codes() == [421]
    client.leave()
    assert places(client) == 0
    assert any("cancelling an answer failed: SystemExit" in line for line in log)


def test_a_factory_that_exits_gives_the_place_back(connect: Connect, log: list[str]) -> None:
    """The client is asked to come again."""
    trying = True

    class Inbox(Recorder):
        def __init__(self, connection: Any) -> None:
            super().__init__()
            if not trying:
                leave()

    factory = connect(Inbox).factory
    trying = False
    client = connect(factory=factory, clock=factory.reactor)
    assert client.codes() == [421]
    client.leave()
    assert places(client) == 1
    assert any("the handler factory of" in line and "Inbox failed" in line for line in log)


OBSERVED = ["client", "server", "content", "end_of_content", "decided", "aborted", "note", "ended"]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Refusal(), "554 No service for you"),
        (Refusal(554, "5.7.1", "Not today"), "554 Not today"),
        (Refusal(450, "Later"), "450 Later"),
        (Refusal(Reply(421)), "421 Service not available, closing connection"),
    ],
)
def test_a_factory_may_refuse_a_client(
    refusal: Refusal, said: str, connect: Connect, log: list[str]
) -> None:
    """From however deep: it hears that in place of the greeting, and it is no fault."""

    class Inbox(Recorder):
        def __init__(self, connection: Any) -> None:
            raise refusal

    client = connect(Inbox)
    assert client.replies() == [said]
    assert client.closing
    client.leave()
    assert places(client) == 0
    assert not any("incident" in line for line in log)


def test_a_handler_may_honour_what_is_offered_anyway(connect: Connect) -> None:
    """No client is turned away for it."""

    class Honours(Recorder):
        extensions = frozenset({"XTAG"})

    client = connect(Honours(), settings=Settings(extensions=(Extension("XTAG"),)))
    assert client.send(HELLO)[-1].endswith("|XTAG")


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, asyncio.CancelledError, ValueError])
@pytest.mark.parametrize("when", ["made", *OBSERVED])
def test_an_observer_that_fails_costs_nobody_anything(
    when: str,
    error: type[BaseException],
    beside: bool,
    connect: Connect,
    log: list[str],
    failures: list[LogEvent],
) -> None:
    """Client, handler and the other observers go on; it is one incident, and is called no more."""
    calls: list[str] = []
    seen: list[str] = []

    def fail(*_: Any) -> None:
        calls.append(when)
        raise error

    def see(self: Any, method: str, *_: Any) -> None:
        seen.append(method)

    broken = type("Broken", (EngineObserver,), {when: fail})
    other = type(
        "Other", (EngineObserver,), {"decided": see, "ended": lambda *_: seen.append("end")}
    )
    makers = [lambda connection: fail() if when == "made" else broken()]
    if beside:
        makers.append(lambda connection: other())
    client = connect(handler := Recorder(), observers=makers)
    octets = HELLO + b"x" * 20_000 + b"\r\n" + MESSAGE + MESSAGE + MAIL + b"RSET\r\nQUIT\r\n"
    codes = client.codes(octets)
    client.leave()
    assert 421 not in codes
    assert codes[-1] == 221
    assert len(handler.said("message")) == 2
    assert len(handler.said("aborted")) == 1
    assert len(handler.said("disconnected")) == 1
    assert places(client) == 0
    assert calls == [when]
    assert not failures
    assert len([line for line in log if "observer" in line and " failed: incident " in line]) == 1
    if beside:
        assert seen.count("message") == 2
        assert seen[-1] == "end"


def test_the_handlers_word_stands_whatever_an_observer_does(connect: Connect) -> None:
    """A message that was taken is a 250 for its client, who would send it again otherwise."""

    class Metrics(EngineObserver):
        def decided(self, method: str, *_: Any) -> None:
            if method == "message":
                raise LookupError

    client = connect(Recorder(message=lambda _: (250, "Taken")), observers=[lambda _: Metrics()])
    assert client.send(HELLO + MESSAGE)[-1] == "250 2.0.0 Taken"


def test_a_failing_observer_is_named(connect: Connect, log: list[str]) -> None:
    """With what it is called, which method, which connection, and its traceback."""

    class Metrics(EngineObserver):
        def decided(self, method: str, *_: Any) -> None:
            raise LookupError("no such counter")

    client = connect(Recorder(), observers=[lambda _: Metrics()])
    (line,) = [line for line in log if "incident" in line]
    assert "decided of the observer " in line
    assert "Metrics failed" in line
    assert client.protocol.connection.id in line
    assert "no such counter" in line


def test_what_an_observer_raises_of_a_login_is_not_logged(connect: Connect, log: list[str]) -> None:
    """It may quote the password (P14)."""

    class Curious(EngineObserver):
        def decided(self, method: str, subject: Any, *_: Any) -> None:
            if method == "authenticate":
                raise ValueError(subject.credentials.password)

    class Knows(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> bool:
            return True

    client = connect(Knows(), observers=[lambda _: Curious()])
    octets = HELLO + b"AUTH PLAIN AGFubmUAYzBycmVjdA==\r\nNOOP\r\n"
    assert client.codes(octets)[-2:] == [235, 250]
    text = "\n".join(log)
    assert "Curious failed: incident" in text
    assert "c0rrect" not in text


@pytest.mark.parametrize("made", [42, "metrics", EngineObserver, Recorder()])
def test_what_is_no_observer_is_an_incident(
    made: Any, connect: Connect, log: list[str], failures: list[LogEvent]
) -> None:
    """The client is served; the log says what is wanted."""
    client = connect(Recorder(), observers=[lambda _: made])
    assert client.codes(HELLO + MESSAGE)[-1] == 250
    assert not failures
    assert any("failed: incident" in line and "an Observer is wanted" in line for line in log)


@pytest.mark.parametrize("body", ["async def", "yield"])
def test_an_observer_cannot_wait(body: str, connect: Connect, log: list[str]) -> None:
    """Nobody would run it: that is said, and not passed over."""

    async def waits(self: Any, *_: Any) -> None: ...

    def yields(self: Any, *_: Any) -> Any:
        yield

    kind = type("Waits", (EngineObserver,), {"note": waits if body == "async def" else yields})
    client = connect(Recorder(), observers=[lambda _: kind()])
    assert client.codes(HELLO + b"x" * 20_000 + b"\r\nNOOP\r\n")[-1] == 250
    assert any("note of an observer is a plain def" in line for line in log)


def test_an_observer_that_blocks_is_named(
    connect: Connect, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps everybody waiting, as a handler may."""
    monkeypatch.setattr("smtpcb.engine._guarded.SLOW_SECONDS", -1.0)
    connect(Recorder(), observers=[lambda _: EngineObserver()])
    assert any("of the observer Observer kept everybody waiting" in line for line in log)


@pytest.mark.parametrize("method", ["decided", "ended"])
def test_an_observers_error_may_have_no_text(method: str, connect: Connect, log: list[str]) -> None:
    """An error of yours that cannot be shown either is still nothing that a client is told."""

    class NamelessError(RuntimeError):
        def __str__(self) -> str:
            raise ValueError("what shall I say?")

    def fail(*_: Any) -> None:
        raise NamelessError

    observer = type("Broken", (EngineObserver,), {method: fail})()
    client = connect(Recorder(), observers=[lambda _: observer])
    assert client.codes(HELLO + MESSAGE)[-1] == 250
    client.leave()
    assert places(client) == 0
    assert len([text for text in log if f"{method} of the observer Broken failed" in text]) == 1
    assert not any("a fault of smtpcb" in text for text in log)


@pytest.mark.parametrize("empty", [list, dict])
def test_an_observer_may_be_empty(empty: type, connect: Connect) -> None:
    """One that counts as false is an observer all the same."""
    seen: list[str] = []
    kind = type("Empty", (EngineObserver, empty), {"decided": lambda *them: seen.append(them[1])})
    connect(Recorder(), observers=[lambda _: kind()])
    assert seen == ["connected"]


@pytest.mark.parametrize("method", ["connected", "rcpt", "message", "aborted", "disconnected"])
def test_a_handler_that_exits_gives_the_place_back(
    method: str, connect: Connect, log: list[str]
) -> None:
    """Any method, at any time."""
    client = connect(Inbox(**{method: leave}))
    client.send(HELLO + MESSAGE + MAIL)
    client.leave()
    assert places(client) == 0
    assert any(f"{method} of Inbox failed" in line for line in log)


# What cannot be waited for.


class Odd:
    """Awaited, it gives out something that nobody here knows."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def __await__(self) -> Any:
        yield self._given


@pytest.mark.parametrize("given", [42, "x", object(), time.sleep, [], Odd(None)])
@pytest.mark.parametrize("method", ["mail", "message", "chunk", "authenticate"])
@pytest.mark.parametrize("first", [True, False])
def test_what_awaits_something_else_is_an_incident(
    method: str, given: Any, first: bool, connect: Connect, log: list[str]
) -> None:
    """It never counts as done: a 250 for what nobody has stored would lose mail."""

    async def wait(*_: Any) -> Any:
        if not first:
            await succeed(None)
        await Odd(given)
        return method == "authenticate" or None

    class Inbox(Recorder):
        pass

    setattr(Inbox, method, wait)
    client = connect(Inbox())
    codes = client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n" + MESSAGE)
    assert 451 in codes
    assert (235 in codes) is False
    assert 250 not in codes[5:] if method != "authenticate" else True
    assert any("a handler can await Deferreds, not " in line for line in log)


def futures() -> dict[str, Any]:
    loop = asyncio.new_event_loop()
    loop.close()

    async def future(*_: Any) -> Any:
        return await asyncio.Future(loop=loop)

    async def sleep(*_: Any) -> Any:
        await asyncio.sleep(0.01)

    async def sleep_nothing(*_: Any) -> Any:
        await asyncio.sleep(0)

    async def timeout(*_: Any) -> Any:
        async with asyncio.timeout(1):
            pass

    async def sleep_later(*_: Any) -> Any:
        await succeed(None)
        await asyncio.sleep(0.01)

    return {
        "a future": lambda *_: asyncio.Future(loop=loop),
        "await a future": future,
        "sleep": sleep,
        "sleep nothing": sleep_nothing,
        "timeout": timeout,
        "sleep later": sleep_later,
        "a running loop": lambda *_: asyncio.get_running_loop(),
    }


@pytest.mark.parametrize("how", futures())
@pytest.mark.parametrize("method", ["rcpt", "message", "authenticate"])
def test_asyncio_without_its_loop_is_an_incident_that_names_the_cure(
    how: str, method: str, connect: Connect, log: list[str]
) -> None:
    """At once, and not when the time for an answer is over."""

    class Inbox(Recorder):
        pass

    setattr(Inbox, method, lambda self, *arguments: futures()[how](*arguments))
    client = connect(Inbox())
    codes = client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n" + MESSAGE)
    assert 451 in codes
    assert client.protocol._conversation.calls == ()
    assert any("start with twistd --reactor=asyncio" in line for line in log)


def test_a_login_without_an_answer_is_told(connect: Connect, log: list[str]) -> None:
    """A forgotten return is the first mistake that one makes; what was answered is not quoted."""
    for answer, name in ((None, "None"), ("hunter2", "str"), ({"hunter2": 1}, "dict")):

        class Inbox(Recorder):
            def authenticate(self, credentials: Any, connection: Any, answer: Any = answer) -> Any:
                return answer

        client = connect(Inbox())
        assert client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n")[-1] == 451
        assert any(f"False or a Reply, not {name})" in line for line in log)
    assert not any("hunter2" in line for line in log)


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, ArithmeticError])
def test_a_text_that_exits_while_it_is_made_ends_no_session(
    error: type[BaseException], connect: Connect, log: list[str]
) -> None:
    """The lines of a reply may come from a generator; what that raises is its fault, no more."""

    class Inbox(Recorder):
        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            class Lines:
                def __iter__(self) -> Any:
                    raise error

            return 550, Lines()

    client = connect(Inbox())
    assert client.codes(HELLO + MAIL + RCPT + b"NOOP\r\n")[-2:] == [451, 250]
    assert any("rcpt of" in text and error.__name__ in text for text in log)
    assert not any("a fault of smtpcb" in text for text in log)


def test_a_login_that_takes_too_long_is_said_to(connect: Connect, log: list[str]) -> None:
    """How long it was waited for stands in the log, as for any other method: it quotes nobody."""

    class Inbox(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Any:
            return Deferred()

    client = connect(Inbox(), limits=Limits(decision_seconds=5))
    client.send(HELLO + b"AUTH PLAIN AGEAYg==\r\n")
    client.clock.advance(5)
    assert client.replies()[-1].startswith("451")
    (line,) = [text for text in log if "authenticate of" in text]
    assert "it has not answered within 5 s" in line


# What never counted.


def test_refusals_have_a_budget_of_their_own(connect: Connect) -> None:
    """High enough for an honest list, and not without end: 421 after two thousand."""
    client = connect(Recorder(rcpt=lambda *_: False))
    client.send(HELLO + MAIL)
    codes = client.codes(RCPT * 1999)
    assert codes == [550] * 1999
    assert client.codes(RCPT) == [421]
    assert client.closing


@pytest.mark.parametrize(
    ("answers", "limits", "line"),
    [
        ({"rcpt": lambda *_: 450}, {}, RCPT),
        ({"rcpt": lambda *_: 1 / 0}, {}, RCPT),
        ({"mail": lambda *_: False}, {}, MAIL),
        ({"verify": lambda *_: 550}, {}, b"VRFY x\r\n"),
        ({}, {"recipients": 1}, RCPT),
    ],
)
def test_whatever_is_refused_counts(
    answers: Any, limits: Any, line: bytes, connect: Connect
) -> None:
    """Temporarily, by incident, past a limit: a client does not go on for ever."""
    limits = {"refusals": 5, "idle_commands": None, **limits}
    client = connect(Recorder(**answers), limits=Limits(**limits))
    client.send(HELLO + (b"" if line == MAIL else MAIL + RCPT))
    codes = client.codes(line * 6)
    assert codes[-1] == 421
    assert 4 <= len(codes) <= 5


def test_an_accepted_message_pays_refusals_back(connect: Connect) -> None:
    """A list server with some dead addresses in each message goes on for ever."""
    handler = Recorder(rcpt=lambda recipient, _: not str(recipient).startswith("dead"))
    client = connect(handler, limits=Limits(refusals=5))
    client.send(HELLO)
    dead = b"RCPT TO:<dead@example.org>\r\n"
    for _ in range(20):
        codes = client.codes(MAIL + dead * 4 + RCPT + b"DATA\r\n" + b"x\r\n.\r\n")
        assert codes == [250, *[550] * 4, 250, 354, 250]


def test_empty_chunks_do_not_go_on_for_ever(connect: Connect) -> None:
    """BDAT 0 brings no message nearer."""
    client = connect(Recorder(), limits=Limits(idle_commands=50, refusals=50))
    client.send(HELLO + MAIL + RCPT)
    codes = client.codes(b"BDAT 0\r\n" * 100)
    assert codes[-1] == 421
    assert len(codes) <= 52


@pytest.mark.parametrize("alone", [True, False])
def test_an_authenticator_that_fails_is_named(
    alone: bool, connect: Connect, log: list[str]
) -> None:
    """Not the handler, which was not asked."""

    class Directory:
        if alone:

            def authenticate(self, credentials: Any) -> Any:
                raise LookupError

        else:

            def authenticate(self, credentials: Any, connection: Any) -> Any:
                raise LookupError

    client = connect(Recorder(), authenticator=Directory())
    assert client.codes(HELLO + b"AUTH PLAIN AGEAYg==\r\n")[-1] == 451
    (line,) = [line for line in log if "failed: incident" in line]
    assert "Directory failed: incident" in line
    assert "Recorder" not in line


def test_a_handlers_own_login_that_fails_is_the_handlers(connect: Connect, log: list[str]) -> None:
    """Whose name the log has."""

    class Login(Recorder):
        def authenticate(self, credentials: Any, connection: Any) -> Any:
            raise LookupError

    connect(Login()).send(HELLO + b"AUTH PLAIN AGEAYg==\r\n")
    assert any("authenticate of " in line and "Login failed: incident" in line for line in log)
