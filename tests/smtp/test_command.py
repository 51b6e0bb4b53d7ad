"""Command lines as values, and what is shown of them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._command import Command, Verb, hidden, is_auth, masked, observed, printable

SECRET = b"hunter2-swordfish"
ENCODED = base64.b64encode(b"\0anne\0" + SECRET)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"mail FROM:<>  ", Command(Verb.MAIL, "FROM:<>", "mail")),
        (b"NOOP", Command(Verb.NOOP, "", "NOOP")),
        (b"FROB x", Command(Verb.UNKNOWN, "x", "FROB")),
        (b"F" * 30, Command(Verb.UNKNOWN, "", "F" * 16 + "...")),
        (b"HELP \xff\x1b", Command(Verb.HELP, "\\xff\\x1b", "HELP")),
        (b"AUTH PLAIN " + ENCODED, Command(Verb.AUTH, "PLAIN", "AUTH")),
        (b"AUTH LOGIN", Command(Verb.AUTH, "LOGIN", "AUTH")),
        (b"AUTH", Command(Verb.AUTH, "", "AUTH")),
        (b"AUTH " + SECRET, Command(Verb.AUTH, "<18 octets hidden>", "AUTH")),
        (b"AUTHPLAIN x", Command(Verb.UNKNOWN, "", "<11 octets hidden>")),
    ],
)
def test_an_observer_sees_the_line_as_it_was_received(line: bytes, command: Command) -> None:
    """Also one that will be refused; what does not print is escaped (P20)."""
    assert observed(line, secret=False) == command


def test_a_line_that_is_no_command_may_be_a_secret() -> None:
    """A response sent out of step is not shown to anybody (P14)."""
    assert observed(ENCODED, secret=True) == Command(Verb.UNKNOWN, "", hidden(len(ENCODED)))
    assert observed(b"NOOP x", secret=True).argument == "x"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"AUTH PLAIN " + ENCODED, b"AUTH PLAIN <32 octets hidden>"),
        (b"auth login YQ==", b"auth login <4 octets hidden>"),
        (b"AUTH PLAIN", b"AUTH PLAIN"),
        (b"AUTH PLAIN ", b"AUTH PLAIN "),
        (b"AUTH", b"AUTH"),
        (b"AUTH  ", b"AUTH  "),
        (b" AUTH PLAIN x", b" AUTH PLAIN <1 octets hidden>"),
        (b"AUTH  PLAIN x", b"AUTH <9 octets hidden>"),
        (b"AUTH\tPLAIN\tx", b"AUTH <8 octets hidden>"),
        (b"AUTH PLAIN\tx y", b"AUTH <10 octets hidden>"),
        (b"AUTH c2VjcmV0 x", b"AUTH <11 octets hidden>"),
        (b"EHLO me\nAUTH LOGIN\nc2VjcmV0", b"EHLO me\nAUTH <15 octets hidden>"),
        (b"MAIL FROM:<> AUTH=<>", b"MAIL FROM:<> AUTH=<>"),
        (b"NOOP", b"NOOP"),
    ],
)
def test_what_auth_sends_along_is_masked(line: bytes, shown: bytes) -> None:
    """However it is spelled, and whether or not it will be understood (P14)."""
    assert masked(line) == shown
    assert is_auth(line) is (b"AUTH" in line.upper() and b"FROM" not in line)


@given(st.binary(max_size=80), st.integers(1, 16))
def test_octets_of_a_stranger_become_printable_text(octets: bytes, most: int) -> None:
    """Nothing that moves a cursor or reverses a line gets into a log (P18, P20)."""
    text = printable(octets, most)
    assert text.isprintable()
    assert len(text) <= most + 3


@pytest.mark.parametrize("char", ["a", "é", "€", "\U0001f600"])
def test_three_dots_say_that_more_came(char: str) -> None:
    """However many octets a character takes, and no character is cut through."""
    assert printable((char * 16).encode(), 16) == char * 16
    assert printable((char * 17).encode(), 16) == char * 16 + "..."
    assert printable((char * 1000).encode(), 16) == char * 16 + "..."


def test_a_mask_is_a_set_of_verbs() -> None:
    """``Verb.MAIL | Verb.RCPT`` has these two, and nothing else."""
    mask = Verb.MAIL | Verb.RCPT
    assert [verb for verb in Verb if verb in mask] == [Verb.MAIL, Verb.RCPT]
