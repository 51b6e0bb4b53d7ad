"""In which order a handler hears what, and what ends when the client leaves (P42, P46)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from smtpcb.engine import Reason, Settings
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from tests.server.client import HELLO, MAIL, MESSAGE, RCPT, TEXT, Client, Observer, Recorder

Connect = Callable[..., Client]
DIALOGUE = HELLO + MAIL + RCPT + b"DATA\r\n" + TEXT + b".\r\n" + MAIL + b"RSET\r\n" + MESSAGE
CHUNKED = HELLO + MAIL + RCPT + b"BDAT 4\r\nab\r\nBDAT 2 LAST\r\n\r\n" + MAIL + b"QUIT\r\n"


class Delayed(Observer):
    """Answers everything a second later."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock = clock
        self.open: list[str] = []
        self.cancelled: list[str] = []
        self.finished: list[str] = []

    def _hear(self, name: str, *arguments: Any) -> Any:
        super()._hear(name, *arguments)
        assert self.open == [], f"{name} overlaps {self.open}"
        self.open.append(name)

        async def answer() -> None:
            try:
                waiting: Deferred[None] = Deferred()
                call = self.clock.callLater(1, waiting.callback, None)
                try:
                    await waiting
                finally:
                    if call.active():
                        call.cancel()
                self.finished.append(name)
            except CancelledError:
                self.cancelled.append(name)
                raise
            finally:
                self.open.remove(name)

        return answer()


def assert_paired(handler: Recorder, mails: int) -> None:
    """Connected first, disconnected last and once, each MAIL followed by its one end."""
    names = handler.names("content", "header", "chunk", "command", "hello", "rcpt", "data")
    assert names[0] == "connected"
    assert names[-1] == "disconnected"
    assert names.count("connected") == names.count("disconnected") == 1
    open_ = 0
    for name in names[1:-1]:
        if name == "mail":
            assert open_ == 0
            open_ = 1
        elif name in ("message", "aborted"):
            open_ -= 1
            assert open_ == 0
    assert open_ == 0 or mails < names.count("mail")


@pytest.mark.parametrize("dialogue", [DIALOGUE, CHUNKED], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("kind", [Recorder, Observer])
def test_leaving_after_every_octet(kind: Any, dialogue: bytes, connect: Connect) -> None:
    """Wherever a client leaves, each mail has had one message or one aborted (P42)."""
    for length in range(len(dialogue) + 1):
        handler = kind()
        client = Client(handler)
        client.protocol.dataReceived(dialogue[:length])
        accepted = sum(r.startswith("250 2.1.0") for r in client.replies())
        client.leave(ConnectionLost())
        assert_paired(handler, accepted)
        reason = Reason.QUIT if b"QUIT\r\n" in dialogue[:length] else Reason.DISCONNECTED
        assert handler.said("disconnected") == [(reason,)]
        assert client.timers == 0
        assert client.factory.protocols == {}


@pytest.mark.parametrize("dialogue", [DIALOGUE, CHUNKED], ids=["DATA", "BDAT"])
def test_leaving_a_slow_handler_at_every_moment(dialogue: bytes) -> None:
    """Whenever a client leaves, no calls overlap, and each is ended or cancelled (P42)."""
    for seconds in itertools.count():
        clock_client = Client(Recorder())
        handler = Delayed(clock_client.clock)
        client = Client(handler, clock=clock_client.clock)
        clock_client.leave()
        client.protocol.dataReceived(dialogue)
        for _ in range(2 * seconds):
            client.clock.advance(0.5)
        done = client.timers == 1 and not handler.open
        was_open = list(handler.open)
        client.leave(ConnectionLost())
        for _ in range(40):
            client.clock.advance(0.5)
        assert_paired(handler, 0)
        assert client.timers == 0
        assert client.factory.protocols == {}
        # Without its content a message is not asked for; a complete one is never cut off.
        assert "message" not in handler.cancelled
        content = b"".join(octets for (octets,) in handler.said("chunk"))
        for _ in handler.said("message"):
            assert "chunk" not in handler.cancelled
            assert content[:2] in (b"Su", b"ab")
        if was_open and was_open[0] not in ("message", "aborted", "disconnected"):
            assert handler.cancelled in ([], was_open)
        if done or seconds > 60:
            break
    assert seconds > 10


def test_a_running_answer_is_cancelled_when_the_client_leaves(connect: Connect) -> None:
    """Nobody waits for it: the coroutine sees CancelledError, and then the end (P42)."""
    seen: list[str] = []

    class Handler(Recorder):
        async def rcpt(self, recipient: Any, envelope: Any) -> None:
            try:
                await Deferred()
            except CancelledError:
                seen.append("cancelled")
                raise

        def aborted(self, reason: Any, envelope: Any) -> None:
            seen.append(f"aborted {reason.name}")

        def disconnected(self, reason: Any, connection: Any) -> None:
            seen.append(f"disconnected {reason.name}")

    client = connect(Handler())
    client.send(HELLO + MAIL + RCPT)
    client.leave()
    assert seen == ["cancelled", "aborted DISCONNECTED", "disconnected DISCONNECTED"]


@pytest.mark.parametrize("verdict", [None, 550, "late fault"])
def test_a_complete_message_is_kept_when_the_client_has_gone(
    verdict: Any, connect: Connect, log: list[str]
) -> None:
    """It was sent whole: message runs to its end, and the log explains the duplicate (P46)."""
    waiting: Deferred[Any] = Deferred()
    handler = Recorder(message=lambda _: waiting)
    client = connect(handler)
    client.send(HELLO + MESSAGE)
    client.leave()
    assert handler.names()[-1] == "message"
    assert len(client.factory.protocols) == 1
    assert handler.said("message")[0][0].content.bytes() == TEXT
    if verdict == "late fault":
        client.clock.advance(600)
    else:
        waiting.callback(verdict)
    assert handler.names()[-1] == "disconnected"
    assert "aborted" not in handler.names()
    assert any("accepted, reply not delivered" in text for text in log) is (verdict is None)


@pytest.mark.parametrize("how", ["def", "async def"])
def test_the_last_chunk_is_waited_for_when_the_client_has_gone(
    how: str, connect: Connect, log: list[str]
) -> None:
    """A message whose end has come is delivered whole, or not at all (P46)."""
    waiting: Deferred[None] = Deferred()
    handler = Observer(chunk=lambda _: waiting)
    client = connect(handler)
    client.send(HELLO + MESSAGE)
    client.leave()
    assert "message" not in handler.names()
    assert "disconnected" not in handler.names()
    waiting.callback(None)
    assert handler.names()[-2:] == ["message", "disconnected"]
    assert any("accepted, reply not delivered" in text for text in log)


def test_a_last_chunk_that_fails_after_the_client_has_gone(
    connect: Connect, failures: list[Any]
) -> None:
    """Then there is no message, and the handler hears of it (P42)."""
    waiting: Deferred[None] = Deferred()
    handler = Observer(chunk=lambda _: waiting)
    client = connect(handler)
    client.send(HELLO + MESSAGE)
    client.leave()
    waiting.errback(RuntimeError())
    assert handler.names()[-2:] == ["aborted", "disconnected"]
    assert handler.said("aborted") == [(Reason.FAILED,)]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (b"RSET\r\n", Reason.RESET),
        (HELLO, Reason.HELLO),
        (b"QUIT\r\n", Reason.QUIT),
        (b"DATA\r\nx\ny\r\n.\r\n", Reason.BARE_NEWLINE),
        (b"DATA\r\n" + b"x" * 200 + b"\r\n.\r\n", Reason.TOO_BIG),
        (b"NONSENSE\r\n" * 20, Reason.LIMIT),
    ],
)
def test_aborted_says_why(what: bytes, reason: Reason, connect: Connect) -> None:
    """A transaction without a message ends in aborted, with the reason (P42)."""
    handler = Recorder()
    client = connect(handler, limits=Limits(message_octets=100, free_errors=None))
    client.send(HELLO + MAIL + RCPT + what)
    assert handler.said("aborted") == [(reason,)]
    assert "message" not in handler.names()
    client.leave()
    assert len(handler.said("aborted")) == 1


class Gathering(Recorder):
    """Ten lookups at once."""

    concurrent_recipients = True

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.asked: list[tuple[str, Deferred[Any]]] = []

    def rcpt(self, recipient: Any, envelope: Any) -> Any:
        self.calls.append(("rcpt", recipient))
        answer: Deferred[Any] = Deferred()
        self.asked.append((str(recipient), answer))
        return answer


TEN = b"".join(b"RCPT TO:<r%d@example.org>\r\n" % number for number in range(10))


@pytest.mark.parametrize("seed", range(20))
def test_ten_recipients_are_asked_together(seed: int, connect: Connect) -> None:
    """Lookups run side by side, replies keep the order of the commands (RFC 2920 §3.2)."""
    handler = Gathering()
    client = connect(handler)
    client.send(HELLO + MAIL)
    client.send(TEN + b"DATA\r\n" + TEXT + b".\r\nNOOP\r\n")
    assert len(handler.asked) == 10
    assert "data" not in handler.names()
    order = list(range(10))
    random.Random(seed).shuffle(order)
    for number in order:
        assert "data" not in handler.names()
        handler.asked[number][1].callback((250 if number % 2 else 550, f"number {number}"))
    got = client.replies()
    assert [reply.split()[-1] for reply in got[:10]] == [str(number) for number in range(10)]
    assert [reply[:3] for reply in got] == ["550", "250"] * 5 + ["354", "250", "250"]
    (envelope,) = handler.said("message")[0]
    assert len(envelope.recipients) == 5


def test_without_the_attribute_one_recipient_at_a_time(connect: Connect) -> None:
    """Calls never overlap unless you ask for it (P42)."""

    class OneByOne(Gathering):
        concurrent_recipients = False

    handler = OneByOne()
    client = connect(handler)
    client.send(HELLO + MAIL + TEN)
    for number in range(10):
        assert len(handler.asked) == number + 1
        handler.asked[number][1].callback(None)
    assert len(client.replies()) == 10


def test_recipients_under_way_are_all_cancelled(connect: Connect) -> None:
    """When the client leaves, every lookup ends before aborted is called (P42)."""
    handler = Gathering()
    client = connect(handler)
    client.send(HELLO + MAIL + TEN)
    results: list[object] = []
    for _, answer in handler.asked:
        # One that is cancelled makes the next one answer.
        answer.addErrback(lambda f: results.append(f.type))
    client.leave()
    assert handler.names()[-2:] == ["aborted", "disconnected"]


@pytest.mark.parametrize("ending", ["leave", "time", "closing", "late session"])
def test_cancelling_one_lookup_may_answer_another(ending: str, connect: Connect) -> None:
    """A canceller is your code: whatever it does, no reply is lost, doubled or exchanged."""

    class Chained(Gathering):
        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            self.calls.append(("rcpt", recipient))

            def others(_: Any) -> None:
                for _, other in self.asked:
                    if other is not answer and not other.called:
                        other.callback((250, "by cancelling"))
                raise RuntimeError("a canceller that fails")

            answer: Deferred[Any] = Deferred(others)
            self.asked.append((str(recipient), answer))
            return answer

    handler = Chained()
    client = connect(handler, limits=Limits(session_seconds=250))
    client.send(HELLO + MAIL)
    client.send(TEN)
    if ending == "leave":
        client.leave()
    elif ending == "closing":
        handler.asked[0][1].callback(Reply(421, "enough", status="4.3.0"))
        assert client.replies() == ["421 4.3.0 enough"]
        assert client.closing
        assert handler.names()[-1] == "aborted"
    elif ending == "time":
        client.protocol.patience._session_end = float("inf")
        client.clock.advance(300)
        got = client.replies()
        assert len(got) == 10
        assert got[0].startswith("451")
        assert all("by cancelling" in reply for reply in got[1:])
    else:
        client.clock.advance(250)
        assert client.replies() == ["421 4.4.2 Session too long"]
    client.leave()
    assert handler.names().count("aborted") == 1
    assert handler.names()[-1] == "disconnected"


def test_a_slow_observer_is_not_overlapped_by_a_lookup_that_ends(connect: Connect) -> None:
    """command may wait too: an rcpt answered meanwhile starts nothing (P42)."""
    watching: list[Deferred[None]] = []

    class Both(Gathering):
        command_mask = Verb.RCPT

        def command(self, command: Any, connection: Any) -> Any:
            self.calls.append(("command", command.argument))
            watching.append(Deferred())
            return watching[-1]

    handler = Both()
    client = connect(handler)
    client.send(HELLO + MAIL + TEN)
    watching[0].callback(None)
    assert len(watching) == 2
    handler.asked[0][1].callback(None)
    assert len(watching) == 2
    assert len(handler.asked) == 1
    while len(handler.asked) < 10:
        watching[-1].callback(None)
    for _, answer in handler.asked[1:]:
        answer.callback(None)
    assert len(client.replies()) == 10


def test_an_answer_that_fires_inside_another_call(connect: Connect) -> None:
    """rcpt may fire the Deferred of the rcpt before it."""

    class Linked(Gathering):
        def rcpt(self, recipient: Any, envelope: Any) -> Any:
            answer = super().rcpt(recipient, envelope)
            if len(self.asked) > 1:
                self.asked[-2][1].callback((250, f"seen by {len(self.asked)}"))
            return answer

    handler = Linked()
    client = connect(handler)
    client.send(HELLO + MAIL)
    got = client.send(TEN)
    assert [reply.split()[-1] for reply in got] == [str(number) for number in range(2, 11)]
    handler.asked[-1][1].callback(False)
    assert [reply[:3] for reply in client.replies()] == ["550"]


# The content, as a handler gets it.


def test_the_content_is_bytes_a_file_and_a_mime_message(connect: Connect) -> None:
    """envelope.content: all of it, as a file, or parsed; dots unstuffed."""
    seen: list[Any] = []

    def look(envelope: Any) -> None:
        content = envelope.content
        with content.open() as file:
            seen.extend([content.bytes(), file.read(), content.mime()["subject"]])

    client = connect(Recorder(message=look))
    text = b"Subject: hi\r\n\r\n..dot\r\n"
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n" + text + b".\r\n")
    assert seen == [text.replace(b"..", b".")] * 2 + ["hi"]


@pytest.mark.parametrize("octets", [1000, 1_048_576, 1_048_577, 3_000_000])
def test_a_long_message_is_spooled(octets: int, connect: Connect) -> None:
    """Past a megabyte the content waits in a file, and is the same."""
    text = (b"x" * 998 + b"\r\n") * (octets // 1000) + b"\r\n"
    seen: list[bytes] = []
    in_file: list[bool] = []

    def look(envelope: Any) -> None:
        seen.append(envelope.content.bytes())
        in_file.append(envelope.content._file is not None)

    client = connect(Recorder(message=look))
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    for at in range(0, len(text), 50_000):
        client.send(text[at : at + 50_000])
    assert client.codes(b".\r\n") == [250]
    assert seen == [text]
    assert in_file == [len(text) > 1_048_576]


def test_an_empty_message_has_content_too(connect: Connect) -> None:
    """A message of nothing is a message."""
    handler = Recorder()
    client = connect(handler)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n.\r\n")
    assert handler.said("content") == [(b"",)]


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("slow", [False, True])
def test_header_fields_come_before_their_chunk(slow: bool, cut: int, connect: Connect) -> None:
    """header is called with whole fields, unfolded, however the content is cut."""
    waiting: list[Deferred[None]] = []

    def later(*arguments: Any) -> Any:
        if slow:
            waiting.append(Deferred())
            return waiting[-1]
        return None

    handler = Observer(header=later, chunk=later)
    client = connect(handler)
    text = b"Subject: a\r\n folded one\r\nX-Y: z\r\n\r\nNo: field\r\n"
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    for at in range(0, len(text), cut):
        client.send(text[at : at + cut])
    client.send(b".\r\n")
    while waiting:
        waiting.pop(0).callback(None)
    assert handler.said("header") == [("Subject", "a folded one"), ("X-Y", "z")]
    assert b"".join(octets for (octets,) in handler.said("chunk")) == text
    seen = b""
    for name, *arguments in handler.calls:
        if name == "chunk":
            seen += arguments[0]
        elif name == "header":
            assert b"\r\n\r\n" not in seen
    assert handler.names()[-1] == "message"


def test_a_bare_newline_never_becomes_a_message(connect: Connect) -> None:
    """One 550 at its true end, and message is not called (P2)."""
    handler = Recorder()
    client = connect(handler)
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    assert client.codes(b"a\n.\nMAIL FROM:<x@y.example>\r\n.\r\nNOOP\r\n") == [550, 250]
    assert handler.said("aborted") == [(Reason.BARE_NEWLINE,)]
    assert "message" not in handler.names()


def test_a_message_over_size_is_aborted_and_refused_at_its_end(connect: Connect) -> None:
    """552 once, when all has been read; nothing past the limit is handed out (P27)."""
    handler = Observer()
    client = connect(handler, limits=Limits(message_octets=1000))
    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    assert client.send(b"x" * 1500 + b"\r\n") == []
    assert handler.said("aborted") == [(Reason.TOO_BIG,)]
    assert client.codes(b".\r\nNOOP\r\n") == [552, 250]
    assert len(b"".join(octets for (octets,) in handler.said("chunk"))) <= 1000


def test_a_full_disk_is_a_452_and_the_next_message_works(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    """No room to spool a message: 452, and in sync (P48)."""
    handler = Recorder()
    client = connect(handler)

    def full(self: Any, octets: bytes) -> None:
        raise OSError(28, "No space left on device")

    client.send(HELLO + MAIL + RCPT + b"DATA\r\n")
    with monkeypatch.context() as patch:
        patch.setattr("smtpcb.engine._keeping.MailData.write", full)
        assert client.send(TEXT, TEXT) == []
        assert client.codes(b".\r\n") == [452]
    assert handler.said("aborted") == [(Reason.FAILED,)]
    assert any("no room for a message" in text for text in log)
    assert client.codes(MESSAGE) == [250, 250, 354, 250]
    assert handler.said("content") == [(TEXT,)]


def test_a_spool_folder_that_vanishes_is_a_452(
    connect: Connect, tmp_path: Path, log: list[str]
) -> None:
    """A large message is asked for again, a small one is taken; none is lost."""
    folder = tmp_path / "spool"
    folder.mkdir()
    client = connect(handler := Recorder(), memory_octets=1000, spool_folder=folder)
    large = MESSAGE.replace(TEXT, TEXT + b"x" * 900 + b"\r\n" + b"y" * 900 + b"\r\n")
    folder.rmdir()
    assert client.codes(HELLO, large, MESSAGE) == [220, 250, 250, 250, 354, 452, 250, 250, 354, 250]
    assert any("no room for a message" in text for text in log)
    folder.mkdir()
    assert client.codes(large)[-1] == 250
    assert [len(content) > 1800 for (content,) in handler.said("content")] == [False, True]


def test_a_streaming_handler_keeps_nothing(connect: Connect) -> None:
    """An object with chunk has no envelope.content."""
    handler = Observer()
    client = connect(handler)
    client.send(HELLO + MESSAGE)
    (envelope,) = handler.said("message")[0]
    with pytest.raises(LookupError):
        _ = envelope.content


def test_a_handler_without_methods_for_it_accepts(connect: Connect) -> None:
    """What is absent accepts."""

    class Little:
        discards_content = True

        def verify(self, text: Any, connection: Any) -> None: ...

    client = connect(Little())
    assert client.codes(HELLO + MESSAGE + b"QUIT\r\n") == [220, 250, 250, 250, 354, 250, 221]


def test_settings_reach_the_dialogue(connect: Connect) -> None:
    """The greeting says our name."""
    client = connect(Recorder(), settings=Settings(hostname="mx.example.org"))
    assert client.replies() == ["220 mx.example.org ESMTP"]


def test_nothing_is_called_after_disconnected_was_cut(connect: Connect) -> None:
    """A handler that hangs in disconnected is left alone when the server is cut (P60)."""
    waiting: list[Deferred[None]] = []

    def hang(reason: Any) -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    client = connect(Recorder(disconnected=hang))
    client.leave()
    client.factory.drain()
    client.factory.cut()
    assert client.factory.protocols == {}
    assert len(waiting) == 1


@pytest.mark.parametrize("event", ["rcpt", "connected"])
def test_the_operators_interrupt_is_not_a_handlers_fault(event: str, connect: Connect) -> None:
    """Control-C ends the program, wherever it is."""

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    client = connect(Recorder(**{event: interrupted}), start=False)

    def talk() -> None:
        client.protocol.makeConnection(client.transport)
        client.send(HELLO + MAIL + RCPT)

    with pytest.raises(KeyboardInterrupt):
        talk()


def test_the_operators_interrupt_while_a_handler_is_made(connect: Connect) -> None:
    """There too."""

    def interrupted(connection: Any) -> None:
        raise KeyboardInterrupt

    client = connect(Recorder(), start=False)
    client.factory.handlers.make = interrupted
    with pytest.raises(KeyboardInterrupt):
        client.protocol.makeConnection(client.transport)


def test_the_second_half_of_a_message_after_a_refused_one(connect: Connect) -> None:
    """Chunks behind a refusal are not handed out, and the next message is whole."""
    waiting: list[Deferred[None]] = []

    def slow(octets: bytes) -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    handler = Observer(chunk=slow)
    client = connect(handler)
    client.send(HELLO + MAIL + RCPT + b"BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\n" + MESSAGE)
    waiting.pop().errback(Refusal(Reply(554)))
    codes = [int(reply[:3]) for reply in client.replies()]
    while waiting:
        waiting.pop().callback(None)
    codes += [int(reply[:3]) for reply in client.replies()]
    assert codes == [554, 554, 250, 250, 354, 250]
    assert handler.said("aborted") == [(Reason.REFUSED,)]
    assert handler.said("chunk")[1:] == [(TEXT,)]


@pytest.mark.parametrize("how", ["header", "chunk"])
def test_each_message_of_a_connection_is_looked_at(how: str, connect: Connect) -> None:
    """A policy that only looks at pieces holds for the second message as for the first."""
    seen: list[str] = []

    class Looking:
        def refuse(self, text: str) -> None:
            seen.append(text)
            if "bad" in text:
                raise Refusal(Reply(550, "Bad", status="5.7.1"))

    class Headers(Looking):
        def header(self, name: str, value: str, envelope: Any) -> None:
            self.refuse(value)

        def message(self, envelope: Any) -> None: ...

    class Chunks(Looking):
        def chunk(self, octets: bytes, envelope: Any) -> None:
            self.refuse(octets.decode())

    client = connect(Headers if how == "header" else Chunks)
    client.codes(HELLO)
    for text, code in (("good 1", 250), ("bad 2", 550), ("good 3", 250), ("bad 4", 550)):
        content = f"Subject: {text}\r\n".encode()
        assert client.codes(MAIL + RCPT + b"DATA\r\n" + content + b".\r\n")[-1] == code
    assert len(seen) == 4
