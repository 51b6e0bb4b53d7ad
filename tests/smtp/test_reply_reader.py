"""Replies of a server, which is a stranger too: however they are cut, and whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._reply import Reply
from smtpcb.smtp._reply_reader import (
    MOST_LINE_OCTETS,
    MOST_LINES,
    MOST_OCTETS,
    MalformedReply,
    ReplyReader,
)


def read(octets: bytes, *, enhanced: bool = False, piece: int = 1 << 30) -> list[Reply]:
    """Read octets in pieces of that length."""
    reader = ReplyReader()
    reader.enhanced = enhanced
    found: list[Reply] = []
    for at in range(0, len(octets), piece):
        found += reader.read(octets[at : at + piece])
    assert not reader.waiting
    return found


def said(octets: bytes, *, enhanced: bool = False) -> tuple[int, str | None, tuple[str, ...]]:
    """Return what one reply says."""
    (reply,) = read(octets, enhanced=enhanced)
    assert read(octets, enhanced=enhanced, piece=1) == [reply]
    return reply.code, reply.status, reply.lines


@pytest.mark.parametrize(
    ("octets", "wanted"),
    [
        (b"250 OK\r\n", (250, None, ("OK",))),
        (b"250\r\n", (250, None, ("",))),
        (b"250 \r\n", (250, None, ("",))),
        (b"250-a\r\n250-\r\n250 b c\r\n", (250, None, ("a", "", "b c"))),
        (b"550-a\r\n550\r\n", (550, None, ("a", ""))),
        (b"250 h\xc3\xa9\r\n", (250, None, ("hé",))),
        (b"250 h\xe9\r\n", (250, None, ("h\\xe9",))),
        (b"421 bye\r\n", (421, None, ("bye",))),
        (b"250 \x1b[1m\r\n", (250, None, (" [1m",))),
    ],
)
def test_a_reply_is_a_code_and_lines_of_text(
    octets: bytes, wanted: tuple[int, str | None, tuple[str, ...]]
) -> None:
    """A code alone is one too (RFC 5321 §4.2); what is no UTF-8 is shown, controls are not."""
    assert said(octets) == wanted


@pytest.mark.parametrize(
    ("octets", "wanted"),
    [
        (b"250 2.1.0 OK\r\n", ("2.1.0", ("OK",))),
        (b"250 2.1.0\r\n", ("2.1.0", ("",))),
        (b"550-5.1.1 a\r\n550 5.1.1 b\r\n", ("5.1.1", ("a", "b"))),
        (b"550-5.1.1 a\r\n550-b\r\n550 5.1.1\r\n", ("5.1.1", ("a", "b", ""))),
        (b"550 5.1.12 a\r\n", ("5.1.12", ("a",))),
        (b"250 2.0.0.1 a\r\n", (None, ("2.0.0.1 a",))),
        (b"550 4.1.1 a\r\n", (None, ("4.1.1 a",))),
        (b"354 2.0.0 go\r\n", (None, ("2.0.0 go",))),
        (b"250 OK 2.0.0\r\n", (None, ("OK 2.0.0",))),
        (b"250\r\n", (None, ("",))),
    ],
)
def test_a_status_is_read_where_it_is_offered(
    octets: bytes, wanted: tuple[str | None, tuple[str, ...]]
) -> None:
    """It stands first in each line, in the class of the code (RFC 2034 §4); none is made up."""
    assert said(octets, enhanced=True)[1:] == wanted
    assert said(octets)[1] is None


def test_how_a_reply_is_read_is_known_when_it_is_asked_for() -> None:
    """What one reply offers is in force for the next, though both came at once."""
    reader = ReplyReader()
    replies = reader.read(b"250 2.0.0 one\r\n250 2.0.0 two\r\n250-")
    assert next(replies).status is None
    reader.enhanced = True
    assert reader.waiting
    assert next(replies).status == "2.0.0"
    assert list(replies) == []
    assert reader.waiting
    assert list(reader.read(b"a\r\n")) == []
    assert reader.waiting
    assert [reply.lines for reply in reader.read(b"250 b\r\n")] == [("a", "b")]
    assert not reader.waiting


def test_what_is_left_unread_is_read_later() -> None:
    """Nothing is lost when somebody stops between two replies."""
    reader = ReplyReader()
    assert next(reader.read(b"250 a\r\n251 b\r\n25")).code == 250
    assert [reply.code for reply in reader.read(b"2 c\r\n")] == [251, 252]


MALFORMED = [
    (b"250 a\n", "a CR or LF alone"),
    (b"250 a\rb\r\n", "a CR or LF alone"),
    (b"250\n", "a CR or LF alone"),
    (b"250-a\r\n250 b\n250 c\r\n", "a CR or LF alone"),
    (b"250 a\0b\r\n", "NUL"),
    (b"hello\r\n", "no reply"),
    (b"150 a\r\n", "no reply"),
    (b"260 a\r\n", "no reply"),
    (b"600 a\r\n", "no reply"),
    (b"25\r\n", "no reply"),
    (b"2500 a\r\n", "no reply"),
    (b"250_a\r\n", "no reply"),
    (b"\r\n", "no reply"),
    (b"-250 a\r\n", "no reply"),
    (b"SSH-2.0-OpenSSH\r\n", "no reply"),
    (b"\x15\x03\x01", "no reply"),
    (b"250-a\r\n251 b\r\n", "different codes"),
    (b"250-a\r\n\r\n", "no reply"),
    (b"250 " + b"x" * MOST_LINE_OCTETS, "too long"),
    (b"250 " + b"x" * (MOST_LINE_OCTETS - 5) + b"\r\n", "too long"),
    (b"250-a\r\n" * (MOST_LINES + 1), "too long"),
    ((b"250-" + b"x" * 2000 + b"\r\n") * (MOST_OCTETS // 2000 + 1), "too long"),
]


@pytest.mark.parametrize(("octets", "why"), MALFORMED)
@pytest.mark.parametrize("piece", [1, 7, 1 << 30])
def test_what_is_no_reply_is_said_to_be_none(octets: bytes, why: str, piece: int) -> None:
    """However it is cut, and as soon as that is certain (P53)."""
    with pytest.raises(MalformedReply, match=why):
        read(octets, piece=piece)


def test_what_came_before_a_malformed_reply_counts() -> None:
    """A message that was accepted stays so, whatever the server says next."""
    replies = ReplyReader().read(b"250 taken\r\nrubbish\r\n")
    assert next(replies).code == 250
    with pytest.raises(MalformedReply):
        next(replies)


def test_the_longest_line_and_the_longest_reply_are_read() -> None:
    """The limits are what they are said to be."""
    line = b"250 " + b"x" * (MOST_LINE_OCTETS - 6) + b"\r\n"
    assert len(line) == MOST_LINE_OCTETS
    assert "".join(said(line)[2]) == "x" * (MOST_LINE_OCTETS - 6)
    (reply,) = read(b"250-a\r\n" * (MOST_LINES - 1) + b"250 a\r\n")
    assert reply.code == 250
    reader = ReplyReader()
    reader.most_line_octets = 3000
    (reply,) = reader.read(b"334 " + b"x" * 2994 + b"\r\n")
    assert "".join(reply.lines) == "x" * 2994


LINES = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), min_size=1
)


@given(st.lists(st.tuples(st.sampled_from([220, 250, 354, 451, 550]), LINES)), st.integers(1, 30))
def test_what_a_server_of_ours_says_is_read(
    replies: list[tuple[int, list[str]]], piece: int
) -> None:
    """Whatever it is, and however it is cut."""
    wanted = [Reply(code, lines, status=None) for code, lines in replies]
    got = read(b"".join(reply.wire for reply in wanted), piece=piece)
    assert [reply.wire for reply in got] == [reply.wire for reply in wanted]
    assert got == wanted


@given(st.binary(max_size=300), st.integers(1, 20))
def test_no_octets_do_harm(octets: bytes, piece: int) -> None:
    """Replies come out, or it is said that these are none."""
    results: list[list[bytes]] = []
    for step in (piece, 1 << 30):
        reader = ReplyReader()
        found: list[bytes] = []
        results.append(found)
        try:
            for at in range(0, len(octets), step):
                found += [reply.wire for reply in reader.read(octets[at : at + step])]
        except MalformedReply:
            found.append(b"malformed")
    assert results[0] == results[1]
