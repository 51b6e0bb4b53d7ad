"""Where mail data ends, what its dots mean, and which line ends it has."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._content import (
    ChunkReader,
    DotReader,
    DotStuffer,
    NewlineCheck,
    NewlineRepair,
    stuff,
)

# Texts full of what matters.
RAGGED = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"\r\n.", b"a", b"\0", b"\r\n.\r\n"]),
    max_size=25,
).map(b"".join)
CUTS = st.lists(st.integers(0, 200), max_size=12)


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    """Cut octets at these places."""
    places = [0, *sorted({cut for cut in cuts if cut < len(octets)}), len(octets)]
    return [octets[start:end] for start, end in pairwise(places)]


def read_all(reader: DotReader | ChunkReader, parts: list[bytes]) -> tuple[bytes, bytes | None]:
    """Read pieces up to the end of the data; whatever comes later is behind it."""
    data, behind = b"", None
    for part in parts:
        if behind is not None:
            behind += part
            continue
        got, behind = reader.read(part)
        data += got
    return data, behind


def naive(octets: bytes) -> tuple[bytes, bytes | None]:
    """Read mail data line by line, as the RFC tells it."""
    data = b""
    while (end := octets.find(b"\r\n")) >= 0:
        line, octets = octets[:end], octets[end + 2 :]
        if line == b".":
            return data, octets
        data += line.removeprefix(b".") + b"\r\n"
    return data + (octets[1:] if octets.startswith(b".") else octets), None


@given(RAGGED, CUTS)
def test_mail_data_is_the_same_for_every_cut(octets: bytes, cuts: list[int]) -> None:
    """Only CRLF.CRLF ends it, and each stuffed dot goes, as if it were read by line (P1, P5)."""
    data, behind = read_all(DotReader(), pieces(octets, cuts))
    wanted, wanted_behind = naive(octets)
    assert behind == wanted_behind
    if behind is not None:
        assert data == wanted
    else:
        # What may still become the end is held back.
        assert wanted.startswith(data)
        assert len(wanted) - len(data) <= 1


@given(RAGGED, CUTS)
def test_what_was_stuffed_comes_back(octets: bytes, cuts: list[int]) -> None:
    """Whoever sends and whoever reads agree on every dot (§4.5.2, P5)."""
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    wanted = text + b"\r\n" if text and not text.endswith(b"\r\n") else text
    assert read_all(DotReader(), pieces(stuff(text) + b"QUIT\r\n", cuts)) == (wanted, b"QUIT\r\n")


@pytest.mark.parametrize(
    ("octets", "data"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a\r\r\n.\r\n", b"a\r\r\n"),
        (b".\r\r\n.\r\n", b"\r\r\n"),
        (b".\n\r\n.\r\n", b"\n\r\n"),
    ],
)
def test_the_end_is_seen_at_every_cut(octets: bytes, data: bytes) -> None:
    """Also as the very first line and behind a stray CR (P3)."""
    for cut in range(len(octets) + 1):
        assert read_all(DotReader(), [octets[:cut], octets[cut:]]) == (data, b"")
    single = [octets[at : at + 1] for at in range(len(octets))]
    assert read_all(DotReader(), single) == (data, b"")


@given(st.binary(max_size=40), st.integers(0, 50), CUTS)
def test_a_chunk_is_so_many_octets_whatever_they_are(
    octets: bytes, size: int, cuts: list[int]
) -> None:
    """BDAT counts; nothing in the data ends it (RFC 3030 §2, P36)."""
    behind = octets[size:] if len(octets) >= size else None
    parts = pieces(octets, cuts)
    assert read_all(ChunkReader(size), parts) == (octets[:size], behind)


@given(RAGGED, CUTS)
def test_a_bare_cr_or_lf_is_noticed(octets: bytes, cuts: list[int]) -> None:
    """Every CR and LF must belong to a CRLF (§2.3.8, P2), also where the network cut that."""
    octets += b"\r\n"
    check = NewlineCheck()
    passed = [check.passes(part) for part in pieces(octets, cuts)]
    assert passed[-1] is (re.search(rb"\r(?!\n)|(?<!\r)\n", octets) is None)
    assert passed == sorted(passed, reverse=True)  # it stays so


@given(RAGGED, CUTS)
def test_a_bare_cr_or_lf_can_be_made_a_crlf(octets: bytes, cuts: list[int]) -> None:
    """The result has no line end but CRLF, and no text is lost."""
    octets += b"\r\n"
    repair = NewlineRepair()
    repaired = b"".join(repair.repair(part) for part in pieces(octets, cuts))
    assert repaired == re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    # And it is known whether there was one.
    assert repair.found is (octets != repaired)


@pytest.mark.parametrize("unit", [b".", b"\r\n", b"\r\n.a", b"\r", b"\0", b"\r\n..", b"\r\n.\r"])
def test_the_work_per_octet_is_constant(unit: bytes) -> None:
    """Four octets are held back at most, so none is looked at again and again (P25)."""
    reader = DotReader()
    for octet in unit * 100:
        assert reader.read(bytes((octet,)))[1] is None
        assert len(reader._held) <= 4


def stuffed_by_line(octets: bytes) -> bytes:
    """Stuff mail data line by line, as the RFC tells it."""
    lines = octets.split(b"\r\n")
    last = lines.pop()
    lines += [last] if last else []
    return b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines) + b".\r\n"


LINES_OF_DOTS = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r\n.\r\n"]), max_size=25)


@given(LINES_OF_DOTS.map(b"".join), CUTS)
def test_dots_are_stuffed_alike_for_every_cut(octets: bytes, cuts: list[int]) -> None:
    """Whatever piece a dot, a CR or a LF is in (RFC 5321 §4.5.2, LX9)."""
    stuffer = DotStuffer()
    sent = b"".join(stuffer.stuff(piece) for piece in pieces(octets, cuts)) + stuffer.end()
    assert sent == stuffed_by_line(octets) == stuff(octets)
    assert read_all(DotReader(), [sent])[1] == b""


@given(LINES_OF_DOTS.map(b"".join))
def test_dots_are_stuffed_octet_by_octet(octets: bytes) -> None:
    """The same, where every cut there is was made."""
    stuffer = DotStuffer()
    sent = b"".join(stuffer.stuff(octets[at : at + 1]) for at in range(len(octets)))
    assert sent + stuffer.end() == stuffed_by_line(octets)


@pytest.mark.parametrize(
    ("parts", "passes"),
    [([b"a\r\n"], True), ([b"a\r"], False), ([b"a\r", b"\n"], True), ([b"\n", b"a"], False)],
)
def test_a_cr_at_the_end_of_all_is_a_bare_one(parts: list[bytes], passes: bool) -> None:
    """No LF comes behind it any more."""
    check = NewlineCheck()
    for part in parts:
        check.passes(part)
    assert check.ends() is passes
