"""Messages written anew in 7 bits."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpcb.client import ContentError, HeaderRules, Needs, Origin, Outgoing
from smtpcb.client._reencode import reencode
from smtpcb.smtp import BodyType, ReversePath
from tests.client.running import finished, sent

ORIGIN = Origin(ReversePath("anne", "example.org"))
PLAIN = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"


def read(octets: bytes) -> Any:
    return message_from_bytes(octets, policy=policy.SMTP)


def eight_bit() -> EmailMessage:
    """Make a message with every kind of part in 8 bits."""
    message = EmailMessage(policy=policy.SMTPUTF8)
    message["Subject"] = "J\xf6rg"
    message.set_content("J\xf6rg \n.\n=\n" + "x" * 900 + "\n", cte="8bit")
    message.add_attachment("\xe4\n", cte="8bit", filename="a.txt")
    message.add_attachment(b"\xff\n", maintype="image", subtype="png", filename="b.png")
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("\xfc\n", cte="8bit")
    message.add_attachment(inner)
    return message


def test_what_needs_8bitmime_can_do_without() -> None:
    """The message that arrives reads the same, part for part."""
    outgoing = Outgoing(eight_bit(), ORIGIN)
    assert finished(outgoing.needs()).body is BodyType.EIGHT_BIT_MIME
    other = finished(outgoing.reencoded())
    assert finished(other.needs()).body is BodyType.SEVEN_BIT
    one, two = read(sent(outgoing)), read(sent(other))
    assert [part.get_content_type() for part in one.walk()] == [
        part.get_content_type() for part in two.walk()
    ]
    for mine, theirs in zip(one.walk(), two.walk(), strict=True):
        assert mine["Subject"] == theirs["Subject"]
        if not mine.is_multipart():
            assert mine.get_content() == theirs.get_content()
    assert two["Message-ID"] == one["Message-ID"] == outgoing.message_id
    assert sent(other).isascii()


@given(st.binary(max_size=400), st.booleans())
def test_any_octets_arrive(octets: bytes, text: bool) -> None:
    """Of any content in 8 bits or binary every octet arrives; of text its lines do."""
    kind = b"text/plain; charset=latin-1" if text else b"application/x-any"
    head = b"Subject: a\r\nContent-Type: " + kind + b"\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    written = reencode(head + octets)
    got = read(written).get_payload(decode=True)
    if text and b"\0" not in octets:
        got, octets = (one.replace(b"\r\n", b"\n").rstrip(b"\n") for one in (got, octets))
    if octets.isascii() and read(written)["Content-Transfer-Encoding"] == "7bit":
        got, octets = (one.replace(b"\r\n", b"\n").rstrip(b"\n") for one in (got, octets))
    assert got == octets
    assert written.isascii()
    assert b"\0" not in written
    assert max(map(len, written.split(b"\r\n"))) <= 998


def test_what_is_7bit_already_stays() -> None:
    """Nothing is encoded that need not be, and no field is folded anew."""
    octets = (
        b"Subject:  a\r\n\tb\r\nDKIM-Signature: v=1;\r\n b=c\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n"
    )
    assert reencode(octets) == octets.replace(b":  a", b": a")
    assert reencode(octets.replace(b"\r\n", b"\n")) == octets.replace(b":  a", b": a")
    assert reencode(b"\r\nbody\r\n") == b"\r\nbody\r\n"
    assert reencode(PLAIN + b"ascii\r\n") == PLAIN.replace(b"8bit", b"7bit") + b"ascii\r\n"
    assert reencode(b"X: y\r\n\r\nFrom a\r\n") == b"X: y\r\n\r\nFrom a\r\n"


def test_lines_that_are_too_long_are_wrapped() -> None:
    """A page of HTML in one line can be sent, if the caller wants that."""
    given = b"Subject: a\nContent-Type: text/html\n\n" + b"<p>x=y</p>" * 300
    outgoing = Outgoing(given, ORIGIN)
    with pytest.raises(ContentError, match=r"line 4: .*reencoded"):
        finished(outgoing.needs())
    got = read(sent(finished(outgoing.reencoded())))
    assert got["Content-Transfer-Encoding"] == "quoted-printable"
    assert got.get_payload(decode=True).strip() == b"<p>x=y</p>" * 300


def test_fields_in_utf8_become_encoded_words() -> None:
    """A server without SMTPUTF8 gets the same subject."""
    given = "Subject: J\xf6rg\r\nTo: \xe4 <a@b.c>\r\nX-A: b\r\n\r\nbody\r\n".encode()
    outgoing = Outgoing(given, ORIGIN)
    assert finished(outgoing.needs()).smtputf8
    other = finished(outgoing.reencoded())
    assert finished(other.needs()).smtputf8 is False
    got = read(sent(other))
    assert (got["Subject"], got["To"], got["X-A"]) == ("J\xf6rg", "\xe4 <a@b.c>", "b")
    assert got.keys()[:3] == ["Subject", "To", "X-A"]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("To: \xe4@b.c\r\n\r\n".encode(), "SMTPUTF8"),
        (b"Subject: \xff\r\n\r\n", "cannot be ASCII"),
        (
            b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n"
            + PLAIN
            + b"\xe4\r\n--x--\r\n",
            "signed",
        ),
        (b"Content-Type: message/partial\r\n\r\n\xe4\r\n", "message/partial"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n\xe4\r\n", "multipart/mixed"),
        (b"Content-Transfer-Encoding: base64\r\n\r\nY\xe4==\r\n", "cannot be encoded"),
        (b"Content-Transfer-Encoding: x-uuencode\r\n\r\n\xe4\r\n", "cannot be encoded"),
        (b" folded\r\nSubject: a\r\n\r\n", "header section"),
        (b"From anne\r\nSubject: a\r\n\r\n", "header section"),
    ],
)
def test_what_cannot_be_encoded_anew_is_told(octets: bytes, why: str) -> None:
    """Nothing is broken or lost to make it fit."""
    with pytest.raises(ContentError, match=why):
        reencode(octets)


def test_what_stands_around_parts_is_no_part() -> None:
    """A preamble in 8 bits is left out; what declares 8 bits around parts declares 7."""
    given = (
        b"Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"\xe4\r\n--x\r\n" + PLAIN + b"\xc3\xa4\r\n--x--\r\n\xe4\r\n"
    )
    written = reencode(given)
    assert written.isascii()
    assert read(written)["Content-Transfer-Encoding"] == "7bit"
    assert read(written).get_payload()[0].get_content() == "\xe4"


def test_a_message_that_email_cannot_read_is_told() -> None:
    """Parts within parts without end are an error, not a crash."""
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at)
        for at in range(2000)
    )
    with pytest.raises(ContentError, match="encoded anew"):
        reencode(deep + b"\xe4\r\n")


def test_who_makes_a_wide_author_hears_of_it() -> None:
    """A From that is made of an address in UTF-8 cannot be ASCII either."""
    outgoing = Outgoing(b"\n\xe4\n", Origin(ReversePath("j\xf6", "x.y")))
    assert finished(outgoing.needs()).smtputf8
    with pytest.raises(ContentError, match="SMTPUTF8"):
        finished(outgoing.reencoded())


def test_what_can_be_read_once_can_be_encoded_once() -> None:
    """What has been looked at is part of it."""
    outgoing = Outgoing(iter([PLAIN, b"\xc3\xa4\n"]), ORIGIN, rules=HeaderRules())
    assert finished(outgoing.needs()) == Needs()
    other = finished(outgoing.reencoded())
    assert other.again
    assert b"=C3=A4\r\n" in sent(other)
    with pytest.raises(ContentError, match="only once"):
        sent(outgoing)
