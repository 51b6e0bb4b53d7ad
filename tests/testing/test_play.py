"""A written dialogue must go as it is written."""

from __future__ import annotations

import itertools
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import twisted.internet
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._handler import understand
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.handling import SmtpEventHandler, callbacks, threaded
from smtpcb.smtp import Extension, Refusal
from smtpcb.smtp._limits import Limits
from smtpcb.testing import DialogueDiffers, play
from smtpcb.testing._play import turns
from smtpcb.testing._reactor import PlayReactor
from smtpcb.transcript._replay import read

HELO = "C: HELO me\nS: 250\n"
RCPT = HELO + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\n"
BEGIN = RCPT + "C: DATA\nS: 354\nC: Hello\nC: .\n"
SCRIPT = BEGIN + "S: 250\n"


def test_a_script_may_show_the_greeting() -> None:
    """Or begin behind it."""
    play("S: 220 localhost ESMTP\nC: NOOP\nS: 250 2.0.0 OK")
    play("C: NOOP\nS: 250 2.0.0 OK")
    play("S: 220")
    with pytest.raises(DialogueDiffers):
        play("S: 220 example.org")
    play("S: 220 example.org hi", settings=Settings(hostname="example.org", banner="hi"))


def test_what_came_of_it_can_be_looked_at() -> None:
    """Messages, aborted transactions, events, and the dialogue itself."""
    played = play(
        HELO
        + """
        # a remark, and a note of a transcript
        *: TLS
        C: MAIL FROM:<>
        S: 250
        C: RSET
        S: 250 2.0.0
        C: MAIL FROM:<anne@example.org>
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5
        S: 354
        C: ..\\\\ \\xff
        C:
        C: .
        S: 250
        """
    )
    assert [str(envelope.reverse_path) for envelope in played.envelopes] == ["anne@example.org"]
    assert played.envelopes[0].content.bytes() == b".\\ \xff\r\n\r\n"
    assert played.aborted == [Reason.RESET]
    assert played.events == [
        *("connected", "hello", "mail", "aborted", "mail", "rcpt", "data", "message")
    ]
    assert played.dialogue.finished is None
    assert played.said.count(b"\r\n") == 7


@pytest.mark.parametrize(
    "wrong",
    [
        "C: NOOP\nS: 250 2.0.0 OKAY",
        "C: NOOP\nS: 25",
        "C: NOOP\nS: 250 2.0",
        "C: NOOP\nS: 500",
        "C: NOOP",
        "C: NOOP\nS: 250\nS: 250",
        "C: NOOP\\\nS: 250",
        "C: NOOP\nC: NOOP\nS: 250",
        "C: QUIT\nS: 221\nC: NOOP\nS: 250",
        "C: EHLO me\nS: 250-...",
        "C: EHLO me\nS: 250 ...\nS: 250 HELP",
        "C: EHLO me\nS: 250-...\nS: 250-HELP",
        "C: EHLO me\nS: 550 ...",
        "C: NOOP\nS: 250 ...\nS: 250 ...",
        "S: 220 ...\nS: 250 ...",
    ],
)
def test_a_difference_is_shown(wrong: str) -> None:
    """What was written has a minus, what was said a plus."""
    with pytest.raises(AssertionError, match=r"(?m)^[-+] S: "):
        play(wrong)


@pytest.mark.parametrize(
    ("script", "minus", "plus"),
    [
        ("C: EHLO me\nC: NOOP\nS: 250 ...\nS: 251", ["S: 251"], ["S: 250 2.0.0 OK"]),
        ("C: EHLO me\nS: 250-...\nS: 250 LAST", ["S: 250 LAST"], ["S: 250 HELP"]),
        ("C: EHLO me\nS: 250-...\nS: 250-SIZE\nS: 250 ...\nS: 250 2.0.0", ["S: 250 2.0.0"], []),
        ("C: NOOP\nS: 550 ...", ["S: 550 ..."], ["S: 250 2.0.0 OK"]),
        ("C: NOOP\nS: 250-...\nS: 250-x", ["S: 250-x"], ["S: 250 2.0.0 OK"]),
    ],
)
def test_only_the_difference_is_shown(script: str, minus: list[str], plus: list[str]) -> None:
    """What was left out of the script fits, and has no sign before it."""
    with pytest.raises(DialogueDiffers) as differs:
        play(script)
    lines = str(differs.value).splitlines()
    assert [line[2:] for line in lines if line.startswith("- ")] == minus
    assert [line[2:] for line in lines if line.startswith("+ ")] == plus


def test_a_line_may_stop_behind_any_word() -> None:
    """Code, code and status, or all of it; in a reply of several lines too."""
    play("C: HELP\nS: 214\nS: 214 2.0.0")
    play("C: HELP\nS: 214-2.0.0 Commands:\nS: 214 2.0.0 EHLO says which others there are")


def test_lines_of_a_reply_may_be_left_out() -> None:
    """What a server offers, a test need not list."""
    play("C: EHLO me\nS: 250 ...\nC: NOOP\nC: EHLO me\nS: 250 2.0.0\nS: 250 ...")
    play("C: EHLO me\nS: 250-localhost\nS: 250-...\nS: 250-SIZE\nS: 250 ...")
    play("C: EHLO me\nS: 250-...\nS: 250 HELP", tls=False)
    play("C: NOOP\nS: 250 ...")


# Whatever a server takes.


class Answers(SmtpEventHandler):
    """Takes the connection, inherits, and answers later; there is no ETRN."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def message(self, envelope: Envelope) -> tuple[int, str]:
        await succeed(None)
        return 250, f"{self.connection.hello} {envelope.content.bytes()!r}"


def test_classes_instances_functions_factories() -> None:
    """A class that takes the connection, one of the base class, async def, callbacks, a factory."""
    wanted = BEGIN + "S: 250 2.0.0 me"
    for given in (
        Answers,
        Answers(Connection("x", hello="me")),
        lambda connection: Answers(connection),
    ):
        play(wanted, given)
    play(SCRIPT, callbacks(message=lambda envelope: None))
    play("C: EHLO me\nS: 250-...\nS: 250 HELP\nC: ETRN x\nS: 502", Answers)
    assert isinstance(play(SCRIPT, Answers).handler, Answers)
    play(SCRIPT, understand(Answers(Connection("x"))))


@pytest.mark.parametrize(
    "given",
    [42, None, object, type("H", (), {"recpt": print}), lambda connexion: Answers(connexion)],
)
def test_what_a_server_refuses_is_refused(given: Any) -> None:
    """A test that passes for what would not start is worth nothing."""
    with pytest.raises(TypeError, match=r"."):
        play("C: NOOP\nS: 250", given)


def test_a_handler_that_cannot_be_made() -> None:
    """What its __init__ raises, the test sees."""

    class Broken(Answers):
        def __init__(self) -> None:
            raise KeyError("database")

    with pytest.raises(KeyError, match="database"):
        play("C: NOOP\nS: 250", Broken)


def test_a_class_makes_a_handler_for_each_time() -> None:
    """So the second time begins like the first."""

    class Once:
        calls = 0

        def message(self, envelope: Envelope) -> int:
            self.calls += 1
            return 250 if self.calls == 1 else 550

    assert isinstance(play(SCRIPT, Once).handler, Once)
    with pytest.raises(DialogueDiffers, match="octet by octet"):
        play(SCRIPT, Once())


def test_threads_are_waited_for() -> None:
    """threaded(X) calls X, in a thread; deferToThread comes back, with an exception too."""
    seen: list[str] = []

    class Blocks:
        def message(self, envelope: Envelope) -> None:
            seen.append(threading.current_thread().name)

        def disconnected(self, reason: Reason, connection: Connection) -> None:
            seen.append("gone")

    class Defers:
        async def message(self, envelope: Envelope) -> int:
            assert await deferToThread(envelope.content.bytes) == b"Hello\r\n"
            with pytest.raises(KeyError):
                await deferToThread({}.__getitem__, 1)
            return 250

    play(SCRIPT + "C: QUIT\nS: 221", threaded(Blocks))
    assert threading.current_thread().name not in seen
    assert seen.count("gone") == 2
    play(SCRIPT, Defers)
    play(BEGIN + "*: 1 s pass\nS: 250", threaded(Blocks))
    play(SCRIPT, lambda connection: threaded(Blocks)(connection))
    assert not [one for one in threading.enumerate() if "smtpcb" in one.name]


def test_a_chunk_is_run_to_its_end() -> None:
    """async def chunk is awaited, piece by piece, on the clock."""
    clock = Clock()
    kept: list[bytes] = []

    class Streams:
        async def chunk(self, octets: bytes, envelope: Envelope) -> None:
            await deferLater(clock, 1)
            kept.append(octets)

    played = play(SCRIPT, Streams, clock=clock)
    assert b"".join(kept) == b"Hello\r\n" * 2
    assert played.clock is clock
    assert clock.seconds() >= 2


# Time.


class Slow:
    """Looks recipients up by a clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.cancelled = 0

    async def rcpt(self, recipient: object, envelope: Envelope) -> int:
        from twisted.internet import reactor

        try:
            await deferLater(reactor, self.seconds)
        except BaseException:
            self.cancelled += 1
            raise
        return 250

    def message(self, envelope: Envelope) -> None: ...


def test_time_passes_where_it_is_waited_for() -> None:
    """No script has to say so, up to the time that a handler has."""
    assert play(RCPT, Slow(100)).clock.seconds() == 200
    slow = Slow(1000)
    play(RCPT.removesuffix("S: 250\n") + "S: 451 4.3.0", slow)
    assert slow.cancelled == 2


def test_a_script_may_let_time_pass() -> None:
    """Nothing has been said before, and it is said then."""
    begin = HELO + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\n*: 2.5 s pass\n"
    play(begin + "S: 250\n", Slow(2.5))
    play(begin + "*: 1 s passes\nS: 250\n", Slow(3))
    with pytest.raises(DialogueDiffers):
        play(begin + "*: 1 s pass\n", Slow(3))


def test_a_client_that_says_nothing_is_timed_out() -> None:
    """As a server does it, after the idle time; time that was not enough does nothing."""
    played = play("C: NOOP\nS: 250\n*: 299 s pass\nC: NOOP\nS: 250\n*: 300 s pass\nS: 421")
    assert played.dialogue.finished is Reason.TIMEOUT
    few = Settings(limits=Limits(idle_seconds=5))
    play("*: 5 s pass\nS: 421\n*: 5 s pass", settings=few)
    play(RCPT.removesuffix("S: 250\n") + "*: 20 s pass\nS: 250", Slow(20), settings=few)


def test_a_decision_that_never_comes() -> None:
    """It ends like on a server, with an incident, even while something else goes on for ever."""

    class Never:
        def __init__(self) -> None:
            from twisted.internet import reactor

            self.tick = LoopingCall(lambda: None)
            self.tick.clock = reactor
            self.tick.start(10)

        def message(self, envelope: Envelope) -> Deferred[None]:
            return Deferred()

    play(BEGIN + "S: 451 4.3.0 Local error", Never)
    with pytest.raises(DialogueDiffers, match="451"):
        play(SCRIPT, Never)

    class NeverSaysGoodbye:
        discards_content = True

        def disconnected(self, reason: Reason, connection: Connection) -> Deferred[None]:
            return Deferred()

    play("C: QUIT\nS: 221", NeverSaysGoodbye)


def test_a_client_may_leave() -> None:
    """What was under way is aborted, and what waits is cancelled."""
    played = play(RCPT + "*: the client has gone")
    assert played.aborted == [Reason.DISCONNECTED]
    slow = Slow(10)
    play(HELO + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\n*: closed: the client has gone", slow)
    assert slow.cancelled == 2


def test_a_reactor_that_was_imported_before() -> None:
    """A module that has it already waits by the real clock, and is waited for."""
    from twisted.internet import reactor as installed

    class Real:
        async def message(self, envelope: Envelope) -> None:
            await deferLater(installed, 0.001)

    play(SCRIPT, Real)


def test_the_reactor_is_what_it_was() -> None:
    """Behind a dialogue nothing is left of the clock, also where there was no reactor yet."""
    from twisted.internet import reactor as before

    play("C: NOOP\nS: 250")
    from twisted.internet import reactor as behind

    assert behind is before
    module = sys.modules.pop("twisted.internet.reactor")
    package: Any = twisted.internet
    del package.reactor
    try:
        play("C: NOOP\nS: 250")
        assert "twisted.internet.reactor" not in sys.modules
        assert not hasattr(package, "reactor")
    finally:
        sys.modules["twisted.internet.reactor"] = package.reactor = module


def test_what_else_a_handler_may_ask_of_a_reactor() -> None:
    """Threads without an answer, a call when it runs, the end of it."""
    reactor = PlayReactor(Clock())
    seen: list[object] = []
    reactor.callWhenRunning(seen.append, 1)
    reactor.callInThread(reactor.callFromThread, seen.append, 2)
    assert reactor.let_threads_come(wait=True)
    ended = threading.Event()
    reactor.callInThread(ended.set)
    assert not reactor.let_threads_come(wait=True)  # it has ended, and asked for nothing
    assert ended.is_set()
    assert not reactor.let_real_time_pass()
    trigger = reactor.addSystemEventTrigger("during", "shutdown", seen.append, 3)
    reactor.addSystemEventTrigger("during", "shutdown", seen.append, 4)
    reactor.removeSystemEventTrigger(trigger)
    reactor.stop()
    assert seen == [1, 2, 4]


# What must be alike.


def test_both_times_must_be_alike() -> None:
    """The content as well, though the client saw no difference."""

    class Differs:
        def __init__(self) -> None:
            self.count = itertools.count()

        def message(self, envelope: Envelope) -> None:
            kept: Any = envelope.kept
            kept.write(str(next(self.count)).encode())

    with pytest.raises(DialogueDiffers, match="another content"):
        play(SCRIPT, Differs())

    class Closes:
        def message(self, envelope: Envelope) -> None:
            kept: Any = envelope.kept
            kept.close()

    play(SCRIPT, Closes)


def test_other_events_are_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the client heard the same."""
    from smtpcb.testing import _play

    count = itertools.count()
    plain = _play._Notes.decided

    def decided(self: Any, *arguments: Any) -> None:
        plain(self, *arguments)
        self.events.append(str(next(count)))

    monkeypatch.setattr(_play._Notes, "decided", decided)
    with pytest.raises(DialogueDiffers, match="other events"):
        play(HELO)


def test_a_handshake_succeeds_by_itself() -> None:
    """Behind the 220 to STARTTLS the session is new (RFC 3207 §4.2)."""
    played = play(HELO + "C: STARTTLS\nS: 220\nC: MAIL FROM:<>\nS: 503\n" + HELO)
    assert played.dialogue.connection.tls is not None
    play(HELO + "C: STARTTLS\nS: 502", tls=False)


def test_lines_of_a_transcript_can_be_played() -> None:
    """They are what scripts are made of."""
    lines = list(read("    0.001 S: 220 x\n    0.002 C: NOOP\n    0.003 S: 250 2.0.0 OK\n"))
    assert [turn.octets for turn in turns(lines)] == [b"", b"NOOP\r\n"]
    play(lines[1:])


def test_a_recording_of_a_bad_day_is_a_script() -> None:
    """Numbers of incidents, ids and names of kept messages are others each time."""

    class Faulty:
        def rcpt(self, recipient: object, envelope: Envelope) -> object:
            raise KeyError("database")

        def verify(self, text: str, connection: Connection) -> object:
            name = "1795782005.M000001P99Q7R0123456789abcdef.host,S=3"
            return 250, f"{connection.id} or {text} and {name}"

        def message(self, envelope: Envelope) -> None: ...

    recorded = (
        HELO
        + """
        C: MAIL FROM:<>
        C: RCPT TO:<a@b>
        C: VRFY 20261120T081450.123456Z-4711-1-9f3a2c
        S: 250 2.1.0 Sender ok
        S: 451 4.3.0 Local error in processing (incident 9f3a2c41)
        S: 250 2.0.0 {} or 20250101T000000.000000Z-1-1-ff and 17.M1P1Q1Rff.other,S=9
        *: closed: the client has gone
    """
    )
    ours = "20261127T221450.123456Z-1-1-abcdef"
    for wanted in (ours, "20261120T081450.123456Z-4711-1-9f3a2c"):
        play(recorded.format(wanted), Faulty, connection=Connection(ours))
    play(
        recorded.format("a-connection-of-mine"),
        Faulty,
        connection=Connection("a-connection-of-mine"),
    )
    with pytest.raises(DialogueDiffers):
        play(recorded.replace("250 2.0.0 {}", "250 2.0.0 nobody"), Faulty)


def test_a_connection_is_copied() -> None:
    """Two dialogues share nothing."""
    connection = Connection("x", peer_address="192.0.2.1")
    played = play("C: HELO me\nS: 250", connection=connection)
    assert connection.hello is None
    assert played.dialogue.connection.peer_address == "192.0.2.1"


def test_a_long_script() -> None:
    """A client may name many recipients at once."""
    patient = Settings(limits=Limits(idle_commands=None))
    play("C: NOOP\n" * 1500 + "S: 250\n" * 1500, settings=patient)


# What a newcomer's handler does.

MESSAGE = """
    C: EHLO client.example.org
    S: 250 ...
    C: MAIL FROM:<>
    S: 250
    C: RCPT TO:<bob@example.org>
    S: 250
    C: DATA
    S: 354
    C: Subject: Hello
    C:
    C: .
    S: 250
"""


def test_a_handler_may_name_files_by_the_id(tmp_path: Path) -> None:
    """As README's does: each time it is another one's, as with a server."""

    class Inbox:
        def message(self, envelope: Any) -> None:
            envelope.content.save(tmp_path / f"{envelope.id}.eml")

    play(MESSAGE, Inbox)
    play(MESSAGE, Inbox)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_the_handler_raised_is_the_cause() -> None:
    """The 451 alone does not tell what to mend."""
    fault = KeyError("no such user")

    class Faulty:
        def message(self, envelope: Any) -> None:
            raise fault

    with pytest.raises(DialogueDiffers, match="451") as raised:
        play(MESSAGE, Faulty)
    assert raised.value.__cause__ is fault


def test_an_old_fault_is_no_cause() -> None:
    """It has been answered as it is written."""

    class Faulty:
        discards_content = True

        def mail(self, envelope: Any) -> None:
            raise KeyError

    script = """
        C: EHLO client.example.org
        S: 250 ...
        C: MAIL FROM:<>
        S: 451
        C: NOOP
        S: 550
    """
    with pytest.raises(DialogueDiffers) as raised:
        play(script, Faulty)
    assert raised.value.__cause__ is None


# What looks like something else than it is.


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("5 seconds pass", "2.5 s pass"),
        ("5s pass", "2.5 s pass"),
        ("5 min pass", "2.5 s pass"),
        ("-5 s pass", "2.5 s pass"),
        (".5 s pass", "2.5 s pass"),
        ("1e9 s pass", "2.5 s pass"),
        ("2,5 s pass", "2.5 s pass"),
        ("5 s passed", "2.5 s pass"),
        ("five seconds pass", "2.5 s pass"),
        ("An hour passes", "2.5 s pass"),
        ("client has gone", "the client has gone"),
        ("the client is gone", "the client has gone"),
        ("The client has gone", "the client has gone"),
        ("the client disconnects", "the client has gone"),
        ("client left", "the client has gone"),
    ],
)
def test_a_remark_that_was_meant_for_something_is_told(line: str, right: str) -> None:
    """Nothing would happen, and the test would pass."""
    with pytest.raises(ValueError, match=rf"'\*: {re.escape(line)}' does nothing: write .*{right}"):
        play(f"C: NOOP\nS: 250\n*: {line}\n")


@pytest.mark.parametrize(
    "line", ["we pass the first check", "5 messages", "the client has quit", "TLS 1.3", "timed out"]
)
def test_any_other_remark_is_one(line: str) -> None:
    """Also those of transcripts."""
    play(f"C: NOOP\nS: 250\n*: {line}\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"script": b"C: NOOP"}, "script is text, or lines, not bytes"),
        ({"script": None}, "script is text, or lines, not NoneType"),
        ({"settings": {}}, "settings is a Settings, not dict"),
        ({"connection": "x"}, "connection is a Connection, not str"),
        ({"clock": 5}, "clock is a twisted.internet.task.Clock, not int"),
        ({"tls": "no"}, "tls is True or False, not str"),
        ({"asyncio": "no"}, "asyncio is True or False, not str"),
        ({"authenticator": 5}, "int has no method authenticate"),
        ({"settings": Settings(require_auth=True)}, "require_auth needs who decides on logins"),
    ],
)
def test_what_cannot_be_played_is_told(arguments: dict[str, Any], why: str) -> None:
    """As a server tells it, before anything is said."""
    with pytest.raises(TypeError, match=why):
        play(**{"script": "C: NOOP\nS: 250\n", **arguments})


def test_a_client_that_a_factory_refuses() -> None:
    """It is sent away in place of the greeting, as a server does it."""

    class Closed:
        def __init__(self, connection: Connection) -> None:
            raise Refusal(554, "5.7.1", "Not today")

        def message(self, envelope: Any) -> None: ...

    played = play("S: 554 Not today\n", Closed)
    assert played.dialogue.finished is not None


def test_a_handler_may_honour_what_is_offered_anyway() -> None:
    """A server takes it, and so does a play."""

    class Honours:
        extensions = frozenset({"XTAG"})

        def message(self, envelope: Any) -> None: ...

    settings = Settings(extensions=(Extension("XTAG"),))
    play("C: EHLO c\nS: 250-...\nS: 250 XTAG\n", Honours, settings=settings)
