"""
The dialogue: what is said to what, limits, TLS, the end.

AUTH, BDAT and the false ends of data have files of their own; what holds for every dialogue is in
test_properties.py.
"""

from __future__ import annotations

import pytest

from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope
from smtpcb.engine._questions import (
    Aborted,
    Chunk,
    Connected,
    Data,
    Event,
    Mail,
    Message,
    Rcpt,
    Reason,
)
from smtpcb.engine._server import MOST_OVERLAPPING, ServerDialogue, Wants
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp._address import ForwardPath
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.testing import play
from smtpcb.testing._play import TLS

from .scripts import DATA, HELO, MAIL, RCPT, SECURE


def limited(**limits: object) -> Settings:
    """Return settings with other limits."""
    return Settings(limits=Limits(**limits))  # type: ignore[arg-type]


# Commands.


def test_a_refused_recipient_leaves_the_transaction_open() -> None:
    """One bad recipient costs the client that recipient only (§3.3)."""

    class Knows:
        def rcpt(self, forward_path: ForwardPath, parameters: object) -> object:
            return forward_path.local_part == "anne" or (550, "No such mailbox")

    played = play(
        HELO
        + """
        C: MAIL FROM:<>
        C: RCPT TO:<nobody@example.org>
        C: RCPT TO:<anne@example.org>
        C: DATA
        S: 250 2.1.0 Sender ok
        S: 550 5.1.1 No such mailbox
        S: 250 2.1.5 Recipient ok
        S: 354
        C: .
        S: 250 2.0.0 Message accepted
        """,
        Knows(),
    )
    assert played.envelopes[0].forward_paths == [ForwardPath("anne", "example.org")]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("", "500 5.5.2"),
        (" ", "500 5.5.2"),
        ("DATABASE", "500 5.5.2"),
        ("HELOX me", "500"),
        (" NOOP", "500"),
        ("1NOOP", "500"),
        ("NOOP\\x09x", "500 5.5.2 A command is printable"),
        ("\\xff\\xfe\\xfd", "500 5.5.2 A command is printable"),
        ("NOOP \\xff", "500 5.5.2 A command is printable"),
        ("NOOP \\x1b[2J", "500 5.5.2 A command is printable"),
        ("NOOP \\xc2\\x85", "500 5.5.2 A command is printable"),
        ("NOOP \\xe2\\x80\\xa8", "500 5.5.2 A command is printable"),
        ("NOOP \\xed\\xa0\\x80", "500 5.5.2 A command is printable"),
        ("NOOP \\xe2\\x80\\x8c", "250"),
        ("noop", "250 2.0.0 OK"),
        ("NoOp anything at all  ", "250"),
        ("EHLO", "501"),
        ("EHLO \\x1b[2J", "501"),
        ("HELO two words", "250 localhost"),
        ("HELO  <script>", "250 localhost"),
        ("HELO \\xff", "250 localhost"),
        ("HELO", "501"),
        ("MAIL", "501 5.5.4 Syntax: MAIL"),
        ("MAIL <a@b>", "501 5.5.4 Syntax: MAIL"),
        ("MAIL FROM: \\x09<a@b>", "250 2.1.0"),
        ("MAIL  FROM:<a@b>", "501 5.5.4"),
        ("MAIL FROM:a@b", "501 5.1.7"),
        ("MAIL FROM:<a@b>SIZE=1", "501 5.5.4"),
        ("MAIL FROM:<a@b> FOO=1", "555 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=33554433", "552 5.3.4"),
        ("MAIL FROM:<\\xc3\\xa4@b>", "550 5.6.7"),
        ("mail from:<a@b> size=33554432 body=8bitmime", "250 2.1.0"),
        ("MAIL FROM:<\\xc3\\xa4@b> SMTPUTF8", "250 2.1.0"),
        ("RCPT TO:<a@b>", "503 5.5.1 Send MAIL"),
        ("DATA", "503 5.5.1 Send MAIL"),
        ("DATA now", "503"),
        ("RSET now", "501 5.5.4"),
        ("QUIT now", "501 5.5.4"),
        ("STARTTLS now", "501 5.5.4"),
        ("RSET ", "250"),
        ("VRFY", "501"),
        ("VRFY anne", "252 2.5.0"),
        ("VRFY anne SMTPUTF8", "252 2.5.0"),
        ("EXPN list", "502 5.5.1"),
        ("ETRN example.org", "502 5.5.1"),
        ("HELP me", "214-\nS: 214"),
        ("XCLIENT ADDR=127.0.0.1", "500"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", "500"),
        ("AUTH PLAIN", "502"),
    ],
)
def test_a_command_gets_its_reply(line: str, reply: str) -> None:
    """One each, whatever it is, and the next command one again."""
    reply = reply.replace("214-", "214")
    play(f"{HELO}C: {line}\nS: {reply}\nC: NOOP\nS: 250 2.0.0 OK")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("RCPT <a@b>", "501 5.5.4 Syntax: RCPT"),
        ("RCPT TO: <a@b>", "250 2.1.5"),
        ("RCPT TO:<a@example.\\xe2\\x84\\xaaom>", "553 5.6.7"),
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:<a@b> NOTIFY=NEVER", "555"),
        ("RCPT TO:<\\xc3\\xa4@b>", "553 5.6.7"),
        ("RCPT TO:<Postmaster>", "250 2.1.5"),
        ("RCPT TO:<b@[127.0.0.1]>", "250 2.1.5"),
        ("MAIL FROM:<>", "503 5.5.1 Sender already"),
        ("DATA", "503 5.5.1 No valid recipient"),
        ("DATA now", "503"),
        ("AUTH PLAIN", "503 5.5.1 Not within"),
        ("STARTTLS", "503 5.5.1 Not within"),
        ("ETRN x", "503 5.5.1 Not within"),
    ],
)
def test_a_command_in_a_transaction_gets_its_reply(line: str, reply: str) -> None:
    """And the transaction goes on (§4.1.4)."""
    play(f"{MAIL}C: {line}\nS: {reply}\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250")


@pytest.mark.parametrize("line", ["MAIL FROM:<>", "RCPT TO:<a@b>", "DATA", "STARTTLS"])
def test_who_it_is_comes_first(line: str) -> None:
    """§4.1.4: EHLO or HELO begins a session."""
    play(f"C: {line}\nS: 503 5.5.1 Send EHLO\nC: RSET\nS: 250\nC: {line}\nS: 503")


def test_lenient_addresses_are_taken_where_that_is_set() -> None:
    """A blank behind the colon, no brackets."""
    played = play(
        HELO + "C: MAIL FROM: a@b SIZE=1\nS: 250\nC: RCPT TO: <c@d_e.>\nS: 250",
        settings=Settings(lenient_addresses=True),
    )
    envelope = played.dialogue.envelope
    assert envelope is not None
    assert [str(path) for path in envelope.forward_paths] == ["c@d_e"]


@pytest.mark.parametrize("end", ["RSET", "EHLO me", "HELO me"])
def test_a_transaction_can_be_dropped(end: str) -> None:
    """RSET and a new EHLO forget it (§4.1.1.5, §4.1.4)."""
    answer = "S: 250\n" * (10 if end.startswith("EHLO") else 1)
    played = play(f"{RCPT}C: {end}\n{answer}C: RCPT TO:<a@b>\nS: 503\nC: MAIL FROM:<>\nS: 250")
    assert played.aborted == [Reason.RESET if end == "RSET" else Reason.HELLO]


def test_a_hello_that_is_refused_drops_nothing() -> None:
    """A negative reply never moves the state (§4.1.4)."""

    class Picky:
        def hello(self, introduction: object) -> bool:
            return "client" in str(introduction)

    assert play(f"{RCPT}C: HELO other\nS: 550\nC: DATA\nS: 354\nC: .\nS: 250", Picky()).envelopes


def test_quitting_and_leaving_abort_what_is_under_way() -> None:
    """Each says why."""
    assert play(f"{MAIL}C: QUIT\nS: 221 2.0.0\nC: NOOP").aborted == [Reason.QUIT]
    dialogue = play(DATA + "C: hello").dialogue
    dialogue.disconnect()
    dialogue.disconnect(Reason.TIMEOUT)
    event = dialogue.next_event()
    assert isinstance(event, Aborted)
    assert (event.reason, dialogue.ended) == (Reason.DISCONNECTED, Reason.DISCONNECTED)
    assert dialogue.next_event() is None
    assert dialogue.wants is Wants.NOTHING


def test_a_browser_is_sent_away() -> None:
    """What follows an HTTP request is a form's fields, and no mail (§7.8)."""
    played = play("C: POST / HTTP/1.1\nS: 554 5.5.1 This is SMTP, not HTTP\nC: MAIL FROM:<>")
    assert played.dialogue.ended is Reason.LIMIT


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MARKER", 500),
        ("HELO MARKER", 250),
        ("HELO MARKER MARKER", 250),
        ("MAIL FROM:<MARKER>", 501),
        ("MAIL FROM:<MARKER@x>", 250),
        ("MAIL FROM:<> MARKER=1", 555),
        ("MAIL FROM:<> SIZE=MARKER", 501),
        ("VRFY MARKER", 252),
    ],
)
def test_nothing_that_a_client_says_is_echoed(line: str, code: int) -> None:
    """P18: not even in part."""
    assert b"MARKER" not in play(f"{HELO}C: {line}\nS: {code}").said


def test_questions_are_for_the_handler() -> None:
    """VRFY, EXPN, HELP and ETRN go to it, with their text."""

    class Knows:
        def verify(self, text: str) -> tuple[int, str]:
            return 250, f"<{text}@example.org>"

        def expand(self, text: str) -> tuple[int, tuple[str, ...]]:
            return 250, ("<a@example.org>", "<b@example.org>")

        def help(self, text: str) -> bool:
            return text == ""

        def turn(self, text: str) -> bool:
            return text == "example.org"

    play(
        HELO
        + """
        C: VRFY  anne
        S: 250 2.0.0 <anne@example.org>
        C: EXPN list
        S: 250-2.0.0 <a@example.org>
        S: 250 2.0.0 <b@example.org>
        C: HELP me
        S: 504 5.5.4
        C: ETRN example.org
        S: 250 2.0.0 Queuing started
        C: ETRN example.com
        S: 458 4.3.0 Unable to queue messages
        """,
        Knows(),
    )


@pytest.mark.parametrize(
    ("mask", "seen"), [(Verb(0), 5), (Verb.MAIL | Verb.QUIT, 2), (Verb.RCPT, 0)]
)
def test_commands_can_be_watched(mask: Verb, seen: int) -> None:
    """Those of the mask, also refused ones and the last; 0 is all."""

    class Watches:
        command_mask = mask

        def command(self, command: object) -> None:
            pass

    played = play(
        "C: NOOP\nS: 250\nC: MAIL FROM:<>\nS: 503\nC: FOO\nS: 500\nC: AUTH PLAIN x\nS: 503\n"
        "C: QUIT\nS: 221",
        Watches(),
    )
    assert played.events.count("CommandSeen") == seen


# Mail data.


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
        settings = Settings(bare_newline=mode, limits=Limits(message_octets=limit))  # type: ignore
        play(f"{DATA}C: 12345\\x0a890123\nC: .\nS: {code}", settings=settings)
        play(f"{DATA}C: 12345678901\\x0a\nC: .\nS: 552", settings=settings)


def test_normalizing_counts_what_comes_out() -> None:
    """Each bare LF becomes two octets (RFC 1870 §3)."""
    settings = Settings(bare_newline="normalize", limits=Limits(message_octets=10))
    for bare, code in ((4, 250), (5, 552)):
        newlines = "\\x0a" * bare
        play(f"{DATA}C: {newlines}\nC: .\nS: {code}", settings=settings)


def test_past_twice_the_limit_the_client_is_hung_up_on() -> None:
    """It has been told nothing, and does not stop (P27)."""
    played = play(
        DATA + "C: 0123456789\nC: 0123456789\nC: .\nS: 552\nC: NOOP",
        settings=limited(message_octets=10),
    )
    assert (played.dialogue.ended, played.aborted) == (Reason.LIMIT, [Reason.TOO_BIG])
    assert play(DATA + f"C: {'x' * 100}\nC: .\nS: 250", settings=limited(message_octets=None))


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


@pytest.mark.parametrize("answer", [False, 451, True])
def test_the_end_of_data_ends_the_transaction_either_way(answer: object) -> None:
    """§4.1.1.4: the client must begin anew."""

    class Says:
        def message(self, envelope: Envelope) -> object:
            return answer

    code = {False: 550, 451: 451, True: 250}[answer]  # type: ignore[index]
    play(f"{DATA}C: .\nS: {code}\nC: DATA\nS: 503 5.5.1 Send MAIL\nC: MAIL FROM:<>\nS: 250", Says())


def test_data_can_be_refused_before_it_comes() -> None:
    """The envelope stays as it is (§4.3.2)."""

    class Says:
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


# Limits.


def test_twenty_errors_end_the_session() -> None:
    """From the eleventh on each answer is to wait; the twentieth is 421 (P29)."""
    played = play("C: FOO\nS: 500\n" * 10)
    assert not played.dialogue.penalized
    assert play("C: FOO\nS: 500\n" * 11).dialogue.penalized
    played = play("C: FOO\nS: 500\n" * 19 + "C: FOO\nS: 421 4.7.0 Too many errors,")
    assert played.dialogue.ended is Reason.LIMIT
    play("C: FOO\nS: 500\n" * 30, settings=limited(errors=None, free_errors=None))


def test_what_a_handler_refuses_is_no_error() -> None:
    """Twenty unknown recipients are a mailing list, not an attack."""

    class Refuses:
        def rcpt(self, forward_path: ForwardPath, parameters: object) -> bool:
            return False

    play(MAIL + "C: RCPT TO:<a@b>\nS: 550\n" * 25, Refuses())


def test_a_handler_may_charge_errors() -> None:
    """The next command that leads nowhere ends it, but one may still quit."""

    class Charges:
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


def test_a_session_has_so_many_messages() -> None:
    """Then 421, so that the client comes back for the rest."""
    message = "C: MAIL FROM:<>\nS: 250\nC: RSET\nS: 250\n"
    play(
        HELO + message * 2 + "C: MAIL FROM:<>\nS: 421 4.7.0 Too many messages,",
        settings=limited(messages=2),
    )
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


def test_a_line_without_end_ends_the_connection() -> None:
    """Past 1 MiB it is no mistake (P24)."""
    dialogue = ServerDialogue(Connection("x"))
    dialogue.line_too_long(b"NOOP")
    dialogue.close(replies.LINE_ENDLESS, Reason.LIMIT)
    dialogue.line_too_long(b"NOOP")
    assert dialogue.take_output() == replies.LINE_TOO_LONG.wire + replies.LINE_ENDLESS.wire


# Several decisions at once.


def asked(dialogue: ServerDialogue) -> list[Event]:
    """Take all events."""
    events = []
    while (event := dialogue.next_event()) is not None:
        events.append(event)
    return events


def with_mail(**changes: object) -> ServerDialogue:
    """Return a dialogue behind MAIL that may ask about several recipients at once."""
    settings = changes.pop("settings", Settings())
    assert isinstance(settings, Settings)
    dialogue = ServerDialogue(
        Connection("x"),
        settings,
        Abilities(concurrent_recipients=True, **changes),  # type: ignore
    )
    dialogue.greet()
    for line in (None, b"HELO me", b"MAIL FROM:<>"):
        if line is not None:
            dialogue.receive_line(line)
        for event in asked(dialogue):
            dialogue.answer(event, True)  # type: ignore[arg-type]
    dialogue.take_output()
    return dialogue


def test_replies_and_recipients_keep_the_order_of_the_commands() -> None:
    """Whichever answer comes first (RFC 2920 §3.2, P35)."""
    dialogue = with_mail()
    for name in (b"a", b"b", b"c"):
        assert dialogue.wants is Wants.LINE
        dialogue.receive_line(b"RCPT TO:<" + name + b"@x>")
    dialogue.receive_line(b"RCPT TO:wrong")
    dialogue.line_too_long(b"RCPT TO:<")
    first, second, third = asked(dialogue)
    assert isinstance(third, Rcpt)
    dialogue.answer(third, True)  # type: ignore[arg-type]
    dialogue.answer(second, False)  # type: ignore[arg-type]
    assert dialogue.take_output() == b""
    dialogue.answer(first, True)  # type: ignore[arg-type]
    codes = [line[:3] for line in dialogue.take_output().splitlines()]
    assert codes == [b"250", b"550", b"250", b"501", b"500"]
    assert dialogue.envelope is not None
    assert [str(path) for path in dialogue.envelope.forward_paths] == ["a@x", "c@x"]


def test_another_command_waits_for_the_recipients() -> None:
    """It is held, and nothing behind it is read (P35)."""
    dialogue = with_mail()
    dialogue.receive_line(b"RCPT TO:<a@b>")
    dialogue.receive_line(b"DATA")
    assert dialogue.wants is Wants.ANSWER
    with pytest.raises(LocalProtocolError):
        dialogue.receive_line(b"RCPT TO:<a@b>")
    with pytest.raises(LocalProtocolError):
        dialogue.receive_content(b"x")
    (rcpt,) = asked(dialogue)
    dialogue.answer(rcpt, True)  # type: ignore[arg-type]
    (data,) = asked(dialogue)
    assert isinstance(data, Data)


def test_recipients_that_are_asked_about_count() -> None:
    """The limit holds although nobody has answered yet (P26)."""
    dialogue = with_mail(settings=limited(recipients=2))
    for _ in range(3):
        dialogue.receive_line(b"RCPT TO:<a@b>")
    assert dialogue.wants is Wants.ANSWER
    for event in asked(dialogue):
        dialogue.answer(event, True)  # type: ignore[arg-type]
    codes = [line[:3] for line in dialogue.take_output().splitlines()]
    assert codes == [b"250", b"250", b"452"]


def test_not_everything_is_asked_at_once() -> None:
    """A client that does not wait costs so much memory and no more (P23)."""
    dialogue = with_mail(settings=limited(recipients=None))
    lines = 0
    while dialogue.wants is Wants.LINE:
        dialogue.receive_line(b"RCPT TO:<a@b>" if lines == 0 else b"RCPT TO:wrong")
        lines += 1
    assert lines == MOST_OVERLAPPING


def test_one_that_closes_takes_the_others_along() -> None:
    """Late answers are dropped, never sent as another command's (P41)."""
    dialogue = with_mail()
    dialogue.receive_line(b"RCPT TO:<a@b>")
    dialogue.receive_line(b"RCPT TO:<a@b>")
    first, second = asked(dialogue)
    dialogue.answer(first, Reply(421))  # type: ignore[arg-type]
    dialogue.answer(second, True)  # type: ignore[arg-type]
    assert dialogue.take_output() == Reply(421).wire
    assert [type(event) for event in asked(dialogue)] == [Aborted]


# TLS.


def test_after_starttls_the_session_is_new() -> None:
    """No name, no login, no STARTTLS (RFC 3207 §4.2, P8)."""

    class Any:
        def authenticate(self, credentials: object) -> bool:
            return True

    played = play(
        HELO
        + "C: AUTH PLAIN AGEAYg==\nS: 235\nC: STARTTLS\nS: 220 2.0.0\nC: MAIL FROM:<>\nS: 503\n"
        + HELO
        + "C: STARTTLS\nS: 503 5.5.1 TLS is already\nC: AUTH PLAIN AGEAYg==\nS: 235",
        Any(),
        settings=Settings(allow_insecure_auth=True),
    )
    assert played.dialogue.connection.tls is TLS
    play(HELO + "C: STARTTLS\nS: 502", abilities=Abilities())


def test_a_handler_may_find_the_handshake_too_weak() -> None:
    """554 to everything but QUIT (RFC 3207 §4.1), and chunks are still read (P36)."""

    class Strict:
        def secured(self, tls: object) -> bool:
            return False

    played = play(
        HELO
        + "C: STARTTLS\nS: 220\nC: EHLO me\nS: 554 5.7.0\nC: NOOP\nS: 554\n"
        + "C: BDAT 6 LAST\nC: QUIT\nS: 554\nC: QUIT\nS: 221",
        Strict(),
    )
    assert played.dialogue.ended is Reason.QUIT
    play("S: 554 5.7.0\nC: NOOP", Strict(), connection=SECURE)


def test_a_port_with_tls_greets_inside_of_it() -> None:
    """Connected comes first, then secured, then the greeting."""
    played = play("S: 220\nC: NOOP\nS: 250", connection=SECURE)
    assert played.events == ["Connected", "Secured"]


def test_nothing_is_sent_during_a_handshake() -> None:
    """It would be taken for part of it."""
    dialogue = play(HELO + "C: STARTTLS\nS: 220").dialogue
    assert dialogue.wants is Wants.HANDSHAKE
    with pytest.raises(LocalProtocolError):
        dialogue.receive_line(b"NOOP")
    dialogue.shut_down()
    assert dialogue.wants is Wants.HANDSHAKE
    dialogue.close(replies.TIMED_OUT, Reason.TLS_FAILED)
    assert dialogue.take_output() == b""


# The beginning and the end.


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (True, "220 localhost ESMTP"),
        ((220, "mail.example.org hello"), "220 mail.example.org hello"),
        (False, "554 No service"),
        (450, "450"),
        (421, "421"),
        (250, "421 4.3.0 Local error"),
    ],
)
def test_a_client_may_be_sent_away_at_once(answer: object, said: str) -> None:
    """A greeting is 220, and any refusal closes (§3.1)."""

    class Says:
        def connected(self, connection: Connection) -> object:
            return answer

    played = play(f"S: {said}", Says())
    assert played.dialogue.ended is (None if said.startswith("220") else Reason.REFUSED)


def test_an_idle_client_is_told_of_the_end_at_once() -> None:
    """421 (§3.8); the second time it is over already."""
    dialogue = play(HELO).dialogue
    dialogue.shut_down()
    dialogue.shut_down()
    assert dialogue.take_output() == replies.SHUTTING_DOWN.wire
    assert dialogue.ended is Reason.SHUTDOWN


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ([b"RSET"], [b"250", b"421"]),
        ([b"NOOP", b"RSET"], [b"250", b"250", b"421"]),
        ([b"DATA", b"x\r\n.\r\nNOOP\r\n"], [b"354", b"250", b"421"]),
        ([b"DATA", b"x\ny\r\n.\r\n"], [b"354", b"550", b"421"]),
        ([b"BDAT 1 LAST", b"x"], [b"250", b"421"]),
        ([b"BDAT 1", b"x", b"BDAT 1 LAST", b"y"], [b"250", b"250", b"421"]),
    ],
)
def test_a_transaction_may_come_to_its_end(lines: list[bytes], codes: list[bytes]) -> None:
    """Only then 421 (§3.8, P50)."""
    dialogue = play(RCPT).dialogue
    dialogue.shut_down()
    for line in lines:
        assert dialogue.in_transaction
        if dialogue.wants is Wants.CONTENT:
            dialogue.receive_content(line)
            assert dialogue.in_transaction
            assert dialogue.wants in (Wants.ANSWER, Wants.CONTENT)
        else:
            dialogue.receive_line(line)
        while (event := dialogue.next_event()) is not None:
            if isinstance(event, (Data, Message)):
                assert dialogue.in_transaction
                dialogue.answer(event, True)
    assert [line[:3] for line in dialogue.take_output().splitlines()] == codes
    assert not dialogue.in_transaction


def test_a_login_may_come_to_its_end() -> None:
    """Or to its failure."""
    for last in (b"*", b"A" * 13000):
        dialogue = play(
            HELO + "C: AUTH LOGIN\nS: 334",
            connection=SECURE,
            abilities=Abilities(authentication=True),
        ).dialogue
        dialogue.shut_down()
        assert dialogue.wants is Wants.LINE
        if last == b"*":
            dialogue.receive_line(last)
        else:
            dialogue.line_too_long(last[:16])
        assert dialogue.ended is Reason.SHUTDOWN


def test_a_message_that_is_complete_is_kept() -> None:
    """The client left between the dot and the reply: its content is all there (P46)."""
    dialogue = play(DATA).dialogue
    assert not dialogue.message_follows
    dialogue.receive_content(b"hello\r\n.\r\n")
    assert dialogue.wants is Wants.ANSWER
    assert dialogue.message_follows
    dialogue.disconnect()
    assert dialogue.message_follows
    assert dialogue.wants is Wants.NOTHING
    chunk, message = asked(dialogue)
    assert isinstance(chunk, Chunk)
    assert isinstance(message, Message)
    dialogue.answer(message, True)
    assert dialogue.take_output() == b""


def test_a_message_that_fails_after_its_client_has_left_is_aborted() -> None:
    """The last chunk was not taken; nobody hears of it any more."""
    dialogue = play(DATA).dialogue
    dialogue.receive_content(b"hello\r\n.\r\n")
    dialogue.disconnect()
    assert isinstance(dialogue.next_event(), Chunk)
    dialogue.refuse_content(replies.NO_STORAGE, Reason.FAILED)
    assert [type(event) for event in asked(dialogue)] == [Aborted]
    assert dialogue.take_output() == b""


def test_the_last_chunk_can_be_refused() -> None:
    """Whole or octet by octet: whoever takes it is heard before the message counts as come."""
    dialogue = play(DATA).dialogue
    dialogue.receive_content(b"hello\r\n.\r\n")
    assert isinstance(dialogue.next_event(), Chunk)
    dialogue.refuse_content(replies.NO_STORAGE, Reason.FAILED)
    dialogue.refuse_content(replies.MESSAGE_REFUSED, Reason.REFUSED)
    (aborted,) = asked(dialogue)
    assert isinstance(aborted, Aborted)
    assert dialogue.take_output() == replies.NO_STORAGE.wire


def test_there_must_be_content_to_refuse() -> None:
    """Otherwise nothing happens."""
    dialogue = play(RCPT).dialogue
    dialogue.refuse_content(replies.NO_STORAGE, Reason.FAILED)
    assert dialogue.envelope is not None


def test_between_two_chunks_content_can_be_refused() -> None:
    """The next chunk hears of it; RSET makes it forgotten."""
    for line, data, code in ((b"BDAT 1", b"x", b"452"), (b"RSET", b"", b"250")):
        dialogue = play(RCPT + "C: BDAT 1\nC: x\\\nS: 250").dialogue
        dialogue.refuse_content(replies.NO_STORAGE, Reason.FAILED)
        assert [type(event) for event in asked(dialogue)] == [Aborted]
        dialogue.receive_line(line)
        if data:
            dialogue.receive_content(data)
        assert asked(dialogue) == []
        assert dialogue.take_output()[:3] == code


# What a driver may not do.


def test_a_decision_is_answered_once_and_with_an_answer() -> None:
    """A wrong reply leaves it open, so that another can be given."""
    dialogue = ServerDialogue(Connection("x"))
    dialogue.greet()
    connected = dialogue.next_event()
    assert isinstance(connected, Connected)
    with pytest.raises(ValueError, match="250 is no answer to connected"):
        dialogue.answer(connected, Reply(250))
    dialogue.answer(connected, True)
    with pytest.raises(LocalProtocolError):
        dialogue.answer(connected, True)
    dialogue.receive_line(b"HELO me")
    (hello,) = asked(dialogue)
    with pytest.raises(ValueError, match="354"):
        dialogue.answer(hello, Reply(354))  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="answer"):
        dialogue.receive_line(b"NOOP")
    with pytest.raises(LocalProtocolError, match="answer"):
        dialogue.receive_content(b"x")


def test_a_line_is_no_content_and_content_no_line() -> None:
    """Whoever mixes them up has a bug."""
    dialogue = play(DATA).dialogue
    with pytest.raises(LocalProtocolError):
        dialogue.receive_line(b"NOOP")
    dialogue.close(None, Reason.TIMEOUT)
    assert dialogue.take_output() == b""
    with pytest.raises(LocalProtocolError):
        dialogue.receive_line(b"NOOP")
    with pytest.raises(LocalProtocolError):
        dialogue.receive_content(b"x")


def test_a_mail_that_is_answered_too_late_begins_nothing() -> None:
    """The client is gone; there is no transaction to abort."""
    dialogue = play(HELO).dialogue
    dialogue.receive_line(b"MAIL FROM:<>")
    (mail,) = asked(dialogue)
    assert isinstance(mail, Mail)
    dialogue.disconnect()
    dialogue.answer(mail, True)
    assert (dialogue.envelope, asked(dialogue), dialogue.take_output()) == (None, [], b"")


def test_a_greeting_of_ones_own_begins_with_our_name_after_helo_too() -> None:
    """RFC 5321 §4.1.1.1 wants the domain first, and RFC 2034 §4 no status."""

    class Polite:
        def hello(self, introduction):
            return 250, "pleased to meet you"

    play(
        """
        C: HELO there
        S: 250 localhost pleased to meet you
        C: HELO there
        S: 250 localhost pleased to meet you
        """,
        Polite,
    )


def test_a_greeting_of_ones_own_may_say_our_name_itself() -> None:
    """The name stands there once."""

    class Polite:
        def hello(self, introduction):
            return 250, "LOCALHOST at your service"

    play(
        """
        C: HELO there
        S: 250 LOCALHOST at your service
        """,
        Polite,
    )


def test_a_recipient_in_utf8_is_taken_where_utf8_was_declared() -> None:
    """An ASCII address with UTF-8 elsewhere in the command is one question, the address another."""
    play(
        """
        C: HELO there
        S: 250
        C: MAIL FROM:<> SMTPUTF8
        S: 250
        C: RCPT TO:<jürgen@example.org>
        S: 250 2.1.5
        C: RSET
        S: 250
        C: MAIL FROM:<>
        S: 250
        C: RCPT TO:<jürgen@example.org>
        S: 553 5.6.7
        """
    )
