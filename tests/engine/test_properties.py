"""What holds for every dialogue, whatever is said in it and however the network cuts it."""

from __future__ import annotations

import base64
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpcb.engine._connection import Connection
from smtpcb.engine._plain import Driver
from smtpcb.engine._questions import (
    Aborted,
    Chunk,
    CommandSeen,
    Decision,
    Event,
    Mail,
    Message,
    Rcpt,
    Reason,
)
from smtpcb.engine._server import ServerDialogue, Wants
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import CONTROL

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
    """Refuses some."""

    def rcpt(self, forward_path: object, parameters: object) -> bool:
        """Refuse who is called so."""
        return "refused" not in str(forward_path)

    def authenticate(self, credentials: object) -> bool:
        """Let everybody in."""
        return True


class Noting(ServerDialogue):
    """Notes its events, and that none comes after the end."""

    __slots__ = ("noted", "quiet")

    def next_event(self) -> Event | None:
        event = super().next_event()
        if event is not None:
            self.noted.append(event)
        return event


def hold(octets: bytes, sizes: list[int], mode: str) -> tuple[bytes, list[tuple[object, ...]]]:
    """Hold a dialogue in pieces of these sizes; return what was said, and its events."""
    dialogue = Noting(
        Connection("x"),
        Settings(limits=SMALL, allow_insecure_auth=True, bare_newline=mode),  # type: ignore
        Abilities(authentication=True),
    )
    dialogue.noted = []
    driver = Driver(dialogue, Handler())
    said, at, turn = driver.start(), 0, 0
    while at < len(octets):
        size = sizes[turn % len(sizes)]
        said += driver.receive(octets[at : at + size])
        at, turn = at + size, turn + 1
    driver.disconnect()
    events: list[tuple[object, ...]] = []
    data = b""
    for event in dialogue.noted:
        if isinstance(event, Chunk):
            data += event.octets
            continue
        if isinstance(event, Message):
            envelope = event.envelope
            events.append(("Message", data, envelope.content.bytes(), envelope.size_octets))
            data = b""
        elif isinstance(event, Aborted):
            events.append(("Aborted", event.reason))
            data = b""
        else:
            assert isinstance(event, Decision)
            events.append((type(event).__name__, event.reply))
    return said, events


@settings(max_examples=150, deadline=None)
@given(DIALOGUE, CUTS, st.sampled_from(["refuse", "normalize"]))
def test_a_dialogue_is_the_same_for_every_cut(octets: bytes, cuts: list[int], mode: str) -> None:
    """The same replies, the same events, the same content (P1, P5, P35)."""
    whole = hold(octets, [len(octets)], mode)
    assert hold(octets, cuts, mode) == whole
    assert hold(octets, [1], mode) == whole


@settings(max_examples=150, deadline=None)
@given(DIALOGUE)
def test_each_transaction_ends_once(octets: bytes) -> None:
    """Each accepted MAIL has one message or is aborted once, and never both (P42)."""
    said, events = hold(octets, [len(octets)], "refuse")
    open_, count = False, Counter[str]()
    for name, *rest in events:
        count[str(name)] += 1
        if name == "Mail" and isinstance(rest[0], Reply) and rest[0].positive:
            assert not open_
            open_ = True
        elif name in ("Message", "Aborted"):
            assert open_
            open_ = False
        if name == "Message":
            assert rest[0] == rest[1]
            assert len(rest[0]) == rest[2] <= 60
    assert not open_
    assert count["Connected"] == 1
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
    dialogue = ServerDialogue(
        Connection("x"),
        Settings(limits=Limits(message_octets=60, command_octets=512, auth_octets=600)),
        Abilities(authentication=True),
    )
    driver = Driver(dialogue, Handler())
    said = driver.start() + driver.receive(b"EHLO me\r\n" + b"".join(parts))
    replies = [line for line in said.splitlines() if line[3:4] == b" "]
    if dialogue.ended is None:
        assert len(replies) == 2 + len(parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(COMMANDS, CHUNK, MESSAGE, st.binary(max_size=60)), max_size=12), CUTS)
def test_no_octets_raise(parts: list[bytes], cuts: list[int]) -> None:
    """Whatever a client sends is answered, refused or the end (P59)."""
    octets = b"".join(parts)
    assert hold(octets, cuts, "refuse") == hold(octets, [len(octets) or 1], "refuse")


VERDICTS = st.sampled_from([True, True, True, False, Reply(450), Reply(421)])
CONTENT = st.sampled_from([b"a\r\n", b"\n", b".\r\n", b"0" * 50])
STEPS = st.sampled_from(
    ["line", "line", "line", "line", "answer", "answer", "answer", "event", "event", "content",
     "content", "refuse", "stop", "leave", "long"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_nothing_is_lost_or_said_twice(data: st.DataObject, many: bool) -> None:
    """A state machine over all orders of lines, answers, refusals and ends (P42)."""
    dialogue = ServerDialogue(
        Connection("x"),
        Settings(limits=SMALL, allow_insecure_auth=True),
        Abilities(authentication=True, concurrent_recipients=many, tls=True),
    )
    dialogue.greet()
    commands, said = 1, b""
    open_: list[Decision] = []
    events: list[Event] = []
    begun: set[int] = set()
    for _ in range(data.draw(st.integers(5, 60), label="steps")):
        step = data.draw(STEPS)
        if step == "event" and (event := dialogue.next_event()) is not None:
            events.append(event)
            if isinstance(event, Decision):
                open_.append(event)
        elif step == "answer" and open_:
            decision = open_.pop(data.draw(st.integers(0, len(open_) - 1)))
            live = dialogue.ended is None
            dialogue.answer(decision, data.draw(VERDICTS))
            assert decision.reply is not None
            if isinstance(decision, Mail) and decision.reply.positive and live:
                begun.add(id(decision))
        elif step == "content" and dialogue.wants is Wants.CONTENT:
            dialogue.receive_content(data.draw(CONTENT))
        elif step in ("line", "long") and dialogue.wants is Wants.LINE and dialogue._held is None:
            if step == "long":
                dialogue.line_too_long(b"NOOP")
            else:
                dialogue.receive_line(data.draw(COMMANDS)[:-2])
            commands += 1
        elif step == "refuse":
            dialogue.refuse_content(Reply(452), Reason.FAILED)
        elif step == "stop" and data.draw(st.integers(0, 9)) == 0:
            dialogue.shut_down()
            commands += 1
        elif step == "leave" and data.draw(st.integers(0, 9)) == 0:
            dialogue.disconnect()
        said += dialogue.take_output()
    dialogue.disconnect()
    after = []
    while (event := dialogue.next_event()) is not None:
        after.append(event)
        assert isinstance(event, (Chunk, Message, Aborted, CommandSeen))
    said += dialogue.take_output()
    events += after
    ends = [event for event in events if isinstance(event, (Message, Aborted))]
    assert len({id(event.envelope) for event in ends}) == len(ends) == len(begun)
    # Continuation lines of a reply apart, there is never more than one for each command.
    replies = [line for line in said.split(b"\r\n")[:-1] if line[3:4] == b" "]
    assert len(replies) <= commands + sum(line.startswith(b"354") for line in replies) + len(ends)
    assert dialogue.wants is Wants.NOTHING


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=20),
    st.integers(0, 3),
)
def test_recipients_are_answered_in_order(order: list[tuple[int, bool]], wrong: int) -> None:
    """Decisions in any order, replies and recipients in the order of the commands (P35)."""
    dialogue = ServerDialogue(Connection("x"), Settings(), Abilities(concurrent_recipients=True))
    dialogue.greet()
    for line in (None, b"HELO me", b"MAIL FROM:<>"):
        if line is not None:
            dialogue.receive_line(line)
        event = dialogue.next_event()
        assert isinstance(event, Decision)
        dialogue.answer(event, True)
    dialogue.take_output()
    wanted = []
    for number, (_, yes) in enumerate(order):
        dialogue.receive_line(b"RCPT TO:<r%d@x>" % number)
        wanted.append(b"250" if yes else b"550")
    for _ in range(wrong):
        dialogue.receive_line(b"RCPT TO:x")
    wanted += [b"501"] * wrong
    questions = [dialogue.next_event() for _ in order]
    for number in sorted(range(len(order)), key=lambda number: order[number][0]):
        question = questions[number]
        assert isinstance(question, Rcpt)
        dialogue.answer(question, order[number][1])
    assert [line[:3] for line in dialogue.take_output().splitlines()] == wanted
    assert dialogue.envelope is not None
    assert [path.local_part for path in dialogue.envelope.forward_paths] == [
        f"r{number}" for number, (_, yes) in enumerate(order) if yes
    ]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=30), st.binary(max_size=30), st.booleans())
def test_credentials_arrive_as_they_were_sent(name: bytes, password: bytes, at_once: bool) -> None:
    """Or not at all; never cut, shifted or mixed up (EX7, P16)."""
    got = []

    class Asks:
        def authenticate(self, credentials: object) -> bool:
            got.append((credentials.username, credentials.password))  # type: ignore[attr-defined]
            return True

    dialogue = ServerDialogue(
        Connection("x"), Settings(allow_insecure_auth=True), Abilities(authentication=True)
    )
    driver = Driver(dialogue, Asks())
    driver.start()
    response = base64.b64encode(b"\0" + name + b"\0" + password)
    separator = b" " if at_once else b"\r\n"
    said = driver.receive(b"EHLO me\r\nAUTH PLAIN" + separator + response + b"\r\n")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = "\0"
    if CONTROL.search(text) or b"\0" in password:
        assert got == []
        assert b"\r\n501 " in said
    else:
        assert got == [(text, password.decode("utf-8", "surrogateescape"))]
