"""Command lines as values, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._command import (
    VERBS,
    Command,
    CommandLine,
    Introduction,
    Query,
    Verb,
    read_command,
    read_query,
)
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError


@pytest.mark.parametrize(
    ("line", "verb", "word", "argument"),
    [
        (b"mail FROM:<> \t", Verb.MAIL, b"MAIL", b"FROM:<>"),
        (b"MAIL  FROM:<>", Verb.MAIL, b"MAIL", b" FROM:<>"),
        (b"NOOP", Verb.NOOP, b"NOOP", b""),
        (b"xfrob a b", Verb.UNKNOWN, b"XFROB", b"a b"),
        (b" NOOP", Verb.UNKNOWN, b"", b"NOOP"),
        (b"NOOP\tx", Verb.UNKNOWN, b"NOOP\tX", b""),
        ("ma\u0131l x".encode(), Verb.UNKNOWN, "MA\u0131L".encode(), b"x"),
        (b"", Verb.UNKNOWN, b"", b""),
    ],
)
def test_a_line_is_a_verb_and_an_argument(
    line: bytes, verb: Verb, word: bytes, argument: bytes
) -> None:
    """Verbs are ASCII and not case-sensitive; one blank stands behind them (§4.1.1)."""
    assert read_command(line) == CommandLine(verb, word, argument)


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        (Command(Verb.QUIT), b"QUIT\r\n"),
        (Command(Verb.MAIL, "FROM:<>"), b"MAIL FROM:<>\r\n"),
        (Command(Verb.RCPT, "TO:<jörg@example.org>"), "RCPT TO:<jörg@example.org>\r\n".encode()),
        (Command(Verb.UNKNOWN, "x", "XFROB"), b"XFROB x\r\n"),
        (Introduction(Verb.EHLO, "client.example.org"), b"EHLO client.example.org\r\n"),
    ],
)
def test_a_command_is_written_as_a_line(command: Command | Introduction, wire: bytes) -> None:
    """In UTF-8, which is ASCII unless an address is not."""
    assert command.wire == wire


@pytest.mark.parametrize(
    "command",
    [
        Command(Verb.MAIL, "FROM:<>\r\nRCPT TO:<a@b>"),
        Command(Verb.NOOP, "\n"),
        Command(Verb.NOOP, "\0"),
        Command(Verb.NOOP, "\x85"),
        Command(Verb.NOOP, "\udcff"),
        Command(Verb.UNKNOWN),
        Command(Verb.UNKNOWN, "x"),
        Command(Verb.UNKNOWN, "x", " NOOP"),
        Introduction(Verb.EHLO, "me\r\nQUIT"),
    ],
)
def test_a_command_is_one_line_or_an_error(command: Command | Introduction) -> None:
    """What comes from a program's user must never become a second command (P52)."""
    with pytest.raises(LocalProtocolError):
        _ = command.wire


@given(st.sampled_from(sorted(VERBS)), st.text(min_size=1))
def test_what_is_written_is_read_as_the_same(word: bytes, argument: str) -> None:
    """Both sides agree on every command that can be written."""
    try:
        wire = Command(VERBS[word], argument).wire
    except LocalProtocolError:
        return
    line = wire.removesuffix(b"\r\n")
    assert b"\r" not in line
    assert b"\n" not in line
    assert read_command(line) == (VERBS[word], word, argument.encode().rstrip(b" \t"))


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        (b"client.example.org", "client.example.org"),
        (b"(none)", "(none)"),
        (b"my laptop", "my laptop"),
        (b"PhpStorm 9.0.3", "PhpStorm 9.0.3"),
        (b"mantis.*", "mantis.*"),
        (b" \t two.blanks  ", "two.blanks"),
        (b"<script>", "<script>"),
        (b"a\\b", "a\\b"),
        ("bücher.example".encode(), "bücher.example"),
        ("bücher".encode("latin-1"), "b\\xfccher"),
        (b"x" * 1000, "x" * 1000),
    ],
)
def test_any_name_is_taken(argument: bytes, name: str) -> None:
    """A client must not be refused for its name (§4.1.4); it is given on as it came."""
    assert Introduction.read(Verb.EHLO, argument) == Introduction(Verb.EHLO, name)


@pytest.mark.parametrize(
    "argument",
    [b"", b"  \t", b"a\0b", b"a\rb", b"a\nb", b"\x1b[2J", b"a\x7f", b"a\tb", b"\xc2\x9b"],
)
def test_an_empty_name_and_a_control_character_are_refused(argument: bytes) -> None:
    """The one says nothing, the other wants to be something else than a name."""
    with pytest.raises(PeerProtocolError) as caught:
        Introduction.read(Verb.HELO, argument)
    assert caught.value.reply.code == 501


@pytest.mark.parametrize(
    ("argument", "query"),
    [
        ("anne", Query("anne", smtputf8=False)),
        (" anne o\t ", Query("anne o", smtputf8=False)),
        ("jörg smtputf8 ", Query("jörg", smtputf8=True)),
        ("x SMTPUTF8", Query("x", smtputf8=True)),
        ("SMTPUTF8", Query("SMTPUTF8", smtputf8=False)),
        ("xSMTPUTF8", Query("xSMTPUTF8", smtputf8=False)),
        ("x \u017fMTPUTF8", Query("x \u017fMTPUTF8", smtputf8=False)),
        ("", Query("", smtputf8=False)),
    ],
)
def test_smtputf8_is_a_parameter_of_vrfy_and_expn(argument: str, query: Query) -> None:
    """Not a part of the name that is asked for (RFC 6531 §3.7.4.2)."""
    assert read_query(argument) == query


def test_a_mask_is_a_set_of_verbs() -> None:
    """``Verb.MAIL | Verb.RCPT`` has these two, and nothing else."""
    mask = Verb.MAIL | Verb.RCPT
    assert [verb for verb in Verb if verb in mask] == [Verb.MAIL, Verb.RCPT]
