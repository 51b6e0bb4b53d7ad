"""What a stranger wrote: as text, and as text that is safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.smtp._text import printable, read_text, upper


@pytest.mark.parametrize(
    "text", ["", "plain", "j\u00f6rg", "\u200c", "\u202e", "\U000323af", "\u0378", "\ue000", "\xa0"]
)
def test_every_character_is_text(text: str) -> None:
    """Also one that this Python does not know yet, or that does not print (RFC 6531 §3.3)."""
    assert read_text(text.encode()) == text


@pytest.mark.parametrize(
    "octets",
    [
        b"\0",
        b"a\rb",
        b"a\nb",
        b"\x1b",
        b"\x7f",
        b"\xc2\x85",
        b"\xc2\x9b",
        b"\xe2\x80\xa8",
        b"\xe2\x80\xa9",
        b"\xed\xa0\x80",
        b"\xff",
        b"\xc3",
    ],
)
def test_a_control_character_is_none(octets: bytes) -> None:
    """Nor is a surrogate, or what is no UTF-8 (P4)."""
    with pytest.raises(ValueError, match=r"."):
        read_text(octets)


def test_a_tab_is_a_blank() -> None:
    """Wherever a client puts one: it is WSP in every grammar of mail (RFC 5234 B.1)."""
    assert read_text(b"a\tb") == "a\tb"


def test_keywords_are_ascii() -> None:
    """U+017F is no S and U+0131 no I, whatever Unicode says about their cases."""
    assert upper("Last") == "LAST"
    for text in ("la\u017ft", "pla\u0131n", "\u212aey"):
        assert not upper(text).isascii()


BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.one_of(st.binary(max_size=80), st.text(max_size=40)), st.integers(1, 40))
def test_what_is_shown_is_printable(text: str | bytes, most: int) -> None:
    """Nothing that moves a cursor or reverses a line gets into a log (P18, P20)."""
    shown = printable(text, most)
    assert shown.isprintable()
    assert len(shown) <= 16 * most + 3
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u7528", "caf\u00e9 \u7528"),
        ("\x1b[2J", "\\x1b[2J"),
        (b"\x1b[2J", "\\x1b[2J"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x9b", "\\xc2\\x9b"),
        ("\u2028", "\\xe2\\x80\\xa8"),
        (b"\xff\x80", "\\xff\\x80"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\xed\\xa0\\x80"),
    ],
)
def test_what_does_not_print_stands_as_its_octets(text: str | bytes, shown: str) -> None:
    """Whether it came as octets or as text."""
    assert printable(text) == shown


@pytest.mark.parametrize("char", BIDI)
def test_marks_that_turn_text_around_are_escaped(char: str) -> None:
    """With them a log line could be made to read otherwise."""
    assert char not in printable(f"a{char}b")
    assert char not in printable(f"a{char}b".encode())


@pytest.mark.parametrize("char", ["a", "é", "€", "\U0001f600"])
def test_three_dots_say_that_more_came(char: str) -> None:
    """However many octets a character takes, and no character is cut through."""
    for kind in (str, str.encode):
        assert printable(kind(char * 16), 16) == char * 16
        assert printable(kind(char * 17), 16) == char * 16 + "..."
        assert printable(kind(char * 1000), 16) == char * 16 + "..."
