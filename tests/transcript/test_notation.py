"""What is written reads back octet by octet, whatever the client sends, and is safe to look at."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpcb.transcript import Line, Transcript, load, read
from tests.transcript.recording import Recording, connection, named, notes, octets_of, recorded

# What is written, and that it reads back

# Octets that mean something to somebody, more often than chance would have them.
wire = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from(
            [
                *(b"\r", b"\n", b"\r\n", b"\r\n.\r\n", b"\\", b"\\\r\n", b"\\x41", b"\0", b"\t"),
                *(b" ", b"S: 250 ok", b"0.0 S: 250 ok\r\n", b"\xe2\x80\xa8", b"\xe2\x80"),
                *(b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc3", b"\xa4", b"# x\r\n"),
            ]
        ),
    ),
    max_size=12,
).map(b"".join)


def whole(recording: Recording) -> str:
    assert recording.folder.flush()
    return recording.path().read_text(encoding="utf-8")


def size(recording: Recording) -> int:
    return len(whole(recording).encode())


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:stop] for start, stop in pairwise(edges)]


@given(wire, st.lists(st.integers(min_value=0), max_size=6))
def test_content_reads_back_octet_by_octet(octets: bytes, places: list[int]) -> None:
    """Whatever a client sends as content, and however the network cuts it, it reads back."""

    def record_all(transcript: Transcript) -> None:
        for piece in cut(octets, places):
            transcript.content(piece)
        transcript.end_of_content()

    assert octets_of("C", list(read(recorded(record_all)))) == octets


@given(wire, st.lists(st.integers(min_value=0), max_size=6))
def test_the_text_does_not_depend_on_the_network(octets: bytes, places: list[int]) -> None:
    """The same octets give the same text, also one by one, however they were cut."""

    def record_as(pieces: list[bytes]) -> str:
        def record_all(transcript: Transcript) -> None:
            for piece in pieces:
                transcript.content(piece)

        # The clock stands still: only the time before each piece may differ.
        return recorded(record_all).replace("    0.000", " " * 9)

    whole = record_as([octets])
    assert record_as(cut(octets, places)) == whole
    assert record_as([octets[i : i + 1] for i in range(len(octets))]) == whole


@given(st.lists(st.tuples(st.sampled_from("CS*"), wire), max_size=8))
@example([("C", b"a\r"), ("S", b"\nb\r\n"), ("C", b"\nc\r\n")])
@example([("C", "ä".encode()[:1]), ("S", b"b\r\n"), ("C", "ä".encode()[1:])])
def test_both_sides_read_back(records: list[tuple[str, bytes]]) -> None:
    """Each side's octets read back, also when one speaks while the other is in mid-line."""

    def record_all(transcript: Transcript) -> None:
        for side, octets in records:
            if side == "*":
                transcript.note(octets.decode("latin-1"))
            else:
                {"C": transcript.client, "S": transcript.server}[side](octets)

    lines = list(read(recorded(record_all)))
    for side in "CS":
        said = b"".join(octets for one, octets in records if one == side)
        assert octets_of(side, lines) == said


@given(wire)
def test_nothing_raw_is_written(octets: bytes) -> None:
    """No control, bidirectional or line-breaking character of a client's reaches a terminal."""

    def record_all(transcript: Transcript) -> None:
        transcript.client(octets + b"\r\n")
        transcript.content(octets)
        transcript.note(octets.decode("utf-8", "surrogateescape"))

    text = recorded(record_all).replace("\n", "")
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for character in text:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in bidirectional
        assert character not in "\u061c\u200e\u200f"


@pytest.mark.parametrize(
    "forged",
    [
        b"EHLO x\n    0.0 S: 250 ok",
        b"EHLO x\r    0.0 S: 250 ok",
        "EHLO x\u2028S: 250 ok".encode(),
        "EHLO x\u0085S: 250 ok".encode(),
        b"EHLO x\x0bS: 250 ok\x0c\x1c\x1d\x1e",
        b"EHLO x\\",
    ],
)
def test_a_client_cannot_write_a_line_of_the_servers(recording: Recording, forged: bytes) -> None:
    """One line of a client's is one line of the transcript, for Python and for an editor."""
    transcript = recording.open()
    transcript.client(forged + b"\r\n")
    transcript.close("done")
    assert len(recording.text().splitlines()) == 2
    assert recording.lines()[0] == Line("C", forged, True, 0.0)


def test_several_lines_of_a_client_stay_its_own(recording: Recording) -> None:
    """Pipelined commands are lines of the client, whatever they pretend to be."""
    transcript = recording.open()
    transcript.client(b"NOOP\r\n    0.000 S: 250 ok\r\n")
    transcript.close("done")
    assert [line.side for line in recording.lines()] == ["C", "C", "*"]


def test_a_transcript_reads_by_eye(recording: Recording) -> None:
    """A transcript looks like a dialogue of RFC 5321 Appendix D, with times."""
    transcript = recording.open()
    transcript.server(b"220 mail.example.org ESMTP\r\n")
    recording.clock.advance(0.0014)
    transcript.client(b"EHLO client.example.org\r\n")
    transcript.server(b"250-mail.example.org\r\n250 SIZE 1000\r\n")
    transcript.note("TLS TLSv1.3")
    recording.clock.advance(1)
    transcript.content(b"Subject: hello\r\n\r\nZo\xc3")
    transcript.content(b"\xab\r\n..\r\n.\r\n")
    transcript.end_of_content()
    transcript.client(b"QU")
    transcript.note("nothing came for 300 s")
    transcript.close("timeout")
    assert whole(recording) == (
        "# smtpcb transcript 1\n"
        f"# connection {named()}\n"
        "# peer 127.0.0.1:51234\n"
        "# host 127.0.0.1:10025\n"
        "# started 2026-11-20T08:14:50.123456Z\n"
        "    0.000 S: 220 mail.example.org ESMTP\n"
        "    0.001 C: EHLO client.example.org\n"
        "    0.001 S: 250-mail.example.org\n"
        "          S: 250 SIZE 1000\n"
        "    0.001 *: TLS TLSv1.3\n"
        "    1.001 C: Subject: hello\n"
        "          C: \n"
        "          C: Zoë\n"
        "          C: ..\n"
        "          C: .\n"
        "    1.001 C: QU\\\n"
        "    1.001 *: nothing came for 300 s\n"
        "    1.001 *: closed: timeout\n"
    )


@pytest.mark.parametrize(
    ("peer", "port", "written"),
    [
        ("192.0.2.1", 25, "192.0.2.1:25"),
        ("2001:db8::1", 25, "[2001:db8::1]:25"),
        ("/run/a\nb", 0, "/run/a\\x0ab"),
        ("", 0, "-"),
    ],
)
def test_the_header_says_who_was_connected(
    recording: Recording, peer: str, port: int, written: str
) -> None:
    """Addresses of every family are written so that the port can be told from them."""
    who = connection()
    who.peer_address, who.peer_port = peer, port
    recording.folder.open(who).close("done")
    assert recording.folder.flush()
    assert load(recording.path()).fields["peer"] == written


def test_the_day_is_that_of_utc(recording: Recording) -> None:
    """A connection is filed under the day it began, whatever zone its time is in."""
    who = connection()
    who.started = datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=3)))
    recording.folder.open(who).close("done")
    assert recording.folder.flush()
    assert load(recording.path()).fields["started"] == "2026-11-20T22:00:00.000000Z"


def test_nothing_is_recorded_after_the_end(recording: Recording) -> None:
    """A transcript closes once, and its last line is why."""
    transcript = recording.open()
    transcript.close("first")
    transcript.close("second")
    transcript.client(b"NOOP\r\n")
    transcript.content(b"x")
    assert notes(recording.lines()) == ["closed: first"]


# How much of the content is kept


@given(st.lists(st.integers(min_value=0), max_size=6), st.sampled_from([b"\r\n", b"\n"]))
def test_head_keeps_the_header_section(places: list[int], newline: bytes) -> None:
    """With ``head`` the body is never written, however the end of the head was cut."""
    head = newline.join([b"Subject: a", b"To: b", b"", b""])
    body = b"secret body\r\n\r\n.\r\n"

    def record_all(transcript: Transcript) -> None:
        for _ in range(2):
            for piece in cut(head + body, places):
                transcript.content(piece)
            transcript.end_of_content()

    lines = list(read(recorded(record_all, content="head")))
    assert octets_of("C", lines) == 2 * head
    left_out = f"content: {len(body)} octets left out"
    assert notes(lines) == [left_out, left_out, "closed: done"]


def test_head_of_a_message_that_has_none(make: Callable[..., Recording]) -> None:
    """A message that begins with an empty line has no header section."""
    recording = make(content="head")
    transcript = recording.open()
    transcript.content(b"\r\nsecret\r\n.\r\n")
    transcript.close("done")
    assert octets_of("C", recording.lines()) == b"\r\n"


def test_head_of_a_message_without_body(make: Callable[..., Recording]) -> None:
    """A message that is all head is kept whole, and nothing is said to be left out."""
    recording = make(content="head")
    transcript = recording.open()
    transcript.content(b"Subject: a\r\n.\r\n")
    transcript.end_of_content()
    transcript.close("done")
    assert octets_of("C", recording.lines()) == b"Subject: a\r\n.\r\n"
    assert notes(recording.lines()) == ["closed: done"]


def test_none_keeps_the_size(make: Callable[..., Recording]) -> None:
    """With ``none`` the content is a number, also when the client leaves in the middle."""
    recording = make(content="none")
    transcript = recording.open()
    transcript.content(b"secret")
    transcript.content(b" body")
    transcript.close("lost")
    assert notes(recording.lines()) == ["content: 11 octets left out", "closed: lost"]


def test_long_content_is_counted(make: Callable[..., Recording]) -> None:
    """Beyond ``max_octets`` content is counted only, and the dialogue goes on."""
    recording = make(max_octets=100_000)
    transcript = recording.open()
    line = b"x" * 98 + b"\r\n"
    for _ in range(20):
        transcript.content(line * 100)
    transcript.end_of_content()
    transcript.client(b"QUIT\r\n")
    transcript.close("quit")
    lines = recording.lines()
    kept = len(octets_of("C", lines)) - len(b"QUIT\r\n")
    assert notes(lines) == [f"content: {200_000 - kept} octets left out", "closed: quit"]
    assert 100_000 <= size(recording) < 130_000


def test_a_transcript_does_not_outgrow_its_limit(make: Callable[..., Recording]) -> None:
    """Content that takes much room in a transcript is cut off sooner."""
    recording = make(max_octets=200_000)
    transcript = recording.open()
    transcript.content(b"\r\n" * 1_000_000)
    transcript.close("quit")
    assert size(recording) < 330_000
    assert notes(recording.lines())[1:] == ["closed: quit"]


def test_a_long_dialogue_is_cut(make: Callable[..., Recording]) -> None:
    """A dialogue of twice ``max_octets`` ends with a line that says so."""
    recording = make(max_octets=1000)
    transcript = recording.open()
    for _ in range(1000):
        transcript.client(b"NOOP\r\n")
    transcript.client(b"NO")
    transcript.close("quit")
    assert notes(recording.lines()) == ["cut: the transcript is too long"]
    assert 2000 <= size(recording) < 2200


def test_content_beyond_the_limit_costs_the_dialogue_nothing(
    make: Callable[..., Recording],
) -> None:
    """A long session with many messages has all its commands, and their sizes."""
    recording = make(max_octets=20_000)
    transcript = recording.open()
    for _ in range(30):
        transcript.client(b"DATA\r\n")
        transcript.content(b"x" * 998 + b"\r\n")
        transcript.end_of_content()
        assert recording.folder.flush()
    transcript.close("quit")
    lines = recording.lines()
    commands = [line for line in lines if line.octets == b"DATA"]
    assert len(commands) == 30
    assert "content: 1000 octets left out" in notes(lines)
    assert notes(lines)[-1] == "closed: quit"
