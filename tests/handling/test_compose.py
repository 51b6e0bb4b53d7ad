"""Policies around a handler, several handlers for one mail, and one that only listens."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from smtpcb import (
    Connection,
    Reason,
    Refusal,
    Reply,
    Settings,
    Verb,
    all_of,
    around,
    callbacks,
    shadow,
)
from smtpcb import threaded as in_threads
from smtpcb.engine._handler import understand
from smtpcb.handling import check
from smtpcb.smtp.sasl import Authenticated
from smtpcb.testing import play

HERE = Connection("test")

ONE_MESSAGE = """
    C: EHLO client.example.org
    S: 250 ...
    C: MAIL FROM:<a@example.com>
    S: 250 2.1.0
    C: RCPT TO:<anne@example.org>
    S: 250 2.1.5
    C: DATA
    S: 354
    C: Subject: Hello
    C:
    C: Hi
    C: .
    S: 250 2.0.0
"""


class Notes:
    """Writes down what it was asked; its answers can be given."""

    def __init__(self, name: str = "", seen: list[str] | None = None, **answers: Any) -> None:
        self.name = name
        self.seen: list[str] = [] if seen is None else seen
        self.answers = answers

    def _note(self, event: str) -> Any:
        self.seen.append(f"{self.name} {event}".strip())
        answer = self.answers.get(event)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer


class Policy(Notes):
    def mail(self, envelope: Any) -> Any:
        return self._note("mail")

    def rcpt(self, recipient: Any, envelope: Any) -> Any:
        return self._note("rcpt")

    def disconnected(self, reason: Any, connection: Any) -> None:
        self.seen.append(f"{self.name} disconnected")


class Inbox(Policy):
    def message(self, envelope: Any) -> Any:
        envelope.content.bytes()
        return self._note("message")

    def aborted(self, reason: Reason, envelope: Any) -> None:
        self.seen.append(f"{self.name} aborted {reason.name}")


async def _later(answer: Any) -> Any:
    return answer


def ways(answer: Any) -> list[Any]:
    """Return an answer given at once, from ``async def``, and as a Deferred."""
    return [answer, lambda: _later(answer), lambda: succeed(answer)]


def rcpt(handler: object, reply: str, **options: Any) -> None:
    """Name one recipient, who is answered so."""
    play(
        f"""
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<anne@example.org>
        S: {reply}
        """,
        handler,
        **options,
    )


def test_policies_are_asked_in_their_order_and_the_handler_last() -> None:
    """None goes on; the handler is asked when all have said yes."""
    seen: list[str] = []
    parts = [Policy("first", seen), Policy("second", seen)]
    play(ONE_MESSAGE, around(Inbox("inbox", seen), *parts))
    assert seen[:7] == [
        *("first mail", "second mail", "inbox mail"),
        *("first rcpt", "second rcpt", "inbox rcpt"),
        "inbox message",
    ]


@pytest.mark.parametrize(
    "how", list(itertools.product(range(3), range(3))), ids=lambda how: "-".join(map(str, how))
)
def test_the_first_refusal_is_the_reply(how: tuple[int, int]) -> None:
    """Nobody behind it is asked, however it and those before it answer: now, or later."""
    seen: list[str] = []
    yes = Policy("yes", seen, rcpt=ways(None)[how[0]])
    no = Policy("no", seen, rcpt=ways((550, "5.7.1", "Not today"))[how[1]])
    never = Policy("never", seen, rcpt=(451, "4.3.0", "not this one"))
    rcpt(around(Inbox("inbox", seen), yes, no, never), "550 5.7.1 Not today")
    assert "yes rcpt" in seen
    assert not {"never rcpt", "inbox rcpt"} & {*seen}


@pytest.mark.parametrize("no", [False, 550, (550, "text"), Reply(550), Refusal(550)])
def test_a_no_may_be_written_in_any_way(no: Any) -> None:
    """As a handler's, also raised."""
    inbox = Inbox("inbox")
    rcpt(around(inbox, Policy(rcpt=no)), "550 5.1.1")
    assert "inbox rcpt" not in inbox.seen


@pytest.mark.parametrize("yes", [None, True, 250, (250, "Mine"), Reply(250)])
def test_a_yes_of_a_policy_is_not_the_last_word(yes: Any) -> None:
    """The handler refuses behind it."""
    rcpt(around(Inbox(rcpt=550), Policy(rcpt=yes)), "550 5.1.1")


def test_the_words_of_a_yes_are_those_of_the_last_who_has_some() -> None:
    """A policy's are sent where the handler has none of its own."""
    rcpt(around(Inbox(), Policy(rcpt=(250, "Known"))), "250 2.1.5 Known")
    rcpt(around(Inbox(rcpt=(250, "Here")), Policy(rcpt=(250, "Known"))), "250 2.1.5 Here")


@pytest.mark.parametrize(
    "fault", [RuntimeError("down"), "no verdict", 17, 200, 354, 220, (252, "")]
)
def test_a_policy_that_fails_lets_nothing_through_and_bounces_nothing(fault: Any) -> None:
    """451, and the handler is not asked."""
    inbox = Inbox("inbox")
    rcpt(around(inbox, Policy(rcpt=fault)), "451 4.3.0")
    assert "inbox rcpt" not in inbox.seen


def test_one_deferred_for_two_events_stays_a_no() -> None:
    """Waiting for it for one event does not make a yes of it for the next."""
    clock = Clock()

    class Once:
        def __init__(self) -> None:
            self.lookup: Deferred[Any] = deferLater(clock, 1, lambda: (550, "5.7.1", "Listed"))

        def mail(self, envelope: Any) -> Any:
            return None

        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            return self.lookup

    play(
        """
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<anne@example.org>
        S: 550 5.7.1 Listed
        C: RCPT TO:<bob@example.org>
        S: 550 5.7.1 Listed
        """,
        around(Inbox, Once, Policy),
        clock=clock,
    )


def test_an_event_that_one_part_has_is_that_parts_method_itself() -> None:
    """What no policy has costs nothing: no wrapper is called."""
    inbox, policy = Inbox(), callbacks(rcpt=lambda recipient, envelope: None)
    composed: Any = around(inbox, policy)(HERE)
    methods = understand(composed).methods
    assert methods["message"] == inbox.message
    assert methods["disconnected"] == inbox.disconnected
    assert set(methods) == {"mail", "rcpt", "message", "aborted", "disconnected"}


def test_instances_are_composed_once_and_classes_for_each_connection() -> None:
    """Parts that all connections share are looked at once; the others see their connection."""

    class Mine:
        def __init__(self, connection: Connection) -> None:
            self.connection = connection

        def message(self, envelope: Any) -> None: ...

    shared = around(Inbox(), Policy())
    assert shared(HERE) is shared(Connection("other"))
    made: Any = around(Mine, Policy())(HERE)
    assert made.parts[-1].handler.connection is HERE


def test_all_are_told_what_nobody_decides() -> None:
    """The end of the connection reaches all, also those that were never asked."""
    seen: list[str] = []
    first = Policy("first", seen, mail=550)
    play(
        """
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 550
        *: the client has gone
        """,
        around(Inbox("inbox", seen), first, Policy("second", seen)),
    )
    assert seen[:4] == [
        *("first mail", "first disconnected", "second disconnected", "inbox disconnected")
    ]


def test_what_one_raises_who_is_told_the_others_do_not_feel() -> None:
    """All hear of the end; the fault is an incident in the log."""
    seen: list[str] = []

    class Failing:
        def disconnected(self, reason: Any, connection: Any) -> None:
            raise RuntimeError("told")

    play(ONE_MESSAGE + "    *: the client has gone\n", around(Inbox("inbox", seen), Failing))
    assert seen.count("inbox disconnected") == 2


def test_a_message_that_a_policy_refuses_has_an_end_for_the_handler() -> None:
    """It has accepted MAIL, so it hears `aborted` in place of `message`."""

    class Scanner:
        def message(self, envelope: Any) -> Any:
            return (550, "5.7.1", "Virus") if b"Hi" in envelope.content.bytes() else None

    inbox = Inbox("inbox")
    play(ONE_MESSAGE.replace("S: 250 2.0.0", "S: 550 5.7.1 Virus"), around(inbox, Scanner))
    assert inbox.seen[:3] == ["inbox mail", "inbox rcpt", "inbox aborted REFUSED"]
    assert "inbox message" not in inbox.seen


def test_a_message_that_a_policy_fails_at_has_an_end_for_the_handler() -> None:
    """The client comes again, and the handler hears that this one failed."""
    inbox = Inbox("inbox")
    scanner = callbacks(rcpt=lambda recipient, envelope: None, message=lambda envelope: 1 / 0)
    play(ONE_MESSAGE.replace("S: 250 2.0.0", "S: 451 4.3.0"), around(inbox, scanner))
    assert "inbox aborted FAILED" in inbox.seen


@pytest.mark.parametrize("answer", [200, 220, 251, 354, (354, "Go on"), Reply(235), "no verdict"])
def test_an_answer_that_fits_nothing_stores_nothing(answer: Any) -> None:
    """The client hears 451 and sends it again: nobody may have it by then."""
    inbox = Inbox("inbox")
    scanner = callbacks(rcpt=lambda recipient, envelope: None, message=lambda envelope: answer)
    play(ONE_MESSAGE.replace("S: 250 2.0.0", "S: 451 4.3.0"), around(inbox, scanner))
    assert "inbox message" not in inbox.seen
    assert "inbox aborted FAILED" in inbox.seen


def test_a_transaction_that_the_handler_refuses_has_an_end_for_the_policies() -> None:
    """Who has said yes to MAIL hears that it has ended."""

    class Counting(Policy):
        def aborted(self, reason: Reason, envelope: Any) -> None:
            self.seen.append(f"aborted {reason.name}")

    counting = Counting()
    play(
        """
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 550 5.7.1
        """,
        around(Inbox(mail=550), counting),
    )
    assert counting.seen[:2] == ["mail", "aborted REFUSED"]


def test_content_is_kept_for_who_reads_it_and_streamed_to_who_streams_it() -> None:
    """A handler takes pieces, and a policy looks at the whole; and the other way round."""

    class Streaming:
        def __init__(self) -> None:
            self.octets = b""

        def chunk(self, octets: bytes, envelope: Any) -> None:
            self.octets += octets

    whole: list[bytes] = []
    reading = callbacks(message=lambda envelope: whole.append(envelope.content.bytes()))
    for handler, policy in ((Streaming(), reading), (reading, Streaming())):
        whole.clear()
        play(ONE_MESSAGE, around(handler, policy))
        assert whole == [b"Subject: Hello\r\n\r\nHi\r\n"] * 2
        stream = handler if isinstance(handler, Streaming) else policy
        assert stream.octets == b"".join(whole)


def test_pieces_alone_are_not_kept() -> None:
    """Whoever only streams has no content, with policies as without."""
    kept: list[Any] = []

    class Streaming:
        def chunk(self, octets: bytes, envelope: Any) -> None: ...

        def message(self, envelope: Any) -> None:
            kept.append(envelope.kept)

    play(ONE_MESSAGE, around(Streaming, Policy))
    assert kept == [None, None]


def test_who_logs_in_is_decided_by_the_first_that_answers() -> None:
    """A policy may refuse a login, and let others decide."""

    def none_from_there(credentials: Any, connection: Any) -> Any:
        return (535, "5.7.8", "Not from there") if credentials.username == "root" else None

    handler = callbacks(message=lambda e: None, authenticate=lambda c, k: Authenticated("anne"))
    policy = callbacks(authenticate=none_from_there, message=lambda e: None)
    script = """
        C: STARTTLS
        S: 220
        C: EHLO client.example.org
        S: 250 ...
        C: AUTH PLAIN AHJvb3QAeA==
        S: 535 5.7.8 Not from there
        C: AUTH PLAIN AGFubmUAeA==
        S: 235
    """
    script = "        C: EHLO client.example.org\n        S: 250 ..." + script
    assert play(script, around(handler, policy)).dialogue.connection.identity == "anne"


def test_commands_are_told_to_whoever_wants_them() -> None:
    """Masks are joined, and each hears of its own commands only."""
    seen: list[str] = []

    class OfMail:
        command_mask = Verb.MAIL

        def command(self, command: Any, connection: Any) -> None:
            seen.append(f"policy {command.verb.name}")

    class OfRcpt:
        command_mask = Verb.RCPT

        def command(self, command: Any, connection: Any) -> None:
            seen.append(f"inbox {command.verb.name}")

        def message(self, envelope: Any) -> None: ...

    play(ONE_MESSAGE, around(OfRcpt, OfMail))
    assert seen[:2] == ["policy MAIL", "inbox RCPT"]
    assert around(OfRcpt, OfMail)(HERE).command_mask == Verb.MAIL | Verb.RCPT
    assert around(OfRcpt, Policy)(HERE).command_mask == Verb.RCPT


def test_what_is_said_of_a_handler_is_said_behind_policies_too() -> None:
    """Extensions are its own; recipients overlap only if all who are asked can bear it."""

    class Fast:
        concurrent_recipients = True
        extensions = {"DSN"}

        def rcpt(self, recipient: Any, envelope: Any) -> None: ...

        def message(self, envelope: Any) -> None: ...

    class FastPolicy:
        concurrent_recipients = True

        def rcpt(self, recipient: Any, envelope: Any) -> None: ...

    abilities = understand(around(Fast, FastPolicy)(HERE)).abilities
    assert abilities.extensions == {"DSN"}
    assert abilities.concurrent_recipients
    assert not understand(around(Fast, FastPolicy, Policy)(HERE)).abilities.concurrent_recipients


class Misspelt:
    def recpt(self, recipient: Any, envelope: Any) -> Any:
        return 550


class Offering:
    extensions = {"DSN"}

    def rcpt(self, recipient: Any, envelope: Any) -> None: ...


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (Misspelt, "recpt would never be called"),
        (Misspelt(), "recpt would never be called"),
        (object(), "nor any other of the events"),
        (Offering(), "behind its policies"),
        (callbacks, "nothing for|neither"),
    ],
)
def test_a_mistake_in_a_policy_stops_the_start(policy: object, why: str) -> None:
    """A policy that would guard nothing is no policy."""
    with pytest.raises(TypeError, match=why):
        check(around(Inbox, policy))


def test_what_a_factory_makes_is_looked_at_too() -> None:
    """The mistake shows when it is tried, before any client comes."""
    assert check(around(Inbox, lambda: Policy())) == []
    with pytest.raises(TypeError, match="recpt would never be called"):
        check(around(Inbox, lambda: Misspelt()))
    with pytest.raises(TypeError, match="mail for it would be lost"):
        check(around(lambda: Policy(), Policy))
    with pytest.raises(TypeError, match="mail for it would be lost"):
        check(around(in_threads(Policy), Policy))


def test_nothing_to_compose_is_a_mistake() -> None:
    """One handler alone is no composition; threads are for what it is made of."""
    with pytest.raises(TypeError, match="no policy"):
        around(Inbox)
    with pytest.raises(TypeError, match="at least two"):
        all_of(Inbox)
    with pytest.raises(TypeError, match="around\\(threaded"):
        in_threads(around(Inbox, Policy))


def test_policies_and_handlers_may_block_in_threads() -> None:
    """Both, or one of them."""
    blocking = callbacks(rcpt=lambda recipient, envelope: (550, "5.7.1", "From a thread"))
    rcpt(around(Inbox, in_threads(blocking)), "550 5.7.1 From a thread")
    rcpt(around(in_threads(Inbox), blocking), "550 5.7.1 From a thread")
    assert check(around(in_threads(Inbox), in_threads(Policy))) == []


def test_policies_and_handlers_may_wait_for_asyncio() -> None:
    """Where its loop runs."""
    import asyncio

    class Slow:
        async def rcpt(self, recipient: Any, envelope: Any) -> Any:
            await asyncio.sleep(1)
            return (550, "5.7.1", "Looked up")

    rcpt(around(Inbox, Policy, Slow), "550 5.7.1 Looked up", asyncio=True)


def test_composed_handlers_can_be_composed() -> None:
    """Policies around policies, around several handlers."""
    seen: list[str] = []
    both = all_of(Inbox("one", seen), Inbox("two", seen))
    play(ONE_MESSAGE, around(around(both, Policy("inner", seen)), Policy("outer", seen)))
    assert seen[:4] == ["outer mail", "inner mail", "one mail", "two mail"]


def test_policies_stay_when_the_handler_is_exchanged() -> None:
    """What they guard stays guarded, and they are not asked twice when it is put back."""
    seen: list[str] = []

    class Second(Inbox):
        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            return 250, "Second"

    class First:
        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            envelope.connection.handler = Second()
            return 250, "First"

        def message(self, envelope: Any) -> None: ...

    policy = callbacks(rcpt=lambda recipient, envelope: seen.append(str(recipient)) or None)
    denied = callbacks(
        rcpt=lambda recipient, envelope: None if recipient.domain == "example.org" else 550
    )
    play(
        """
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<anne@example.org>
        S: 250 2.1.5 First
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.5 Second
        C: RCPT TO:<bob@example.com>
        S: 550
        """,
        around(First, policy, denied),
    )
    assert seen.count("bob@example.org") == 2  # once in each of the two ways it is played

    first: Any = around(Inbox, policy)(HERE)
    assert first.behind_policies(first) is first
    assert first.behind_policies(Second)(HERE).parts[0] is first.parts[0]


# all_of


def test_all_handlers_get_the_mail() -> None:
    """Each is asked, and each finds the content."""
    seen: list[str] = []
    play(ONE_MESSAGE, all_of(Inbox("one", seen), Inbox("two", seen)))
    assert seen[4:6] == ["one message", "two message"]


@pytest.mark.parametrize(
    ("answers", "reply"),
    [
        ((None, 550), "550"),
        ((451, 550), "550"),
        ((550, 451), "550"),
        ((451, None), "451"),
        ((RuntimeError("down"), None), "451 4.3.0"),
        ((RuntimeError("down"), 550), "550"),
        ((Refusal(550, "No"), (450, "Later")), "550"),
        (("nonsense", None), "451 4.3.0"),
        ((354, None), "451 4.3.0"),
        ((None, (220, "Mine")), "451 4.3.0"),
        ((251, 550), "550"),
        ((None, (250, "Mine")), "250 2.0.0 Mine"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_the_verdict_of_all_is_the_worst(answers: tuple[Any, Any], reply: str, later: bool) -> None:
    """A no for good before a no for now before a yes; a message is accepted when all accept it."""
    seen: list[str] = []
    given = [
        (lambda answer=answer: _later(answer))
        if later and not isinstance(answer, BaseException)
        else answer
        for answer in answers
    ]
    parts = [Inbox(name, seen, message=answer) for name, answer in zip("ab", given, strict=True)]
    play(ONE_MESSAGE.replace("S: 250 2.0.0", f"S: {reply}"), all_of(*parts))
    assert {"a message", "b message"} <= {*seen}


def test_mail_that_one_refuses_has_an_end_for_the_others() -> None:
    """Who has said yes to MAIL hears `aborted`."""
    seen: list[str] = []
    play(
        """
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 550 5.7.1
        """,
        all_of(Inbox("yes", seen), Inbox("no", seen, mail=550)),
    )
    assert seen[:3] == ["yes mail", "no mail", "yes aborted REFUSED"]


@pytest.mark.parametrize(
    ("answers", "replies"),
    [
        (({"a": None, "b": 550}, None), ["250", "550"]),
        (({"a": None, "b": 550}, {"a": 451, "b": None}), ["451", "550"]),
        (({"a": None, "b": None}, 451), ["451", "451"]),
        (({"a": None, "b": None}, {"a": None}), ["451 4.3.0", "451 4.3.0"]),
        (({"a": None, "b": None}, {"a": None, "b": 220}), ["250", "451 4.3.0"]),
    ],
)
def test_each_recipient_hears_the_worst_that_is_said_of_it(
    answers: tuple[Any, Any], replies: list[str]
) -> None:
    """With LMTP, where handlers may answer for each recipient (RFC 2033 §4.2)."""

    def whole(answer: Any) -> Any:
        if isinstance(answer, dict):
            return {f"{name}@example.org": verdict for name, verdict in answer.items()}
        return answer

    parts = [callbacks(message=lambda envelope, one=one: whole(one)) for one in answers]
    play(
        f"""
        C: LHLO client.example.org
        S: 250 ...
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<a@example.org>
        C: RCPT TO:<b@example.org>
        S: 250
        S: 250
        C: DATA
        S: 354
        C: Hi
        C: .
        S: {replies[0]}
        S: {replies[1]}
        """,
        all_of(*parts),
        settings=Settings(lmtp=True),
    )


def test_only_what_all_honour_is_offered() -> None:
    """An extension that one of them ignores is not."""

    class Dsn(Inbox):
        extensions = {"DSN"}

    assert understand(all_of(Dsn, Inbox)(HERE)).abilities.extensions == frozenset()
    assert understand(all_of(Dsn, Dsn)(HERE)).abilities.extensions == {"DSN"}


# shadow


@pytest.fixture
def logged() -> Any:
    """Collect what is logged of candidates."""
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "smtpcb.shadow":
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    "answer",
    [
        550,
        lambda: _later(550),
        RuntimeError("broken"),
        SystemExit(3),
        "nonsense",
        Deferred,
        lambda: succeed(421),
    ],
)
def test_a_candidate_changes_nothing(answer: Any, logged: list[LogEvent]) -> None:
    """Whatever it answers or raises, or if it never answers, the client hears the handler."""
    play(ONE_MESSAGE, shadow(Inbox(), lambda: Inbox(rcpt=answer, message=answer)))


def test_a_candidates_verdicts_are_logged_beside_the_real_ones(logged: list[LogEvent]) -> None:
    """Where both differ at level info, where they agree at debug."""
    candidate = Inbox(rcpt=lambda: _later((550, "5.1.1", "Who?")), mail=None)
    play(ONE_MESSAGE, shadow(Inbox(mail=lambda: _later(None)), candidate))
    (differs, *_) = [one for one in logged if one["log_level"] is LogLevel.info]
    assert (differs["event"], differs["real"]) == ("rcpt", "250 2.1.5 Recipient ok")
    assert differs["candidate"] == "550 5.1.1 Who?"
    assert "anne@example.org" in differs["subject"]
    agreed = {one["event"] for one in logged if one["log_level"] is LogLevel.debug}
    assert {"mail", "message"} <= agreed


def test_a_candidate_hears_all_even_what_the_handler_has_no_method_for() -> None:
    """In order, with the content; it decides on no logins and offers nothing."""

    class Candidate(Inbox):
        def hello(self, introduction: Any, connection: Any) -> None:
            self._note("hello")

        def authenticate(self, credentials: Any, connection: Any) -> bool:
            return True

    candidate = Candidate()
    inbox = callbacks(message=lambda envelope: None)
    play(ONE_MESSAGE, shadow(inbox, candidate))
    assert candidate.seen[:4] == ["hello", "mail", "rcpt", "message"]
    assert not understand(shadow(inbox, candidate)(HERE)).abilities.authentication


def test_a_candidate_that_never_answers_is_given_up(logged: list[LogEvent]) -> None:
    """After its time, which costs the client none; then it hears the rest."""
    clock = Clock()
    candidate = Inbox(mail=Deferred)
    play(ONE_MESSAGE, shadow(Inbox(), candidate, seconds=5, reactor=clock), clock=clock)
    assert candidate.seen == ["mail", "mail"]
    clock.advance(5)
    assert candidate.seen.count("message") == 2
    assert "451 (TimeoutError)" in [one["candidate"] for one in logged]


def test_a_candidate_that_is_too_slow_is_left_behind(logged: list[LogEvent]) -> None:
    """What waits for it has a bound."""
    from smtpcb.handling._shadow import MOST_WAITING

    clock = Clock()
    candidate = callbacks(hello=lambda introduction, connection: Deferred(), message=lambda e: None)
    composed: Any = shadow(Inbox(), candidate, reactor=clock)(HERE)
    for _ in range(MOST_WAITING + 10):
        assert composed.hello(None, HERE) is None
    assert [one["log_level"] for one in logged].count(LogLevel.warn) == 1


# services


class Store(Service):
    def __init__(self, name: str, seen: list[str], fails: bool = False) -> None:
        self.name, self.seen, self.fails = name, seen, fails

    def startService(self) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        self.seen.append(f"{self.name} starts")

    def stopService(self) -> None:
        self.seen.append(f"{self.name} stops")

    def message(self, envelope: Any) -> None: ...


def test_services_start_and_stop_with_the_server() -> None:
    """Policies are there before the handler, and go after it."""
    seen: list[str] = []
    compound = around(Store("inbox", seen), Store("list", seen), Policy())
    compound.startService()
    compound.stopService()
    assert seen == ["list starts", "inbox starts", "inbox stops", "list stops"]


def test_what_was_started_is_stopped_when_another_cannot_start() -> None:
    """The start fails as a whole."""
    seen: list[str] = []
    compound = around(Store("inbox", seen, fails=True), Store("list", seen))
    with pytest.raises(OSError, match="No space"):
        compound.startService()
    assert seen == ["list starts", "list stops"]


# What is rare


def test_a_yes_with_words_does_not_end_a_transactions_questions() -> None:
    """Neither at MAIL nor for the message, where others hear of a no."""
    seen: list[str] = []
    words = Inbox("policy", seen, mail=(250, "Known"), message=(250, "Clean"))
    script = ONE_MESSAGE.replace("S: 250 2.1.0", "S: 250 2.1.0 Known")
    play(script.replace("S: 250 2.0.0", "S: 250 2.0.0 Clean"), around(Inbox("inbox", seen), words))
    assert "inbox message" in seen


def test_what_fails_at_aborted_changes_no_answer(clean_reactor: list[LogEvent]) -> None:
    """It is logged, and the client hears the refusal."""

    class Failing(Inbox):
        def aborted(self, reason: Reason, envelope: Any) -> None:
            raise RuntimeError("told")

    failing = Failing()
    virus = callbacks(message=lambda envelope: (550, "5.7.1", "Virus"))
    play(ONE_MESSAGE.replace("S: 250 2.0.0", "S: 550 5.7.1 Virus"), around(failing, virus))
    assert all("aborted failed" in event["log_format"] for event in clean_reactor)
    assert len(clean_reactor) == 2
    clean_reactor.clear()


def test_an_answer_for_each_recipient_is_none_for_those_behind() -> None:
    """A policy cannot accept a message for handlers that have not been asked."""
    each = callbacks(message=lambda envelope: {"anne@example.org": 250})
    inbox = Inbox("inbox")
    play(ONE_MESSAGE.replace("S: 250 2.0.0", "S: 451 4.3.0"), around(inbox, each))
    assert "inbox message" not in inbox.seen


def test_a_login_that_nobody_answers_is_a_fault() -> None:
    """As with one handler: a forgotten return opens no door."""
    parts = [callbacks(message=lambda e: None, authenticate=lambda c, k: None) for _ in "ab"]
    play(
        """
        C: EHLO client.example.org
        S: 250 ...
        C: STARTTLS
        S: 220
        C: EHLO client.example.org
        S: 250 ...
        C: AUTH PLAIN AGFubmUAeA==
        S: 451 4.3.0
        """,
        around(*parts),
    )


def test_who_is_told_answers_nothing() -> None:
    """What one of several answers to it is a fault of its own, and an incident in the log."""
    from smtpcb.handling._joined import told

    heard: list[str] = []
    tell = told([lambda reason: 250, lambda reason: heard.append("second")])
    with pytest.raises(TypeError, match="nothing is answered"):
        tell("reason").send(None)
    assert heard == ["second"]


def test_nobody_else_is_asked_when_nobody_waits_any_more() -> None:
    """The client has gone while the first of several was being asked."""
    seen: list[str] = []
    both = all_of(Inbox("one", seen, rcpt=Deferred), Inbox("two", seen))
    play(
        """
        C: HELO client.example.org
        S: 250
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<anne@example.org>
        *: the client has gone
        """,
        both,
    )
    assert "two rcpt" not in seen


def test_a_handler_that_fails_fails_beside_a_candidate_too(logged: list[LogEvent]) -> None:
    """At once and later; what it raised is in the log beside what the candidate would say."""

    async def later() -> Any:
        raise Refusal(550, "5.7.1", "Later")

    for answer, reply in (
        (Refusal(550, "5.7.1", "No"), "550 5.7.1 No"),
        (RuntimeError("down"), "451 4.3.0"),
        (later, "550 5.7.1 Later"),
    ):
        logged.clear()
        rcpt(shadow(Inbox(rcpt=answer), Inbox()), reply)
        (one, *_) = [one for one in logged if one["event"] == "rcpt"]
        assert (one["real"][:3], one["candidate"][:3]) == (reply[:3], "250")


def test_a_candidate_hears_commands_and_logins_that_the_handler_hears() -> None:
    """Each its own commands; what it is lent for a login is given back."""
    seen: list[str] = []

    class Login:
        command_mask = Verb.AUTH

        def __init__(self, name: str) -> None:
            self.name = name

        def command(self, command: Any, connection: Any) -> None:
            seen.append(f"{self.name} {command.verb.name}")

        def authenticate(self, credentials: Any, connection: Any) -> Any:
            return Authenticated(self.name, lambda: seen.append(f"{self.name} released"))

        def message(self, envelope: Any) -> None: ...

    class Candidate(Login):
        command_mask = Verb.MAIL

    played = play(
        """
        C: EHLO client.example.org
        S: 250 ...
        C: STARTTLS
        S: 220
        C: EHLO client.example.org
        S: 250 ...
        C: AUTH PLAIN AGFubmUAeA==
        S: 235
        C: MAIL FROM:<a@example.com>
        S: 250
        C: QUIT
        S: 221
        """,
        shadow(Login("real"), Candidate("candidate")),
    )
    assert played.dialogue.connection.identity == "real"
    assert seen[:4] == ["real AUTH", "candidate released", "candidate MAIL", "real released"]
