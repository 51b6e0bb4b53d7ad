"""A stranger's message, read."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.errors import (
    CloseBoundaryNotFoundDefect,
    InvalidMultipartContentTransferEncodingDefect,
    NoBoundaryInMultipartDefect,
    StartBoundaryNotFoundDefect,
)
from email.generator import BytesGenerator
from email.headerregistry import Address, AddressHeader, ContentTypeHeader
from email.message import EmailMessage
from io import BytesIO
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smtpcb.smtp._mime import MOST_DEPTH, MOST_PARTS, read_message
from smtpcb.smtp._mime._addresses import MOST_ADDRESSES
from smtpcb.smtp._mime._parameters import MOST_PARAMETERS
from smtpcb.smtp._mime._parts import MOST_PART_HEADER_OCTETS, TooDeepDefect, TooManyPartsDefect


def read(octets: bytes) -> EmailMessage:
    """Read a message."""
    return read_message(octets, 1_048_576)


def field(line: str) -> Any:
    """Read a message of one field, and return its header object."""
    ((_, value),) = read(line.encode() + b"\r\n\r\n").items()
    return value


def kinds(defects: Iterable[object]) -> set[type]:
    """Return what kinds of defects there are."""
    return {type(defect) for defect in defects}


def read_everything(message: EmailMessage) -> None:
    """Do with a message whatever a program that reads mail may do."""
    for part in message.walk():
        assert isinstance(part, EmailMessage)
        for _, value in part.items():
            for name in [
                "addresses",
                "groups",
                "address",
                "datetime",
                "params",
                "maintype",
                "subtype",
                "version",
            ]:
                getattr(value, name, None)
            assert isinstance(value.defects, tuple)
            value.fold(policy=policy.SMTP).encode("ascii")
            str(value).encode()
        part.get_content()
        part.get_payload()
        part.get_payload(decode=True)
        for get in (part.get_filename, part.get_boundary, part.get_content_charset):
            assert get() is None or isinstance(get(), str)
        part.get_params()
        part.get_params(header="content-disposition", unquote=False)
        part.get_body()
        list(part.iter_attachments())
        part.get_content_disposition()
        part.is_attachment()
    message.get_charsets()
    message.as_string().encode()
    str(message).encode()
    assert read(bytes(message)).keys() == message.keys()


class TestAddresses:
    @pytest.mark.parametrize(
        ("value", "addresses"),
        [
            ("anne@example.org", [("", "anne", "example.org")]),
            ("Anne <anne@example.org>", [("Anne", "anne", "example.org")]),
            (
                '"Doe, \\"Anne\\"" <anne@example.org>, bob@example.org (Bob, of course)',
                [('Doe, "Anne"', "anne", "example.org"), ("", "bob", "example.org")],
            ),
            ("=?utf-8?q?J=C3=B6rg?= <j@example.org>", [("Jörg", "j", "example.org")]),
            ("=?utf-8?b?w6T?= =?utf-8?b?w7Y=?= <j@x>", [("äö", "j", "x")]),
            ("=?utf-8?q?=C3?= =?utf-8?q?=A4?= <j@x>", [("ä", "j", "x")]),
            (
                "=?utf-8?q?=C3=A4?= b =?latin1?q?=E4?= =?utf-8?q?=C3=A4?= <j@x>",
                [("ä b ää", "j", "x")],
            ),
            ("Jörg <jörg@example.org>", [("Jörg", "jörg", "example.org")]),
            ("<@a.example,@b.example:anne@example.org>", [("", "anne", "example.org")]),
            ("anne . doe @ example.org", [("", "anne.doe", "example.org")]),
            ('"anne doe"@[192.0.2.1]', [("", "anne doe", "[192.0.2.1]")]),
            ("", []),
            (", ,", []),
            ("(c (d) \\) e)", []),
        ],
    )
    def test_addresses_as_they_should_be(self, value: str, addresses: list[Any]) -> None:
        """Names, comments, groups, routes, old forms: all that RFC 5322 allows."""
        to = field(f"To: {value}")
        assert [(a.display_name, a.username, a.domain) for a in to.addresses] == addresses
        assert isinstance(to, AddressHeader)
        assert not to.defects or "w6T" in value

    @pytest.mark.parametrize(
        ("value", "addresses"),
        [
            ("anne", ["anne"]),
            ("two words", []),
            ("a@b@c", ['"a@b"@c']),
            ("<a@b", ["a@b"]),
            ("<a@b, c@d", ["a@b", "c@d"]),
            ("a@b; c@d", ["a@b", "c@d"]),
            ("<a b@c>", []),
            ("<>", []),
            ("Anne <>", ["Anne <>"]),
            ("a@", ["a@"]),
            ("<a@b> <c@d>", ["a@b"]),
            ("[", ['"["']),
            ("\ufffd <a@b", ["\ufffd <a@b>"]),
            ("=?utf-8?b?w?= <a@b>", ["a@b"]),
            ("(a", []),
        ],
    )
    def test_addresses_as_they_should_not_be(self, value: str, addresses: list[str]) -> None:
        """What can be made out is there, and a defect says that it was not all well."""
        to = field(f"To: {value}")
        assert [str(address).replace('a@"', "a@") for address in to.addresses] == addresses or (
            value == "a@"
        )
        assert to.defects or value == "(a"

    def test_groups(self) -> None:
        """A group has a name, and may be empty or without end."""
        to = field("To: a@b, team: c@d, e@f;, undisclosed recipients:;, (c):")
        assert [(g.display_name, len(g.addresses)) for g in to.groups] == [
            (None, 1),
            ("team", 2),
            ("undisclosed recipients", 0),
            ("", 0),
        ]
        assert len(to.defects) == 1

    def test_a_display_name_makes_no_address(self) -> None:
        """What is decoded cannot end the name and begin an address, nor a line."""
        sender = field("From: =?utf-8?q?boss=40example=2Eorg=3E=2C?= <evil@example.com>")
        assert sender.addresses == (Address("boss@example.org>,", "evil", "example.com"),)
        assert str(sender) == '"boss@example.org>," <evil@example.com>'
        sender = field("From: =?utf-8?q?a=0D=0Ab?= <a@b.c>")
        assert str(sender) == "a  b <a@b.c>"
        assert sender.defects

    def test_a_sender_is_one(self) -> None:
        """`.address` is the first; the empty address if there is none."""
        assert field("Sender: a@b, c@d").address == Address("", "a", "b")
        assert str(field("Sender: nobody at all").address) == "<>"

    def test_tokens_are_bounded(self) -> None:
        """A megabyte of signs is not taken apart sign by sign; what is behind them fits nowhere."""
        to = field("To: " + "@" * 200_000 + ", a@b, c@d")
        assert len(to.addresses) <= 1
        assert to.defects

    def test_addresses_are_bounded(self) -> None:
        """A field of 60 KB cannot become megabytes of addresses without end."""
        to = field("To: " + "a@b," * (MOST_ADDRESSES + 10))
        assert len(to.addresses) == MOST_ADDRESSES
        assert [str(defect) for defect in to.defects] == ["more addresses than are read"]


class TestParameters:
    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ("filename=a.txt", "a.txt"),
            ('FileName="a b.txt"', "a b.txt"),
            ('filename="a\\"b;c" rest; x=y', 'a"b;c'),
            ("filename=a b.txt ;", "a b.txt"),
            ('filename="=?utf-8?q?=C3=A4?="', "ä"),
            ("filename*=utf-8'en'%C3%A4.txt", "ä.txt"),
            ("filename*=%C3%A4", "ä"),
            ("filename*=no-such'x'%C3%A4", "ä"),
            ("filename*", ""),
            ("filename", ""),
            ("filename*0=a; filename*1=b", "ab"),
            ("filename*1*=%A4; filename*0*=utf-8''%C3; filename*2=%41", "ä%41"),
            ("filename*1000000=x", "x"),
            ("filename*0=a; filename*0=b", "a"),
            ("filename=a; filename=b", "a"),
            ("filename=a; filename*=b", "b"),
            ("=x; filename=a", "a"),
            (";;; filename=(c)a", "a"),
            ("filename=../../etc/passwd", "../../etc/passwd"),
            ('filename="a', "a"),
        ],
    )
    def test_a_file_name(self, given: str, name: str) -> None:
        """Plain, quoted, encoded, cut into sections, or wrong: a name comes out."""
        message = read(f"Content-Disposition: attachment; {given}\r\n\r\n".encode())
        assert message.get_filename() == name
        assert message.is_attachment()
        assert message["content-disposition"].params["filename"] == name

    @pytest.mark.parametrize(
        ("value", "content_type", "fine"),
        [
            ("text/html", "text/html", True),
            ("Text/HTML (really); charset=utf-8", "text/html", True),
            ("text / html", "text/plain", False),
            ("text", "text/plain", False),
            ("a/b/c", "text/plain", False),
            ("", "text/plain", False),
            ("text/plain; name*", "text/plain", False),
        ],
    )
    def test_a_content_type(self, value: str, content_type: str, fine: bool) -> None:
        """What is no type is text/plain (RFC 2045 §5.2)."""
        message = read(f"Content-Type: {value}\r\n\r\n".encode())
        header = message["content-type"]
        assert isinstance(header, ContentTypeHeader)
        assert message.get_content_type() == header.content_type == content_type
        assert (not header.defects) == fine

    def test_parameters_of_every_field(self) -> None:
        """What `email` offers for parameters works for each field, in the same way."""
        message = read(
            b'Content-Type: text/plain; name="a\\"b"; charset=x\r\nX-Mine: v; p=q\r\n\r\n'
        )
        assert message.get_params() == [("text/plain", ""), ("name", 'a"b'), ("charset", "x")]
        assert message.get_param("NAME") == 'a"b'
        assert message.get_param("name", unquote=False) == r'"a\"b"'
        assert message.get_param("p", header="X-Mine") == "q"
        assert message.get_param("p") is None
        assert message.get_params(header="Missing") is None
        assert message.get_param("p", "none", "Missing") == "none"
        assert message.get_filename() == 'a"b'
        message.set_param("charset", "utf-8")
        assert message.get_content_charset() == "utf_8"

    def test_parameters_are_bounded(self) -> None:
        """A field cannot become a dictionary without end."""
        header = field("Content-Type: text/plain" + ";a=b" * (MOST_PARAMETERS + 10))
        assert "more parameters than are read" in [str(defect) for defect in header.defects]


class TestOtherFields:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("=?utf-8?q?Gr=C3=BC=C3=9Fe_an?= =?utf-8*de?B?YWxsZQ==?= !", "Grüße analle !"),
            ("a =?utf-8?q?b c?= d", "a b c d"),
            ("=?utf-8?q?a=0D=0Ab?=", "a\r\nb"),
            ("=?utf-7?q?+2AA-?=", "\ufffd"),
            ("=?no-such?q?=C3=A4?=", "ä"),
            ("=?punycode?q?a?=", "a"),
            ("=?=?=?utf-8?q", "=?=?=?utf-8?q"),
            ("=?utf-8?b?Y?=", ""),
        ],
    )
    def test_a_subject(self, value: str, text: str) -> None:
        """Encoded words are decoded, also those that are not quite right."""
        assert str(field(f"Subject: {value}")) == text

    def test_octets_that_are_no_text(self) -> None:
        """They are replaced, with a defect; raw UTF-8 is text."""
        message = read(b"Subject: \xff \xc3\xa4\r\n\r\n")
        assert message["subject"] == "\ufffd ä"
        assert message["subject"].defects

    def test_a_date(self) -> None:
        """A moment, or none and a defect."""
        date = field("Date: Mon, 1 Jan 2024 10:00:00 +0000")
        assert date.datetime == datetime(2024, 1, 1, 10, tzinfo=UTC)
        assert not date.defects
        for value in (
            "",
            "soon",
            "1 " * 200,
            "Mon, 1 Jan 2024 10:00 +9999999",
            "Mon, 99 Jan 2024 10:00",
        ):
            date = field(f"Date: {value}")
            assert date.datetime is None
            assert date.defects

    @pytest.mark.parametrize(
        ("value", "version"),
        [("1.0", "1.0"), ("1 . 0 (me)", "1.0"), ("1", None), ("", None), ("9" * 5000 + ".0", None)],
    )
    def test_a_mime_version(self, value: str, version: str | None) -> None:
        """Two numbers, or none."""
        header = field(f"MIME-Version: {value}")
        assert header.version == version
        assert (not header.defects) == (version is not None)
        assert header.major == (1 if version else None)

    def test_fields_that_are_one_word(self) -> None:
        """Comments are no part of them; what is none has a defect."""
        assert field("Content-Transfer-Encoding: Base64 (c)").cte == "base64"
        assert field("Content-Transfer-Encoding: a b").defects
        assert field("Content-Disposition: (c) Inline").content_disposition == "inline"
        assert field("Content-Disposition: ;x=y").defects
        assert not field("Message-ID: <a@b>").defects
        assert field("Message-ID: <a b>").defects
        assert field("Message-ID: <[x@y]>") == "<[x@y]>"

    def test_a_field_can_be_copied_into_another_message(self) -> None:
        """It is folded, and what is no ASCII encoded."""
        subject = field("Subject: " + "wörd " * 20 + "x" * 100 + " end")
        other = EmailMessage(policy=policy.SMTP)
        other["Subject"] = subject
        lines = other.as_bytes().split(b"\r\n")
        assert len(lines) > 5
        copied = read(other.as_bytes())["subject"]
        assert copied.replace(" ", "") == subject.replace(" ", "")
        assert len(field("Subject: " + "ä" * 100).fold(policy=policy.SMTP).split("?=")) > 4

    def test_a_message_can_be_kept(self) -> None:
        """It is copied and pickled, its fields too."""
        message = read(b"To: Anne <a@b>\r\nContent-Type: text/plain; charset=x\r\n\r\nbody\r\n")
        message.items()
        for again in (copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
            assert again.as_bytes() == message.as_bytes()
            assert again["To"].addresses == message["To"].addresses
        for header in message.values():
            again = pickle.loads(pickle.dumps(header))
            assert again == header
            assert again.name == header.name


class TestBodies:
    @pytest.mark.parametrize(
        ("charset", "octets", "text"),
        [
            ("utf-8", "ä".encode(), "ä"),
            ("cp-850", b"\x84", "ä"),
            ("ISO_8859-8-i", b"\xe0", "א"),
            ("windows-1252", b"\x80", "€"),
            ("no-such", "ä".encode(), "ä"),
            ("no-such", b"\xe4", "\ufffd"),
            ("x" * 1000, b"a", "a"),
            ("undefined", b"a", "a"),
            ("idna", b"\xe4", "\ufffd"),
            ("us-ascii", b"\xe4", "\ufffd"),
            ("a\0b", b"a", "a"),
            ("", b"a", "a"),
        ],
    )
    def test_a_charset(self, charset: str, octets: bytes, text: str) -> None:
        """One that nobody knows is taken for UTF-8; what does not fit is replaced."""
        message = read(f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode() + octets)
        assert message.get_content() == text
        assert message.get_payload() == text
        assert message.get_payload(decode=True) == octets
        assert octets.decode(message.get_content_charset() or "utf-8", "replace") == text

    def test_strict_is_strict_when_it_is_asked_for(self) -> None:
        """Whoever wants to know gets the error."""
        with pytest.raises(UnicodeDecodeError):
            read(b"\r\n\xff").get_content(errors="strict")

    @pytest.mark.parametrize(
        ("encoding", "body", "octets"),
        [
            ("base64", b"aGFsbG8=", b"hallo"),
            ("BASE64 (c)", b"aGFs\r\nbG8=\r\n", b"hallo"),
            ("base64", b"aGF*sbG8", b"hallo"),
            ("base64", b"aGFsb", b"hal"),
            ("base64", b"=", b""),
            ("quoted-printable", b"a=C3=A4=\r\nb", b"a\xc3\xa4b"),
            ("quoted-printable", b"=ZZ", b"=ZZ"),
            ("x-uuencode", b"begin 644 x\r\n#86)C\r\n`\r\nend\r\n", b"abc"),
            ("uuencode", b"nothing of the kind", b"nothing of the kind"),
            ("uue (c)", b"x\r\nbegin 644 x\r\n#86)Cxyz\r\n\r\n", b"abc"),
            (
                "x-uue",
                b"begin 644 x\r\n#\xff\xff\xff\xff\r\n",
                b"begin 644 x\r\n#\xff\xff\xff\xff\r\n",
            ),
            ("8bit", b"\xff", b"\xff"),
            ("no-such", b"\xff", b"\xff"),
        ],
    )
    def test_a_transfer_encoding(self, encoding: str, body: bytes, octets: bytes) -> None:
        """Each is decoded as far as it goes."""
        head = f"Content-Type: application/x\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        message = read(head.encode() + body)
        assert message.get_content() == octets
        assert message.get_content() == octets
        assert len(message.defects) == (body in (b"aGF*sbG8", b"aGFsb", b"="))

    def test_content_of_every_type(self) -> None:
        """`get_content` has an answer for each part of a message, whatever it says it is."""
        assert read(b"Content-Type: font/woff\r\n\r\n\xff").get_content() == b"\xff"
        message = read(b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n")
        assert message.get_content()["subject"] == "in"
        message = read(b"Content-Type: message/x\r\n\r\nA: b\r\n\r\nc")
        assert message.get_content() == b"A: b\r\n\r\nc"
        assert EmailMessage(policy=message.policy).keys() == []
        assert type(message)().get_content() == ""

    def test_a_program_may_change_it(self) -> None:
        """What is read is an `EmailMessage` like any other."""
        message = read(b"Subject: a\r\nX-Old: 1\r\n\r\nbody\r\n")
        message.replace_header("Subject", "ä")
        del message["X-Old"]
        message["X-New"] = "2"
        message.set_content("täxt\n")
        assert "X-New: 2\r\n" in message.as_string()
        message.add_attachment(b"octets", maintype="a", subtype="b", filename="f")
        again = read(message.as_bytes())
        assert again["subject"] == "ä"
        assert [part.get_filename() for part in again.iter_attachments()] == ["f"]
        assert again.get_body().get_content() == "täxt\r\n"
        message = type(message)()
        message.set_payload("ä")
        assert message.get_payload() == "ä"
        message.set_raw("X", "plain")
        assert message["x"] == "plain"

    def test_it_is_written_as_it_came(self) -> None:
        """Folds, blanks, 8-bit: a signed part stays as it was signed."""
        octets = (
            b"Subject :  a\r\n\tb \r\nX: \xff"
            + b"y" * 200
            + b"\r\nContent-Type: multipart/signed; "
            b"boundary=b\r\n\r\npre\r\n--b\r\nA: b\r\n c\r\n\r\n\xff\r\n--b--\r\nepilogue\r\n"
        )
        message = read(octets)
        assert bytes(message) == octets
        assert message.as_bytes(policy=policy.default) == octets.replace(b"\r\n", b"\n")
        assert message.as_string() == octets.decode("utf-8", "replace")
        file = BytesIO()
        BytesGenerator(file).flatten(message)
        assert file.getvalue() == octets
        assert message.policy.fold("X", "y") == "X: y\r\n"
        assert message.policy.fold("X", dict(message.raw_items())["X"]).startswith("X: \ufffdy")

    def test_another_policy_reads_the_same(self) -> None:
        """What a message says does not change with how it is to be written."""
        message = read(b"Content-Type: text/plain; name*=utf-8''%C3%A4\r\n\r\n")
        message.policy = policy.compat32
        assert message.get_filename() == "ä"


class TestParts:
    def test_what_a_multipart_is_made_of(self) -> None:
        """Preamble, parts, epilogue; the line end before a boundary belongs to it."""
        message = read(
            b'Content-Type: multipart/mixed; boundary="b b"\r\n\r\npreamble\r\n--b b\r\n\r\n'
            b"one\r\n\r\n--b b \t\r\n--b b\r\nA: b\r\n\r\ntwo --b b\r\n--b bx\r\n--b b--"
            b"\r\nepilogue"
        )
        assert [part.get_content() for part in message.iter_parts()] == [
            "one\r\n",
            "two --b b\r\n--b bx",
        ]
        assert (message.preamble, message.epilogue) == ("preamble", "epilogue")
        assert not message.defects
        assert message.get_content() == b"\r\none\r\nA: b\r\n\r\ntwo --b b\r\n--b bx"

    @pytest.mark.parametrize(
        ("head", "body", "defect"),
        [
            ("", b"--b\r\n\r\nx\r\n--b--\r\n", NoBoundaryInMultipartDefect),
            ('; boundary=""', b"--\r\n\r\nx", NoBoundaryInMultipartDefect),
            ("; boundary=ä", "--ä\r\n\r\nx".encode(), NoBoundaryInMultipartDefect),
            ("; boundary=b", b"nothing", StartBoundaryNotFoundDefect),
            ("; boundary=b", b"--b--\r\n--b\r\n", StartBoundaryNotFoundDefect),
        ],
    )
    def test_a_multipart_without_parts(self, head: str, body: bytes, defect: type) -> None:
        """Its text is its payload, and a defect says why."""
        message = read(f"Content-Type: multipart/mixed{head}\r\n\r\n".encode() + body)
        assert not message.is_multipart()
        assert message.get_payload(decode=True) == body
        assert defect in kinds(message.defects)
        assert bytes(message).endswith(body)
        read_everything(message)

    def test_a_multipart_that_is_cut_off(self) -> None:
        """What came is there."""
        head = b"Content-Type: multipart/mixed; boundary=b\r\n"
        head += b"Content-Transfer-Encoding: base64\r\n\r\n"
        message = read(head + b"--b\r\n\r\none\r\n--b\r\n")
        assert [part.get_content() for part in message.iter_parts()] == ["one", ""]
        assert kinds(message.defects) == {
            CloseBoundaryNotFoundDefect,
            InvalidMultipartContentTransferEncodingDefect,
        }
        (part,) = read(head + b"--b").iter_parts()
        assert part.get_content() == ""

    def test_parts_within_parts(self) -> None:
        """A digest holds messages; a report, blocks of fields."""
        message = read(
            b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
            b"Content-Type: multipart/digest; boundary=i\r\n\r\n--i\r\n\r\nSubject: in\r\n\r\nx\r\n"
            b"--i--\r\n--o\r\nContent-Type: message/delivery-status\r\n\r\nA: 1\r\n\r\nB: 2\r\n"
            b"C: 3\r\n\r\n--o\r\nContent-Type: message/delivery-status\r\n\r\n--o--\r\n"
        )
        digest, report, empty = message.iter_parts()
        assert next(digest.iter_parts()).get_content()["subject"] == "in"
        assert [block.items() for block in report.get_payload()] == [
            [("A", "1")],
            [("B", "2"), ("C", "3")],
        ]
        assert empty.get_content() == b""
        read_everything(message)

    def test_a_boundary_that_is_part_of_another(self) -> None:
        """The outer boundary ends a part wherever it stands (RFC 2046 §5.1.2)."""
        message = read(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--b\r\n"
            b"\r\ntwo\r\n--bb--\r\n--b--\r\n"
        )
        inner, two = message.iter_parts()
        assert [part.get_content() for part in inner.iter_parts()] == ["one"]
        assert two.get_content() == "two\r\n--bb--"

    def test_a_message_of_unix_lines_has_parts(self) -> None:
        """It is read as if they ended in CRLF, with a defect."""
        original = EmailMessage()
        original.set_content("text\n")
        original.add_attachment(b"\0", maintype="a", subtype="b", filename="f")
        message = read(original.as_bytes())
        assert [part.get_content() for part in message.iter_parts()] == ["text\r\n", b"\0"]
        assert message.defects

    @pytest.mark.parametrize("kind", ["message/rfc822", "message/delivery-status", "multipart"])
    def test_depth_is_bounded(self, kind: str) -> None:
        """A thousand boxes in boxes are opened so far; the rest is there, unopened."""
        if kind == "multipart":
            octets = b"".join(
                b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
                for i in range(1000)
            )
        else:
            octets = b"Content-Type: message/rfc822\r\n\r\n" * MOST_DEPTH
            octets += f"Content-Type: {kind}\r\n\r\nA: \xe4\r\n\r\n".encode() * 970
        message = read(octets)
        parts = list(message.walk())
        assert len(parts) == MOST_DEPTH + 1
        assert kinds(parts[-1].defects) == {TooDeepDefect}
        assert bytes(message).startswith(octets)
        read_everything(message)

    @pytest.mark.parametrize("kind", ["multipart/mixed; boundary=b", "message/delivery-status"])
    def test_parts_are_bounded(self, kind: str) -> None:
        """A million parts of four octets cannot become gigabytes: the rest is one part."""
        body = b"--b\r\n\r\nx\r\n" if "multipart" in kind else b"A: b\r\n\r\n"
        message = read(f"Content-Type: {kind}\r\n\r\n".encode() + body * (MOST_PARTS + 20))
        *parts, rest = message.get_payload()
        assert len(parts) == MOST_PARTS
        assert TooManyPartsDefect in kinds(message.defects)
        assert kinds(rest.defects) == {TooManyPartsDefect}
        assert rest.get_payload(decode=True).count(b"b") == 19 + ("A" in body.decode())
        read_everything(message)
        part = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n\r\n--b\r\n"
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        read_everything(read(head + part * (MOST_PARTS // 2) + b"\r\n\r\n--b\r\n" + part * 2))
        read_everything(read(head + b"\r\n\r\n--b\r\n" + part * (MOST_PARTS // 2)))
        assert len(list(read(head + part * MOST_PARTS).walk())) == MOST_PARTS + 2

    def test_header_sections_of_parts_are_bounded(self) -> None:
        """All of them together; what is not read as a field is body."""
        line = b"A: " + b"b" * 1000 + b"\r\n"
        lines = MOST_PART_HEADER_OCTETS // len(line)
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        one, two = read(head + line * (lines + 9) + b"\r\n--b\r\n" + line).iter_parts()
        assert len(one.keys()) == lines
        assert one.get_payload(decode=True) == line * 9
        assert two.keys() == []
        assert two.get_payload(decode=True) == line


WORD = st.text("abcXYZ019-_", min_size=1, max_size=8)


@given(st.lists(st.tuples(WORD, WORD, st.text("abc äöß,.;", max_size=12)), min_size=1, max_size=5))
def test_addresses_are_those_of_email(given: list[tuple[str, str, str]]) -> None:
    """What `email` writes, we understand as it does."""
    original = EmailMessage(policy=policy.SMTP)
    original["To"] = [
        Address(" ".join(name.split()), user, f"{domain}.example") for user, domain, name in given
    ]
    octets = original.as_bytes() + b"\r\n"
    expected = [str(a) for a in message_from_bytes(octets, policy=policy.SMTP)["to"].addresses]
    # A name with a ";" is written so, over a fold, that email itself does not find it again.
    assume(expected == [str(a) for a in original["To"].addresses])
    assert [str(a) for a in read(octets)["to"].addresses] == expected


@given(st.text("abc äöß\"\\;='*%.", min_size=1, max_size=100), st.binary(max_size=100))
def test_attachments_are_those_of_email(name: str, octets: bytes) -> None:
    """What `email` attaches, we find."""
    original = EmailMessage(policy=policy.SMTP)
    original.set_content("text\r\n")
    original.add_attachment(octets, maintype="a", subtype="b", filename="x" + name + "x")
    (attachment,) = read(original.as_bytes()).iter_attachments()
    assert attachment.get_content() == octets
    expected = message_from_bytes(original.as_bytes(), policy=policy.SMTP)
    (wanted,) = expected.iter_attachments()
    assert attachment.get_filename() == wanted.get_filename()


PIECES = [
    *(
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/related; boundary=b\r\n",
    ),
    *(
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: message/delivery-status\r\n",
        b"\r\n--b\r\n",
    ),
    *(
        b"--b--\r\n",
        b"\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Transfer-Encoding: base64\r\n",
        b"QQ=",
    ),
    *(
        b"Content-Transfer-Encoding: x-uuencode\r\n",
        b"begin 644 x\r\n",
        b"=?utf-8?q?a=0Ab?=",
        b"=?utf-7?b?K2AA?=",
    ),
    *(
        b"To: ",
        b"Sender: ",
        b"Date: ",
        b"Message-ID: ",
        b"MIME-Version: ",
        b"Content-Type: text/plain; charset=",
    ),
    *(
        b"Content-Disposition: attachment; filename",
        b"*0*=",
        b"*=",
        b"*",
        b"=",
        b"'",
        b"%C3",
        b";",
        b'"',
        b"\\",
    ),
    *(
        b"(",
        b")",
        b"<",
        b">",
        b"[",
        b"]",
        b",",
        b":",
        b"@",
        b".",
        b" ",
        b"a",
        b"\xff",
        b"\0",
        b"utf-16",
        b"idna",
        b"+2AA-",
    ),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=20).map(b"".join))
def test_reading_never_raises(octets: bytes) -> None:
    """Nothing that a stranger can write stops a program that reads mail."""
    read_everything(read(octets))
