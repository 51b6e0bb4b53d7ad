"""Each question one call, each answer one verdict: whatever it is, whenever it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from smtpcb.engine import Pending, _conversation
from smtpcb.engine._connection import Connection
from smtpcb.engine._conversation import SLOW_SECONDS
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._observer import Observer
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import Wants
from smtpcb.engine._verdict import Incidents
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import (
    MAIL,
    TO_DATA,
    TO_RCPT,
    Does,
    HandLog,
    Later,
    Noting,
    Server,
    limited,
    raises,
    returns,
)

CLEAR = Settings(allow_insecure_auth=True)
EVENTS = ["hello", "mail", "rcpt", "data", "message", "verify", "help", "expand", "etrn"]
ALL = (
    *(
        b"HELO me\r\n",
        b"VRFY x\r\n",
        b"EXPN x\r\n",
        b"HELP\r\n",
        b"ETRN x\r\n",
        b"MAIL FROM:<>\r\n",
    ),
    *(b"RCPT TO:<a@b>\r\n", b"DATA\r\n", b"hi\r\n", b".\r\n", b"QUIT\r\n"),
)


def test_a_refusal_that_became_a_yes_is_none() -> None:
    """Whoever meddles with one gets no message accepted."""
    server = Server(Does(rcpt=broken_refusal))
    assert server.send(TO_RCPT)[-1] == "451"
    assert "a Refusal carries a 4yz or 5yz reply" in server.log[0]


def broken_refusal(*arguments: object) -> object:
    """Raise a Refusal that has become a yes."""
    refusal = Refusal(550)
    refusal.answer = Reply(250)
    raise refusal


def exits(*arguments: object) -> None:
    """Leave the program, as a handler must not."""
    raise SystemExit(1)


async def awaits(*arguments: object) -> None:
    """Wait for what nobody here could wait for."""
    await asyncio.Future()  # pragma: no cover


async def stuck(*arguments: object) -> None:
    """Wait, without asyncio."""

    class Never:
        def __await__(self) -> Any:
            yield self

    await Never()


class Awaitable:
    """It can be awaited, and is no coroutine."""

    def __await__(self) -> Any:
        yield self


FAULTS: list[tuple[Callable[..., object], str]] = [
    (raises(ZeroDivisionError("the secret text")), "ZeroDivisionError: the secret text"),
    (broken_refusal, "ValueError"),
    (exits, "SystemExit"),
    (raises(GeneratorExit()), "GeneratorExit"),
    (stuck, "nobody can wait for it"),
    (returns(Awaitable()), "nobody can wait for it"),
    (returns("a string"), "a verdict is None, True, False"),
    (returns(b"550"), "a verdict is None, True, False"),
    (returns([]), "a verdict is None, True, False"),
    (returns(0), "a reply code is 200 to 559"),
    (returns((250, b"octets")), "the text of a reply is a str"),
    (returns((550, "4.1.1", "of another class")), "is of another class"),
    (returns(221), "221 is no answer to"),
    (returns(334), "334 is no answer to"),
]


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize(("method", "why"), FAULTS)
def test_a_fault_is_451_and_the_session_goes_on(
    name: str, method: Callable[..., object], why: str
) -> None:
    """A number for the client, which stands in the log beside what happened (P19, P40)."""
    methods = {"expand": returns(None), "etrn": returns(None)} | {name: method}
    server = Server(Does(**methods))
    for octets in ALL:
        server.send(octets)
    fault = next(line for line in server.said.splitlines() if line.startswith(b"451 4.3.0"))
    number = fault.split(b"incident ")[1].rstrip(b")").decode()
    log = "\n".join(server.log)
    assert f"{name} of Does failed: incident {number} on x" in log
    assert why in log
    assert "Traceback" in log
    assert b"secret" not in server.said
    assert server.said.endswith(b"221 2.0.0 Closing connection\r\n")


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("error", [ValueError(), SystemExit()])
def test_a_fault_that_comes_late_is_the_same(name: str, error: BaseException) -> None:
    """An answer that was waited for and fails is 451 too."""
    methods = {one: returns(None) for one in ("expand", "etrn") if one != name}
    server = Server(handler := Later(name, **methods))
    for octets in ALL:
        server.send(octets)
        if handler.answers:
            handler.answers.pop().fail(error)
    assert server.codes.count("451") >= 1
    assert server.codes[-1] == "221"


def test_a_fault_before_the_greeting_closes() -> None:
    """With 421, since there is no session yet (P40)."""
    server = Server(Does(connected=raises(ValueError())))
    assert server.greeting.startswith(b"421 4.3.0 Local error in processing (incident ")
    assert server.dialogue.finished is Reason.REFUSED


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Refusal(Reply(550, "No such mailbox", status="5.1.1")), "550 5.1.1 No such mailbox"),
        (Refusal(), "550 5.1.1 Recipient refused"),
        (Refusal(550), "550 5.1.1 Recipient refused"),
        (Refusal(550, "No such user"), "550 5.1.1 No such user"),
        (Refusal(550, "5.7.1", "Not you"), "550 5.7.1 Not you"),
        (Refusal(450), "450 4.2.0"),
        (Refusal((554, "Go away")), "554 5.7.1 Go away"),
    ],
)
def test_a_refusal_from_however_deep_is_the_answer(refusal: Refusal, said: str) -> None:
    """Exactly this reply, with the status that fits the event where none was given."""
    played = play(f"{MAIL}C: RCPT TO:<a@b>\nS: {said}", Does(rcpt=raises(refusal)))
    assert played.dialogue.connection.budget.errors == 0
    server = Server(handler := Later("rcpt"))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    handler.last.fail(refusal)
    assert said.encode() in server.said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "250 2.1.5 Recipient ok"),
        (True, "250 2.1.5 Recipient ok"),
        (False, "550 5.1.1 Recipient refused"),
        (550, "550 5.1.1 Recipient refused"),
        ((550, "No such user"), "550 5.1.1 No such user"),
        ((550, "5.7.1", "Not you"), "550 5.7.1 Not you"),
        ((251, "Will forward"), "251"),
        (Reply(550, "No such user"), "550 5.1.1 No such user"),
        (Reply(550, "Not you", status="5.7.1"), "550 5.7.1 Not you"),
        ((550, ("one", "two")), "550-5.1.1 one\nS: 550 5.1.1 two"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_there_is_one_grammar_of_verdicts(answer: object, said: str, late: bool) -> None:
    """For what is returned at once and for what is waited for."""
    if not late:
        play(f"{MAIL}C: RCPT TO:<a@b>\nS: {said}", Does(rcpt=returns(answer)))
        return
    server = Server(handler := Later("rcpt"))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    handler.last.give(answer)
    assert said.partition("\n")[0].encode() in server.said


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("mail", False, "550 5.7.1 Sender refused"),
        ("data", False, "554 5.7.1 Transaction refused"),
        ("data", 250, "451 4.3.0"),
        ("message", False, "550 5.7.1 Message refused"),
        ("message", 354, "451 4.3.0"),
        ("hello", False, "550 Refused by policy"),
        ("hello", 235, "451 4.3.0"),
        ("hello", (250, "Welcome"), "250 localhost Welcome"),
        ("mail", 220, "451 4.3.0"),
        ("rcpt", 252, "451 4.3.0"),
        ("message", 251, "451 4.3.0"),
        ("help", 250, "451 4.3.0"),
        ("verify", (251, "elsewhere"), "251"),
        ("verify", False, "550 5.1.1 No such mailbox"),
        ("help", False, "504 5.5.4 No help on that"),
    ],
)
def test_each_event_has_its_own_yes_and_no(name: str, answer: object, said: str) -> None:
    """A positive code must be one that fits."""
    server = Server(Does(**{name: returns(answer)}))
    for octets in ALL:
        server.send(octets)
    assert said.encode() in server.said


def test_a_coroutine_that_does_not_wait_is_an_answer() -> None:
    """Also where nobody could wait."""

    class Inbox:
        async def rcpt(self, recipient: object, envelope: Envelope) -> object:
            return 550, "not here"

        async def message(self, envelope: Envelope) -> None: ...

        async def aborted(self, reason: Reason, envelope: Envelope) -> None: ...

        async def chunk(self, octets: bytes, envelope: Envelope) -> object:
            return (550, "no") if b"spam" in octets else None

    server = Server(Inbox())
    assert server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRSET\r\n") == [
        *("250", "250", "550", "250")
    ]


def test_an_answer_that_came_before_it_was_waited_for_counts() -> None:
    """A platform may have it already."""

    class Ready(Pending):
        def then(self, came: Callable[[object], None]) -> None:
            came(550)

    server = Server(Does(rcpt=returns(Ready()), chunk=returns(Ready())))
    assert server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n") == [
        *("250", "250", "550", "550")
    ]
    with pytest.raises(NotImplementedError):
        Pending().then(print)
    with pytest.raises(NotImplementedError):
        Pending().cancel()


# Incidents.


def test_one_kind_of_fault_is_logged_once_a_minute() -> None:
    """Within it the client hears the same number; later it is logged anew, with their count."""
    server = Server(Does(verify=raises(ValueError())), limited(refusals=None))
    server.send(b"VRFY x\r\n" * 50)
    assert len(server.log) == 1
    assert len(set(server.said.splitlines())) == 1
    server.platform.now = 59.0
    server.send(b"VRFY x\r\n")
    assert len(server.log) == 1
    server.platform.now = 60.0
    server.send(b"VRFY x\r\n")
    assert len(server.log) == 2
    assert "(and 50 like it before)" in server.log[1]
    assert len(set(server.said.splitlines())) == 2


def test_faults_of_different_kinds_have_numbers_of_their_own() -> None:
    """Another method, another error, another place."""

    def two(text: str, connection: Connection) -> None:
        if text == "a":
            raise ValueError
        raise ValueError

    server = Server(Does(verify=two, help=raises(ValueError())))
    server.send(b"VRFY a\r\nVRFY b\r\nVRFY a\r\nHELP\r\n")
    assert len(server.log) == 3


def test_the_table_of_faults_is_bounded() -> None:
    """However many kinds there are, and with errors that come from nowhere."""
    log = HandLog()
    incidents = Incidents(log, lambda: 0.0)
    numbers = {incidents.report(f"m{number}", "H", ValueError(), "x") for number in range(1000)}
    assert len(numbers) == 1000
    assert len(incidents._known) <= 256


def test_what_strangers_wrote_cannot_steer_a_terminal() -> None:
    """Controls in the text of an error are shown, not sent, line by line."""
    server = Server(Does(verify=lambda text, connection: int("\x1b[2J\u202e")))
    server.send(b"VRFY x\r\n")
    assert "\x1b" not in server.log[0]
    assert "\u202e" not in server.log[0]
    assert "ValueError" in server.log[0]


def test_a_handler_that_keeps_everybody_waiting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past half a second: method, handler, seconds, connection; for questions and for content."""
    now = [0.0]
    monkeypatch.setattr(_conversation, "perf_counter", lambda: now[0])

    def takes(seconds: float) -> Callable[..., None]:
        def method(*arguments: object) -> None:
            now[0] += seconds

        return method

    server = Server(Does(mail=takes(SLOW_SECONDS), rcpt=takes(2.0), chunk=takes(0.75)))
    server.send(TO_DATA + b"x\r\n.\r\n")
    assert server.log == [
        "rcpt of Does kept everybody waiting for 2.0 s on x",
        "chunk of Does kept everybody waiting for 0.8 s on x",
    ]


def test_a_coroutine_that_blocks_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs when it is looked at, and not when it is called; whoever waits sees no difference."""
    now = [0.0]
    monkeypatch.setattr(_conversation, "perf_counter", lambda: now[0])

    async def rcpt(recipient: object, envelope: Envelope) -> None:
        now[0] += 2.0

    server = Server(Does(rcpt=rcpt))
    server.send(TO_RCPT)
    assert server.log == ["rcpt of Does kept everybody waiting for 2.0 s on x"]


# Time.


@pytest.mark.parametrize(
    ("name", "seconds", "octets"),
    [
        ("rcpt", 30.0, TO_RCPT),
        ("message", 60.0, TO_DATA + b".\r\n"),
        ("chunk", 30.0, TO_DATA + b"x"),
    ],
)
def test_an_answer_that_does_not_come_is_451(name: str, seconds: float, octets: bytes) -> None:
    """Its call is cancelled, and a late result is dropped and never another command's (P41)."""
    server = Server(handler := Later(name), limited(decision_seconds=30, message_seconds=60))
    server.send(octets)
    before = server.codes
    assert server.conversation.deadline == seconds
    server.pass_time(seconds - 1)
    assert server.codes == before
    server.pass_time(1)
    assert handler.last.cancelled
    if name == "chunk":
        server.send(b"\r\n.\r\n")
    assert server.codes == [*before, "451"]
    assert f"it has not answered within {seconds:g} s" in server.log[0]
    assert server.conversation.deadline == float("inf")
    handler.last.give(None)
    assert server.codes == [*before, "451"]
    assert server.log[-1] == f"{name} answered too late on x: dropped"
    assert server.send(b"RSET\r\n") == ["250"]


def test_one_of_two_that_are_late_may_be_answered_by_cancelling_the_other() -> None:
    """Each gets one reply, in order."""
    handler = Later("rcpt", concurrent_recipients=True)
    server = Server(handler, limited(decision_seconds=30))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n")
    first, second = handler.answers
    first.on_cancel = lambda: second.give(True)
    server.pass_time(30)
    assert server.codes[2:] == ["451", "250"]
    assert not second.cancelled


def test_who_is_told_may_not_take_for_ever_either() -> None:
    """`disconnected` and the like are cancelled too, and the connection comes to its end."""
    server = Server(handler := Later("disconnected"), limited(decision_seconds=30))
    server.driver.disconnect()
    server.pass_time(30)
    assert handler.last.cancelled
    assert server.conversation.over
    assert "disconnected of Later failed" in server.log[0]


def test_nothing_expires_where_nothing_is_waited_for() -> None:
    """Time passes."""
    server = Server()
    server.pass_time(1000)
    assert server.send(b"NOOP\r\n") == ["250"]


# Observers.


def test_an_observer_sees_every_decision_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of methods that are not there too; late ones with how long they took."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.125
        return now[0]

    monkeypatch.setattr(_conversation, "perf_counter", clock)
    handler = Later("rcpt", mail=returns(None), message=returns((250, "Taken")))
    server = Server(handler, observer=(observer := Noting()))
    server.send(TO_RCPT)
    server.platform.now = 7.0
    handler.last.give(None)
    server.send(b"DATA\r\nhi\r\n.\r\n")
    assert [name for name, _ in observer.decisions] == [
        *("connected", "hello", "mail", "rcpt", "data", "message")
    ]
    assert observer.seconds == [0.0, 0.0, 0.125, 7.0, 0.0, 0.125]
    assert observer.decisions[-1][1].text == "250 2.0.0 Taken"
    assert observer.octets == b"hi\r\n.\r\n|"
    assert observer.envelopes[0].id == "x-1"


def test_an_observer_sees_the_content_as_on_the_wire() -> None:
    """In pieces as it came, chunks too, and where each ends."""
    server = Server(observer=(observer := Noting()))
    server.send(TO_RCPT + b"BDAT 2\r\nh")
    server.send(b"iBDAT 1 LAST\r\n!MAIL FROM:<>\r\n")
    assert observer.octets == b"hi|!|"


def test_an_observer_may_leave_out_what_is_plain() -> None:
    """Most answers are a yes at once; but for messages it is told of each."""

    class Sparing(Noting):
        sees_plain_answers = False

    server = Server(Does(verify=returns(False)), observer=(observer := Sparing()))
    server.send(TO_DATA + b".\r\nVRFY x\r\n")
    assert [name for name, _ in observer.decisions] == ["message", "verify"]


class Recording(Noting):
    """Writes down what is said, by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[str] = []

    def client(self, octets: bytes) -> None:
        self.script.append(f"C: {octets.decode()}")

    def server(self, octets: bytes) -> None:
        self.script += [f"S: {line.decode()[:4]}" for line in octets.splitlines()]

    def content(self, octets: bytes) -> None:
        self.script.append(f"C: {octets!r}")

    def ended(self, reason: Reason) -> None:
        self.script.append(reason.name)


def test_an_observer_sees_octets_both_ways_and_the_end() -> None:
    """Lines without their secrets, replies when they leave, and once why it is over."""
    observer = Recording()
    server = Server(Does(authenticate=returns(True)), CLEAR, observer=observer)
    for octets in (b"HELO me\r\nNOOP\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"QU", b"IT\r\n"):
        server.send(octets)
    server.driver.disconnect()
    server.driver.disconnect()
    assert observer.script == [
        *("S: 220 ", "C: HELO me\r\n", "C: NOOP\r\n", "S: 250 ", "S: 250 "),
        *("C: AUTH PLAIN <8 octets hidden>\r\n", "S: 235 ", "C: QUIT\r\n", "S: 221 ", "QUIT"),
    ]


def test_an_observer_that_does_not_look_at_octets_is_shown_none() -> None:
    """It hears of decisions and of the end."""

    class Deaf(Recording):
        sees_octets = False

    server = Server(observer=(observer := Deaf()))
    server.send(TO_DATA + b"x\r\n.\r\nQUIT\r\n")
    server.driver.disconnect()
    assert observer.script == ["QUIT"]
    assert observer.decisions[-1][0] == "message"


def test_an_observer_need_not_look() -> None:
    """Whatever it does not override does nothing."""
    observer = Observer()
    server = Server(observer=observer)
    server.send(TO_DATA + b"x\r\n.\r\nMAIL FROM: <>\r\nRSET\r\n")
    observer.client(b"")
    observer.server(b"")
    observer.note("")
    observer.ended(Reason.QUIT)
    assert server.codes[-1] == "250"


def test_a_remark_that_nobody_wants_is_dropped() -> None:
    """Without an observer there is nobody to tell."""
    Server().dialogue.note("something")


def test_a_conversation_says_what_it_waits_for() -> None:
    """Who has the connection asks for no more meanwhile."""
    server = Server(handler := Later("connected"), greet=False)
    assert server.driver.start() == b""
    assert server.dialogue.wants is Wants.ANSWER
    assert server.send(b"HELO me\r\n") == []
    handler.last.give()
    assert server.codes == ["220", "250"]


def test_an_answer_that_is_late_during_an_advance_is_sent_with_it() -> None:
    """A driver that is at work is not asked to send twice."""
    handler = Later("mail")
    server = Server(handler)

    def rcpt(recipient: object, envelope: Envelope) -> None:
        server.driver.changed()
        assert server.driver.advance() == b""

    server = Server(Does(rcpt=rcpt))
    assert server.send(TO_RCPT) == ["250"] * 3


def test_a_plain_server_may_leave_the_changes_alone() -> None:
    """Whoever leads one by hand without late answers needs no such function."""
    from smtpcb.engine._plain import Driver

    driver = Driver(Does(), Settings(), Connection("x", tls=TLS))
    assert driver.start().startswith(b"220")
    driver.changed()
    driver.disconnect()
    assert driver.shut_down() == b""
    assert driver.time_out() == b""
