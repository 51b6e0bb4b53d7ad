"""What is said to what: each command, in and out of a transaction."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.smtp._address import ForwardPath
from smtpcb.smtp._argument import USUAL_MAIL, USUAL_RCPT, read_mail, read_rcpt
from smtpcb.smtp._command import Verb
from smtpcb.smtp._extension import Extension, Parameter
from smtpcb.smtp._reply import Reply
from smtpcb.testing import play

from .scripts import HELO, MAIL, RCPT, Does, Noting, Server, returns


def test_a_refused_recipient_leaves_the_transaction_open() -> None:
    """One bad recipient costs the client that recipient only (§3.3)."""

    class Knows:
        def rcpt(self, recipient: Recipient, envelope: Envelope) -> object:
            return recipient.local_part == "anne" or (550, "No such mailbox")

        def message(self, envelope: Envelope) -> None: ...

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


ARGUMENTS = st.one_of(
    st.binary(max_size=20),
    st.from_regex(USUAL_RCPT),
    st.from_regex(USUAL_MAIL),
    st.builds(
        lambda local, domain, rest: b"TO:<" + local + b"@" + domain + b">" + rest,
        st.from_regex(rb"[a.!\"@-]{1,5}|a{240,260}", fullmatch=True),
        st.from_regex(rb"(?:[aB.-]|x{60,66}){1,5}", fullmatch=True),
        st.sampled_from([b"", b" ", b" SIZE=1", b"x", b"\t"]),
    ),
)


@given(ARGUMENTS, st.booleans())
@example(b"TO:<" + b"a" * 242 + b"@example.org>", False)
@example(b"TO:<" + b"a" * 243 + b"@example.org>", False)
@example(b"FROM:<" + b"a@b." + b"x" * 63 + b">", False)
@example(b"FROM:<A.b+c@EXAMPLE.org> SIZE=1", False)
@example(b"From:<>  SIZE=1 ", True)
def test_a_client_cannot_tell_how_its_path_was_read(argument: bytes, lenient: bool) -> None:
    """What is of the usual form is read at once, and means what the readers of every form say."""
    server = Server(settings=Settings(lenient_addresses=lenient))
    if USUAL_MAIL.match(argument):
        from_ = read_mail(argument.decode("ascii"), lenient=lenient)
        assert (from_.internationalized, from_.leniencies) == (False, ())
        said = server.send(b"HELO me\r\nMAIL " + argument + b"\r\n")
        if said[-1] == "250":
            assert server.dialogue.envelope is not None
            assert server.dialogue.envelope.reverse_path == from_.path
        else:
            assert from_.rest
    elif USUAL_RCPT.match(argument):
        to = read_rcpt(argument.decode("ascii"), lenient=lenient)
        assert (to.internationalized, to.leniencies) == (False, ())
        said = server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT " + argument + b"\r\n")
        if said[-1] == "250":
            assert server.dialogue.envelope is not None
            assert server.dialogue.envelope.forward_paths == [to.path]
        else:
            assert to.rest


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("", "500 5.5.2"),
        (" ", "500 5.5.2"),
        ("DATABASE", "500 5.5.2"),
        ("HELOX me", "500"),
        (" NOOP", "500"),
        ("1NOOP", "500"),
        ("NOOP \\x01", "500 5.5.2 A command is printable"),
        ("NOOP\\x09x", "500 5.5.2 Command not recognised"),
        ("\\xff\\xfe\\xfd", "500 5.5.2 A command is printable"),
        ("NOOP \\xff", "500 5.5.2 A command is printable"),
        ("NOOP \\x1b[2J", "500 5.5.2 A command is printable"),
        ("NOOP \\xc2\\x85", "500 5.5.2 A command is printable"),
        ("NOOP \\xe2\\x80\\xa8", "500 5.5.2 A command is printable"),
        ("NOOP \\xed\\xa0\\x80", "500 5.5.2 A command is printable"),
        ("DATA \\xff", "500 5.5.2 A command is printable"),
        ("VRFY \\xff", "500 5.5.2 A command is printable"),
        ("HELP \\xff", "500 5.5.2 A command is printable"),
        ("MAIL FROM:<\\xff@b>", "500 5.5.2 A command is printable"),
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
        ("HELP me", "214 ..."),
        ("XCLIENT ADDR=127.0.0.1", "500"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", "500"),
        ("AUTH PLAIN", "502"),
    ],
)
def test_a_command_gets_its_reply(line: str, reply: str) -> None:
    """One each, whatever it is, and the next command one again."""
    play(f"{HELO}C: {line}\nS: {reply}\nC: NOOP\nS: 250 2.0.0 OK")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("RCPT <a@b>", "501 5.5.4 Syntax: RCPT"),
        ("RCPT TO: <a@b>", "250 2.1.5"),
        ("RCPT TO:<a@example.\\xe2\\x84\\xaaom>", "553 5.6.7"),
        ("RCPT TO:<\\xff@b>", "500 5.5.2"),
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


def test_data_takes_no_argument() -> None:
    """And asks for no content then (§4.1.1.4)."""
    play(f"{RCPT}C: DATA now\nS: 501 5.5.4\nC: DATA\nS: 354\nC: .\nS: 250")


@pytest.mark.parametrize("line", ["MAIL FROM:<>", "RCPT TO:<a@b>", "DATA", "STARTTLS"])
def test_who_it_is_comes_first(line: str) -> None:
    """§4.1.4: EHLO or HELO begins a session."""
    play(f"C: {line}\nS: 503 5.5.1 Send EHLO\nC: RSET\nS: 250\nC: {line}\nS: 503")


def test_lenient_addresses_are_taken_where_that_is_set() -> None:
    """No brackets, an underscore in a domain, a dot behind it; each is noted."""
    played = play(
        HELO + "C: MAIL  FROM:a@b SIZE=1\nS: 250\nC: RCPT TO: <c@d_e.>\nS: 250",
        settings=Settings(lenient_addresses=True),
    )
    envelope = played.dialogue.envelope
    assert envelope is not None
    assert [str(path) for path in envelope.forward_paths] == ["c@d_e"]
    observer = Noting()
    server = Server(settings=Settings(lenient_addresses=True), observer=observer)
    server.send(b"HELO me\r\nMAIL  FROM:a@b\r\nRCPT TO:<c@d_e>\r\n")
    assert observer.notes == [
        "blanks where none belong",
        "no brackets around the path",
        "a host name that is no domain of RFC 5321",
    ]
    assert Server(settings=Settings(lenient_addresses=True)).send(b"HELO a\r\nMAIL FROM:a@b\r\n")


@pytest.mark.parametrize(
    "line",
    ["MAIL FROM:a@b FOO", "MAIL FROM:'a@b'", "MAIL FROM:jörg@b", "RCPT TO:ä@b", "RCPT TO:a>"],
)
def test_what_was_not_taken_is_not_noted_as_taken(line: str) -> None:
    """A note about a leniency says that a command was taken all the same."""
    observer = Noting()
    server = Server(settings=Settings(lenient_addresses=True), observer=observer)
    server.send(b"HELO me\r\n" + (b"MAIL FROM:<>\r\n" if line.startswith("RCPT") else b""))
    assert server.send(line.encode() + b"\r\n")[0][0] == "5"
    assert observer.notes == []


@pytest.mark.parametrize("end", ["RSET", "EHLO me", "HELO me"])
def test_a_transaction_can_be_dropped(end: str) -> None:
    """RSET and a new EHLO forget it (§4.1.1.5, §4.1.4)."""
    played = play(f"{RCPT}C: {end}\nS: 250 ...\nC: RCPT TO:<a@b>\nS: 503\nC: MAIL FROM:<>\nS: 250")
    assert played.aborted == [Reason.RESET if end == "RSET" else Reason.HELLO]


def test_a_hello_that_is_refused_drops_nothing() -> None:
    """A negative reply never moves the state (§4.1.4)."""

    class Picky:
        def hello(self, introduction: object, connection: Connection) -> bool:
            return "client" in str(introduction)

        def message(self, envelope: Envelope) -> None: ...

    assert play(f"{RCPT}C: HELO other\nS: 550\nC: DATA\nS: 354\nC: .\nS: 250", Picky()).envelopes


def test_a_browser_is_sent_away() -> None:
    """What follows an HTTP request is a form's fields, and no mail (§7.8)."""
    played = play("C: POST / HTTP/1.1\nS: 554 5.5.1 This is SMTP, not HTTP\nC: MAIL FROM:<>")
    assert played.dialogue.finished is Reason.LIMIT


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
        discards_content = True

        def verify(self, text: str, connection: Connection) -> tuple[int, str]:
            return 250, f"<{text}@example.org>"

        def expand(self, text: str, connection: Connection) -> tuple[int, tuple[str, ...]]:
            return 250, ("<a@example.org>", "<b@example.org>")

        def help(self, text: str, connection: Connection) -> bool:
            return text == ""

        def etrn(self, domain: str, connection: Connection) -> bool:
            return domain == "example.org"

    play(
        HELO
        + """
        C: VRFY  anne
        S: 250 2.0.0 <anne@example.org>
        C: EXPN list
        S: 250-2.0.0 <a@example.org>
        S: 250 2.0.0 <b@example.org>
        C: HELP
        S: 214 ...
        C: HELP me
        S: 504 5.5.4
        C: ETRN example.org
        S: 250 2.0.0 Queuing started
        C: ETRN example.com
        S: 458 4.3.0 Unable to queue messages
        """,
        Knows(),
    )


def test_the_answer_to_vrfy_may_be_in_utf8_where_the_client_reads_it() -> None:
    """It says SMTPUTF8 behind the name (RFC 6531 §3.7.4.2); others get question marks."""
    server = Server(Does(verify=lambda text, connection: (250, f"<{text}ß@x>")))
    server.send(b"HELO me\r\nVRFY a SMTPUTF8\r\nVRFY a\r\n")
    assert "<aß@x>".encode() in server.said
    assert b"<a?@x>" in server.said


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (Verb(0), ["NOOP", "MAIL", "UNKNOWN", "AUTH", "UNKNOWN", "QUIT"]),
        (Verb.MAIL | Verb.QUIT, ["MAIL", "QUIT"]),
        (Verb.RCPT, []),
    ],
)
def test_commands_can_be_watched(mask: Verb, seen: list[str]) -> None:
    """Those of the mask, also refused ones and the last; 0 is all."""
    watched = []

    class Watches:
        command_mask = mask
        discards_content = True

        def command(self, command: Any, connection: Connection) -> None:
            watched.append(command.verb.name)

    play(
        "C: NOOP\nS: 250\nC: MAIL FROM:<>\nS: 503\nC: FOO\nS: 500\nC: AUTH PLAIN x\nS: 503\n"
        "C: \nS: 500\nC: QUIT\nS: 221",
        Watches(),
    )
    assert watched == seen * 2


# Extensions of the user's own.


def _read(text: str | None) -> int:
    return int(text or "")


TICKETS = Extension(
    "XTICKET",
    mail={"XTICKET": Parameter(_read)},
    rcpt={"XPLACE": Parameter(_read)},
    verbs={
        "XTICKETS": lambda text, connection: (250, f"{text or 'none'} for {connection.id}"),
        "XCLOSED": lambda text, connection: False,
        "XBROKEN": lambda text, connection: 1 / 0,
    },
)


def test_a_verb_of_ones_own_is_answered_by_its_function() -> None:
    """Given the text and the connection, its verdict is the reply; a fault of it is 451."""
    played = play(
        """
        C: xtickets
        S: 250 2.0.0 none for play
        C: EHLO me
        S: 250 ...
        C: XTICKETS  two
        S: 250 2.0.0 two for play
        C: XTICKETS \\xff
        S: 500 5.5.2
        C: XCLOSED
        S: 502 5.5.1
        C: MAIL FROM:<>
        S: 250
        C: XTICKETS
        S: 250 2.0.0 none for play
        C: RCPT TO:<a@b>
        S: 250
        """,
        connection=Connection("play"),
        settings=Settings(extensions=(TICKETS,)),
    )
    assert played.events.count("XTICKETS") == 3
    server = Server(settings=Settings(extensions=(TICKETS,)))
    assert server.send(b"XBROKEN\r\nNOOP\r\n") == ["451", "250"]
    assert "XBROKEN of an extension, <lambda>, failed" in server.log[0]


def test_parameters_of_ones_own_are_read_and_given_on() -> None:
    """By keyword; one that cannot be read is 501, one of somebody else 555."""
    played = play(
        """
        C: EHLO me
        S: 250-...
        S: 250 XTICKET
        C: MAIL FROM:<> XTICKET=x
        S: 501 5.5.4
        C: MAIL FROM:<> XPLACE=1
        S: 555 5.5.4
        C: MAIL FROM:<> XTICKET=7
        S: 250
        C: RCPT TO:<a@b> XPLACE=x
        S: 501 5.5.4
        C: RCPT TO:<a@b> XPLACE=8
        S: 250
        """,
        settings=Settings(extensions=(TICKETS,)),
    )
    envelope = played.dialogue.envelope
    assert envelope is not None
    assert envelope.parameters["XTICKET"] == 7
    assert envelope.recipients[0].parameters["XPLACE"] == 8


# The greeting and the welcome.


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (True, "220 localhost ESMTP"),
        ((220, "mail.example.org hello"), "220 mail.example.org hello"),
        (False, "554 No service"),
        (450, "450"),
        (421, "421"),
        ((550, "5.7.1", "no"), "550 no"),
        (250, "421 4.3.0 Local error"),
    ],
)
def test_a_client_may_be_sent_away_at_once(answer: object, said: str) -> None:
    """A greeting is 220 and any refusal closes (§3.1); neither has a status (RFC 2034 §4)."""

    class Says:
        discards_content = True

        def connected(self, connection: Connection) -> object:
            return answer

    played = play(f"S: {said}", Says())
    assert played.dialogue.finished is (None if said.startswith("220") else Reason.REFUSED)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, b"250-localhost\r\n"),
        ((250, "pleased to meet you"), b"250-localhost pleased to meet you\r\n"),
        ((250, ("one", "two")), b"250-localhost one two\r\n"),
        ((250, "x" * 500), b"250-localhost " + b"x" * 496 + b"\r\n"),
        ((250, "2.0.0", "hello"), b"250-localhost hello\r\n"),
        ((250, ""), b"250-localhost\r\n"),
        ((250, "é" * 240 + " AUTH PLAIN"), b"250-localhost " + b"?" * 240 + b" AUTH PLAIN\r\n"),
        ((250, "é" * 250), b"250-localhost " + b"?" * 250 + b"\r\n"),
        ((250, "LOCALHOST at your service"), b"250-LOCALHOST at your service\r\n"),
        ((550, "5.7.1", "no"), b"550 no\r\n"),
        (False, b"550 Refused by policy\r\n"),
    ],
)
def test_a_handler_may_word_the_welcome(answer: object, said: bytes) -> None:
    """Our name comes first, the offer stays whole, no status is said (§4.1.1.1, RFC 2034 §4)."""
    server = Server(Does(hello=lambda introduction, connection: answer), tls=False)
    server.send(b"EHLO me\r\n")
    assert server.said.startswith(said)
    if said.startswith(b"250"):
        assert server.said[len(said) :].startswith(b"250-PIPELINING\r\n")
        assert server.said.endswith(b"250 HELP\r\n")
    assert server.dialogue.connection.extended is said.startswith(b"250")
    assert max(map(len, server.said.splitlines(keepends=True))) <= 512


def test_a_welcome_of_ones_own_begins_with_our_name_after_helo_too() -> None:
    """RFC 5321 §4.1.1.1 wants the domain first."""

    class Polite:
        discards_content = True

        def hello(self, introduction: object, connection: Connection) -> tuple[int, str]:
            return 250, "pleased to meet you"

    play("C: HELO there\nS: 250 localhost pleased to meet you\n" * 2, Polite)


def test_helo_offers_nothing() -> None:
    """It is for clients that know no extensions (§4.1.1.1)."""
    played = play("C: HELO me\nS: 250 localhost")
    assert played.dialogue.connection.hello == "me"
    assert not played.dialogue.connection.extended


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


def test_text_that_ascii_cannot_say_is_made_sendable() -> None:
    """In UTF-8 where the client has said SMTPUTF8, replaced elsewhere; it is never an error."""
    refuses = Does(
        rcpt=lambda recipient, envelope: (550, f"No such user: {recipient.forward_path}")
    )
    server = Server(refuses)
    server.send("EHLO me\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<jürgen@b>\r\n".encode())
    assert "550 5.1.1 No such user: jürgen@b\r\n".encode() in server.said
    server = Server(Does(rcpt=lambda recipient, envelope: (550, "ungültig")))
    server.send(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    assert b"550 5.1.1 ung?ltig\r\n" in server.said


# What a policy wants first.


def test_where_tls_is_required_nothing_else_comes_first() -> None:
    """530 5.7.0 to anything but EHLO, NOOP, RSET, QUIT and what leads there (RFC 3207 §4)."""
    policy = Settings(require_tls=True, allow_insecure_auth=True)
    play(
        """
        C: MAIL FROM:<>
        S: 503 5.5.1 Send EHLO
        C: HELP
        S: 530 5.7.0 Must issue a STARTTLS
        C: EHLO me
        S: 250 ...
        C: NOOP
        S: 250
        C: VRFY anne
        S: 530
        C: MAIL FROM:<>
        S: 530 5.7.0 Must issue a STARTTLS
        C: RCPT TO:<a@b>
        S: 530
        C: BDAT 6 LAST
        C: QUIT
        S: 530
        C: RSET
        S: 250
        C: STARTTLS
        S: 220
        C: EHLO me
        S: 250 ...
        C: MAIL FROM:<>
        S: 250
        """,
        settings=policy,
    )


def test_where_a_login_is_required_mail_comes_after_it() -> None:
    """530 5.7.0 until then (RFC 4954 §6)."""
    policy = Settings(require_auth=True, allow_insecure_auth=True)
    play(
        """
        C: EHLO me
        S: 250 ...
        C: MAIL FROM:<>
        S: 530 5.7.0 Authentication required
        C: AUTH PLAIN AGEAYg==
        S: 235
        C: MAIL FROM:<>
        S: 250
        C: VRFY anne
        S: 252
        """,
        Does(authenticate=lambda credentials, connection: True),
        settings=policy,
    )


def test_a_login_in_the_clear_does_not_count_after_starttls() -> None:
    """The policy asks for another one (RFC 3207 §4.2)."""
    play(
        """
        C: EHLO me
        S: 250 ...
        C: AUTH PLAIN AGEAYg==
        S: 235
        C: STARTTLS
        S: 220
        C: EHLO me
        S: 250 ...
        C: MAIL FROM:<>
        S: 530 5.7.0 Authentication required
        """,
        Does(authenticate=lambda credentials, connection: True),
        settings=Settings(require_auth=True, allow_insecure_auth=True),
    )


@pytest.mark.parametrize("word", ["VRFY", "vrfy", "HELP", "help", "ETRN", "etrn", "XTRA", "xtra"])
@pytest.mark.parametrize(("before", "behind"), [("", "\\x09"), (" ", " \\x09 "), ("\\x09", "")])
def test_blanks_around_an_argument_are_none_of_it(word: str, before: str, behind: str) -> None:
    """A tab is one too, however the verb is written (§4.1.1)."""
    heard: list[str] = []
    code = "214" if word.upper() == "HELP" else "250"

    def hear(text: str, connection: Connection) -> object:
        heard.append(text)
        return int(code)

    play(
        f"C: EHLO me\nS: 250 ...\nC: {word} {before}a.b{behind}\nS: {code} ...",
        Does(verify=hear, help=hear, etrn=hear),
        settings=Settings(extensions=(Extension("XTRA", verbs={"XTRA": hear}),)),
    )
    assert heard == ["a.b", "a.b"]


def test_a_tab_makes_no_command_wrong_that_comes_too_early() -> None:
    """It hears why it may not come now, as it does without the tab."""
    play(
        "C: MAIL FROM:\\x09<a@b>\nC: RCPT TO:<a@b>\\x09\nS: 503 5.5.1 Send EHLO\nS: 503 5.5.1 Send"
    )


@pytest.mark.parametrize("answer", [250, (250, "Fine"), Reply(250, "Fine")])
def test_a_yes_in_your_own_words_has_the_status_of_its_event(answer: object) -> None:
    """2.1.0 for a sender, 2.1.5 for a recipient (RFC 3463 §3.2), as the standard words have."""
    play(
        HELO
        + """
        C: MAIL FROM:<>
        S: 250 2.1.0
        C: RCPT TO:<a@b>
        S: 250 2.1.5
        C: BDAT 0 LAST
        S: 250 2.0.0
        """,
        Does(mail=returns(answer), rcpt=returns(answer), message=returns(answer)),
    )
    chosen = Reply(250, "Fine", status="2.0.1")
    play(f"{HELO}C: MAIL FROM:<>\nS: 250 2.0.1 Fine", Does(mail=returns(chosen)))
