"""The end of a connection: who hears of it, what is finished first, what is let go."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import Connection
from smtpcb.engine._conversation import Conversation
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._handler import EVENTS
from smtpcb.engine._intake import Intake
from smtpcb.engine._pipeline import Pipeline
from smtpcb.engine._plain import Driver
from smtpcb.engine._questions import Question
from smtpcb.engine._reason import Reason
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import Wants
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import (
    DATA,
    MAIL,
    TO_DATA,
    TO_RCPT,
    Does,
    HandPlatform,
    Later,
    Noting,
    Server,
    raises,
    returns,
)

CLEAR = Settings(allow_insecure_auth=True)
PARTS = (Conversation, ServerDialogue, Driver, Envelope, Question, Pipeline, Intake)
LOGIN = b"HELO me\r\nAUTH PLAIN AGEAYg==\r\n"


def test_quitting_and_leaving_abort_what_is_under_way() -> None:
    """Each says why, once."""
    assert play(f"{MAIL}C: QUIT\nS: 221 2.0.0\nC: NOOP").aborted == [Reason.QUIT]
    played = play(f"{DATA}C: hello\n*: the client has gone")
    assert played.aborted == [Reason.DISCONNECTED]
    server = Server(observer=(observer := Noting()))
    server.send(TO_DATA + b"hello")
    server.driver.disconnect(Reason.TIMEOUT)
    server.driver.disconnect()
    assert observer.ends == [Reason.TIMEOUT]
    assert server.dialogue.finished is Reason.TIMEOUT
    assert server.dialogue.wants is Wants.NOTHING


def test_a_handler_hears_of_everything_in_order() -> None:
    """Each method with its arguments; `disconnected` is the last, and comes once."""
    heard: list[tuple[Any, ...]] = []

    class Listens:
        def __getattr__(self, name: str) -> object:
            if name not in EVENTS or name == "authenticate":
                raise AttributeError(name)
            return lambda *arguments: heard.append((name, *arguments))

    handler = Listens()
    server = Server(handler)
    server.send(
        b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nSubject: hi\r\n\r\nbody\r\n.\r\n"
        b"VRFY x\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n"
    )
    assert server.driver.finished
    server.driver.disconnect()
    names = " ".join(str(name) for name, *_ in heard if name != "command")
    assert names == (
        "connected hello mail rcpt data header chunk message verify mail aborted disconnected"
    )
    by_name = {name: arguments for name, *arguments in heard}
    connection = server.dialogue.connection
    assert by_name["header"][:2] == ["Subject", "hi"]
    assert by_name["chunk"][0] == b"Subject: hi\r\n\r\nbody\r\n"
    assert by_name["aborted"][0] is Reason.RESET
    assert by_name["disconnected"] == [Reason.QUIT, connection]
    # The last argument says whose it is.
    for name in ("connected", "hello", "verify", "command"):
        assert by_name[name][-1] is connection, name
    for name in ("mail", "rcpt", "data", "header", "chunk", "message", "aborted"):
        assert isinstance(by_name[name][-1], Envelope), name
    assert server.send(b"NOOP\r\n") == []
    server.driver.disconnect()
    assert [name for name, *_ in heard].count("disconnected") == 1


def test_an_idle_client_is_told_of_the_end_at_once() -> None:
    """421 (§3.8); the second time it is over already."""
    server = Server()
    assert server.driver.shut_down() == replies.SHUTTING_DOWN.wire
    assert server.driver.shut_down() == b""
    assert server.dialogue.finished is Reason.SHUTDOWN


@pytest.mark.parametrize(
    ("octets", "codes"),
    [
        ([b"RSET\r\n"], ["250", "421"]),
        ([b"NOOP\r\n", b"RSET\r\n"], ["250", "250", "421"]),
        ([b"DATA\r\n", b"x\r\n.\r\n", b"NOOP\r\n"], ["354", "250", "421"]),
        ([b"DATA\r\n", b"x\ny\r\n.\r\n"], ["354", "550", "421"]),
        ([b"BDAT 1 LAST\r\n", b"x"], ["250", "421"]),
        ([b"BDAT 1\r\n", b"x", b"BDAT 1 LAST\r\n", b"y"], ["250", "250", "421"]),
        ([b"x" * 20_000, b"\r\nRSET\r\n"], ["500", "250", "421"]),
    ],
)
def test_a_transaction_may_come_to_its_end(octets: list[bytes], codes: list[str]) -> None:
    """Only then 421 (§3.8, P50)."""
    server = Server()
    server.send(TO_RCPT)
    server.said = b""
    assert server.driver.shut_down() == b""
    for piece in octets:
        assert server.dialogue.in_transaction or server.driver.finished
        server.send(piece)
    assert server.codes == codes
    assert not server.dialogue.in_transaction


def test_what_is_being_decided_is_decided_before_the_end() -> None:
    """A message in the handler's hands gets its reply, and then it is 421."""
    handler = Later("mail", "message")
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    assert server.driver.shut_down() == b""
    handler.last.give(False)
    assert server.codes == ["250", "550", "421"]
    server = Server(handler := Later("message"))
    server.send(TO_DATA + b".\r\n")
    assert server.conversation.completing
    assert server.driver.shut_down() == b""
    handler.last.give()
    assert server.codes[-2:] == ["250", "421"]
    assert not server.conversation.completing


@pytest.mark.parametrize(("answer", "code"), [(None, "250"), (550, "550")])
def test_the_last_piece_may_be_taken_slowly_before_the_end(answer: object, code: str) -> None:
    """Whoever takes it decides, the client hears it, and then it is 421."""
    server = Server(handler := Later("chunk"))
    server.send(TO_DATA + b"x\r\n.\r\n")
    assert server.driver.shut_down() == b""
    handler.last.give(answer)
    assert server.codes[-2:] == [code, "421"]


@pytest.mark.parametrize("last", [b"*", b"A" * 13000])
def test_a_login_may_come_to_its_end(last: bytes) -> None:
    """Or to its failure."""
    server = Server(Does(authenticate=returns(True)), CLEAR)
    server.send(b"HELO me\r\nAUTH LOGIN\r\n")
    assert server.driver.shut_down() == b""
    assert server.dialogue.wants is Wants.LINE
    assert server.send(last + b"\r\n")[-1] == "421"
    assert server.dialogue.finished is Reason.SHUTDOWN


def test_a_line_that_is_not_kept_is_answered_before_the_end() -> None:
    """A client between transactions is told 421 when its line is."""
    server = Server(Does(authenticate=returns(True)), CLEAR)
    server.dialogue.line(b"HELO me")
    server.dialogue.line(b"AUTH LOGIN")
    server.dialogue.shut_down()
    server.dialogue.broken_line(b"A" * 64)
    assert server.dialogue.finished is Reason.SHUTDOWN


@pytest.mark.parametrize(
    ("name", "octets", "said", "ends"),
    [
        ("hello", b"HELO me\r\n", "250 localhost Bye", []),
        ("mail", b"HELO me\r\nMAIL FROM:<>\r\n", "250 2.0.0 Bye", [Reason.REFUSED]),
        ("message", TO_DATA + b".\r\n", "250 2.0.0 Bye", []),
        ("verify", b"VRFY x\r\n", "250 2.0.0 Bye", []),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_yes_may_close_the_connection(
    name: str, octets: bytes, said: str, ends: list[Reason], late: bool
) -> None:
    """What was accepted is accepted; what is under way is not, and nothing behind it is read."""
    answer = Reply(250, "Bye", status="2.0.0").closing()
    handler = Later(name) if late else Does(**{name: returns(answer)})
    server = Server(handler, observer=(observer := Noting()))
    server.send(octets + b"NOOP\r\n")
    if isinstance(handler, Later):
        handler.last.give(answer)
    assert server.said.decode().endswith(f"{said}\r\n")
    assert server.driver.finished
    assert (server.dialogue.finished, observer.ends) == (Reason.REFUSED, ends)


def test_a_client_may_be_sent_away_late() -> None:
    """Its greeting is the refusal, and what it has sent already is not read."""
    for answer, code in ((False, "554"), (421, "421"), (ValueError(), "421")):
        server = Server(handler := Later("connected"))
        server.send(b"HELO me\r\n")
        if isinstance(answer, Exception):
            handler.last.fail(answer)
        else:
            handler.last.give(answer)
        assert server.codes == [code]
        assert server.dialogue.finished is Reason.REFUSED


# A message that is complete.


@pytest.mark.parametrize("names", [("message",), ("chunk", "message"), ("header", "message")])
def test_a_message_that_is_complete_is_kept(names: tuple[str, ...]) -> None:
    """The client left between the dot and the reply: its content is all there (P46)."""
    handler: Later = Later(
        *names,
        aborted=lambda *arguments: handler.heard.append("aborted"),
        disconnected=lambda *arguments: handler.heard.append("disconnected"),
    )
    server = Server(handler)
    server.send(TO_DATA + b"A: b\r\n\r\nhello\r\n.\r\n")
    server.driver.disconnect()
    for _ in names:
        assert not handler.last.cancelled
        assert not server.conversation.over
        handler.last.give()
    assert handler.heard == [*names, "disconnected"]
    assert server.conversation.over
    assert server.log == ["accepted, reply not delivered on x-1: 250 2.0.0 Message accepted"]
    assert server.codes[-1] == "354"


def test_a_message_that_is_refused_when_nobody_hears_of_it() -> None:
    """Nothing was accepted, so nothing is to be explained."""
    server = Server(handler := Later("message"))
    server.send(TO_DATA + b".\r\n")
    server.driver.disconnect()
    handler.last.give(550)
    assert server.log == []
    assert server.conversation.over


def test_a_message_that_fails_after_its_client_has_left_is_aborted() -> None:
    """The last piece was not taken; nobody hears of it any more."""
    server = Server(handler := Later("chunk", "message"), observer=(observer := Noting()))
    server.send(TO_DATA + b"hello\r\n.\r\n")
    server.driver.disconnect()
    handler.last.give(550)
    assert observer.ends == [Reason.REFUSED]
    assert handler.heard == ["chunk"]
    assert server.codes[-1] == "354"
    assert server.conversation.over


def test_a_piece_that_is_under_way_when_the_client_leaves_is_cancelled() -> None:
    """There will be no message, so it need not be taken."""
    server = Server(handler := Later("chunk"), observer=(observer := Noting()))
    server.send(TO_DATA + b"hello\r\n")
    server.driver.disconnect()
    assert handler.last.cancelled
    assert observer.ends == [Reason.DISCONNECTED]
    assert server.conversation.over
    handler.last.give()
    assert server.log == ["chunk answered too late on x: dropped"]


def test_a_mail_that_is_answered_too_late_begins_nothing() -> None:
    """The client is gone; there is no transaction to abort."""
    server = Server(handler := Later("mail"), observer=(observer := Noting()))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    server.driver.disconnect()
    assert handler.last.cancelled
    handler.last.give(True)
    assert (server.dialogue.envelope, observer.ends) == (None, [])
    assert server.codes == ["250"]
    server = Server(handler := Later("mail"))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    server.driver.disconnect()
    handler.last.fail(ValueError("not to be told"))
    assert server.log == ["mail failed too late on x: ValueError"]


def test_an_answer_that_was_only_cancelled_is_no_news() -> None:
    """Whoever is cancelled says so, and that is as it should be."""
    server = Server(handler := Later("mail"))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    server.driver.disconnect()
    handler.last.fail(asyncio.CancelledError())
    assert server.log == []
    assert server.conversation.over


# What the handler is told at the end.


def test_who_is_told_waits_for_what_is_under_way() -> None:
    """`aborted` comes when the call before it has come to its end, `disconnected` after both."""
    server = Server(handler := Later("mail", "aborted", "disconnected"))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\n")
    handler.last.give()
    server.send(b"RSET\r\n")
    assert handler.heard == ["mail", "aborted"]
    assert server.send(b"MAIL FROM:<>\r\n") == []  # its transaction is not over yet
    server.driver.disconnect()
    assert handler.heard == ["mail", "aborted"]
    handler.last.give()
    assert handler.heard == ["mail", "aborted", "disconnected"]
    assert not server.conversation.over
    handler.last.give()
    assert server.conversation.over


@pytest.mark.parametrize(
    ("begin", "octets", "said"),
    [
        (TO_RCPT, b"RSET\r\n", ["250"]),
        (TO_RCPT, b"HELO me\r\n", ["250"]),
        (TO_RCPT, b"BDAT 0 FOO\r\n", ["501"]),
        (TO_RCPT, b"BDAT 2 FOO\r\nhi", ["501"]),
        (TO_RCPT, b"BDAT 0 LAST" + b" " * 3000 + b"x\r\n", ["500"]),
        (TO_RCPT + b"BDAT 0\r\n", b"BDAT 0 LAST FOO\r\n", ["501"]),
        (TO_DATA, b"a\nb\r\n.\r\n", ["550"]),
    ],
)
def test_the_next_command_waits_until_the_handler_knows_of_the_end(
    begin: bytes, octets: bytes, said: list[str]
) -> None:
    """A transaction that is being cleared away is over before another one begins."""
    handler: Later = Later("aborted", mail=lambda envelope: handler.heard.append("mail"))
    server = Server(handler)
    server.send(begin)
    before = len(server.codes)
    assert server.send(octets + b"RSET\r\nMAIL FROM:<>\r\n") in ([], said)
    assert handler.heard == ["mail", "aborted"]
    handler.last.give()
    assert handler.heard == ["mail", "aborted", "mail"]
    assert server.codes[before:] == [*said, "250", "250"]


def test_two_ends_are_told_one_after_the_other() -> None:
    """Calls of one connection never overlap."""
    handler = Later("chunk", "aborted", message=returns(None))
    server = Server(handler)
    server.send(TO_RCPT + b"BDAT 1\r\nx")
    handler.last.give()
    server.send(b"RSET\r\n")
    server.conversation.aborted(Reason.LIMIT, Envelope(server.dialogue.connection, None), None)
    assert handler.heard == ["chunk", "aborted"]
    handler.last.give()
    assert handler.heard == ["chunk", "aborted", "aborted"]
    handler.last.give()
    assert server.send(b"NOOP\r\n") == ["250"]


def test_whatever_fails_where_nobody_waits_is_logged_only() -> None:
    """The dialogue goes on; an answer where there is nothing to answer is such a fault."""
    for method in (raises(ValueError()), raises(SystemExit()), returns(550)):
        server = Server(Does(command=method, aborted=method, disconnected=method))
        assert server.send(b"HELO me\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")[-1] == "221"
        server.driver.disconnect()
        for name in ("command", "aborted", "disconnected"):
            assert any(f"{name} of Does failed: incident" in line for line in server.log)
        assert server.conversation.over


def test_cutting_a_connection_cancels_all() -> None:
    """A complete message included; the handler hears why."""
    handler: Later = Later(
        "message", disconnected=lambda reason, _: handler.heard.append(reason.name)
    )
    server = Server(handler, observer=Noting())
    server.send(TO_DATA + b"hello\r\n.\r\n")
    server.conversation.cut()
    assert handler.last.cancelled
    assert server.dialogue.take_output() == replies.SHUTTING_DOWN.wire
    server.driver.disconnect()
    assert handler.heard == ["message", "SHUTDOWN"]
    assert server.conversation.over
    server = Server(Later("chunk"), observer=(observer := Noting()))
    server.send(TO_DATA + b"hello\r\n")
    server.conversation.cut()
    assert observer.ends == [Reason.SHUTDOWN]


def test_of_two_that_are_cancelled_the_first_may_answer_the_second() -> None:
    """An answer that is given while it is cancelled is no answer any more."""
    handler = Later("rcpt", concurrent_recipients=True)
    server = Server(handler)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n")
    first, second = handler.answers
    first.on_cancel = lambda: second.give(True)
    server.conversation.cut()
    assert first.cancelled
    assert not second.cancelled
    assert server.conversation.calls == ()


# Logins are let go.


def test_a_login_is_let_go_after_the_handler_has_heard_of_the_end() -> None:
    """`disconnected` may still use what the login stands for, then it is released, once."""
    order: list[str] = []
    vouches = Does(
        authenticate=lambda credentials, connection: Authenticated(
            credentials.username, lambda: order.append("release")
        ),
        disconnected=lambda reason, connection: order.append("disconnected"),
    )
    server = Server(vouches, CLEAR)
    server.send(LOGIN + b"QUIT\r\n")
    assert server.dialogue.connection.identity == "a"
    server.driver.disconnect()
    server.driver.disconnect()
    assert order == ["disconnected", "release"]


def test_a_login_is_let_go_with_starttls() -> None:
    """Nothing that was said in the clear counts, and whoever vouched for it may know."""
    order: list[str] = []
    vouches = Does(authenticate=returns(Authenticated("anne", lambda: order.append("release"))))
    server = Server(vouches, CLEAR)
    server.send(LOGIN + b"STARTTLS\r\n")
    server.driver.secure(TLS)
    assert order == ["release"]
    server.driver.disconnect()
    assert order == ["release"]


@pytest.mark.parametrize("error", [ValueError(), SystemExit(1), GeneratorExit()])
def test_a_login_that_cannot_be_let_go_is_an_incident(error: BaseException) -> None:
    """Whatever is raised, the connection comes to its end."""
    server = Server(Does(authenticate=returns(Authenticated("anne", raises(error)))), CLEAR)
    server.send(LOGIN + b"QUIT\r\n")
    server.driver.disconnect()
    assert server.conversation.over
    assert "release of Does failed: incident" in server.log[0]


def test_a_login_that_comes_too_late_is_let_go_at_once() -> None:
    """Its client has gone."""
    released: list[str] = []
    server = Server(handler := Later("authenticate"), CLEAR)
    server.send(LOGIN)
    server.driver.disconnect()
    handler.last.give(Authenticated("anne", lambda: released.append("anne")))
    assert released == ["anne"]
    assert server.dialogue.connection.identity is None
    assert server.log == []


def test_ctrl_c_goes_through_the_lines_of_a_text() -> None:
    """It is nobody's fault either where it comes while a reply of yours is generated."""

    class Lines:
        def __iter__(self) -> Iterator[str]:
            raise KeyboardInterrupt

    server = Server(Does(rcpt=returns((550, Lines()))))
    server.send(b"EHLO c\r\nMAIL FROM:<>\r\n")
    with pytest.raises(KeyboardInterrupt):
        server.send(b"RCPT TO:<a@b>\r\n")
    for piece in ("header", "chunk"):
        with pytest.raises(KeyboardInterrupt):
            Server(Does(**{piece: returns((550, Lines()))})).send(
                TO_DATA + b"Subject: x\r\n\r\n.\r\n"
            )


def test_ctrl_c_ends_the_program_and_no_mail() -> None:
    """KeyboardInterrupt is the one thing that no handler's fault can be, so it goes through."""
    interrupts = raises(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Server(Does(connected=interrupts))
    with pytest.raises(KeyboardInterrupt):
        Server(Does(chunk=interrupts)).send(TO_DATA + b"x\r\n")
    server = Server(Does(authenticate=returns(Authenticated("anne", interrupts))), CLEAR)
    server.send(LOGIN)
    with pytest.raises(KeyboardInterrupt):
        server.conversation.release_login()
    server = Server(Does(verify=returns(1.5)))
    server.platform.later = interrupts
    with pytest.raises(KeyboardInterrupt):
        server.send(b"VRFY x\r\n")


def test_a_finished_connection_is_freed_at_once() -> None:
    """Without the garbage collector, however it has ended: ten thousand of them cost nothing."""

    def refuses(*arguments: object) -> None:
        raise Refusal(550)

    def fails(*arguments: object) -> None:
        raise ValueError

    endings: list[tuple[Any, bytes]] = [
        (lambda: Does(), TO_DATA + b"hello\r\n.\r\nQUIT\r\n"),
        (lambda: Does(message=returns(None)), TO_DATA + b"hello\r\n.\r\nMAIL FROM:<>\r\n"),
        (lambda: Does(authenticate=returns(True)), LOGIN + b"QUIT\r\n"),
        (lambda: Does(rcpt=returns(False)), TO_RCPT),
        (lambda: Does(aborted=fails), TO_RCPT),
        (lambda: Does(rcpt=fails, verify=refuses), TO_RCPT + b"VRFY x\r\n"),
        (lambda: Does(mail=refuses), TO_RCPT),
        (lambda: Does(message=refuses), TO_DATA + b".\r\n"),
        (lambda: Does(header=refuses), TO_DATA + b"a: b\r\n.\r\n"),
        (lambda: Does(chunk=fails), TO_DATA + b"a: b\r\n.\r\n"),
        (lambda: Does(chunk=fails, disconnected=fails), TO_DATA + b"a: b\r\n"),
        (lambda: Later("mail"), TO_RCPT),
        (lambda: Later("chunk", "message"), TO_DATA + b"hello"),
        (lambda: Later("rcpt", concurrent_recipients=True), TO_RCPT + b"RCPT x\r\nDATA\r\n"),
    ]
    gc.collect()
    before = len([one for one in gc.get_objects() if isinstance(one, PARTS)])
    gc.disable()
    try:
        for make, octets in endings:
            handler = make()
            driver = Driver(handler, CLEAR, Connection("x"), platform=HandPlatform())
            driver.start()
            driver.receive(octets)
            driver.disconnect()
            assert driver.conversation.over, octets
            if isinstance(handler, Later):
                handler.answers.clear()
            watched = weakref.ref(driver)
            del driver, handler
            assert watched() is None, octets
            alive = [one for one in gc.get_objects() if isinstance(one, PARTS)]
            assert len(alive) == before, octets
    finally:
        gc.enable()
