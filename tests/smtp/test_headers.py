"""Header fields, as they arrive."""

from __future__ import annotations

import sys
from email import message_from_bytes, policy
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MessageDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._header import MOST_FIELDS, BareLineFeedDefect, HeaderReader
from smtpcb.smtp._mime import read_message

MESSAGE = (
    b"From: anne@example.org\r\nSubject: one\r\n\t two \r\nX-Empty:\r\nx-utf8 : \xc3\xa4 \xff\r\n"
    b"\r\nNo: field\r\n"
)
FIELDS = [
    ("From", "anne@example.org"),
    ("Subject", "one\t two"),
    ("X-Empty", ""),
    ("x-utf8", "ä \udcff"),
]


def read_all(reader: HeaderReader, octets: bytes, size: int) -> list[tuple[str, str]]:
    """Read a message in pieces of one size."""
    fields = []
    for start in range(0, len(octets), size):
        fields += reader.read(octets[start : start + size])
    return fields + reader.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_fields_come_unfolded_and_in_order(size: int) -> None:
    """However the message is cut (RFC 5322 §2.2.3); nothing behind the empty line is one."""
    reader = HeaderReader(10_000)
    assert read_all(reader, MESSAGE, size) == FIELDS
    assert reader.done
    assert reader.read(b"More: x\r\n\r\n") == []


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("octets", "fields"),
    [
        (b"", []),
        (b"\r\nA: b\r\n", []),
        (b"no field at all\r\nA: b\r\n", []),
        (b" A: b\r\n\r\n", []),
        (b": b\r\n\r\n", []),
        (b"A: b\r\nbroken\r\nC: d\r\n", [("A", "b")]),
        (b"A: b\r\n", [("A", "b")]),
        (b"A: b", [("A", "b")]),
        (b"A: b\r\n c", [("A", "b c")]),
    ],
)
def test_it_ends_where_no_field_is(octets: bytes, fields: list[tuple[str, str]], size: int) -> None:
    """At the empty line, at what is no field, or with the message; the last field counts."""
    assert read_all(HeaderReader(1000), octets, size) == fields


@pytest.mark.parametrize("size", [1, 1000])
def test_no_more_of_it_is_read_than_was_said(size: int) -> None:
    """A header section without end costs no memory (P23)."""
    reader = HeaderReader(20)
    assert read_all(reader, b"A: b\r\nLong: " + b"x" * 100 + b"\r\n\r\n", size) == [("A", "b")]
    assert reader.done
    assert reader.cut


def test_a_field_of_many_lines_costs_each_line_once() -> None:
    """What has been searched is not searched again (P25)."""

    class Counting(bytearray):
        looked_at = 0

        def find(self, sub: bytes, start: int = 0) -> int:
            found = super().find(sub, start)
            Counting.looked_at += (found if found >= 0 else len(self)) - start + 1
            return found

    def work(lines: int) -> int:
        Counting.looked_at = 0
        reader = HeaderReader(1_000_000)
        reader._buffer = Counting()
        for octet in b"Subject: x\r\n" + b" folded\r\n" * lines:
            reader.read(bytes((octet,)))
        return Counting.looked_at

    assert work(400) < 2.3 * work(200)


@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"),
                min_size=1,
                max_size=8,
            ),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10),
        ),
        max_size=6,
    ),
    st.integers(1, 20),
)
def test_it_finds_what_the_standard_library_finds(fields: list[tuple[str, str]], size: int) -> None:
    """The same names and values as `email`, which has all of the message at once."""
    octets = "".join(f"{name}: {value}\r\n" for name, value in fields).encode() + b"\r\nbody\r\n"
    parsed = message_from_bytes(octets, policy=policy.compat32)
    assert read_all(HeaderReader(10_000), octets, size) == fields
    if not any(name.startswith(("From ", ">From")) for name, _ in fields):
        assert [(name, value.strip()) for name, value in parsed.items()] == fields


@pytest.mark.parametrize(
    "text",
    [
        b"A: 1\r\nSubject: hi\nX-Evil: yes\r\nB: 2\r\n\r\n",
        b"A: 1\r\nSubject: hi\rX-Evil: yes\r\nB: 2\r\n\r\n",
        b"A: 1\r\nSubject: hi\r\n x\ny\r\nB: 2\r\n\r\n",
    ],
)
def test_a_bare_cr_or_lf_ends_the_fields(text: bytes) -> None:
    """BDAT lets it pass; in a value it would look like another field to whoever writes it on."""
    reader = HeaderReader(1000)
    assert reader.read(text) == [("A", "1")]
    assert reader.done


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    ("first", "defect"),
    [
        (b" x\r\n", FirstHeaderLineIsContinuationDefect),
        (b"\tTo: x\r\n y\r\n", FirstHeaderLineIsContinuationDefect),
        (b": x\r\n y\r\n", InvalidHeaderDefect),
        (b"From anne@example.org Mon Jan  1 10:00:00 2024\r\n", MisplacedEnvelopeHeaderDefect),
    ],
)
def test_a_line_that_others_pass_over_hides_nothing(
    first: bytes, defect: type[MessageDefect], size: int
) -> None:
    """A stranger does not switch a filter off with a line that mail programs do not mind."""
    reader = HeaderReader(1000)
    assert read_all(reader, first + b"Subject: x\r\n" + first + b"To: y\r\n\r\n", size)[0] == (
        "Subject",
        "x" if first[0] not in b" \t" else "x" + first.replace(b"\r\n", b"").decode(),
    )
    assert defect in reader.defects
    assert len(reader.defects) == 1


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_message_of_unix_lines_has_fields(size: int) -> None:
    """BDAT lets a text file pass whose lines end in LF: a filter sees what its reader will."""
    reader = HeaderReader(1000)
    text = b"A: 1\n folded\nB: 2\r\nC: 3\n\nNo: field\n"
    assert read_all(reader, text, size) == [("A", "1 folded"), ("B", "2"), ("C", "3")]
    assert reader.defects == [BareLineFeedDefect]


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (b"A: b\r\n\r\nbody", b"body"),
        (b"A: b\r\nno field\r\nC: d\r\n\r\n", b"no field\r\nC: d\r\n\r\n"),
        (b"A: b\r\n", b""),
        (b"A: b", b""),
        (b"", b""),
        (b"no field", b"no field"),
        (b"A: b\r\nC: d\re: f\r\n\r\n", b"C: d\re: f\r\n\r\n"),
        (b"A: b\r\nLong: " + b"x" * 1000, b"Long: " + b"x" * 1000),
    ],
)
def test_what_is_no_field_is_the_body(octets: bytes, body: bytes, size: int) -> None:
    """No octet of a message belongs to neither, so that none escapes a filter."""
    reader = HeaderReader(100)
    read_all(reader, octets, size)
    assert octets[reader.body_at :] == body
    assert (MissingHeaderBodySeparatorDefect in reader.defects) == (len(body) > 4)


def test_a_reader_keeps_one_field_and_nothing_else() -> None:
    """A header section takes no more memory than its limit, and none once it was read (P23)."""
    reader = HeaderReader(1_000_000)
    for _ in range(100):
        reader.read(b"A: " + b"x" * 10_000 + b"\r\n")
        assert sys.getsizeof(reader._buffer) < 25_000
    reader = HeaderReader(100_000)
    for _ in range(99_990):
        reader.read(b"x")
    assert sys.getsizeof(reader._buffer) < 115_000
    reader.read(bytes(1_000_000))
    assert reader.done
    assert sys.getsizeof(reader._buffer) < 100


def test_fields_are_counted() -> None:
    """A quarter of a million fields of four octets are not told: the rest of them is body."""
    reader = HeaderReader(1_000_000)
    assert len(read_all(reader, b"a:\r\n" * (MOST_FIELDS + 5) + b"\r\n", 1000)) == MOST_FIELDS
    assert reader.body_at == 4 * MOST_FIELDS
    assert reader.defects == [MissingHeaderBodySeparatorDefect]
    reader = HeaderReader(1_000_000)
    assert len(read_all(reader, b"a:\r\n" * MOST_FIELDS + b"\r\n", 1000)) == MOST_FIELDS
    assert not reader.defects


def test_a_defect_is_noted_once() -> None:
    """A thousand wrong lines are one thing to say, and cost nothing."""
    reader = HeaderReader(100_000)
    read_all(reader, b": x\r\n" * 1000, 100)
    assert reader.defects == [InvalidHeaderDefect]


HOSTILE = [
    *(
        b"From: a@b\r\n",
        b" x\r\n",
        b": x\r\n",
        b"From a@b Mon Jan  1 10:00:00\r\n",
        b"Subject : x\r\n",
    ),
    *(
        b"S: a\nB: c\r\n",
        b"S: a\rB: c\r\n",
        b"\0",
        b"\xff",
        b"\xc3\xa4",
        b"no field\r\n",
        b"A: b\r\n c\r\n",
    ),
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b":", b" ", b"\t", b"a", b"Long: " + b"x" * 60 + b"\r\n"),
    *(
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"--b\r\n",
        b"\xe2\x80\xa8",
        b"\x0b",
        b"To: (",
    ),
]


@given(
    st.lists(st.sampled_from(HOSTILE) | st.binary(max_size=5), max_size=12).map(b"".join),
    st.integers(1, 9),
    st.sampled_from([5, 20, 50, 1_000_000]),
)
def test_header_tells_what_mime_has(octets: bytes, size: int, limit: int) -> None:
    """Whoever filters by `header` and whoever filters by `mime` see one message, always."""
    reader = HeaderReader(limit)
    fields = read_all(reader, octets, size)
    message = read_message(octets, limit)
    assert list(message.raw_items()) == fields
    assert message.keys() == [name for name, _ in fields]
    for (_, value), told in zip(message.items(), fields, strict=True):
        assert value.defects or "=?" in told[1] or str(value) == told[1]
    assert {type(defect) for defect in message.defects} >= set(reader.defects)
