"""What one connection may use up: errors, refusals, idle commands, messages, recipients, lines."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._lines import MOST_LINE_OCTETS
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.smtp._limits import Limits
from smtpcb.testing import play

from .scripts import HELO, MAIL, RCPT, TO_DATA, Does, Server, limited, raises, returns

ERRORS = b"FOO\r\n"
MESSAGE = b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n"


def test_twenty_errors_end_the_session() -> None:
    """The twentieth is 421 (P29), unless there is no limit."""
    play("C: FOO\nS: 500\n" * 10)
    played = play("C: FOO\nS: 500\n" * 19 + "C: FOO\nS: 421 4.7.0 Too many errors,")
    assert played.dialogue.finished is Reason.LIMIT
    play("C: FOO\nS: 500\n" * 30, settings=limited(errors=None, free_errors=None))


def test_a_limit_in_the_settings_is_the_limit() -> None:
    """It need not be said to the budget once more."""
    connection = Connection("x")
    server = Server(settings=limited(errors=2), connection=connection)
    assert connection.budget.limits.errors == 2
    assert server.send(ERRORS * 3) == ["500", "421"]


def test_from_the_eleventh_error_on_replies_wait_and_earlier_ones_do_not() -> None:
    """What was earned before a penalty leaves at once; the rest leaves when it is lifted."""
    dialogue = Server().dialogue
    for _ in range(10):
        dialogue.line(b"FOO")
    assert dialogue.take_output().count(b"500") == 10
    dialogue.line(b"NOOP")
    dialogue.line(b"FOO")
    dialogue.line(b"NOOP")
    assert dialogue.late is not None
    assert dialogue.take_output() == b"250 2.0.0 OK\r\n"
    dialogue.penalize()
    dialogue.absolve()
    assert [line[:3] for line in dialogue.take_output().splitlines()] == [b"500", b"250"]
    dialogue.line(b"NOOP")
    assert dialogue.take_output() == b"250 2.0.0 OK\r\n"


def test_what_is_held_back_is_said_before_the_end() -> None:
    """In its order, whichever end it is."""
    dialogue = Server(settings=limited(free_errors=0)).dialogue
    dialogue.line(b"FOO")
    dialogue.shut_down()
    assert [line[:3] for line in dialogue.take_output().splitlines()] == [b"500", b"421"]


def test_whoever_quits_hears_what_was_held_back() -> None:
    """A last reply waits for nothing, and overtakes nothing."""
    dialogue = Server(settings=limited(free_errors=0)).dialogue
    dialogue.line(b"FOO")
    dialogue.line(b"QUIT")
    assert [line[:3] for line in dialogue.take_output().splitlines()] == [b"500", b"221"]


def test_a_message_that_was_accepted_pays_for_errors() -> None:
    """Whoever sends mail all day with a mistake now and then is no attacker."""
    server = Server(settings=limited(errors=5))
    server.send(b"HELO me\r\n")
    for _ in range(10):
        assert server.send(ERRORS * 4 + MESSAGE)[-1] == "250"
    server = Server(Does(message=returns(False)), limited(errors=5))
    server.send(b"HELO me\r\n" + ERRORS * 4 + MESSAGE)
    assert server.send(ERRORS) == ["421"]


def test_what_a_handler_refuses_is_no_error() -> None:
    """Twenty unknown recipients are a mailing list, not an attack."""
    played = play(MAIL + "C: RCPT TO:<a@b>\nS: 550\n" * 25, Does(rcpt=returns(False)))
    budget = played.dialogue.connection.budget
    assert (budget.errors, budget.refusals) == (0, 25)


REFUSED: list[tuple[dict[str, Any], bytes]] = [
    ({"rcpt": returns(False)}, b"RCPT TO:<c@d>\r\n"),
    ({"rcpt": returns(450)}, b"RCPT TO:<c@d>\r\n"),
    ({"verify": raises(ValueError())}, b"VRFY x\r\n"),
    ({"mail": raises(ValueError())}, b"RSET\r\nMAIL FROM:<>\r\n"),
    ({}, b"RCPT TO:<c@d>\r\n"),
]


@pytest.mark.parametrize(("methods", "octets"), REFUSED)
def test_refusals_have_a_budget_of_their_own(methods: dict[str, Any], octets: bytes) -> None:
    """Recipients, limits and incidents: high enough for honest lists, and then it ends with 421."""
    settings = Settings(limits=Limits(refusals=5, recipients=1))
    if "rcpt" in methods:
        refuse = methods["rcpt"]
        methods = {"rcpt": lambda recipient, envelope: recipient.domain == "b" or refuse()}
        settings = limited(refusals=5)
    server = Server(Does(**methods), settings)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    used = server.dialogue.connection.budget.refusals
    said = server.send(octets * (5 - used))
    assert said[-1] == "421"
    assert b"421 4.7.0 Too many refusals, closing" in server.said
    assert server.dialogue.finished is Reason.LIMIT
    # Without MAIL, RCPT came too early, which is a mistake.
    assert server.dialogue.connection.budget.errors == ("mail" in methods)
    free = Settings(limits=Limits(refusals=None, recipients=settings.limits.recipients))
    server = Server(Does(**methods), free)
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    assert server.send(octets * 50)[-1] != "421"


def test_a_message_that_was_accepted_pays_for_refusals() -> None:
    """A gateway that refuses some recipients of each message goes on for ever."""

    class Knows:
        discards_content = True

        def rcpt(self, recipient: Any, envelope: Envelope) -> bool:
            return bool(recipient.domain == "b")

    server = Server(Knows(), limited(refusals=4))
    server.send(b"HELO me\r\n")
    for _ in range(10):
        begin = b"MAIL FROM:<>\r\nRCPT TO:<x@y>\r\nRCPT TO:<x@y>\r\nRCPT TO:<a@b>\r\n"
        assert server.send(begin + b"DATA\r\n.\r\n")[-1] == "250"


def test_chunks_of_nothing_count() -> None:
    """They bring no message nearer, as NOOP does not."""
    server = Server(settings=limited(idle_commands=10))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    codes = server.send(b"BDAT 0\r\n" * 20)
    assert codes == ["250"] * (len(codes) - 1) + ["421"]
    assert len(codes) <= 11


def test_a_handler_may_charge_errors() -> None:
    """The next command that leads nowhere ends it, but one may still quit."""

    class Charges:
        discards_content = True

        def connected(self, connection: Connection) -> None:
            connection.budget.charge_error(20)

    play("C: NOOP\nS: 421 4.7.0 Too many errors,", Charges())
    play("C: QUIT\nS: 221", Charges())


def test_commands_that_lead_nowhere_have_a_limit() -> None:
    """It counts from message to message."""
    few = limited(idle_commands=4)
    play("C: NOOP\nS: 250\n" * 4 + "C: NOOP\nS: 421 4.7.0 Too many commands", settings=few)
    message = "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250\n"
    play(HELO + message * 10 + "C: NOOP\nS: 250\n" * 4, settings=few)
    play("C: NOOP\nS: 250\n" * 50, settings=limited(idle_commands=None))


def test_a_session_has_so_many_messages() -> None:
    """Then 421, so that the client comes back for the rest."""
    message = "C: MAIL FROM:<>\nS: 250\nC: RSET\nS: 250\n"
    played = play(
        HELO + message * 2 + "C: MAIL FROM:<>\nS: 421 4.7.0 Too many messages,",
        settings=limited(messages=2),
    )
    assert played.dialogue.finished is Reason.LIMIT
    play(HELO + message * 3, settings=limited(messages=None))


def test_one_recipient_too_many_is_452() -> None:
    """And those before it get the message (§4.5.3.1.10, P26)."""
    played = play(
        RCPT
        + "C: RCPT TO:<c@d>\nS: 250\nC: RCPT TO:<e@f>\nS: 452 4.5.3\nC: DATA\nS: 354\nC: .\nS: 250",
        settings=limited(recipients=2),
    )
    assert len(played.envelopes[0].recipients) == 2
    play(RCPT + "C: RCPT TO:<c@d>\nS: 250\n" * 20, settings=limited(recipients=None))


@pytest.mark.parametrize("octets", [2046, 2047, 12286, 12287, 20000])
def test_a_line_that_is_too_long_gets_one_500(octets: int) -> None:
    """Not a part of it is run (§4.5.3.1.4, P24)."""
    code = 250 if octets <= 2046 else 500
    play(f"C: NOOP {'x' * (octets - 5)}\nS: {code}\nC: NOOP\nS: 250")
    play(f"C: {'x' * (octets - 5)} RSET\nS: 500\nC: NOOP\nS: 250")


@pytest.mark.parametrize("size", [1, 1000, 2 * MOST_LINE_OCTETS])
def test_a_line_without_end_ends_the_connection(size: int) -> None:
    """Past 1 MiB it is no mistake: one 421, and it is not kept (P24)."""
    server = Server()
    sent = 0
    if size == 1:
        sent = MOST_LINE_OCTETS - 50
        server.send(b"x" * sent)
    while not server.driver.finished:
        server.send(b"x" * size)
        sent += size
        assert len(server.driver._waiting) < 12288
    assert server.codes == ["421"]
    assert sent >= MOST_LINE_OCTETS
    assert server.send(b"x\r\nNOOP\r\n") == []
    server.dialogue.broken_line(b"NOOP")
    assert server.dialogue.take_output() == b""


# Lines that end in LF alone.


def test_a_line_that_ends_in_lf_is_answered_at_once() -> None:
    """Its client never sends the CRLF and would wait for ever; nothing of it is a command."""
    server = Server()
    assert server.send(b"EHLO me\n") == ["500"]
    assert server.said == b"500 5.5.2 Lines end in CRLF\r\n"
    assert server.send(b"MAIL FROM:<>\nQUIT\n") == []
    assert server.send(b"NOOP\r") == []
    assert server.send(b"\nNOOP\r\n") == ["250"]
    server = Server()
    assert server.send(b"EHLO\nme\r\nNOOP\r\n") == ["500", "250"]


def test_a_lone_lf_in_a_message_is_no_matter_of_lines() -> None:
    """Content is judged as content."""
    assert Server().send(TO_DATA + b"a\nb\r\n.\r\n")[-2:] == ["354", "550"]


@pytest.mark.parametrize("octets", [b"EHLO me\n", b"EHLO me\nMAIL FROM:<>\n", b"EHLO me\r"])
def test_who_waits_for_an_answer_to_half_a_line_end_hears_why_it_ends(octets: bytes) -> None:
    """421 that names the cure, where anybody else is told of the time only."""
    server = Server()
    server.send(octets)
    assert (
        server.driver.time_out() == b"421 4.4.2 Timed out: lines end in CRLF, not in LF or CR\r\n"
    )
    server = Server()
    server.send(b"EHLO me")
    assert server.driver.time_out() == b"421 4.4.2 Timed out waiting for you\r\n"
    assert server.dialogue.finished is Reason.TIMEOUT


def test_a_line_that_was_not_kept_counts_as_an_error() -> None:
    """Whatever was wrong with it."""
    server = Server(settings=limited(errors=3))
    server.send(b"x" * 20_000 + b"\r\n" + b"a\nb\r\n")
    assert server.dialogue.connection.budget.errors == 2
    assert server.send(b"x" * 20_000 + b"\r\n") == ["421"]


def test_a_cr_that_is_cut_off_may_belong_to_a_crlf() -> None:
    """At the longest line, and in one that is too long."""
    for octets, code in ((12286, "500"), (20000, "500"), (2046, "250")):
        server = Server()
        assert server.send(b"NOOP " + b"x" * (octets - 5) + b"\r") == []
        assert server.send(b"\nNOOP\r\n") == [code, "250"]


def test_a_lone_lf_does_not_end_a_line_that_is_thrown_away() -> None:
    """Only CRLF does, wherever the network cuts; no part of it is ever a command (P24)."""
    server = Server()
    server.send(b"x" * 20_000)
    assert server.send(b"\nNOOP") == []
    assert server.send(b"\r\nNOOP\r\n") == ["500", "250"]


def test_ten_thousand_pipelined_commands_are_one_loop() -> None:
    """No stack grows with their number (P30)."""
    server = Server(settings=limited(idle_commands=None))
    assert server.send(b"NOOP\r\n" * 10_000) == ["250"] * 10_000


def test_a_line_in_pieces_is_searched_once() -> None:
    """Not from its beginning again for each piece (P25)."""
    driver = Server().driver
    driver.receive(b"NOOP ")
    for at in range(5, 100):
        assert driver._searched == at
        driver.receive(b"x")
    assert driver.receive(b"\r") == b""
    assert driver._searched == 100
    assert driver.receive(b"\n") == b"250 2.0.0 OK\r\n"
