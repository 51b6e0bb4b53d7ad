"""A transcript and a script written by hand are read the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.transcript._escape import escape, unescape
from smtpcb.transcript._replay import Line, load, read

SCRIPT = """
    # Who is there?
    C: EHLO client.example.org

    S: 250-mail.example.org
    S: 250 SIZE 1000
    *: here comes nothing
    C:
"""

TRANSCRIPT = """\
# smtpcb transcript 1
# connection x-1
# peer 127.0.0.1:51234
    0.000 S: 220 mail.example.org ESMTP
    0.250 C: A
          C: B \\\\
          C: \\x00\\xff\\
    0.300 *: closed: gone
"""


@given(st.binary())
def test_what_was_escaped_reads_back(octets: bytes) -> None:
    """Any octets can be written as text, and become themselves again."""
    assert unescape(escape(octets)) == octets


@given(st.text())
def test_text_of_any_language_reads_back(text: str) -> None:
    """Any text can be written as printable text, and becomes itself again."""
    octets = text.encode("utf-8", "surrogatepass")
    assert unescape(escape(octets)) == octets


def test_text_stands_as_itself() -> None:
    """What prints is written as it is, in any script, with its joiners and blanks."""
    assert escape("Zoë 任意 🙂 می‌خواهم\u00a0".encode()) == "Zoë 任意 🙂 می‌خواهم\u00a0"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\\", "\\\\"),
        (b"\\x00", "\\\\x00"),
        (b"\0\t\r\n\x7f", "\\x00\\x09\\x0d\\x0a\\x7f"),
        (b"\r\n", "\\x0d\\x0a"),
        ("\u0085\u202e".encode(), "\\xc2\\x85\\xe2\\x80\\xae"),
        (b"a\xffb\xc3", "a\\xffb\\xc3"),
    ],
)
def test_the_rest_is_hexadecimal(octets: bytes, text: str) -> None:
    """A backslash is doubled, and what does not print is written octet by octet."""
    assert escape(octets) == text


@pytest.mark.parametrize("text", ["\\", "\\n", "\\x4", "\\xgg", "a\\\\\\"])
def test_an_unknown_escape_is_refused(text: str) -> None:
    """A backslash that begins nothing we know is a mistake, not a backslash."""
    with pytest.raises(ValueError, match="backslash"):
        unescape(text)


def test_a_script_needs_no_times_and_no_header() -> None:
    """A dialogue written by hand is indented as one likes, with comments and empty lines."""
    assert list(read(SCRIPT)) == [
        Line("C", b"EHLO client.example.org"),
        Line("S", b"250-mail.example.org"),
        Line("S", b"250 SIZE 1000"),
        Line("*", b"here comes nothing"),
        Line("C", b""),
    ]


def test_a_script_may_come_from_an_editor_that_writes_crlf() -> None:
    """The line ends of the file are not part of the dialogue."""
    assert list(read("C: NOOP\r\nS: 250 ok\r\n")) == [Line("C", b"NOOP"), Line("S", b"250 ok")]


def test_a_transcript_says_when_and_whether_a_line_ended() -> None:
    """Times are numbers, and a lone backslash marks a line without CRLF."""
    assert list(read(TRANSCRIPT)) == [
        Line("S", b"220 mail.example.org ESMTP", True, 0.0),
        Line("C", b"A", True, 0.25),
        Line("C", b"B \\"),
        Line("C", b"\0\xff", ended=False),
        Line("*", b"closed: gone", True, 0.3),
    ]


@pytest.mark.parametrize("bad", ["X: what", "C:NOOP", "0.1 250 ok", "C : x", "EHLO x", "S: \\q"])
def test_a_bad_line_is_named_by_its_number(bad: str) -> None:
    """A mistake in a script is found by its line number."""
    with pytest.raises(ValueError, match=r"^line 3: "):
        list(read(f"\nC: NOOP\n{bad}\n"))


def test_a_file_has_a_header_and_a_dialogue(tmp_path: Path) -> None:
    """The header of a transcript says which connection it was."""
    path = tmp_path / "x-1.txt"
    path.write_text(TRANSCRIPT, encoding="utf-8")
    transcript = load(path)
    assert transcript.fields == {"connection": "x-1", "peer": "127.0.0.1:51234"}
    assert transcript.lines == tuple(read(TRANSCRIPT))


def test_a_script_is_a_file_without_header(tmp_path: Path) -> None:
    """A script is loaded like a transcript, even if it is not UTF-8."""
    path = tmp_path / "script.txt"
    path.write_bytes(b"# peer nobody\nC: \xe9t\xe9\n")
    transcript = load(path)
    assert transcript.fields == {}
    assert transcript.lines == (Line("C", b"\xe9t\xe9"),)


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    """A transcript written by a later version is not misread."""
    path = tmp_path / "x.txt"
    path.write_text("# smtpcb transcript 2\n")
    with pytest.raises(ValueError, match="version"):
        load(path)
