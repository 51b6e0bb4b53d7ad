"""Reading a message takes work in proportion to its length, whoever wrote it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from smtpcb.smtp._mime import read_message

from .test_mime import read_everything

END = b"\r\n\r\nbody\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
BASE64 = b"Content-Transfer-Encoding: base64\r\n\r\n"
QUOTED = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
CASES: dict[str, Callable[[int], bytes]] = {
    "semicolons": lambda n: b"Content-Type: text/plain" + b";" * n + END,
    "parameters": lambda n: b"Content-Type: a/b" + b"".join(b";n%d=v" % i for i in range(n)) + END,
    "sections": lambda n: b"Content-Type: a/b" + b"".join(b";n*%d=v" % i for i in range(n)) + END,
    "stars": lambda n: b"Content-Disposition: a; x" + b"*" * n + END,
    "equals": lambda n: b"Content-Type: a/b; x" + b"=" * n + END,
    "quoted strings": lambda n: b"Content-Type: a/b; x=" + b'"x"y' * n + END,
    "quotes": lambda n: b"Content-Type: a/b; x=" + b'"' * n + END,
    "backslashes": lambda n: b'Content-Type: a/b; x="' + b"\\" * n + END,
    "comments": lambda n: b"To: " + b"(" * n + END,
    "closed comments": lambda n: b"To: " + b"(" * n + b")" * n + END,
    "short comments": lambda n: b"To: " + b"()" * n + END,
    "angles": lambda n: b"To: " + b"<" * n + END,
    "ats": lambda n: b"To: " + b"a@" * n + END,
    "commas": lambda n: b"Cc: " + b"," * n + END,
    "addresses": lambda n: b"Cc: " + b"=?utf-8?q?a?= <a@b>," * n + END,
    "groups": lambda n: b"From: " + b"a:b@c;" * n + END,
    "routes": lambda n: b"From: <" + b"@a," * n + END,
    "colons": lambda n: b"Sender: " + b":" * n + END,
    "brackets": lambda n: b"To: " + b"[" * n + END,
    "no encoded words": lambda n: b"Subject: " + b"=?" * n + END,
    "encoded words": lambda n: b"Subject: " + b"=?utf-8?q?a?= " * n + END,
    "half encoded words": lambda n: b"Subject: " + b"=?a?b?" * n + END,
    "a long encoded word": lambda n: b"Subject: =?utf-8?b?" + b"a" * n + END,
    "dates": lambda n: b"Date: " + b"1 " * n + END,
    "digits": lambda n: b"MIME-Version: " + b"1" * n + END,
    "identifiers": lambda n: b"Message-ID: " + b"<" * n + END,
    "blanks": lambda n: b"Content-Type: a" + b" " * n + b"b" + END,
    "folds": lambda n: b"Subject: a" + b"\r\n b" * n + END,
    "8-bit": lambda n: b"Subject: " + b"\xff\xc3\xa4 " * n + END,
    "fields": lambda n: b"A: b\r\n" * n + END,
    "types": lambda n: b"Content-Type: text/plain\r\n" * n + END,
    "lines passed over": lambda n: b": b\r\n" * n + END,
    "unix lines": lambda n: b"A: b\n" * n + b"\nbody\n" * n,
    "parts": lambda n: MIXED + b"--b\r\n\r\nx\r\n" * n,
    "boundaries": lambda n: MIXED + b"--b\r\n" * n,
    "no boundaries": lambda n: MIXED + b"--bx\r\n" * n,
    "long boundaries": lambda n: MIXED + b"--b" + b" " * n + b"x\r\n--b" + b" " * n,
    "boxes": lambda n: b"Content-Type: message/rfc822\r\n\r\n" * n,
    "reports": lambda n: b"Content-Type: message/delivery-status\r\n\r\n" + b"A: b\r\n\r\n" * n,
    "base64": lambda n: BASE64 + b"QQ=\r\n" * n,
    "quoted-printable": lambda n: QUOTED + b"=\r" * n,
    "uuencode": lambda n: b"Content-Transfer-Encoding: uue\r\n\r\nbegin 6 x\r\n" + b"#ab\r\n" * n,
    "punycode": lambda n: b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"a-" * n,
}


def work(octets: bytes) -> int:
    """Count the calls, of Python and of C, that reading everything of a message takes."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read_everything(read_message(octets, 1_048_576))
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("case", CASES)
def test_twice_the_length_is_twice_the_work(case: str) -> None:
    """No stranger holds the server up with a short message that takes long to read."""
    work(CASES[case](10))  # what is only done once
    assert work(CASES[case](1200)) < 2.3 * work(CASES[case](600))
