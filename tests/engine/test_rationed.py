"""What a session may use up beside errors: commands of one verb, octets, its handler's time."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from smtpcb.engine import _conversation
from smtpcb.engine._budget import Budget, Circumstances
from smtpcb.engine._commands import COMMANDS
from smtpcb.engine._connection import Connection
from smtpcb.engine._rationed import rationed
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.smtp import Extension
from smtpcb.smtp._limits import Limits
from smtpcb.testing import play

from .scripts import HELO, TO_DATA, TO_RCPT, Does, Later, Server, limited, returns


def test_what_has_no_limit_costs_nothing() -> None:
    """By default the rows of the commands are the very same."""
    assert all(row is COMMANDS[verb] for verb, row in rationed(COMMANDS, Limits()).items())
    few = rationed(COMMANDS, Limits(commands_per_verb={"VRFY": 1}))
    assert [verb for verb, row in few.items() if row is not COMMANDS[verb]] == [b"VRFY"]


def test_a_verb_has_its_own_limit() -> None:
    """So many, then 421, however many messages there are between them; others go on."""
    few = limited(commands_per_verb={"VRFY": 2, "NOOP": 3})
    message = "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250\n"
    played = play(
        f"{HELO}C: vrfy a\nS: 252\n{message}C: VRFY b\nS: 252\nC: NOOP\nS: 250\n"
        "C: VRFY c\nS: 421 4.7.0 Too many VRFY commands, closing connection",
        settings=few,
    )
    assert played.dialogue.finished is Reason.LIMIT
    assert played.dialogue.connection.budget.verbs == {"VRFY": 3, "NOOP": 1}


def test_no_command_of_a_verb_at_all() -> None:
    """0 is a limit, and the first one ends it."""
    play("C: HELP\nS: 421", settings=limited(commands_per_verb={"HELP": 0}))


def test_a_limit_of_chunks_ends_the_message() -> None:
    """Nothing of the octets behind it is run."""
    settings = limited(commands_per_verb={"BDAT": 1})
    server = Server(settings=settings)
    codes = server.send(TO_RCPT + b"BDAT 3\r\nabcBDAT 6\r\nNOOP\r\nBDAT 0 LAST\r\n")
    assert codes == ["250", "250", "250", "250", "421"]
    assert server.dialogue.connection.budget.aborted == 1


def test_a_command_of_an_extension_of_yours() -> None:
    """It is counted like ours, and one that nobody knows is a mistake of the operator."""
    mine = Extension("XT", verbs={"XT": returns(250)})
    limits = Limits(commands_per_verb={"XT": 1})
    play("C: XT\nS: 250\nC: XT\nS: 421", settings=Settings(extensions=(mine,), limits=limits))
    with pytest.raises(ValueError, match="commands_per_verb names XT, which is no command"):
        Settings(limits=limits)


@pytest.mark.parametrize(
    ("wrong", "error", "complaint"),
    [
        ([("VRFY", 1)], TypeError, "commands_per_verb maps verbs to numbers"),
        ({"vrfy": 1}, ValueError, "commands_per_verb has no verb in capitals: 'vrfy'"),
        ({1: 1}, ValueError, "commands_per_verb has no verb"),
        ({"VRFY": -1}, ValueError, "commands_per_verb of VRFY is at least 0"),
        ({"VRFY": None}, TypeError, "commands_per_verb of VRFY is a whole number"),
        ({"QUIT": 1}, ValueError, "cannot keep anybody from QUIT"),
    ],
)
def test_limits_of_verbs_that_are_none(wrong: Any, error: type[Exception], complaint: str) -> None:
    """They are told when they are written down."""
    with pytest.raises(error, match=complaint):
        Limits(commands_per_verb=wrong)


def test_room_in_messages() -> None:
    """Two of the longest, unless somebody says otherwise; without a longest one there is none."""
    assert Limits().min_free == 67_108_864
    assert Limits(message_octets=1000, min_free="3x").min_free == 3000
    assert Limits(message_octets=None).min_free is None
    assert Limits(min_free=0).min_free == 0
    for wrong in ("0x", "x", "-1x", "2 x", "2X"):
        with pytest.raises(TypeError, match="min_free is a whole number, or None"):
            Limits(min_free=wrong)


def test_a_greeting_comes_in_time() -> None:
    """Clients wait for it, but not for ever (RFC 5321 §4.5.3.2.1)."""
    assert Limits(greeting_seconds=60).greeting_seconds == 60
    with pytest.raises(ValueError, match="greeting_seconds is at most 60"):
        Limits(greeting_seconds=61)


def test_octets_are_counted_both_ways() -> None:
    """A handler may look at them, and at what it has taken itself."""
    server = Server()
    server.send(b"NOOP\r\n")
    connection = server.dialogue.connection
    assert connection.octets_in == 6
    assert connection.octets_out == len(server.greeting) + len(server.said)


def test_a_session_may_send_so_much() -> None:
    """The next command is 421; the one that has passed the limit is answered."""
    server = Server(settings=limited(octets_in=25))
    assert server.send(b"NOOP\r\n") == ["250"]
    assert server.send(b"NOOP 34567890\r\n") == ["250"]
    assert server.send(b"NOOP\r\n") == ["421"]
    assert b"421 4.7.0 Too many octets, closing connection" in server.said


def test_one_may_quit_whatever_is_used_up() -> None:
    """There is no reason to refuse it."""
    server = Server(settings=limited(octets_in=5))
    server.send(b"NOOP\r\n")
    server = Server(settings=limited(octets_in=5))
    assert server.send(b"QUIT\r\n") == ["221"]


def test_a_message_without_end_is_cut_off() -> None:
    """Though messages have no limit of their own; one whose end is there is taken."""
    settings = limited(octets_in=1000, message_octets=None)
    server = Server(settings=settings)
    assert server.send(TO_DATA)[-1] == "354"
    assert server.send(b"x" * 900) == []
    assert server.send(b"x" * 900) == ["421"]
    assert server.dialogue.connection.budget.aborted == 1
    server = Server(settings=settings)
    server.send(TO_DATA)
    assert server.send(b"x" * 2000 + b"\r\n.\r\n") == ["250"]


def test_a_session_may_be_told_so_much() -> None:
    """Short commands with long answers are a way to use up somebody else's line."""
    server = Server(settings=limited(octets_out=1000))
    said = [code for _ in range(20) for code in server.send(b"HELP\r\n")]
    assert said[-1] == "421"
    assert 214 in map(int, said)
    assert len(said) < 20


def test_a_handler_has_so_much_time_for_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its answers together, at once or later; then 421."""
    now = [0.0]
    monkeypatch.setattr(_conversation, "perf_counter", lambda: now[0])

    def takes(*arguments: object) -> None:
        now[0] += 2.0

    server = Server(Does(mail=takes, rcpt=takes, chunk=takes), limited(handler_seconds=5.0))
    assert server.send(TO_RCPT + b"NOOP\r\n") == ["250"] * 4
    budget = server.dialogue.connection.budget
    assert budget.handler_seconds == 4.0
    assert server.send(b"DATA\r\nx\r\n.\r\n") == ["354", "250"]
    assert budget.handler_seconds == 6.0
    assert server.send(b"NOOP\r\n") == ["421"]
    assert b"421 4.7.0 Too much work, closing connection" in server.said


def test_late_answers_are_charged_when_they_come_or_are_given_up() -> None:
    """What nobody waits for any more costs no more."""
    handler = Later("mail")
    server = Server(handler, limited(handler_seconds=50, decision_seconds=30))
    server.send(b"HELO x\r\nMAIL FROM:<>\r\n")
    server.pass_time(20)
    handler.last.give()
    budget = server.dialogue.connection.budget
    assert budget.handler_seconds == pytest.approx(20, abs=0.1)
    server.send(b"RSET\r\nMAIL FROM:<>\r\n")
    server.pass_time(30)
    assert server.codes[-1] == "451"
    assert budget.handler_seconds == pytest.approx(50, abs=0.1)
    server.pass_time(1000)
    assert budget.handler_seconds == pytest.approx(50, abs=0.1)


# What all have in common.


class Full(Circumstances):
    """There is no room, and nobody may log in."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[str] = []
        self.storage_full = True

    def may_log_in(self, address: str) -> bool:
        return not self.failed

    def login_failed(self, address: str) -> None:
        self.failed.append(address)


def circumstanced(circumstances: Circumstances) -> Connection:
    return Connection("x", peer_address="192.0.2.1", budget=Budget(circumstances=circumstances))


def test_no_room_for_mail_is_told_at_mail() -> None:
    """452 4.3.1 before a single octet of it is sent; the session goes on (P48)."""
    circumstances = Full()
    server = Server(connection=circumstanced(circumstances))
    assert server.send(b"HELO x\r\nMAIL FROM:<>\r\nNOOP\r\n") == ["250", "452", "250"]
    assert b"452 4.3.1 Not enough storage" in server.said
    circumstances.storage_full = False
    assert server.send(b"MAIL FROM:<>\r\n") == ["250"]


def test_who_has_guessed_too_often_may_not_try() -> None:
    """454: it says nothing about this password, and its owner may try again later."""
    login = b"AUTH PLAIN " + base64.b64encode(b"\0anne\0wrong") + b"\r\n"
    circumstances = Full()
    server = Server(
        Does(authenticate=returns(False)),
        Settings(allow_insecure_auth=True, limits=Limits(free_errors=None)),
        connection=circumstanced(circumstances),
    )
    server.send(b"HELO x\r\n" + login)
    server.dialogue.absolve()
    server.send(login)
    assert server.codes == ["250", "535", "454"]
    assert b"454 4.7.0 Too many failed logins from your address" in server.said
    assert circumstances.failed == ["192.0.2.1"]


def test_by_default_nothing_is_in_the_way() -> None:
    """A dialogue that belongs to no server has room, and may try."""
    usual = Circumstances()
    usual.login_failed("192.0.2.1")
    assert usual.may_log_in("192.0.2.1")
    assert not usual.storage_full


def test_what_became_of_mail_is_counted() -> None:
    """Accepted, refused with its content, ended without any; recipients of all of them."""
    answers = iter([None, False, None])
    server = Server(
        Does(
            rcpt=lambda recipient, envelope: recipient.domain == "b",
            message=lambda envelope: next(answers),
        )
    )
    message = b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\nx\r\n.\r\n"
    server.send(b"HELO x\r\n" + message * 2)
    server.send(message.replace(b"x\r\n", b"a\nb\r\n"))
    server.send(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\nRSET\r\n")
    budget = server.dialogue.connection.budget
    assert (budget.accepted, budget.refused, budget.aborted) == (1, 2, 1)
    assert (budget.recipients, budget.recipients_refused) == (5, 3)


def test_logins_are_counted() -> None:
    """By what became of them."""
    right = base64.b64encode(b"\0anne\0tim").decode()
    wrong = base64.b64encode(b"\0anne\0tom").decode()
    played = play(
        f"C: HELO x\nS: 250\nC: AUTH PLAIN {wrong}\nS: 535\nC: AUTH PLAIN {right}\nS: 235",
        Does(authenticate=lambda credentials, connection: credentials.password == "tim"),
        settings=Settings(allow_insecure_auth=True),
    )
    budget = played.dialogue.connection.budget
    assert (budget.authenticated, budget.auth_failures, budget.logins) == (1, 1, 2)
