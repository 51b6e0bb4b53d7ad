"""What MAIL and RCPT say, by the pattern of the usual form and by the readers of every form."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpcb.smtp._address import ForwardPath, Leniency, ReversePath
from smtpcb.smtp._argument import (
    USUAL_MAIL,
    USUAL_RCPT,
    read_mail,
    read_rcpt,
    usual_forward_path,
    usual_reverse_path,
)
from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp._text import read_text


@pytest.mark.parametrize(
    ("argument", "path", "rest"),
    [
        (b"FROM:<anne@example.org>", ReversePath("anne", "example.org"), b""),
        (b"from:<A.b+c@EXAMPLE.org> SIZE=1", ReversePath("A.b+c", "example.org"), b" SIZE=1"),
        (b"From:<>  SIZE=1 ", ReversePath.NULL, b"  SIZE=1 "),
        (b"FROM:<a@" + b"x" * 63 + b".o-rg>", ReversePath("a", f"{'x' * 63}.o-rg"), b""),
    ],
)
def test_the_usual_form_is_read_at_once(argument: bytes, path: ReversePath, rest: bytes) -> None:
    """Also in the middle of a line, so that nothing has to be cut off first."""
    match = USUAL_MAIL.match(argument)
    assert match is not None
    assert (usual_reverse_path(match), match[3]) == (path, rest)
    match = USUAL_MAIL.match(b"MAIL " + argument, 5)
    assert match is not None
    assert usual_reverse_path(match) == path


@pytest.mark.parametrize(
    "argument",
    [
        b"TO:<>",
        b"TO:<a@b.>",
        b"TO:<a@-b>",
        b"TO:<a@b->",
        b"TO:<a..b@c>",
        b"TO:<a@b>x",
        b"TO:<a@b> \xc3\xa4",
        b"TO:<a@b> \x00",
        b"TO:<a@b>\n",
        b"TO: <a@b>",
        b'TO:<"a"@b>',
        b"TO:<a@[1.2.3.4]>",
        b"TO:<a@" + b"x" * 64 + b".org>",
        b"TO:<" + b"a" * 250 + b"@example.org>",
        b"TO:<postmaster>",
    ],
)
def test_anything_else_is_left_to_the_readers(argument: bytes) -> None:
    """It may be right or wrong; the pattern does not know."""
    assert USUAL_RCPT.match(argument) is None


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


@given(ARGUMENTS)
@example(b"TO:<" + b"a" * 242 + b"@example.org>")
@example(b"TO:<" + b"a" * 243 + b"@example.org>")
@example(b"FROM:<" + b"a@b." + b"x" * 63 + b">")
def test_the_pattern_says_just_what_the_readers_say(argument: bytes) -> None:
    """So it needs no second check, and a client cannot tell which of them read its command."""
    match = USUAL_RCPT.match(argument)
    if match is not None:
        for lenient in (False, True):
            found = read_rcpt(read_text(argument), lenient=lenient)
            assert found == (usual_forward_path(match), match[3].decode(), False, ())
    match = USUAL_MAIL.match(argument)
    if match is not None:
        for lenient in (False, True):
            read = read_mail(read_text(argument), lenient=lenient)
            assert read == (usual_reverse_path(match), match[3].decode(), False, ())


@pytest.mark.parametrize("argument", ["", "FROM", "FROM<a@b>", "<a@b>", "T\u00ba:<a@b>", "TO ."])
def test_what_names_no_path_is_refused_with_the_syntax(argument: str) -> None:
    """So that the client sees how it is written (RFC 5321 §4.1.1.2)."""
    for read in (read_mail, read_rcpt):
        with pytest.raises(PeerProtocolError) as caught:
            read(argument)
        assert caught.value.reply.text.startswith("501 5.5.4 Syntax: ")


def test_a_path_that_is_wrong_is_refused_with_its_status() -> None:
    """5.1.7 for a sender, 5.1.3 for a recipient (RFC 3463 §3.2)."""
    for read, argument, status in (
        (read_mail, "FROM:<a b>", "5.1.7"),
        (read_rcpt, "TO:<>", "5.1.3"),
    ):
        with pytest.raises(PeerProtocolError) as caught:
            read(argument)
        assert (caught.value.reply.code, caught.value.reply.status) == (501, status)


@pytest.mark.parametrize("argument", [" FROM:<a.@b>", "\t FROM : <a.@b>", "FROM\t:<a.@b>"])
def test_blanks_between_the_words_are_taken_where_that_is_asked_for(argument: str) -> None:
    """And noted, with whatever else was wrong."""
    found = read_mail(argument, lenient=True)
    assert found.path == ReversePath("a.", "b")
    assert found.leniencies == (Leniency.BLANKS, Leniency.DOTS)
    to = argument.replace("FROM", "to")
    assert read_rcpt(to, lenient=True).path == ForwardPath("a.", "b")
    for read, text in ((read_mail, argument.replace("a.", "a")), (read_rcpt, to)):
        with pytest.raises(PeerProtocolError):
            read(text)
