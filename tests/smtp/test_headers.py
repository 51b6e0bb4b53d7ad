"""Header fields, as they arrive."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._header import HeaderReader

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


def test_a_field_of_many_lines_costs_each_line_once() -> None:
    """What has been searched is not searched again (P25)."""

    class Counting(bytearray):
        looked_at = 0

        def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
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
