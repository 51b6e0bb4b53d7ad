"""Messages of `email`, as octets that are sent."""

from __future__ import annotations

import contextlib
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.message import EmailMessage, Message
from email.mime.text import MIMEText
from io import BytesIO

import pytest

from smtpcb.client import ContentError
from smtpcb.client._written import written


def message(**fields: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in fields.items():
        made[name] = value
    made.set_content("From here on\n.\nend\n")
    return made


def test_a_message_is_written_as_email_writes_it() -> None:
    """What `email` makes for SMTP is what is sent."""
    made = message(Subject="J\xf6rg", To="J\xf6rg <j@x.y>")
    made.add_attachment(b"\0\xff" * 500, maintype="application", subtype="octet-stream")
    out = BytesIO()
    made.set_boundary("==boundary==")
    BytesGenerator(out, policy=policy.SMTP).flatten(made)
    assert written(made) == out.getvalue()
    assert written(made).isascii()
    assert b"\n" not in written(made).replace(b"\r\n", b"")


def test_an_address_in_utf8_stays_an_address() -> None:
    """An address is never encoded: its server could not read it."""
    octets = written(message(Subject="J\xf6", To="J\xf6rg <j\xf6@x.y>"))
    assert "To: J\xf6rg <j\xf6@x.y>\r\n".encode() in octets
    assert "J <j@\xf6.de>".encode() in written(message(Cc="J <j@\xf6.de>"))
    assert written(message(Subject="J\xf6", To="J\xf6rg <j@x.y>")).isascii()


def test_a_line_that_begins_with_from_stays() -> None:
    """No mbox file is written here, so no line gets a mark of one."""
    old = Message()
    old.set_payload("From here on\n>From\n")
    for made in (message(), old):
        assert b"\r\nFrom here on\r\n" in written(made)


def test_an_old_message_is_one_too() -> None:
    """MIMEText and its like are messages."""
    old = MIMEText("J\xf6rg\n", "plain", "utf-8")
    old["Subject"] = "folded\n by hand"
    octets = written(old)
    assert b"Subject: folded\r\n by hand\r\n" in octets
    read = message_from_bytes(octets, policy=policy.SMTP)
    assert read.get_content() == "J\xf6rg\n"


def test_what_was_read_is_written_as_it_was() -> None:
    """A message that was read from octets, signed perhaps, is not changed."""
    octets = (
        b"Subject: two  blanks\r\nDKIM-Signature: v=1;\r\n\tb=ab\r\nX-Wide: \xc3\xa4\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"\xc3\xa4\r\n"
    )
    assert written(message_from_bytes(octets, policy=policy.SMTPUTF8)) == octets


@pytest.mark.parametrize(
    "value", ["a\nBcc: b", "a\r\nBcc: b", "a\rBcc: b", "a\n\nbody", "a\n \nb", "a\0b"]
)
def test_no_value_becomes_two_fields(value: str) -> None:
    """Whoever writes a subject writes nothing else."""
    old = Message()
    old["Subject"] = value
    with pytest.raises(ContentError, match="no header field"):
        written(old)
    old = Message()
    old["X\r\nBcc: b"] = "a"
    with pytest.raises(ContentError, match="no header field"):
        written(old)


def test_no_value_becomes_two_fields_in_a_part() -> None:
    """The same holds for each part."""
    made = message()
    made.add_attachment(b"x", maintype="application", subtype="octet-stream")
    part = Message()
    part["X-Part"] = "a\r\n\r\nbody"
    made.attach(part)
    with pytest.raises(ContentError, match="no header field"):
        written(made)


def test_nothing_gets_in_encoded() -> None:
    """A line end within an encoded-word is none of the section."""
    word = b"=?utf-8?q?a=0D=0ABcc=3A_b=40x=2Ey?="
    made = message_from_bytes(b"X-A: " + word + b"\r\n\r\n", policy=policy.SMTP)
    assert written(made) == b"X-A: " + word + b"\r\n\r\n"
    for long in (word + b" a" * 50, word.replace(b"Bcc", b"X-A") + b" a" * 50):
        made = message_from_bytes(b"X-A: " + long + b"\r\n\r\n", policy=policy.SMTP)
        # Some versions of `email` would make two fields of it: then it is refused.
        with contextlib.suppress(ContentError):
            assert message_from_bytes(written(made)).keys() == ["X-A"]


def test_a_section_that_came_out_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a version of `email` makes of a value: other fields are not sent."""
    monkeypatch.setattr(policy.EmailPolicy, "fold_binary", lambda *_: b"Subject: a\r\nBcc: b\r\n")
    with pytest.raises(ContentError, match="several"):
        written(message(Subject="a"))


def test_what_cannot_be_written_is_told() -> None:
    """Whatever `email` trips over, the caller hears that this message cannot be sent."""
    made = Message()
    made.set_payload(["no part"])  # type: ignore[list-item]
    with pytest.raises(ContentError, match="cannot be written"):
        written(made)
