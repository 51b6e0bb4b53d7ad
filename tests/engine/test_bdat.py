"""BDAT (RFC 3030): the octets of a chunk are never commands (P36)."""

from __future__ import annotations

import pytest

from smtpcb.engine._connection import Connection
from smtpcb.engine._plain import Driver
from smtpcb.engine._questions import Reason
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.testing import Played, play

from .scripts import HELO, MAIL, RCPT


def content(played: Played) -> list[bytes]:
    """Return the content of each message."""
    return [envelope.content.bytes() for envelope in played.envelopes]


def test_chunks_become_one_message() -> None:
    """As they are: no dot, CR, LF or NUL in them means anything (RFC 3030 §2)."""
    played = play(
        RCPT
        + """
        C: BDAT 4
        C: .\\x0a..\\
        S: 250 2.0.0
        C: bdat 4 last
        C: \\x0d\\x00.x\\
        S: 250 2.0.0
        C: QUIT
        S: 221
        """
    )
    assert content(played) == [b".\n..\r\0.x"]
    assert played.aborted == []


def test_the_last_chunk_may_be_empty() -> None:
    """RFC 3030 §2: BDAT 0 LAST; an empty one before it is no end."""
    played = play(RCPT + "C: BDAT 0\nS: 250\nC: BDAT 2\nC: hi\\\nS: 250\nC: BDAT 0 LAST\nS: 250")
    assert content(played) == [b"hi"]
    assert content(play(RCPT + "C: BDAT 0 LAST\nS: 250")) == [b""]


def test_chunks_may_be_pipelined() -> None:
    """RFC 3030 §2, RFC 2920: commands and octets in one write."""
    played = play(
        RCPT + "C: BDAT 4\nC: RSET\\\nC: BDAT 6 LAST\nC: QUIT\nC: QUIT\nS: 250\nS: 250\nS: 221"
    )
    assert content(played) == [b"RSETQUIT\r\n"]


@pytest.mark.parametrize("begin", ["", HELO, MAIL])
def test_a_chunk_out_of_sequence_is_read_to_its_end(begin: str) -> None:
    """503, and the commands in it are not run."""
    played = play(begin + "C: BDAT 6 LAST\nC: QUIT\nS: 503\nC: BDAT 0\nS: 503\nC: NOOP\nS: 250")
    assert played.dialogue.ended is None
    assert (played.dialogue.envelope is not None) is (begin is MAIL)


def test_a_transaction_survives_a_chunk_out_of_sequence() -> None:
    """The chunk was refused, nothing else."""
    play(
        MAIL + "C: BDAT 6\nC: QUIT\nS: 503\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250"
    )


def test_data_cannot_follow_bdat() -> None:
    """503, and the chunks go on (RFC 3030 §2)."""
    played = play(
        RCPT
        + "C: BDAT 2\nC: hi\\\nS: 250\nC: DATA\nS: 503\nC: RCPT TO:<c@d>\nS: 503\n"
        + "C: MAIL FROM:<>\nS: 503\nC: BDAT 1 LAST\nC: !\\\nS: 250"
    )
    assert content(played) == [b"hi!"]


@pytest.mark.parametrize("end", ["C: BDAT 2 LAST\nC: xx\\\nS: 503", "C: RSET\nS: 250"])
def test_behind_a_refused_chunk_others_fail_too(end: str) -> None:
    """Until LAST or RSET; they were on their way already (RFC 3030 §4.2)."""
    played = play(
        RCPT
        + "C: BDAT 5 FOO\nC: hello\\\nS: 501\nC: BDAT 6\nC: QUIT\nS: 503\nC: BDAT 0\nS: 503\n"
        + f"C: BDAT x\nS: 501\n{end}\nC: MAIL FROM:<>\nS: 250"
    )
    assert played.aborted == [Reason.REFUSED]


def test_a_wrong_last_chunk_ends_the_transaction() -> None:
    """Nothing can follow it."""
    for word in ("5LAST", "5 LAST FOO"):
        play(RCPT + f"C: BDAT {word}\nC: hello\\\nS: 501\nC: BDAT 0 LAST\nS: 503\nC: NOOP\nS: 250")


def test_a_size_that_cannot_be_read_announces_nothing() -> None:
    """No octets follow as far as anybody can tell, and the transaction goes on."""
    play(RCPT + "C: BDAT\nS: 501\nC: BDAT -5\nS: 501\nC: BDAT LAST\nS: 501\nC: BDAT 0 LAST\nS: 250")


def test_a_blank_too_many_does_not_hide_the_size() -> None:
    """It would let the content be run as commands."""
    assert content(play(RCPT + "C: BDAT  6  LAST \nC: QUIT\nS: 250")) == [b"QUIT\r\n"]


SMALL = Settings(limits=Limits(message_octets=10))


def test_chunks_are_counted_together() -> None:
    """552 behind the chunk that is too much; the handler hears of no more octets (P27)."""
    got = []

    class Streams:
        def chunk(self, octets: bytes) -> None:
            got.append(octets)

    played = play(
        RCPT
        + "C: BDAT 8\nC: 12345678\\\nS: 250\nC: BDAT 4\nC: 1234\\\nS: 552\n"
        + "C: BDAT 4 LAST\nC: QUIT\\\nS: 503\nC: QUIT\nS: 221",
        Streams(),
        settings=SMALL,
    )
    assert played.aborted == [Reason.TOO_BIG]
    assert b"".join(got) == b"1234567812" * 2


def test_a_chunk_of_the_limit_fits() -> None:
    """The limit is what may come, not what may not."""
    play(RCPT + "C: BDAT 10 LAST\nC: 1234567890\\\nS: 250", settings=SMALL)


@pytest.mark.parametrize("begin", [HELO, RCPT])
def test_a_chunk_of_more_than_twice_the_limit_is_not_waited_for(begin: str) -> None:
    """552 and the end, also if nobody wanted it (P27)."""
    played = play(
        begin + f"C: BDAT 99999999999999999999\nC: {'x' * 30}\nS: 552\nC: NOOP", settings=SMALL
    )
    assert played.dialogue.ended is Reason.LIMIT


def test_what_a_handler_refuses_at_the_first_chunk_is_read_first() -> None:
    """Then its reply, and others fail until LAST (RFC 3030 §4.2)."""

    class Refuses:
        def data(self, envelope: object) -> int:
            return 451

    class Closes:
        def data(self, envelope: object) -> Reply:
            return Reply(554).closing()

    played = play(RCPT + "C: BDAT 6\nC: QUIT\nS: 451\nC: BDAT 0 LAST\nS: 503", Refuses())
    assert played.aborted == [Reason.REFUSED]
    assert play(RCPT + "C: BDAT 0 LAST\nS: 451\nC: MAIL FROM:<>\nS: 250", Refuses()).events
    played = play(RCPT + "C: BDAT 6\nC: QUIT\nS: 554", Closes())
    assert (played.dialogue.ended, played.aborted) == (Reason.REFUSED, [Reason.REFUSED])


def test_what_a_handler_refuses_is_no_error_of_the_client() -> None:
    """A gateway that refuses spam does not hang up on whoever forwards it (P29)."""

    class Refuses:
        def chunk(self, octets: bytes) -> None:
            raise Refusal(False)

    again = "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: BDAT 1 LAST\nC: x\\\nS: 550\n"
    played = play(HELO + again * 25, Refuses())
    assert played.dialogue.connection.budget.errors == 0
    assert played.aborted == [Reason.REFUSED] * 25


@pytest.mark.parametrize(
    "command",
    [b"BDAT 6\tLAST", b"BDAT 6 LAST\xff", b"BDAT 6 LAST\0", b"BDAT 6 LAST" + b" " * 3000 + b"x"],
)
@pytest.mark.parametrize("before", [b"", b"BDAT 2\r\nhi"])
def test_octets_behind_an_unreadable_bdat_are_no_commands(command: bytes, before: bytes) -> None:
    """Where a size can be read so many octets follow, whatever else is wrong (P36)."""
    handler = Everything()
    driver = Driver(ServerDialogue(Connection("x"), abilities=Abilities()), handler)
    driver.start()
    driver.receive(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n" + before)
    said = driver.receive(command + b"\r\nRSET\r\nBDAT 2 LAST\r\nhiNOOP\r\n")
    codes = [line[:3] for line in said.splitlines()]
    assert codes == [b"500", b"503", b"250"]
    assert handler.messages == 0
    assert handler.aborted_for == [Reason.REFUSED]


def test_an_unreadable_bdat_out_of_sequence_is_drained_too() -> None:
    """There is no transaction to spoil, but the octets are there."""
    driver = Driver(ServerDialogue(Connection("x"), abilities=Abilities()), object())
    driver.start()
    said = driver.receive(b"EHLO x\r\nBDAT 6\tLAST\r\nRSET\r\nNOOP\r\n")
    assert [line[:3] for line in said.splitlines()][-2:] == [b"500", b"250"]


class Everything:
    """Counts what it gets."""

    def __init__(self) -> None:
        self.messages = 0
        self.aborted_for: list[Reason] = []

    def message(self, envelope: object) -> None:
        self.messages += 1

    def aborted(self, reason: Reason) -> None:
        self.aborted_for.append(reason)


def test_a_bdat_line_that_nobody_kept_ends_the_session() -> None:
    """How many octets follow is lost with it, and they must not be run as commands (P36)."""
    handler = Everything()
    driver = Driver(ServerDialogue(Connection("x"), abilities=Abilities()), handler)
    driver.start()
    driver.receive(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 5\r\none\r\n")
    line = b"bdat 6" + b" " * 13000 + b"\r\nNOOP\r\nBDAT 7 LAST\r\nthree\r\n"
    said = driver.receive(line)
    assert [line[:3] for line in said.splitlines()] == [b"500"]
    assert driver.finished
    assert handler.messages == 0
    assert handler.aborted_for == [Reason.LIMIT]


def test_a_chunk_without_a_size_spoils_a_message_that_has_begun() -> None:
    """Whatever it held will be missing."""
    handler = Everything()
    driver = Driver(ServerDialogue(Connection("x"), abilities=Abilities()), handler)
    driver.start()
    driver.receive(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 2\r\nhi")
    said = driver.receive(b"BDAT x\r\nBDAT 2 LAST\r\nhiNOOP\r\n")
    assert [line[:3] for line in said.splitlines()] == [b"501", b"503", b"250"]
    assert handler.messages == 0
