"""Line ends of what is sent."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.client import ContentError
from smtpcb.client._lines import LineEnds

# Short texts of what line ends are made of meet every case at every cut.
TEXTS = st.text("\r\n.a", max_size=12).map(str.encode)


def read(octets: bytes, cuts: list[int], *, limited: bool = True) -> bytes:
    """Send octets through, cut at these places."""
    ends = LineEnds(limited=limited)
    places = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    pieces = [octets[start:end] for start, end in pairwise(places)]
    return b"".join(map(ends.read, pieces)) + ends.finish()


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b"\n", b"\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\r\nb", b"a\r\nb\r\n"),
        (b"a\nb\r\nc\n", b"a\r\nb\r\nc\r\n"),
        (b"\n\n\r\n\n", b"\r\n\r\n\r\n\r\n"),
        (b"a\n.\n", b"a\r\n.\r\n"),
        (b"x\n.\r\nMAIL FROM:<>", b"x\r\n.\r\nMAIL FROM:<>\r\n"),
    ],
)
def test_each_line_end_becomes_crlf(given: bytes, wire: bytes) -> None:
    """A file with any line ends arrives as lines, and the last line has its end."""
    for cut in range(len(given) + 1):
        assert read(given, [cut]) == wire


@given(TEXTS, st.lists(st.integers(0, 12), max_size=5))
def test_however_it_is_cut_it_is_the_same(octets: bytes, cuts: list[int]) -> None:
    """Where a source is cut says nothing: CR here and LF there are one line end."""
    if re.search(rb"\r(?!\n)", octets):
        with pytest.raises(ContentError, match="CR without LF"):
            read(octets, cuts)
        return
    wire = re.sub(rb"\r?\n", b"\r\n", octets)
    if wire and not wire.endswith(b"\r\n"):
        wire += b"\r\n"
    assert read(octets, cuts) == wire
    assert read(octets, cuts, limited=False) == wire
    # What has gone through once goes through unchanged.
    assert read(wire, cuts) == wire


@given(
    st.lists(st.integers(990, 1002) | st.integers(0, 5), max_size=6),
    st.sampled_from([b"\n", b"\r\n"]),
    st.lists(st.integers(0, 6000), max_size=4),
    st.booleans(),
)
def test_no_line_is_longer_than_998_octets(
    lengths: list[int], end: bytes, cuts: list[int], last: bool
) -> None:
    """A line that a server may cut is refused; one of just 998 octets is sent."""
    octets = b"".join(b"x" * length + end for length in lengths)
    if last:
        octets += b"y" * 998
    if max(lengths, default=0) > 998:
        with pytest.raises(ContentError, match="more than 998 octets"):
            read(octets, cuts)
    else:
        read(octets, cuts)
    assert read(octets, cuts, limited=False).count(b"\r\n") == len(lengths) + last


@pytest.mark.parametrize(
    ("octets", "line", "shown"),
    [
        (b"one\ntwo\rthree\nfour\n", 2, "two"),
        (b"one\r\r\ntwo", 1, "one"),
        (b"one\nt\0wo\n", 2, r"t\x00wo"),
        (b"one\n\n" + b"z" * 999 + b"\n", 3, "zzz"),
        (b"one\n\n" + b"z" * 999, 3, "zzz"),
        (b"one\r", 1, ""),
    ],
)
def test_the_line_is_named(octets: bytes, line: int, shown: str) -> None:
    """Who is told that a line cannot be sent is told which."""
    with pytest.raises(ContentError, match=f"line {line}: .*{re.escape(shown)}") as caught:
        read(octets, [])
    assert caught.value.line == line


def test_what_strangers_wrote_may_be_long_but_keeps_its_line_ends() -> None:
    """A gateway passes on long lines, and no bare CR."""
    wire = b"x" * 5000 + b"\0\r\n"
    assert read(wire, [10], limited=False) == wire
    with pytest.raises(ContentError):
        read(b"a\rb\r\n", [], limited=False)


def test_no_step_is_taken_for_a_line() -> None:
    """A piece of short lines costs no more searches than one of long lines."""

    class Counted(bytes):
        searches = 0

        def rfind(self, *arguments: object) -> int:
            Counted.searches += 1
            return bytes.rfind(self, *arguments)  # type: ignore[arg-type]

    LineEnds()._check_lengths(Counted(b"x\r\n" * 20_000))
    assert Counted.searches < 70
