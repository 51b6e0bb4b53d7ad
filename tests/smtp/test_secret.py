"""What is shown of command lines: no octet of a secret, and everything else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._command import VERBS, Command, Verb
from smtpcb.smtp._secret import hidden, is_auth, observed, shown, shown_response

SECRET = b"hunter2-swordfish"
ENCODED = base64.b64encode(b"\0anne\0" + SECRET)
LATIN = base64.b64encode("\0jörg\0geheim".encode("latin-1"))


def alignments(secret: bytes) -> list[bytes]:
    """Return how a secret looks in base64, wherever it stands in what was encoded."""
    return [base64.b64encode(b"x" * at + secret)[4:-4] for at in range(3)]


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<anne@example.org>",
        b"MAIL FROM:<bounce+user=example.org@list.example> SIZE=12 BODY=8BITMIME",
        b"MAIL FROM:<authority@example.org> AUTH=<>",
        b"mail from: <auth.login@example.org> RET=FULL ENVID=pass auth=anne+2Bx@example.org",
        b"MAIL FROM:<> XKEY=value",
        b"MAIL FROM:<not an address>",
        b"RCPT TO:<user.pass@example.org> NOTIFY=SUCCESS,FAILURE",
        "RCPT TO:<用户@example.org> ORCPT=utf-8;用户@example.org".encode(),
        b"RCPT TO:<password=token@example.org>",
        b"EHLO auth.example.org",
        b"EHLO [IPv6:2001:db8::1]",
        b"EHLO my laptop",
        b"HELO plain-login",
        b"HELO mailserver",
        b"DATA",
        b"RSET ",
        b"BDAT 100 LAST",
        b"BDAT 1.5 LAST",
        b"QUIT",
        b"NOOP anything at all",
        b"HELP AUTH",
        b"VRFY user@example.org",
        b"VRFY Paul Authier",
        b"EXPN staff",
        b"ETRN @example.org",
        b"STARTTLS",
        b"AUTH PLAIN",
        b"AUTH  LOGIN ",
        b"AUTH",
        b"AUTH  ",
        b"auth scram-sha-256",
        b"GET / HTTP/1.1",
        b"XCLIENT ADDR=127.0.0.1 NAME=client.example.org",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 25",
    ],
)
def test_a_command_is_shown_as_it_came(line: bytes) -> None:
    """A transcript that hides what was said is none."""
    assert shown(line) is line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"AUTH PLAIN " + ENCODED, b"AUTH PLAIN <32 octets hidden>"),
        (b"auth login YQ==", b"auth login <4 octets hidden>"),
        (b"AUTH  PLAIN x", b"AUTH  PLAIN <1 octets hidden>"),
        (b"AUTH PLAIN  x y ", b"AUTH PLAIN  <4 octets hidden>"),
        (b"AUTH c2VjcmV0 x", b"AUTH <10 octets hidden>"),
        (b"AUTH PLAINx", b"AUTH <6 octets hidden>"),
        (b"NOOP AUTH PLAIN " + ENCODED, b"NOOP <43 octets hidden>"),
        (b"LOGIN anne hunter2", b"LOGIN <12 octets hidden>"),
        (b"GET /?pass=x HTTP/1.1", b"GET <17 octets hidden>"),
        (b"pass", b"pass"),
        (b"DATA now", b"DATA <3 octets hidden>"),
        (b"XFROB x", b"<7 octets hidden>"),
        (b"\x16\x03\x01", b"<3 octets hidden>"),
    ],
)
def test_what_is_hidden_is_counted(line: bytes, said: bytes) -> None:
    """The verb stays where there is one, and the length may help."""
    assert shown(line) == said


# How passwords get into places where no command wants them.  Each has SECRET or ENCODED in it.
STRAY = [
    # AUTH itself, written in a strange way
    b"AUTH PLAIN " + ENCODED,
    b"auth\tplain\t" + ENCODED,
    b" AUTH PLAIN " + ENCODED,
    b"AUTH " + ENCODED,
    b"AUTH\t" + SECRET,
    b"AUTH=PLAIN " + ENCODED,
    b"AUTH:PLAIN " + ENCODED,
    b"AUTHPLAIN " + ENCODED,
    b"AUTH LOGIN anne " + SECRET,
    b"AUTH WHAT " + ENCODED,
    b'"AUTH PLAIN ' + ENCODED + b'"',
    b"C: AUTH PLAIN " + ENCODED,
    b"> AUTH PLAIN " + ENCODED,
    # AUTH split
    b"A UTH PLAIN " + ENCODED,
    b"AU TH PLAIN " + ENCODED,
    b"AU\0TH PLAIN " + ENCODED,
    b"AUT\tH LOGIN " + SECRET,
    b"TH PLAIN " + ENCODED,
    b"NOOP A-U-T-H P.L.A.I.N " + ENCODED,
    b"NOOP AU TH LOGIN " + SECRET,
    # AUTH behind another verb
    b"NOOP AUTH PLAIN " + ENCODED,
    b"EHLO me AUTH LOGIN " + SECRET,
    b"HELO AUTH " + SECRET,
    b"RSET AUTH PLAIN " + ENCODED,
    b"QUIT " + SECRET,
    b"STARTTLS " + base64.b64encode(SECRET),
    b"VRFY AUTH " + SECRET,
    b"STARTTLS AUTH PLAIN " + ENCODED,
    b"MAIL AUTH PLAIN " + ENCODED,
    b"MAIL FROM:<a@b> AUTH PLAIN " + ENCODED,
    b"MAIL FROM:<a@b> AUTH=PLAIN " + ENCODED,
    b"MAIL FROM:<a@b> AUTH=" + ENCODED,
    b"RCPT TO:<a@b> PASSWORD=" + SECRET,
    b"EHLO me\nAUTH LOGIN\n" + ENCODED,
    b"EHLO me\rUSER anne\rPASS " + SECRET,
    b"QUIT\nAUTH PLAIN " + ENCODED,
    # an unknown verb's argument
    b"XAUTH PLAIN " + ENCODED,
    b"FROB AUTH PLAIN " + ENCODED,
    b"FROB " + SECRET,
    b"MAILFROM " + SECRET,
    # IMAP, POP, NNTP, FTP, HTTP, ManageSieve, SASL on its own
    b"LOGIN anne " + SECRET,
    b"a1 LOGIN anne " + SECRET,
    b'. login "anne" "' + SECRET + b'"',
    b"a1 AUTHENTICATE PLAIN " + ENCODED,
    b"AUTHENTICATE PLAIN " + ENCODED,
    b'AUTHENTICATE "PLAIN" "' + ENCODED + b'"',
    b"USER " + SECRET,
    b"PASS " + SECRET,
    b"pass " + SECRET,
    b"APOP anne " + SECRET,
    b"AUTHINFO PASS " + SECRET,
    b"Authorization: Basic " + ENCODED,
    b"GET /?password=" + SECRET,
    b"PLAIN " + ENCODED,
    b"334 " + ENCODED,
    # other words, behind verbs that are commands
    b"NOOP LOGIN anne " + SECRET,
    b"NOOP user=anne password=" + SECRET,
    b'HELP {"password":"' + SECRET + b'"}',
    b"HELP token: " + SECRET,
    b"VRFY anne PASS " + SECRET,
    b"NOOP Bearer " + SECRET,
    b"EXPN pwd=" + SECRET,
    b"NOOP PW " + SECRET,
    b"HELP credentials: anne/" + SECRET,
    b"BURL imap://anne:" + SECRET + b"@example.org/",
    b"CONNECT http://:" + SECRET + b"@example.org:25 HTTP/1.1",
    # no verb at all: an answer to a challenge that never came
    ENCODED,
    b" " + ENCODED,
    SECRET,
    b"anne:" + SECRET,
    base64.b64encode(SECRET),
    b"NOOP " + ENCODED,
    b"EHLO " + ENCODED,
    b"HELP " + ENCODED.rstrip(b"="),
]


@pytest.mark.parametrize("line", STRAY)
def test_no_octet_of_a_stray_secret_is_shown(line: bytes) -> None:
    """Habits of other protocols, quotations, and logins out of step hold real passwords (P14)."""
    assert b"octets hidden>" in shown(line)
    for seen in (shown(line), repr(observed(line)).encode()):
        for secret in (SECRET, ENCODED, ENCODED[:12], *alignments(SECRET)):
            assert secret not in seen


def test_passwords_in_latin_1_are_secrets_too() -> None:
    """What PLAIN sends has NULs in it, and need not be UTF-8."""
    assert shown(b"NOOP " + LATIN) == b"NOOP <%d octets hidden>" % len(LATIN)


def test_verbs_of_ones_own_are_commands() -> None:
    """They are shown, and searched for secrets like others."""
    assert shown(b"xfrob x", {b"XFROB"}) == b"xfrob x"
    assert observed(b"xfrob x", {b"XFROB"}) == Command(Verb.UNKNOWN, "x", "xfrob")
    assert shown(b"XFROB PASS x", {b"XFROB"}) == b"XFROB <6 octets hidden>"


def test_the_answer_to_a_challenge_is_hidden() -> None:
    """But for the asterisk: it cancels, and that is worth knowing (RFC 4954 §4)."""
    assert shown_response(b"*") == b"*"
    assert shown_response(b"* ") == b"* "
    assert shown_response(b"abcd") == b"<4 octets hidden>"
    assert shown_response(b"") == b"<0 octets hidden>"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"mail FROM:<>  ", Command(Verb.MAIL, "FROM:<>", "mail")),
        (b"NOOP", Command(Verb.NOOP, "", "NOOP")),
        (b"FROB x", Command(Verb.UNKNOWN, "", "<6 octets hidden>")),
        (b"USER x", Command(Verb.UNKNOWN, "<1 octets hidden>", "USER")),
        (b"HELP \xff\x1b", Command(Verb.HELP, "\\xff\\x1b", "HELP")),
        (b"AUTH PLAIN " + ENCODED, Command(Verb.AUTH, "PLAIN", "AUTH")),
        (b"AUTH  PLAIN  " + ENCODED, Command(Verb.AUTH, "PLAIN", "AUTH")),
        (b"AUTH LOGIN", Command(Verb.AUTH, "LOGIN", "AUTH")),
        (b"AUTH", Command(Verb.AUTH, "", "AUTH")),
        (b"AUTH " + SECRET, Command(Verb.AUTH, "<17 octets hidden>", "AUTH")),
        (b"AUTHPLAIN x", Command(Verb.UNKNOWN, "", "<11 octets hidden>")),
        (b"", Command(Verb.UNKNOWN, "", "<0 octets hidden>")),
    ],
)
def test_an_observer_sees_the_line_as_it_was_received(line: bytes, command: Command) -> None:
    """Also one that will be refused; what does not print is escaped (P20)."""
    assert observed(line) == command


def test_the_beginning_of_auth_is_known() -> None:
    """Of a line that is too long nothing else is left."""
    assert is_auth(b"AUTH PLAIN AAAA")
    assert is_auth(b" auth")
    assert not is_auth(b"MAIL FROM:")
    assert not is_auth(b"")


@given(
    st.sampled_from(sorted(VERBS)),
    st.one_of(st.binary(max_size=60), st.text("authplainAUTHLOGIN =:<>@+/0\t\0", max_size=40)),
)
def test_a_line_is_shown_or_hidden_never_changed(word: bytes, argument: bytes | str) -> None:
    """Whatever is shown stood there; the rest is counted."""
    text = argument.encode() if isinstance(argument, str) else argument
    line = word + b" " + text
    seen = shown(line)
    if seen != line:
        start, _, counted = seen.rpartition(b"<")
        count = int(counted.partition(b" ")[0])
        assert line.startswith(start)
        assert seen == line[: len(line) - count] + hidden(count).encode()


@pytest.mark.parametrize(
    "piece",
    [
        b"\t", b" ", b"\xff", b"\0 ", b"\tAUT", b"AUTH\t", b"AUTH ", b"A", b"AAAA ", b"AUTH=", b"<",
        b"FROM:<", b"PASS", b"pass-", b"AUTH=a", b"AUTH=a@", b" AUTH=<", b"a.", b"=",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "verb", [b"", b"NOOP ", b"MAIL FROM:<", b"MAIL FROM:<>", b"EHLO ", b"AUTH "]
)
def test_looking_for_secrets_takes_each_octet_once(verb: bytes, piece: bytes) -> None:
    """A line must not cost its length squared (P25): these would take minutes."""
    line = verb + (piece * 400_000)[:400_000]
    shown(line)
    observed(line)


@pytest.mark.parametrize(
    "response",
    [
        b"user=anne@example.org\x01auth=Bearer ya29.swordfish\x01\x01",
        b"n,a=anne@example.org,\x01host=mx\x01port=587\x01auth=Bearer ya29.swordfish\x01\x01",
    ],
)
@pytest.mark.parametrize("before", [b"NOOP ", b"EHLO ", b"VRFY ", b"MAIL FROM:<a@b.example> "])
def test_a_token_that_strays_into_an_argument_is_hidden(before: bytes, response: bytes) -> None:
    """Whoever could read it in a transcript could log in with it (P14)."""
    said = base64.b64encode(response)
    for line in (before + said, before + said.rstrip(b"=")):
        masked = shown(line)
        assert not any(said[at : at + 12] in masked for at in range(0, len(said) - 12, 4))
        assert masked.endswith(b" octets hidden>")
