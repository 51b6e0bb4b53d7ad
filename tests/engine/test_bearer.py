"""What a handler, or anybody who has its connection, can do to it: close, abort, take over."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._plain import Driver
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._reply import Reply
from smtpcb.testing import play

from .scripts import RCPT, TO_DATA, TO_RCPT, Does, Later, Noting, Server

GO_AWAY = Reply(421, "Go away", status="4.7.0")


def run(server: Server) -> None:
    """Do what was put off until the event is over."""
    while server.platform.steps:
        server.platform.steps.pop(0)()


def on(event: str, act: Any, **methods: Any) -> Any:
    """Return a handler that does something to its connection in an event."""

    def method(*arguments: Any) -> None:
        last = arguments[-1]
        act(last.connection if isinstance(last, Envelope) else last)

    return Does(**{event: method, **methods})


@pytest.mark.parametrize(
    ("event", "script"),
    [
        ("connected", "S: 220\nS: 421 4.7.0 Go away"),
        ("hello", "C: HELO client\nS: 250\nS: 421 4.7.0 Go away"),
        ("mail", "C: HELO client\nS: 250\nC: MAIL FROM:<>\nS: 250\nS: 421 4.7.0 Go away"),
        ("rcpt", f"{RCPT}S: 421 4.7.0 Go away\nC: NOOP"),
        ("data", f"{RCPT}C: DATA\nS: 354\nS: 421 4.7.0 Go away"),
    ],
)
def test_the_event_in_which_it_is_closed_gets_its_answer_first(event: str, script: str) -> None:
    """Then the client hears why it is left; what it sends behind that is not looked at."""
    play(script, on(event, lambda connection: connection.close(GO_AWAY)))


def test_a_message_gets_its_answer_before_the_connection_is_closed() -> None:
    """Its sender would send it again (RFC 5321 §4.5.3.2.6)."""
    script = f"{RCPT}C: DATA\nS: 354\nC: x\nC: .\nS: 250 2.0.0\nS: 421 4.3.0 Closing the connection"
    played = play(script, on("message", lambda connection: connection.close()))
    assert played.aborted == []


def test_a_message_that_is_being_decided_on_is_waited_for() -> None:
    """Whoever closes the connection meanwhile, an operator or another connection."""
    handler = Later("message")
    server = Server(handler)
    server.send(TO_DATA + b"x\r\n.\r\n")
    server.dialogue.connection.close(GO_AWAY)
    run(server)
    assert server.codes == ["250", "250", "250", "354"]
    handler.last.give()
    assert server.codes[-2:] == ["250", "421"]
    assert server.driver.finished


def test_any_other_answer_is_not_waited_for() -> None:
    """It is cancelled, and its transaction ends with the reason."""
    handler = Later("rcpt")
    server = Server(handler, observer=(observer := Noting()))
    server.send(TO_RCPT)
    server.dialogue.connection.close(GO_AWAY)
    run(server)
    assert server.codes == ["250", "250", "421"]
    assert handler.last.cancelled
    assert observer.ends == [Reason.CLOSED]


def test_mail_data_that_are_coming_in_are_not_waited_for() -> None:
    """There is no message yet."""
    server = Server(observer=(observer := Noting()))
    server.send(TO_DATA + b"half a")
    server.dialogue.connection.close()
    run(server)
    assert server.codes[-1] == "421"
    assert observer.ends == [Reason.CLOSED]


def test_in_a_handshake_nothing_can_be_said() -> None:
    """The client hears it inside TLS."""
    server = Server()
    server.send(b"EHLO me\r\nSTARTTLS\r\n")
    server.dialogue.connection.close()
    run(server)
    assert server.codes[-1] == "220"


@pytest.mark.parametrize("word", [GO_AWAY, None])
@pytest.mark.parametrize("event", ["connected", "secured"])
def test_what_comes_with_the_end_of_a_handshake_is_not_acted_on(
    event: str, word: Reply | None
) -> None:
    """It is in the same read, so nobody has had a turn since the event that closed."""
    heard: list[str] = []

    def end(connection: Connection) -> None:
        if word is None:
            connection.abort()
        else:
            connection.close(word)

    server = Server(on(event, end, hello=lambda *_: heard.append("hello")))
    if event == "secured":
        server.send(b"EHLO me\r\nSTARTTLS\r\n")
        heard.clear()
        server.dialogue.secured(TlsInformation("TLSv1.3", "any", 256))
    assert server.dialogue.finished is Reason.CLOSED
    assert heard == []


def test_what_is_over_can_be_closed_again() -> None:
    """Nothing happens, and nobody has to look before."""
    server = Server()
    connection = server.dialogue.connection
    server.send(b"QUIT\r\n")
    connection.close()
    server.driver.disconnect()
    connection.close()
    connection.abort()
    run(server)
    assert server.codes == ["221"]
    assert connection.bearer is None
    assert connection.handler is None


def test_a_last_word_that_is_a_yes_is_none() -> None:
    """A client would go on."""
    with pytest.raises(ValueError, match="no yes"):
        Connection("x").close(Reply(250, "fine"))


def test_a_last_word_is_a_reply() -> None:
    """Nothing but an answer is written as a tuple."""
    with pytest.raises(TypeError, match=r"a Reply is wanted, such as .*, not \(421, 'Go away'\)"):
        Connection("x").close((421, "Go away"))  # type: ignore[arg-type]


def test_an_aborted_connection_hears_nothing_more() -> None:
    """Not even what was decided before."""
    server = Server(observer=(observer := Noting()))
    server.send(TO_RCPT)
    server.said = b""
    server.dialogue.connection.abort()
    run(server)
    assert server.send(b"NOOP\r\n") == []
    assert server.driver.finished
    assert observer.ends == [Reason.CLOSED]
    play("C: HELO x\nC: NOOP", on("hello", lambda connection: connection.abort()))


def test_a_message_in_work_when_it_is_aborted_runs_to_its_end() -> None:
    """It was sent, so it is kept; that its sender has not heard of it is logged."""
    handler = Later("message")
    server = Server(handler)
    server.send(TO_DATA + b"x\r\n.\r\n")
    server.dialogue.connection.abort()
    run(server)
    handler.last.give()
    assert not handler.last.cancelled
    assert any("reply not delivered" in line for line in server.log)


@pytest.mark.parametrize("end", [b".\r\n", b"", b"half a line"])
@pytest.mark.parametrize("event", ["header", "chunk"])
@pytest.mark.parametrize("word", [None, GO_AWAY])
def test_content_under_way_when_it_is_closed_is_no_message(
    event: str, end: bytes, word: Reply | None
) -> None:
    """However the network has cut it: what ends it may have come with the piece (P46)."""
    messages: list[object] = []
    observer = Noting()

    def stop(connection: Connection) -> None:
        if word is None:
            connection.abort()
        else:
            connection.close(word)

    handler = on(event, stop, message=lambda envelope: messages.append(envelope))
    server = Server(handler, observer=observer)
    server.send(TO_DATA)
    server.send(b"A: 1\r\nB: 2\r\n\r\nx\r\n" + end)
    assert server.driver.finished
    assert server.codes == ["250", "250", "250", "354"] + ["421"] * (word is not None)
    assert messages == []
    assert observer.ends == [Reason.CLOSED]
    run(server)
    server.driver.disconnect()
    assert messages == []


def test_after_an_abort_no_further_field_is_told() -> None:
    """Who has called it hears of the end of the transaction, and of nothing before that."""
    heard: list[object] = []

    def header(name: str, value: str, envelope: Envelope) -> None:
        heard.append(name)
        envelope.connection.abort()

    handler = Does(
        header=header,
        chunk=lambda octets, envelope: heard.append(octets),
        message=lambda envelope: heard.append("message"),
        aborted=lambda reason, envelope: heard.append(reason),
    )
    server = Server(handler)
    server.send(TO_DATA)
    server.send(b"A: 1\r\nB: 2\r\n\r\nx\r\n.\r\n")
    assert heard == ["A", Reason.CLOSED]


@pytest.mark.parametrize("content", [b"A: 1\r\n.\r\n", b"A: 1\r\n 2\r\n.\r\n"])
@pytest.mark.parametrize("word", [None, GO_AWAY])
def test_the_field_that_only_the_end_completes(content: bytes, word: Reply | None) -> None:
    """A whole message gets its answer before a last word; without a word it is sent again (P46)."""
    heard: list[object] = []

    def header(name: str, value: str, envelope: Envelope) -> None:
        if word is None:
            envelope.connection.abort()
        else:
            envelope.connection.close(word)

    server = Server(Does(header=header, message=lambda envelope: heard.append("message")))
    server.send(TO_DATA)
    server.send(content)
    run(server)
    assert server.driver.finished
    assert heard == ([] if word is None else ["message"])
    assert server.codes[4:] == ([] if word is None else ["250", "421"])


def test_an_abort_before_a_late_piece_is_answered() -> None:
    """The end has come, but the piece is still looked at: there is no message (P46)."""
    heard: list[object] = []
    handler = Later("chunk", message=lambda envelope: heard.append("message"))
    server = Server(handler)
    server.send(TO_DATA)
    server.send(b"x\r\n.\r\n")
    server.dialogue.connection.abort()
    handler.last.give()  # before what was put off has been done
    run(server)
    assert server.driver.finished
    assert heard == []
    assert server.codes == ["250", "250", "250", "354"]


class First:
    """Takes over nothing; another one may."""

    discards_content = True

    def __init__(self) -> None:
        self.heard: list[str] = []

    def rcpt(self, recipient: Any, envelope: Envelope) -> None:
        self.heard.append("rcpt")

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        self.heard.append("disconnected")


class Second(First):
    """Refuses, answers EXPN, and takes whole messages."""

    def rcpt(self, recipient: Any, envelope: Envelope) -> Any:
        super().rcpt(recipient, envelope)
        return 550

    def expand(self, text: str, connection: Connection) -> Any:
        return 250, "anne@example.org"

    def message(self, envelope: Envelope) -> None:
        self.heard.append(envelope.content.bytes().decode())


def test_another_handler_hears_what_happens_from_then_on() -> None:
    """What the server offers is what that one can do."""
    first, second = First(), Second()
    server = Server(first)
    connection = server.dialogue.connection
    assert connection.handler is first
    assert server.send(b"EXPN x\r\n" + TO_RCPT) == ["502", "250", "250", "250"]
    connection.handler = second
    assert connection.handler is second
    assert server.send(b"EXPN x\r\nRCPT TO:<b@b>\r\n") == ["250", "550"]
    assert server.send(b"DATA\r\nhi\r\n.\r\nQUIT\r\n") == ["354", "250", "221"]
    server.driver.disconnect()
    assert first.heard == ["rcpt"]
    assert second.heard == ["rcpt", "hi\r\n", "disconnected"]


def test_a_handler_may_hand_over_in_its_own_events() -> None:
    """It is asked once more, no other event is lost."""

    class Door:
        discards_content = True

        def hello(self, introduction: Any, connection: Connection) -> None:
            connection.handler = Second

    played = play("C: HELO x\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 550", Door)
    assert played.handler is not None


def test_a_handler_that_would_not_start_takes_over_nothing() -> None:
    """The old one goes on."""
    server = Server(first := First())
    connection = server.dialogue.connection
    with pytest.raises(TypeError, match="neither message"):
        connection.handler = object()
    assert connection.handler is first

    class Misspelt:
        discards_content = True

        def recpt(self, recipient: Any, envelope: Envelope) -> None: ...

    def refused(connection: Connection) -> None:
        with pytest.raises(TypeError, match="recpt"):
            connection.handler = Misspelt()
        with pytest.raises(ValueError, match="cannot honour NONSENSE"):
            connection.handler = Does(extensions={"NONSENSE"})
        connection.handler = Does(extensions={"OWN"})

    settings = Settings(extensions=(Extension("OWN"),))
    play("C: HELO x\nS: 250", on("hello", refused), settings=settings)


@pytest.mark.parametrize("command", [b"DATA\r\nx", b"BDAT 5\r\nx", b"BDAT 1\r\nx"])
def test_no_handler_gets_half_a_message(command: bytes) -> None:
    """One takes all of it; between two messages another may begin."""
    server = Server(Second())
    connection = server.dialogue.connection
    server.send(b"HELO x\r\nMAIL FROM:<>\r\n")
    connection.handler = First()
    server.send(b"RCPT TO:<a@b>\r\n" + command)
    with pytest.raises(LocalProtocolError, match="mail data"):
        connection.handler = Second()


def test_before_the_beginning_and_after_the_end_there_is_nothing_to_take_over() -> None:
    """Its handler has heard all."""
    with pytest.raises(LocalProtocolError, match="no dialogue"):
        Connection("x").handler = First()
    server = Server(First())
    connection = server.dialogue.connection
    server.send(b"QUIT\r\n")
    with pytest.raises(LocalProtocolError, match="over"):
        connection.handler = First()


def test_octets_are_counted_both_ways() -> None:
    """All of them, commands, mail data and replies."""
    server = Server()
    connection = server.dialogue.connection
    sent = TO_DATA + b"x\r\n.\r\nQUIT\r\n"
    server.send(sent)
    assert connection.octets_in == len(sent)
    assert connection.octets_out == len(server.greeting) + len(server.said)


def test_a_connection_that_is_over_knows_nobody() -> None:
    """All that led it is freed at once, though the connection itself is still held."""
    gc.disable()
    try:
        connection = Connection("x")
        driver = Driver(Second(), Settings(), connection)
        gone = weakref.ref(driver)
        driver.start()
        driver.receive(b"QUIT\r\n")
        driver.disconnect()
        del driver
        assert gone() is None
        assert connection.id == "x"
    finally:
        gc.enable()
