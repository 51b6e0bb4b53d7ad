"""Mail data: what is too big, what is no text, who refuses it and when; what the client hears."""

from __future__ import annotations

from typing import Any

import pytest

from smtpcb.engine._envelope import Envelope
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import State, Wants
from smtpcb.smtp._errors import LocalProtocolError, Refusal
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.testing import play

from .scripts import (
    DATA,
    HELO,
    MAIL,
    RCPT,
    TO_DATA,
    TO_RCPT,
    Does,
    Later,
    Noting,
    Server,
    limited,
    raises,
    returns,
)


def test_a_message_that_is_too_big_gets_one_552_at_its_end() -> None:
    """Nothing of it is run, and the dialogue goes on (P27)."""
    played = play(
        DATA + "C: 0123456789\nC: RSET\nC: .\nS: 552\n" + MAIL[len(HELO) :],
        settings=limited(message_octets=10),
    )
    assert played.aborted == [Reason.TOO_BIG]


def test_a_message_of_the_limit_fits() -> None:
    """CRLF counts as two (RFC 1870 §3)."""
    for text, code in (("12345678", 250), ("123456789", 552)):
        play(f"{DATA}C: {text}\nC: .\nS: {code}", settings=limited(message_octets=10))


@pytest.mark.parametrize("limit", [10, 11])
def test_the_reply_does_not_depend_on_the_cut(limit: int) -> None:
    """A text that is too big and has a bare LF is one or the other, always the same."""
    for mode, code in (("refuse", 550), ("normalize", 552)):
        settings = Settings(bare_newline=mode, limits=Limits(message_octets=limit))
        play(f"{DATA}C: 12345\\x0a890123\nC: .\nS: {code}", settings=settings)
        play(f"{DATA}C: 12345678901\\x0a\nC: .\nS: 552", settings=settings)


def test_normalizing_counts_what_comes_out() -> None:
    """Each bare LF becomes two octets (RFC 1870 §3)."""
    settings = Settings(bare_newline="normalize", limits=Limits(message_octets=10))
    for bare, code in ((4, 250), (5, 552)):
        newlines = "\\x0a" * bare
        play(f"{DATA}C: {newlines}\nC: .\nS: {code}", settings=settings)


HANG_UP = 2 * 10 + 1_048_576


@pytest.mark.parametrize("command", [b"DATA\r\n", b"BDAT 2000000\r\n", b"BDAT 2000000 LAST\r\n"])
@pytest.mark.parametrize("refused", [True, False])
def test_who_goes_on_and_on_is_hung_up_on(command: bytes, refused: bool) -> None:
    """Past twice the limit and 1 MiB, with no end in sight, and not an octet earlier (P27)."""
    observer = Noting()
    handler = Does(chunk=raises(Refusal(554))) if refused else Does()
    server = Server(handler, limited(message_octets=10), observer=observer)
    server.send(TO_RCPT + command)
    assert server.send(b"x" * HANG_UP) == []
    assert not server.driver.finished
    assert server.send(b"x") == ["554" if refused else "552"]
    assert server.driver.finished
    assert server.dialogue.finished is Reason.LIMIT
    assert observer.ends == [Reason.REFUSED if refused else Reason.TOO_BIG]


@pytest.mark.parametrize(
    ("begin", "end"),
    [(b"DATA\r\n", b"\r\n.\r\n"), (b"BDAT 1100000 LAST\r\n", b""), (b"BDAT 1100000\r\n", b"")],
)
def test_a_message_whose_end_is_there_is_answered_and_the_session_goes_on(
    begin: bytes, end: bytes
) -> None:
    """However far past the limit it is: a client is hung up on only while no end is in sight."""
    server = Server(settings=limited(message_octets=10))
    server.send(TO_RCPT + begin)
    assert server.send(b"x" * 1_100_000 + end + b"NOOP\r\n") == ["552", "250"]
    assert not server.driver.finished


def test_a_message_of_more_than_twice_a_small_limit_is_refused_and_no_more() -> None:
    """Its client hears 552 and may send another one, whether or not its end is in the same read."""
    long = "0123456789 0123456789 0123456789"
    play(
        f"{DATA}C: {long}\nC: .\nS: 552\nC: MAIL FROM:<>\nS: 250",
        settings=limited(message_octets=10),
    )


def test_without_a_limit_nothing_is_too_big() -> None:
    """None is no limit."""
    server = Server(settings=limited(message_octets=None))
    assert server.send(TO_DATA + b"x" * 2_000_000 + b"\r\n.\r\n")[-1] == "250"


def test_a_bare_lf_costs_the_message_once() -> None:
    """One 550 behind its true end, and the handler hears of no end (P2)."""
    played = play(DATA + "C: a\\x0ab\nC: c\\x0dd\nC: .\nS: 550 5.6.11\nC: NOOP\nS: 250")
    assert (played.envelopes, played.aborted) == ([], [Reason.BARE_NEWLINE])


def test_a_bare_lf_can_be_made_a_crlf() -> None:
    """Only where it is asked for by name (P2)."""
    played = play(
        DATA + "C: a\\x0a.\\x0db\nC: .\nS: 250", settings=Settings(bare_newline="normalize")
    )
    assert played.envelopes[0].content.bytes() == b"a\r\n.\r\nb\r\n"
    assert played.envelopes[0].size_octets == 9


@pytest.mark.parametrize(("answer", "code"), [(False, 550), (451, 451), (True, 250)])
def test_the_end_of_data_ends_the_transaction_either_way(answer: object, code: int) -> None:
    """§4.1.1.4: the client must begin anew."""
    says = Does(message=returns(answer))
    play(f"{DATA}C: .\nS: {code}\nC: DATA\nS: 503 5.5.1 Send MAIL\nC: MAIL FROM:<>\nS: 250", says)


def test_data_can_be_refused_before_it_comes() -> None:
    """The envelope stays as it is (§4.3.2)."""

    class Says:
        discards_content = True

        def data(self, envelope: Envelope) -> object:
            return len(envelope.recipients) == 2 and (354, "Go on")

    play(RCPT + "C: DATA\nS: 554\nC: RCPT TO:<c@d>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250", Says())


def test_commands_wait_for_the_end_of_data() -> None:
    """What stands behind it in the same write is a command again (P35)."""
    played = play(
        RCPT
        + """
        C: DATA
        C: MAIL FROM:<one>
        C: .
        C: MAIL FROM:<two@example.org>
        C: QUIT
        S: 354
        S: 250
        S: 250
        S: 221
        """
    )
    assert played.envelopes[0].content.bytes() == b"MAIL FROM:<one>\r\n"
    assert played.aborted == [Reason.QUIT]


# Who reads the content as it comes.


def test_whoever_takes_chunks_gets_no_content() -> None:
    """It is there for those who have `message` only."""
    got: list[bytes] = []
    streams = Does(chunk=lambda octets, envelope: got.append(octets))
    server = Server(streams, observer=(observer := Noting()))
    server.send(TO_DATA + b"hi\r\n.\r\n")
    assert got == [b"hi\r\n"]
    assert observer.envelopes[0].kept is None
    assert play(DATA + "C: hi\nC: .\nS: 250").envelopes[0].content.bytes() == b"hi\r\n"


def test_a_message_of_nothing_has_content_too() -> None:
    """It is empty, and not missing."""
    played = play(f"{DATA}C: .\nS: 250\n{MAIL[len(HELO) :]}", Does(message=returns(None)))
    assert played.envelopes[0].content.bytes() == b""


def test_fields_come_one_by_one() -> None:
    """Unfolded, with the envelope, the last one with the end; and the content is kept beside it."""
    fields: list[tuple[str, str, str]] = []

    class Reads:
        def header(self, name: str, value: str, envelope: Envelope) -> None:
            fields.append((name, value, envelope.id))

        def message(self, envelope: Envelope) -> None:
            fields.append(("message", envelope.content.bytes().decode(), envelope.id))

    server = Server(Reads())
    server.send(TO_DATA + b"A: b\r\n c\r\n")
    assert fields == []
    server.send(b"D: e\r\n.\r\n")
    assert fields == [
        ("A", "b c", "x-1"),
        ("D", "e", "x-1"),
        ("message", "A: b\r\n c\r\nD: e\r\n", "x-1"),
    ]


YES_OR_NO = [
    (returns((550, "no spam")), "550 5.7.1 no spam", Reason.REFUSED),
    (returns(False), "550 5.7.1 Message refused", Reason.REFUSED),
    (returns(450), "450", Reason.REFUSED),
    (returns(Reply(554, "Spam", status="5.7.0")), "554 5.7.0 Spam", Reason.REFUSED),
    (raises(Refusal()), "550 5.7.1 Message refused", Reason.REFUSED),
    (raises(Refusal(554, "5.7.0", "Spam")), "554 5.7.0 Spam", Reason.REFUSED),
    (raises(OSError()), "451 4.3.0", Reason.FAILED),
    (raises(SystemExit()), "451 4.3.0", Reason.FAILED),
    (returns("no"), "451 4.3.0", Reason.FAILED),
    (returns(250), "451 4.3.0", Reason.FAILED),
    (returns(354), "451 4.3.0", Reason.FAILED),
]


@pytest.mark.parametrize("name", ["header", "chunk"])
@pytest.mark.parametrize(("method", "said", "reason"), YES_OR_NO)
@pytest.mark.parametrize("late", [False, True])
def test_content_is_refused_at_its_end(
    name: str, method: Any, said: str, reason: Reason, late: bool
) -> None:
    """A verdict on a piece counts, raised or returned; the rest is read before it is said."""
    calls: list[object] = []

    def noted(*arguments: object) -> object:
        calls.append(name)
        return None if late else method(*arguments)

    handler = Later(
        *([name] if late else []),
        **({} if late else {name: noted}),
        aborted=lambda reason, envelope: calls.append(reason),
        message=lambda envelope: calls.append("message"),
    )
    server = Server(handler, observer=(observer := Noting()))
    server.send(TO_DATA)
    server.said = b""
    for octets in (b"A: b\r\nC: d\r\n", b"RSET\r\n.\r\n", b"NOOP\r\n"):
        server.send(octets)
        if late and len(handler.answers) == 1 and not calls:
            try:
                handler.last.give(method())
            except BaseException as error:
                handler.last.fail(error)
    assert calls == [*([] if late else [name]), reason]
    assert server.said.decode().startswith(said)
    assert server.said.endswith(b"250 2.0.0 OK\r\n")
    assert observer.ends == [reason]
    assert observer.replies[0] is not None
    assert server.codes[0] == str(observer.replies[0].code)


@pytest.mark.parametrize("answer", [None, True])
def test_a_yes_to_a_piece_goes_on(answer: object) -> None:
    """None and True are the only ones there are: no reply is sent for a piece."""
    handler = Does(header=returns(answer), chunk=returns(answer), message=returns(None))
    play(f"{DATA}C: A: b\nC: \nC: hi\nC: .\nS: 250", handler)


def test_the_last_field_may_be_refused_too() -> None:
    """The one that only the end of the message completes."""
    calls: list[object] = []
    handler = Does(
        header=raises(Refusal(554)),
        aborted=lambda reason, envelope: calls.append(reason),
        message=calls.append,
    )
    play(f"{DATA}C: A: b\nC: .\nS: 554\nC: MAIL FROM:<>\nS: 250", handler)
    assert calls == [Reason.REFUSED] * 2


def test_a_client_waits_while_a_piece_is_taken() -> None:
    """What it sends meanwhile is left where it is, and the answer lets it go on."""
    handler = Later("chunk")
    server = Server(handler)
    server.send(TO_DATA + b"one\r\n")
    assert server.dialogue.wants is Wants.ANSWER
    with pytest.raises(LocalProtocolError, match="mail data, where the answer"):
        server.dialogue.content(b"x")
    assert server.send(b"two\r\n.\r\nNOOP\r\n") == []
    handler.answers[0].give(None)
    handler.answers[1].give(None)
    assert server.codes[-2:] == ["250", "250"]
    assert [answer.what for answer in handler.answers] == [b"one\r\n", b"two\r\n"]


def test_the_last_piece_is_taken_before_the_message_counts_as_come() -> None:
    """The end of data is answered when whoever takes the content has it."""
    handler = Later("header", "message")
    server = Server(handler)
    assert server.send(TO_DATA + b"A: b\r\n\r\n.\r\n")[-1:] == ["354"]
    assert handler.heard == ["header"]
    handler.last.give(None)
    assert handler.heard == ["header", "message"]
    handler.last.give((250, "Taken"))
    assert server.said.endswith(b"250 2.0.0 Taken\r\n")


def test_the_field_that_the_end_completes_may_take_time() -> None:
    """And may be refused then."""
    for answer, heard in ((None, ["header", "message"]), (554, ["header"])):
        handler = Later("header", "message")
        server = Server(handler)
        server.send(TO_DATA + b"A: b\r\n.\r\n")
        handler.last.give(answer)
        assert handler.heard == heard
        assert server.codes[-1] == ("354" if answer is None else "554")


def test_between_two_chunks_content_can_be_refused() -> None:
    """By an answer that comes late: the next chunk hears of it, and RSET makes it forgotten."""
    for octets, codes in ((b"BDAT 1\r\nx", ["452"]), (b"RSET\r\n", ["250"])):
        server = Server(observer=(observer := Noting()))
        server.send(TO_RCPT + b"BDAT 1\r\nx")
        server.dialogue.refuse_content(Reply(452), Reason.FAILED)
        server.dialogue.refuse_content(Reply(550), Reason.REFUSED)
        assert observer.ends == [Reason.FAILED]
        assert server.send(octets) == codes


def test_there_must_be_content_to_refuse() -> None:
    """Otherwise nothing happens."""
    server = Server()
    server.send(TO_RCPT)
    server.dialogue.refuse_content(Reply(452), Reason.FAILED)
    assert server.dialogue.envelope is not None
    assert server.dialogue.state is State.FORWARD_PATH


class Full:
    """A disk without room."""

    closed = 0

    def write(self, octets: bytes) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.closed += 1


def test_where_there_is_no_room_the_message_is_to_come_again() -> None:
    """452 4.3.1 at its end, one line in the log, and the next one is tried anew (P48)."""
    server = Server(Does(message=returns(None)), observer=(observer := Noting()))
    full: Any = Full()
    make, server.platform.make = server.platform.make, lambda: full
    assert server.send(TO_DATA + b"hi\r\nhi\r\n.\r\n")[-1] == "452"
    assert b"452 4.3.1" in server.said
    assert observer.ends == [Reason.FAILED]
    assert full.closed == 1
    assert server.log == ["no room for a message on x: [Errno 28] No space left on device"]
    server.platform.make = make
    assert server.send(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nhi\r\n.\r\n")[-1] == "250"


def test_a_line_is_no_content_and_content_no_line() -> None:
    """Whoever mixes them up has a bug."""
    dialogue = play(DATA).dialogue
    with pytest.raises(LocalProtocolError, match="a line, where octets"):
        dialogue.line(b"NOOP")
    dialogue = play(RCPT).dialogue
    with pytest.raises(LocalProtocolError, match="mail data, where a command"):
        dialogue.content(b"x")
