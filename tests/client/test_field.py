"""One header field as it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.client._field import _checked, narrowed_field, written_field
from smtpcb.smtp import ForwardPath, ReversePath

LINE = "x" * 60


def read(octets: bytes) -> Any:
    """Let `email` read a section of one field."""
    return message_from_bytes(octets + b"\r\n", policy=policy.SMTP)


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("Subject", "One", b"Subject: One\r\n"),
        ("Subject", "", b"Subject: \r\n"),
        ("Subject", f"{LINE} {LINE}  y", f"Subject: {LINE}\r\n {LINE}  y\r\n".encode()),
        ("X-Word", "x" * 900, b"X-Word: " + b"x" * 900 + b"\r\n"),
        ("X-Blanks", " a  b\tc ", b"X-Blanks: a  b\tc\r\n"),
        ("Subject", "J\xf6rg", b"Subject: =?utf-8?q?J=C3=B6rg?=\r\n"),
        ("Subject", "=?utf-8?q?J=C3=B6rg?=", b"Subject: =?utf-8?q?J=C3=B6rg?=\r\n"),
        (
            "Date",
            datetime(2026, 11, 28, 9, tzinfo=UTC),
            b"Date: Sat, 28 Nov 2026 09:00:00 +0000\r\n",
        ),
        ("Date", "Sat, 28 Nov 2026 09:00:00 +0100", b"Date: Sat, 28 Nov 2026 09:00:00 +0100\r\n"),
        (
            "Expires",
            datetime(2026, 1, 1, tzinfo=UTC),
            b"Expires: Thu, 01 Jan 2026 00:00:00 +0000\r\n",
        ),
        ("To", "anne@example.org", b"To: anne@example.org\r\n"),
        ("To", ["a@x.y", "b@x.y"], b"To: a@x.y, b@x.y\r\n"),
        ("To", ("a@x.y", "b@x.y", "c@x.y"), b"To: a@x.y, b@x.y, c@x.y\r\n"),
        ("To", ("a@x.y", "b@x.y"), b'To: "a@x.y" <b@x.y>\r\n'),
        ("To", ("A, B", "a@x.y"), b'To: "A, B" <a@x.y>\r\n'),
        ("To", [("A", "a@x.y"), "B <b@x.y>"], b"To: A <a@x.y>, B <b@x.y>\r\n"),
        ("To", Address("A", "a", "x.y"), b"To: A <a@x.y>\r\n"),
        ("To", ForwardPath("a b", "x.y"), b'To: "a b"@x.y\r\n'),
        ("From", ReversePath("a", "x.y"), b"From: a@x.y\r\n"),
        ("Cc", "undisclosed:;", b"Cc: undisclosed:;\r\n"),
        ("From", ("J\xf6rg", "j@x.y"), b"From: =?utf-8?q?J=C3=B6rg?= <j@x.y>\r\n"),
        ("From", ("J\xf6", "j\xf6@x.y"), "From: J\xf6 <j\xf6@x.y>\r\n".encode()),
        ("Reply-To", "J <j@\xf6.de>", "Reply-To: J <j@\xf6.de>\r\n".encode()),
        (
            "Disposition-Notification-To",
            ("J\xf6rg", "j@x.y"),
            b"Disposition-Notification-To: =?utf-8?q?J=C3=B6rg?= <j@x.y>\r\n",
        ),
    ],
)
def test_a_field_is_written(name: str, value: Any, written: bytes) -> None:
    """ASCII goes as it is, other text encoded, an address never; long lines are folded."""
    assert written_field(name, value) == written


@pytest.mark.parametrize(
    "control", ["\r\n", "\n", "\r", "\0", "\x0b", "\x7f", "\x85", "\u2028", "\udc80"]
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", "a{}Bcc: b@x.y"),
        ("To", "a@x.y{}Bcc: b@x.y"),
        ("To", ("a{}Bcc: b", "a@x.y")),
        ("To", ("a", "a@x.y{}")),
        ("To", ["b@x.y", ("a{}", "a@x.y")]),
        ("To", ForwardPath("a{}b", "x.y")),
        ("Message-ID", "<a@b>{}"),
        ("X-{}A", "a"),
    ],
)
def test_nothing_gets_in_that_ends_a_line(name: str, value: Any, control: str) -> None:
    """Whoever names a subject writes no field of their own."""

    def put(value: Any) -> Any:
        if isinstance(value, ForwardPath):
            return ForwardPath(put(value.local_part), value.domain)
        return value.format(control) if isinstance(value, str) else type(value)(map(put, value))

    with pytest.raises(ValueError, match=r"control|no name|no address"):
        written_field(put(name), put(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", "\xf6 =?utf-8?q?a=0D=0ABcc=3A_b=40x=2Ey?="),
        ("To", "=?utf-8?q?a=0D=0ABcc=3A?= <b@x.y>"),
        ("To", "\xf6 =?utf-8?q?a=0ABcc=3A?= <b@x.y>"),
    ],
)
def test_nothing_gets_in_encoded(name: str, value: str) -> None:
    """A line end within an encoded-word does not become one."""
    with pytest.raises(ValueError, match=name):
        written_field(name, value)


@pytest.mark.parametrize(
    "written",
    ["A: b\r\nC: d\r\n", "A: b\r\n\r\n", "A: b\r\n \r\n", "A: b\rc\r\n", "A: b", "B: c\r\n"],
)
def test_what_came_out_is_looked_at(written: str) -> None:
    """Whatever a version of `email` makes of a value: more than a field is not sent."""
    with pytest.raises(ValueError, match="more than one field"):
        _checked("A", written)


def test_an_encoded_word_stays_one() -> None:
    """What is ASCII is not read: an encoded-word in it goes as it is, whatever it means."""
    word = "=?utf-8?q?a=0D=0ABcc=3A?="
    assert written_field("Subject", word) == f"Subject: {word}\r\n".encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "a"),
        ("A B", "a"),
        ("A:", "a"),
        ("\xc4", "a"),
        ("x" * 78, "a"),
        ("X-Word", "x" * 999),
        ("Date", "yesterday"),
        ("Message-ID", "a@b"),
        ("Message-ID", "<a>"),
        ("Message-ID", "<a@b> <c@d>"),
        ("Date", datetime(2026, 1, 1)),
        ("To", ""),
        ("To", []),
        ("To", "anne"),
        ("To", "a@@b"),
        ("To", "<>"),
        ("To", "a@b, c"),
        ("To", ("A", "a@b, c@d")),
        ("To", ("A", "B <a@b>")),
        ("To", ForwardPath("Postmaster", "")),
        ("To", ReversePath.NULL),
        ("To", Address("A", "a", "")),
        ("To", Address("A\tB", "a", "x y")),
        ("Sender", ["a@b.c", "d@e.f"]),
        ("Sender", "a@b.c, d@e.f"),
        ("Sender", "nobody:;"),
    ],
)
def test_what_is_no_such_field_is_refused(name: str, value: Any) -> None:
    """A mistake in a field is told where it is made."""
    with pytest.raises(ValueError, match=r".+"):
        written_field(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", b"bytes"),
        ("Subject", None),
        ("Subject", ["a"]),
        ("To", b"a@b"),
        ("To", 5),
        ("To", [5]),
        ("To", [b"a@b"]),
        (5, "a"),
    ],
)
def test_values_of_another_kind_are_refused(name: Any, value: Any) -> None:
    """So is one that cannot be such a field at all."""
    with pytest.raises(TypeError):
        written_field(name, value)


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_is_one_field_with_that_value(text: str) -> None:
    """Whatever a subject is, one field goes out, and whoever reads it sees that subject."""
    try:
        written = written_field("Subject", text)
    except ValueError:
        return
    message = read(written)
    assert message.keys() == ["Subject"]
    assert not message.get_payload()
    assert written.isascii()
    assert max(map(len, written.split(b"\r\n"))) <= 998
    if "=?" not in text and text.isascii():
        assert written.replace(b"\r\n", b"") == b"Subject: " + text.strip(" \t").encode()
    elif "=?" not in text:
        assert message["Subject"].split() == text.split()


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.sampled_from(["To", "From"]))
def test_any_display_name_is_one_of_one_address(name: str, field: str) -> None:
    """Whatever somebody is called, the message goes to their address and to no other."""
    try:
        written = written_field(field, (name, "anne@example.org"))
    except ValueError:
        return
    message = read(written)
    assert message.keys() == [field]
    assert [one.addr_spec for one in message[field].addresses] == ["anne@example.org"]


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("Subject: J\xf6rg", b"Subject: =?utf-8?q?J=C3=B6rg?=\r\n"),
        ("Subject :\r\n J\xf6rg", b"Subject: =?utf-8?q?J=C3=B6rg?=\r\n"),
        ("To: J\xf6rg <j@x.y>", b"To: =?utf-8?q?J=C3=B6rg?= <j@x.y>\r\n"),
        ("Resent-To: J\xf6 <j@x.y>", b"Resent-To: =?utf-8?b?SsO2?= <j@x.y>\r\n"),
    ],
)
def test_a_field_in_utf8_can_be_written_in_ascii(source: str, written: bytes) -> None:
    """A server without SMTPUTF8 gets encoded-words."""
    assert read(narrowed_field(source.encode())).items() == read(written).items()
    assert narrowed_field(source.encode()).isascii()


@pytest.mark.parametrize(
    "source", ["To: j\xf6@x.y".encode(), "To: j@\xf6.de".encode(), b"Subject: \xff"]
)
def test_an_address_cannot_be_written_in_ascii(source: bytes) -> None:
    """An address that is no ASCII has no other form."""
    with pytest.raises(ValueError, match=r".+"):
        narrowed_field(source)
