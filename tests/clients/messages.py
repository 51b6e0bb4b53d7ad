"""What clients send: the lines that clients and servers get wrong."""

from __future__ import annotations

import secrets


def message(*, eight_bit: bool = True, line_end: bytes = b"\r\n") -> bytes:
    """Return a message that no other test sends, with dots and 8-bit characters."""
    lines = [
        b"From: Anne <anne@example.org>",
        b"To: bob@example.net",
        b"Date: Fri, 20 Nov 2026 08:14:50 +0000",
        b"Message-ID: <" + secrets.token_hex(8).encode() + b"@example.org>",
        b"Subject: dots",
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: 8bit",
        b"",
        b".",
        b"..",
        b".hidden",
        b"..two",
        b" .",
        b"",
        b"" if not eight_bit else "Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e \u2026".encode(),
        b"x" * 900,
        b"\ttab at the end\t",
        b".",
        b"the end",
    ]
    return b"".join(line + line_end for line in lines)
