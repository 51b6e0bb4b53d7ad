"""What MAIL and RCPT say, by the pattern of the usual form and by the readers of every form."""

from __future__ import annotations

import pytest

from smtpcb.smtp._address import ForwardPath, Leniency, ReversePath
from smtpcb.smtp._argument import (
    USUAL_RCPT,
    read_mail,
    read_rcpt,
)
from smtpcb.smtp._errors import PeerProtocolError


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
