"""A plain handler behind the engine, without Twisted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._plain import MOST_LINE_OCTETS, Driver, abilities_of
from smtpcb.engine._questions import Reason
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._settings import Settings
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import LocalProtocolError, Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated, Credentials
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import DATA, HELO, MAIL, RCPT, SECURE

LOGIN = HELO + "C: AUTH PLAIN AGFubmUAc2VjcmV0\n"


def driver_for(handler: object = None, **settings: object) -> Driver:
    """Return a driver whose greeting is out."""
    dialogue = ServerDialogue(
        Connection("x"),
        Settings(**settings),
        abilities_of(handler, tls=True),  # type: ignore
    )
    driver = Driver(dialogue, handler)
    driver.start()
    return driver


def test_what_a_handler_has_methods_for_can_be_offered() -> None:
    """And nothing else."""

    class Able:
        extensions = ("DSN",)
        command_mask = Verb.MAIL

        def authenticate(self, credentials: object) -> None: ...

        expand = turn = command = authenticate

    able = abilities_of(Able(), tls=True)
    assert (able.tls, able.authentication, able.expand, able.turn) == (True, True, True, True)
    assert (able.extensions, able.command_mask) == ({"DSN"}, Verb.MAIL)
    unable = abilities_of(None)
    assert (unable.tls, unable.authentication, unable.expand, unable.turn) == (False,) * 4
    assert (unable.extensions, unable.command_mask) == (frozenset(), None)


def test_a_handler_hears_of_everything_in_order() -> None:
    """Each method with its arguments; `disconnected` is the last."""
    heard: list[tuple[object, ...]] = []

    class Listens:
        def __getattr__(self, name: str) -> object:
            if name in ("extensions", "command_mask", "authenticate"):
                raise AttributeError
            return lambda *arguments: heard.append((name, *arguments))

    driver = driver_for(Listens())
    driver.receive(
        b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nSubject: hi\r\n\r\nbody\r\n.\r\n"
        b"VRFY x\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n"
    )
    names = " ".join(str(name) for name, *_ in heard if name != "command")
    assert names == (
        "connected hello mail rcpt data header chunk message verify mail aborted disconnected"
    )
    assert ("header", "Subject", "hi") in heard
    assert ("chunk", b"Subject: hi\r\n\r\nbody\r\n") in heard
    assert heard[-1] == ("disconnected", Reason.QUIT)
    assert driver.finished
    driver.disconnect()
    assert driver.receive(b"NOOP\r\n") == b""
    assert heard[-1] == ("disconnected", Reason.QUIT)
    assert len([name for name, *_ in heard if name == "disconnected"]) == 1


def test_whoever_takes_chunks_gets_no_content() -> None:
    """It is there for those who have `message` only."""

    class Streams:
        def chunk(self, octets: bytes) -> None: ...

    assert play(DATA + "C: hi\nC: .\nS: 250", Streams()).envelopes[0].kept is None
    assert play(DATA + "C: hi\nC: .\nS: 250").envelopes[0].content.bytes() == b"hi\r\n"


EVENTS = ["hello", "mail", "rcpt", "data", "message", "verify", "help", "expand", "turn"]
ALL = """
    C: HELO me
    C: VRFY x
    C: EXPN x
    C: HELP
    C: ETRN x
    C: MAIL FROM:<>
    C: RCPT TO:<a@b>
    C: DATA
    C: hi
    C: .
    C: QUIT
"""


def raises(error: BaseException) -> object:
    """Return a method that raises."""

    def method(*arguments: object) -> None:
        raise error

    return method


def refuses(*answer: object) -> object:
    """Return a method that refuses with something that may be no refusal."""

    def method(*arguments: object) -> None:
        raise Refusal(*answer)  # type: ignore[call-overload]

    return method


def returns(value: object) -> object:
    """Return a method that returns."""
    return lambda *arguments: value


class Handler:
    """Has the methods that it is given."""

    def __init__(self, **methods: object) -> None:
        self.__dict__.update(methods)


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize(
    "method",
    [
        raises(ZeroDivisionError("the secret text")),
        refuses(250),
        refuses(True),
        refuses("no"),
        returns("a string"),
        returns((250, b"octets")),
        returns((550, "4.1.1", "of another class")),
    ],
)
def test_a_fault_is_451_and_the_session_goes_on(
    name: str, method: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A number for the client, which stands in the log beside the traceback (P19, P40)."""
    script = [line.strip()[3:].encode() + b"\r\n" for line in ALL.splitlines() if line.strip()]
    driver = driver_for(Handler(**{"expand": returns(None), "turn": returns(None), name: method}))
    said = b"".join(map(driver.receive, script))
    fault = next(line for line in said.splitlines() if line.startswith(b"451 4.3.0"))
    number = fault.split(b"incident ")[1].rstrip(b")").decode()
    assert f"{name} failed: incident {number} on x" in caplog.text
    assert "Traceback" in caplog.text
    assert b"secret" not in said
    assert said.endswith(b"221 2.0.0 Closing connection\r\n")


def test_a_fault_before_the_greeting_closes() -> None:
    """With 421, since there is no session yet (P40)."""
    play("S: 421 4.3.0 Local", Handler(connected=raises(ValueError())))


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Reply(550, "No such mailbox", status="5.1.1"), "550 5.1.1 No such mailbox"),
        (False, "550 5.1.1 Recipient refused"),
        (450, "450 4.2.0"),
        ((554, "Go away"), "554 5.7.1 Go away"),
    ],
)
def test_a_refusal_from_however_deep_is_the_answer(refusal: object, said: str) -> None:
    """Exactly this reply."""
    played = play(f"{MAIL}C: RCPT TO:<a@b>\nS: {said}", Handler(rcpt=refuses(refusal)))
    assert played.dialogue.connection.budget.errors == 0


@pytest.mark.parametrize("name", ["header", "chunk"])
@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (Refusal(False), "550 5.7.1 Message refused", Reason.REFUSED),
        (Refusal(Reply(554, "Spam", status="5.7.0")), "554 5.7.0 Spam", Reason.REFUSED),
        (OSError(), "451 4.3.0", Reason.FAILED),
    ],
)
def test_content_is_refused_at_its_end(
    name: str, error: Exception, code: str, reason: Reason
) -> None:
    """It is read first, and the handler is asked no more; `aborted` says why."""
    calls = []

    def method(*arguments: object) -> None:
        calls.append(name)
        raise error

    class Refuses:
        def aborted(self, reason: Reason) -> None:
            calls.append(reason.name)

        def message(self, envelope: Envelope) -> None:
            calls.append("message")

    handler = Refuses()
    setattr(handler, name, method)
    script = f"{DATA}C: A: b\nC: C: d\nC: RSET\nC: .\nS: {code}\nC: NOOP\nS: 250"
    assert play(script, handler).aborted == [reason]
    assert calls == [name, reason.name] * 2


def test_the_last_field_may_be_refused_too() -> None:
    """The one that only the end of the message completes."""
    calls: list[object] = []
    handler = Handler(header=raises(Refusal(554)), aborted=calls.append, message=calls.append)
    play(f"{DATA}C: A: b\nC: .\nS: 554\nC: MAIL FROM:<>\nS: 250", handler)
    assert calls == [Reason.REFUSED] * 2
    play(f"{DATA}C: A: b\nC: .\nS: 250", Handler(header=returns(None)))


def test_whatever_fails_where_nobody_waits_is_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    """The dialogue goes on."""
    handler = Handler(
        command=raises(ValueError()),
        aborted=raises(ValueError()),
        disconnected=raises(ValueError()),
    )
    play(f"{MAIL}C: RSET\nS: 250\nC: QUIT\nS: 221", handler)
    for name in ("command", "aborted", "disconnected"):
        assert f"{name} failed: incident" in caplog.text


def test_a_login_is_let_go() -> None:
    """At the end, and with STARTTLS; a fault there is only logged."""
    released: list[str] = []

    class Vouches:
        def authenticate(self, credentials: Credentials) -> Authenticated:
            return Authenticated("anne", lambda: released.append(credentials.username))

    play(LOGIN + "S: 235\nC: QUIT\nS: 221", Vouches(), connection=SECURE)
    assert released == ["anne"] * 2
    clear = Settings(allow_insecure_auth=True)
    play(LOGIN + "S: 235\nC: STARTTLS\nS: 220\nC: NOOP\nS: 250", Vouches(), settings=clear)
    assert released == ["anne"] * 4
    release: Any = raises(ValueError())
    failing = Handler(authenticate=returns(Authenticated("anne", release)))
    play(LOGIN + "S: 235\nC: QUIT\nS: 221", failing, connection=SECURE)


def test_an_authenticator_that_fails_logs_no_password(caplog: pytest.LogCaptureFixture) -> None:
    """Its exception may quote it: its kind and place are logged, not its text (P14)."""
    caplog.set_level(logging.DEBUG)
    play(
        LOGIN + "S: 451 4.3.0", Handler(authenticate=raises(KeyError("secret"))), connection=SECURE
    )
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text.replace(__file__, "")


def test_data_behind_starttls_in_the_clear_is_an_attack() -> None:
    """None of it is read; the connection ends (RFC 3207 §4.2, P7)."""
    driver = driver_for()
    said = driver.receive(b"HELO me\r\nSTARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
    assert said.endswith(b"554 5.5.1 Data behind STARTTLS\r\n")
    assert driver.finished
    assert driver._dialogue.ended is Reason.INJECTED


def test_a_handshake_comes_before_everything_else() -> None:
    """What is received belongs to it."""
    driver = driver_for()
    assert driver.receive(b"HELO me\r\nSTARTTLS\r\n").endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert driver.handshaking
    with pytest.raises(LocalProtocolError):
        driver.receive(b"NOOP\r\n")
    assert driver.secure(TLS) == b""
    assert driver.receive(b"NOOP\r\n") == b"250 2.0.0 OK\r\n"


def test_shutting_down_waits_for_a_transaction() -> None:
    """An idle client hears 421 at once, another one after its message."""
    idle = driver_for()
    assert idle.shut_down().startswith(b"421")
    assert idle.finished
    busy = driver_for()
    busy.receive(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n")
    assert busy.shut_down() == b""
    assert [line[:3] for line in busy.receive(b".\r\n").splitlines()] == [b"250", b"421"]


@pytest.mark.parametrize("size", [1, 1000, 2 * MOST_LINE_OCTETS])
def test_a_line_without_end_ends_the_connection(size: int) -> None:
    """Past 1 MiB: one 500, one 421, and it is not kept (P24)."""
    driver = driver_for()
    said, sent = b"", 0
    if size == 1:
        said, sent = driver.receive(b"x" * (MOST_LINE_OCTETS - 50)), MOST_LINE_OCTETS - 50
    while not driver.finished:
        said += driver.receive(b"x" * size)
        sent += size
        assert len(driver._waiting) < 12288
    assert [line[:3] for line in said.splitlines()] == [b"500", b"421"]
    assert sent >= MOST_LINE_OCTETS


def test_a_cr_that_is_cut_off_may_belong_to_a_crlf() -> None:
    """At the longest line, and in one that is too long."""
    for octets, code in ((12286, b"500"), (20000, b"500"), (2046, b"250")):
        driver = driver_for()
        said = driver.receive(b"NOOP " + b"x" * (octets - 5) + b"\r")
        assert bool(said) is (octets == 20000)
        said = driver.receive(b"\nNOOP\r\n")
        codes = [line[:3] for line in said.splitlines()]
        assert codes == [code, b"250"][octets == 20000 :]


def test_a_line_in_pieces_is_searched_once() -> None:
    """Not from its beginning again for each piece (P25)."""
    driver = driver_for()
    driver.receive(b"NOOP ")
    for at in range(5, 100):
        assert driver._searched == at
        driver.receive(b"x")
    assert driver.receive(b"\r") == b""
    assert driver._searched == 100
    assert driver.receive(b"\n") == b"250 2.0.0 OK\r\n"


def test_ten_thousand_pipelined_commands_are_one_loop() -> None:
    """No stack grows with their number (P30)."""
    driver = driver_for()
    driver._dialogue.connection.budget.commands = -20_000
    assert driver.receive(b"NOOP\r\n" * 10_000).count(b"\n") == 10_000


def test_rcpt_is_a_name_in_a_script() -> None:
    """What scripts of ours begin with is right."""
    assert play(RCPT).dialogue.envelope is not None
