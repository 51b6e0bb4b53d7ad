"""What holds for every dialogue, whatever is said in it and however the network cuts it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._observer import Observer
from smtpcb.engine._plain import Driver
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import Wants
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL

from .scripts import Answer, Does, HandPlatform, Later, Server, codes, returns

SMALL = Limits(
    message_octets=60,
    recipients=3,
    errors=12,
    idle_commands=40,
    command_octets=512,
    auth_octets=600,
)

COMMANDS = st.sampled_from(
    [
        b"EHLO me",
        b"HELO me",
        b"MAIL FROM:<>",
        b"mail from:<a@b> SIZE=3",
        b"MAIL FROM:<a@b> SIZE=100",
        b"MAIL FROM:bad",
        b"RCPT TO:<a@b>",
        b"RCPT TO:<refused@b>",
        b"RCPT TO:<>",
        b"DATA",
        b"DATA",
        b"BDAT 0 LAST",
        b"RSET",
        b"NOOP",
        b"VRFY x",
        b"HELP",
        b"QUIT",
        b"AUTH PLAIN AGEAYg==",
        b"AUTH LOGIN",
        b"YQ==",
        b"*",
        b"AUTH X",
        b"",
        b"\xff\0",
        b"NOOP \r\r",
        b"X" * 700,
        b"NOOP " + b"x" * 510,
    ]
).map(lambda line: line + b"\r\n")
RAGGED = st.lists(
    st.sampled_from([b"a", b".", b"\r\n", b"\n", b"\r", b"\r\n.", b"QUIT\r\n", b"0123456789"]),
    max_size=8,
).map(b"".join)
CHUNK = st.builds(
    lambda data, last, extra: b"BDAT %d%s\r\n%s" % (len(data), b" LAST" * last + extra, data),
    RAGGED,
    st.booleans(),
    st.sampled_from([b"", b"", b"", b" FOO"]),
)
MESSAGE = RAGGED.map(
    lambda data: b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n" + data + b"\r\n.\r\n"
)
DIALOGUE = st.lists(st.one_of(COMMANDS, COMMANDS, CHUNK, MESSAGE), max_size=14).map(
    lambda parts: b"EHLO me\r\n" + b"".join(parts)
)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


# What comes behind these is no command, or nothing does.
TURNS = (b"DATA\r\n", b"AUTH LOGIN\r\n", b"QUIT\r\n")


class Handler:
    """Refuses some, and keeps what it is given."""

    def __init__(self, gone: list[object]) -> None:
        self.gone = gone

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> object:
        """Refuse who is called so."""
        return "refused" not in recipient.local_part

    def authenticate(self, credentials: object, connection: Connection) -> object:
        """Let everybody in."""
        return True

    def disconnected(self, reason: Reason, connection: Connection) -> object:
        """Note why."""
        self.gone.append(("disconnected", reason))
        return None


class Keeps(Handler):
    """Takes messages whole."""

    def message(self, envelope: Envelope) -> object:
        """Keep it."""
        self.gone.append(("content", envelope.content.bytes(), envelope.size_octets))
        return None


class Streams(Handler):
    """Takes messages as they come, and what they begin with."""

    octets = b""

    def chunk(self, octets: bytes, envelope: Envelope) -> object:
        """Collect it."""
        self.octets += octets
        return None

    def aborted(self, reason: Reason, envelope: Envelope) -> object:
        """Forget it."""
        self.octets = b""
        return None

    def message(self, envelope: Envelope) -> object:
        """Keep it."""
        self.gone.append(("content", self.octets, envelope.size_octets))
        self.octets = b""
        return None


class Noting(Observer):
    """Notes what happens, in order."""

    def __init__(self, noted: list[object]) -> None:
        self.noted = noted

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """Note it."""
        self.noted.append((method, reply))

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """Note it."""
        self.noted.append(("aborted", reason, reply))


def small(mode: Any = "refuse") -> Settings:
    """Return settings in which limits are met soon."""
    return Settings(limits=SMALL, allow_insecure_auth=True, bare_newline=mode)


def pieces(octets: bytes, sizes: list[int]) -> list[bytes]:
    """Cut."""
    cut: list[bytes] = []
    at = 0
    while at < len(octets):
        cut.append(octets[at : at + sizes[len(cut) % len(sizes)]])
        at += len(cut[-1])
    return cut


def hold(
    octets: bytes, sizes: list[int], mode: str, kind: type[Handler] = Keeps
) -> tuple[bytes, list[Any]]:
    """Hold a dialogue in pieces of these sizes; return what was said, and all that happened."""
    noted: list[Any] = []
    driver = Driver(kind(noted), small(mode), Connection("x"), observer=Noting(noted))
    said = driver.start() + b"".join(map(driver.receive, pieces(octets, sizes)))
    driver.disconnect()
    assert driver.conversation.over
    return said, noted


@settings(max_examples=150, deadline=None)
@given(DIALOGUE, CUTS, st.sampled_from(["refuse", "normalize"]))
def test_a_dialogue_is_the_same_for_every_cut(octets: bytes, cuts: list[int], mode: str) -> None:
    """The same replies, the same events, the same content, however it is taken (P1, P5, P35)."""
    whole = hold(octets, [len(octets)], mode)
    assert hold(octets, cuts, mode) == whole
    assert hold(octets, [1], mode) == whole
    assert hold(octets, cuts, mode, Streams) == whole


SLOW = ("connected", "hello", "mail", "rcpt", "data", "message", "authenticate", "verify", "header",
        "chunk", "aborted", "disconnected")  # fmt: skip


def slowly(handler: Any, slow: set[str], waiting: list[tuple[Answer, object]]) -> Any:
    """Make methods of a handler answer later what they would answer now."""

    def later(method: Callable[..., object]) -> Callable[..., Answer]:
        def call(*arguments: object) -> Answer:
            answer = Answer()
            waiting.append((answer, method(*arguments)))
            return answer

        return call

    for name in slow:
        method = getattr(handler, name, None)
        if method is not None or name not in ("header", "chunk"):
            setattr(handler, name, later(method or returns(None)))
    return handler


@settings(max_examples=150, deadline=None)
@given(
    octets=DIALOGUE,
    cuts=CUTS,
    slow=st.sets(st.sampled_from(SLOW)),
    kind=st.sampled_from([Keeps, Streams]),
    many=st.booleans(),
    data=st.data(),
)
def test_a_dialogue_is_the_same_however_long_answers_take(
    octets: bytes,
    cuts: list[int],
    slow: set[str],
    kind: type[Handler],
    many: bool,
    data: st.DataObject,
) -> None:
    """Whatever comes late, in any order, each command has its own reply in its turn (P35)."""
    at_once = hold(octets, [len(octets)], "refuse", kind)
    noted: list[Any] = []
    waiting: list[tuple[Answer, object]] = []
    handler = slowly(kind(noted), slow, waiting)
    handler.concurrent_recipients = many
    said = b""

    def take() -> None:
        nonlocal said
        said += driver.advance()

    driver = Driver(handler, small(), Connection("x"), platform=HandPlatform(),
                    observer=Noting(noted), changed=take)  # fmt: skip

    def answer(most: int) -> None:
        while waiting and most:
            one, outcome = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
            one.give(outcome)
            most -= 1

    said += driver.start()
    for piece in pieces(octets, cuts):
        said += driver.receive(piece)
        answer(data.draw(st.sampled_from([0, 0, 1, 100])))
    answer(10**6)
    driver.disconnect()
    answer(10**6)
    assert driver.conversation.over
    assert said == at_once[0]
    if many or "aborted" in slow:
        # Decisions are noted when they are made: those of several recipients in any order.
        assert Counter(map(repr, noted)) == Counter(map(repr, at_once[1]))
    else:
        assert noted == at_once[1]


@settings(max_examples=150, deadline=None)
@given(DIALOGUE)
def test_each_transaction_ends_once(octets: bytes) -> None:
    """Each accepted MAIL has one message or is aborted once, and never both (P42)."""
    said, events = hold(octets, [len(octets)], "refuse")
    open_, count = False, Counter[str]()
    for name, *rest in events:
        count[str(name)] += 1
        if name == "mail" and rest[0].positive:
            assert not open_
            open_ = True
        elif name in ("message", "aborted"):
            assert open_
            open_ = False
        elif name == "content":
            assert len(rest[0]) == rest[1] <= 60
    assert not open_
    assert count["connected"] == count["disconnected"] == 1
    assert events[-1][0] == "disconnected"
    for line in said.splitlines(keepends=True):
        assert line.endswith(b"\r\n")
        assert len(line) <= 512


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(COMMANDS.filter(lambda line: line not in TURNS), CHUNK),
        max_size=12,
    )
)
def test_there_is_one_reply_to_each_command(parts: list[bytes]) -> None:
    """Accepted, refused, unknown, too long, or with a chunk that nobody wants (P24, P35, P36)."""
    limits = Limits(message_octets=60, command_octets=512, auth_octets=600)
    driver = Driver(Keeps([]), Settings(limits=limits), Connection("x"))
    said = driver.start() + driver.receive(b"EHLO me\r\n" + b"".join(parts))
    if not driver.finished:
        assert len(codes(said)) == 2 + len(parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(COMMANDS, CHUNK, MESSAGE, st.binary(max_size=60)), max_size=12), CUTS)
def test_no_octets_raise(parts: list[bytes], cuts: list[int]) -> None:
    """Whatever a client sends is answered, refused or the end (P59)."""
    octets = b"".join(parts)
    assert hold(octets, cuts, "refuse") == hold(octets, [len(octets) or 1], "refuse")


VERDICTS = st.sampled_from([None, None, True, False, 450, 421, (550, "no"), "no verdict"])
PIECES = st.sampled_from([b"a\r\n", b"\n", b".\r\n", b"0" * 50])
STEPS = st.sampled_from(
    ["line", "line", "line", "line", "answer", "answer", "answer", "content",
     "content", "refuse", "stop", "leave", "long", "expire", "cut"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans(), st.sets(st.sampled_from(SLOW)))
def test_nothing_is_lost_or_said_twice(data: st.DataObject, many: bool, slow: set[str]) -> None:
    """All orders of lines, answers, refusals, limits of time and ends (P42)."""
    handler = Later(*slow, concurrent_recipients=many)
    calls = Counter[str]()
    ended: list[object] = []

    def counted(name: str) -> None:
        method = getattr(handler, name, returns(None))

        def call(*arguments: Any) -> object:
            assert "disconnected" not in calls
            calls[name] += 1
            if name in ("message", "aborted"):
                ended.append(arguments[-1])
            return method(*arguments)

        setattr(handler, name, call)

    for name in ("message", "aborted", "mail", "disconnected"):
        counted(name)
    noted: list[Any] = []
    server = Server(handler, small(), observer=Noting(noted))
    commands = 1
    for _ in range(data.draw(st.integers(5, 60), label="steps")):
        step = data.draw(STEPS)
        wants = server.dialogue.wants
        waiting = [one for one in handler.answers if not one.cancelled]
        if step == "answer" and waiting:
            one = data.draw(st.sampled_from(waiting))
            handler.answers.remove(one)
            one.give(data.draw(VERDICTS))
        elif step == "content" and wants is Wants.CONTENT:
            server.send(data.draw(PIECES))
        elif step in ("line", "long") and wants is Wants.LINE and not server.driver._waiting:
            server.send(b"x" * 700 + b"\r\n" if step == "long" else data.draw(COMMANDS))
            commands += 1
        elif step == "refuse":
            server.dialogue.refuse_content(Reply(452), Reason.FAILED)
        elif step in ("stop", "leave", "expire", "cut") and data.draw(st.integers(0, 9)) == 0:
            commands += 1
            if step == "stop":
                server.said += server.driver.shut_down()
            elif step == "leave":
                server.driver.disconnect()
            elif step == "expire":
                server.pass_time(1000)
            else:
                server.conversation.cut()
    server.driver.disconnect()
    for _ in range(100):
        server.pass_time(1000)
    assert server.conversation.over
    assert calls["disconnected"] == 1
    begun = sum(name == "mail" and rest[0].positive for name, *rest in noted)
    assert len({id(envelope) for envelope in ended}) == len(ended) == begun
    # There is never more than one reply for each command, and one behind its content.
    assert len(server.codes) <= commands + server.codes.count("354") + len(ended)
    assert server.driver.finished


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=20),
    st.integers(0, 3),
)
def test_recipients_are_answered_in_order(order: list[tuple[int, bool]], wrong: int) -> None:
    """Decisions in any order, replies and recipients in the order of the commands (P35)."""
    server = Server(handler := Later("rcpt", concurrent_recipients=True))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    wanted = []
    for number, (_, yes) in enumerate(order):
        server.send(b"RCPT TO:<r%d@x>\r\n" % number)
        wanted.append("250" if yes else "550")
    server.send(b"RCPT TO:x\r\n" * wrong)
    wanted += ["501"] * wrong
    answers = list(handler.answers)
    for number in sorted(range(len(order)), key=lambda number: order[number][0]):
        answers[number].give(order[number][1])
    assert server.codes[2:] == wanted
    assert server.dialogue.envelope is not None
    assert [path.local_part for path in server.dialogue.envelope.forward_paths] == [
        f"r{number}" for number, (_, yes) in enumerate(order) if yes
    ]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=30), st.binary(max_size=30), st.booleans())
def test_credentials_arrive_as_they_were_sent(name: bytes, password: bytes, at_once: bool) -> None:
    """Or not at all; never cut, shifted or mixed up (EX7, P16)."""
    got: list[tuple[str, str]] = []

    def authenticate(credentials: Any, connection: Connection) -> bool:
        got.append((credentials.username, credentials.password))
        return True

    server = Server(Does(authenticate=authenticate), Settings(allow_insecure_auth=True))
    response = base64.b64encode(b"\0" + name + b"\0" + password)
    separator = b" " if at_once else b"\r\n"
    server.send(b"EHLO me\r\nAUTH PLAIN" + separator + response + b"\r\n")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = "\0"
    if CONTROL.search(text) or b"\0" in password:
        assert got == []
        assert server.codes[-1] == "501"
    else:
        assert got == [(text, password.decode("utf-8", "surrogateescape"))]
