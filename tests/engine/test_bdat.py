"""BDAT (RFC 3030): the octets of a chunk are never commands (P36)."""

from __future__ import annotations

import pytest

from smtpcb.engine._envelope import Envelope
from smtpcb.engine._reason import Reason
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.testing import Played, play

from .scripts import (
    HELO,
    MAIL,
    RCPT,
    TO_RCPT,
    Does,
    Later,
    Noting,
    Server,
    limited,
    raises,
    returns,
)


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
    assert played.dialogue.finished is None
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


@pytest.mark.parametrize("end", ["C: BDAT 2 LAST\nC: xx\\\nS: 501", "C: RSET\nS: 250"])
def test_behind_a_refused_chunk_others_fail_alike(end: str) -> None:
    """Until LAST or RSET; they were on their way already (RFC 3030 §4.2)."""
    played = play(
        RCPT
        + "C: BDAT 5 FOO\nC: hello\\\nS: 501\nC: BDAT 6\nC: QUIT\nS: 501\nC: BDAT 0\nS: 501\n"
        + f"C: DATA\nS: 503\n{end}\nC: MAIL FROM:<>\nS: 250"
    )
    assert played.aborted == [Reason.REFUSED]


@pytest.mark.parametrize(
    "answer",
    [(450, "Greylisted"), (554, "5.7.1", "Spam"), Refusal(451, "4.7.1", "Later"), OSError()],
)
def test_a_sender_that_is_to_try_again_hears_nothing_else(answer: object) -> None:
    """A temporary no stays one, in class and text, however many chunks were pipelined behind it."""
    data = raises(answer) if isinstance(answer, Exception) else returns(answer)
    server = Server(Does(data=data))
    server.send(TO_RCPT)
    server.said = b""
    server.send(b"BDAT 2\r\nhiBDAT 2\r\nhiBDAT 0\r\nBDAT 2 LAST\r\nhiMAIL FROM:<>\r\n")
    first, *others, mail = server.said.splitlines()
    assert others == [first] * 3
    assert first[:3] in (b"450", b"554", b"451")
    assert mail.startswith(b"250")


def test_why_a_message_failed_is_forgotten_with_it() -> None:
    """The next message has reasons of its own."""
    server = Server(settings=limited(message_octets=3))
    server.send(TO_RCPT + b"BDAT 4\r\nlongBDAT 1 LAST\r\nx")
    server.send(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 1 X\r\nxBDAT 1\r\nx")
    assert server.codes == ["250"] * 3 + ["552", "552", "250", "250", "501", "501"]


def test_a_wrong_last_chunk_ends_the_transaction() -> None:
    """Nothing can follow it."""
    for word in ("5 LAST FOO", "5 LASTING"):
        play(RCPT + f"C: BDAT {word}\nC: hello\\\nS: 501\nC: BDAT 0 LAST\nS: 501\nC: NOOP\nS: 250")


@pytest.mark.parametrize("begin", ["", HELO, RCPT, RCPT + "C: BDAT 2\nC: hi\\\nS: 250\n"])
@pytest.mark.parametrize(
    "size", ["", " ", " -5", " LAST", " 1.5 LAST", " 5LAST", " 0x5", " " + "9" * 21]
)
def test_a_size_that_cannot_be_read_ends_the_session_at_once(begin: str, size: str) -> None:
    """501: what follows cannot be counted, and must not be taken for commands."""
    server_says = "501" if begin.startswith(RCPT) else "503"
    played = play(f"{begin}C: BDAT{size}\nC: QUIT\nS: {server_says}")
    assert played.dialogue.finished is Reason.LIMIT
    assert played.aborted == ([Reason.LIMIT] if begin.startswith(RCPT) else [])


def test_a_blank_too_many_does_not_hide_the_size() -> None:
    """It would let the content be run as commands."""
    assert content(play(RCPT + "C: BDAT  6  LAST \nC: QUIT\nS: 250")) == [b"QUIT\r\n"]


SMALL = limited(message_octets=10)


def test_chunks_are_counted_together() -> None:
    """552 behind the chunk that is too much; the handler hears of no more octets (P27)."""
    got: list[bytes] = []
    played = play(
        RCPT
        + "C: BDAT 8\nC: 12345678\\\nS: 250\nC: BDAT 4\nC: 1234\\\nS: 552\n"
        + "C: BDAT 4 LAST\nC: QUIT\\\nS: 552\nC: QUIT\nS: 221",
        Does(chunk=lambda octets, envelope: got.append(octets)),
        settings=SMALL,
    )
    assert played.aborted == [Reason.TOO_BIG]
    assert b"".join(got) == b"1234567812" * 2


def test_a_chunk_of_the_limit_fits() -> None:
    """The limit is what may come, not what may not."""
    play(RCPT + "C: BDAT 10 LAST\nC: 1234567890\\\nS: 250", settings=SMALL)


@pytest.mark.parametrize("begin", [b"HELO me\r\n", TO_RCPT])
def test_a_chunk_without_end_is_not_waited_for(begin: bytes) -> None:
    """It ends the connection, also if nobody wanted it, 1 MiB behind twice the limit (P27)."""
    server = Server(settings=SMALL)
    server.send(begin + b"BDAT 99999999999999999999\r\n")
    server.said = b""
    server.send(b"x" * (20 + 1_048_576))
    assert server.said == b""
    assert server.send(b"x") == ["552" if begin is TO_RCPT else "503"]
    assert server.dialogue.finished is Reason.LIMIT


def test_what_a_handler_refuses_at_the_first_chunk_is_read_first() -> None:
    """Then its reply, and others fail until LAST (RFC 3030 §4.2)."""
    refuses = Does(data=returns(451))
    played = play(RCPT + "C: BDAT 6\nC: QUIT\nS: 451\nC: BDAT 0 LAST\nS: 451", refuses)
    assert played.aborted == [Reason.REFUSED]
    assert play(RCPT + "C: BDAT 0 LAST\nS: 451\nC: MAIL FROM:<>\nS: 250", refuses).events
    closes = Does(data=returns(Reply(554).closing()))
    played = play(RCPT + "C: BDAT 6\nC: QUIT\nS: 554", closes)
    assert (played.dialogue.finished, played.aborted) == (Reason.REFUSED, [Reason.REFUSED])


def test_the_first_chunk_may_be_decided_on_slowly() -> None:
    """Its octets wait, and are read when there is an answer."""
    for answer, codes in ((None, ["250", "250"]), (450, ["450", "450"])):
        server = Server(handler := Later("data"), observer=(observer := Noting()))
        assert server.send(TO_RCPT + b"BDAT 2\r\nhiBDAT 1 LAST\r\n!") == ["250"] * 3
        handler.last.give(answer)
        assert server.codes[3:] == codes
        assert handler.heard == ["data"]
        assert [name for name, _ in observer.decisions].count("message") == (answer is None)


def test_what_a_handler_refuses_is_no_error_of_the_client() -> None:
    """A gateway that refuses spam does not hang up on whoever forwards it (P29)."""
    again = "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: BDAT 1 LAST\nC: x\\\nS: 550\n"
    played = play(HELO + again * 25, Does(chunk=raises(Refusal())))
    assert played.dialogue.connection.budget.errors == 0
    assert played.aborted == [Reason.REFUSED] * 25


class Everything:
    """Counts what it gets."""

    def __init__(self) -> None:
        self.messages = 0
        self.aborted_for: list[Reason] = []

    def message(self, envelope: Envelope) -> None:
        """Count it."""
        self.messages += 1

    def aborted(self, reason: Reason, envelope: Envelope) -> None:
        """Note why."""
        self.aborted_for.append(reason)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"BDAT 6\tLAST\t\t", "250"),
        (b"BDAT 6 LAST\xff", "501"),
        (b"BDAT 6 LAST\0", "501"),
        (b"BDAT 6\t\xff", "501"),
        (b"BDAT 6 LAST" + b" " * 3000 + b"x", "500"),
    ],
)
@pytest.mark.parametrize("before", [b"", b"BDAT 2\r\nhi"])
def test_octets_behind_an_unreadable_bdat_are_no_commands(
    command: bytes, code: str, before: bytes
) -> None:
    """Where a size can be read so many octets follow, whatever else is wrong (P36)."""
    server = Server(handler := Everything())
    server.send(TO_RCPT + before)
    codes = server.send(command + b"\r\nRSET\r\nBDAT 2 LAST\r\nhiNOOP\r\n")
    if code == "250":
        assert codes == ["250", "503", "250"]
        assert handler.messages == 1
        return
    assert codes == [code, code, "250"]
    assert handler.messages == 0
    assert handler.aborted_for == [Reason.REFUSED]


@pytest.mark.parametrize(("rest", "code"), [(b"\xff", "503"), (b" " * 3000 + b"x", "500")])
def test_an_unreadable_bdat_out_of_sequence_is_drained_too(rest: bytes, code: str) -> None:
    """There is no transaction to spoil, but the octets are there."""
    server = Server()
    assert server.send(b"EHLO x\r\nBDAT 6 LAST" + rest + b"\r\nRSET\r\nNOOP\r\n")[1:] == [
        code,
        "250",
    ]


def test_a_bdat_line_that_nobody_kept_ends_the_session() -> None:
    """How many octets follow is lost with it, and they must not be run as commands (P36)."""
    for line in (b"bdat 6" + b" " * 13000, b"BDAT 6\nLAST", b" \tBDAT 6\nLAST"):
        server = Server(handler := Everything())
        server.send(TO_RCPT + b"BDAT 5\r\none\r\n")
        said = server.send(line + b"\r\nNOOP\r\nBDAT 7 LAST\r\nthree\r\n")
        assert said == ["500"]
        assert server.driver.finished
        assert handler.messages == 0
        assert handler.aborted_for == [Reason.LIMIT]


@pytest.mark.parametrize(
    "line", [b"BDAT\t6 LAST", b"bdat6 LAST", b" BDAT 6 LAST", b"\tBDAT\t6", b"BDAT=6", b"BDAT\x006"]
)
def test_what_was_meant_as_bdat_ends_the_session(line: bytes) -> None:
    """No command, but octets follow it: whoever wrote the mail must not write commands (P36)."""
    for begin in (b"EHLO x\r\n", TO_RCPT):
        server = Server(handler := Everything())
        server.send(begin)
        assert server.send(line + b"\r\nRSET\r\nNOOP\r\n") == ["500"]
        assert server.driver.finished
        assert handler.messages == 0
