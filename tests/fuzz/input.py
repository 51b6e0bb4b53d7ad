"""What a client of the fuzz command sends: dialogues that are nearly right."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .logins import careless_login

NAMES = (
    "client.example",
    "[192.0.2.1]",
    "(none)",
    "my laptop",
    "a" * 300,
    "\u00e9",
    "",
    "[IPv6:::1]",
)
MAILBOXES = (
    *("a@example.org", "b@example.org", "Postmaster", "postmaster@example.org"),
    *('"a b"@example.org', "\u00fc@\u00e4.example", "a@example.\u212aom", "a@localhost"),
    *("a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "@hop.example:a@example.org"),
    *("", "a", "a@", "@b", "a@b..c", "a@" + "b" * 300, "x" * 70 + "@example.org"),
    *("a\\@b@example.org", '"\\""@example.org', "a@-b.example", "a@b_c.example", "<a@b>", "a b@c"),
)  # fmt: skip
MAIL_PARAMETERS = (
    *("SIZE=100", "SIZE=0", "SIZE=99999999999", "SIZE=99999999999999999999999", "SIZE=x", "SIZE"),
    *("BODY=8BITMIME", "BODY=7BIT", "BODY=BINARYMIME", "SMTPUTF8", "SMTPUTF8=1", "body=8bitmime"),
    *("AUTH=<>", "AUTH=a+40b", "RET=FULL", "RET=HDRS", "RET=", "ENVID=x+2Dy", "ENVID=" + "e" * 101),
    *("X=1", "=", "SIZE=1 SIZE=1", "MT-PRIORITY=3", "MT-PRIORITY=-9", "MT-PRIORITY=10"),
    *("HOLDFOR=60", "HOLDFOR=99999999999", "HOLDUNTIL=2030-01-01T00:00:00Z", "HOLDUNTIL=x"),
    *("BY=120;R", "BY=-5;NT", "BY=0;R", "BY=1;X", "REQUIRETLS", "REQUIRETLS=1"),
    *("HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z", "SMTPUTF8 BODY=BINARYMIME RET=HDRS ENVID=a"),
)  # fmt: skip
RCPT_PARAMETERS = (
    *(
        "NOTIFY=NEVER",
        "NOTIFY=SUCCESS,DELAY",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=DELAY,DELAY",
        "NOTIFY=",
    ),
    *(
        "ORCPT=rfc822;a@b.example",
        "ORCPT=utf-8;\\x{7528}@b",
        "ORCPT=rfc822;+E7+94@b",
        "ORCPT=;",
        "Y",
    ),
    *("RRVS=2014-04-03T23:01:00Z", "RRVS=2014-04-03T23:01:00Z;C", "RRVS=x", "RRVS"),
)
PROXIES = (
    *("XCLIENT NAME=client.example ADDR=198.51.100.7", "XCLIENT ADDR=IPV6:2001:db8::7 PORT=1"),
    *("XCLIENT LOGIN=anne", "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]", "XCLIENT HELO=../x"),
    *("XCLIENT LOGIN=a+0Ab", "XCLIENT ADDR=1.2.3.999", "XCLIENT PORT=65536", "XCLIENT X=1"),
    *("XCLIENT", "XCLIENT NAME=a NAME=b", "XCLIENT LOGIN="),
    *("xclient proto=ESMTP destaddr=192.0.2.9 destport=25", "XFORWARD"),
    *("XFORWARD NAME=a.example ADDR=198.51.100.7", "XFORWARD IDENT=4F1 SOURCE=LOCAL"),
    *("XFORWARD HELO=+FF", "XFORWARD PROTO=ESMTP HELO=+C3+BC", "XFORWARD SOURCE=x"),
)  # fmt: skip
TEXTS = (
    b"Subject: x\r\n\r\nhello\r\n",
    b"",
    b"\r\n",
    b"..\r\n...\r\n",
    b"a\nb\r\n",
    b"a\rb\r\n",
    b"\x00\xff\r\n",
    b"no end",
    b" folded\r\nSubject : x\r\n\tfold\r\n\r\n",
    b"X: " + b"x" * 3000 + b"\r\n\r\n" + b"y" * 5000 + b"\r\n",
)
FALSE_ENDS = (
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\x00.\r\n",
    b"\r\n.\x00\r\n",
)
LINES = (
    *(b"NOOP", b"NOOP x", b"RSET", b"RSET x", b"HELP", b"HELP MAIL", b"VRFY a", b"VRFY"),
    *(b"VRFY \xc3\xbc SMTPUTF8", b"EXPN", b"EXPN list", b"ETRN example.org", b"ETRN", b"STARTTLS"),
    *(b"STARTTLS x", b"", b" ", b"\t", b"X", b"\x00", b"\xff\xfe", b"MAIL", b"RCPT", b"MAIL FROM"),
    *(b"RCPT TO:", b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 1.5 LAST", b"BDAT 0 FIRST"),
    *(b"BDAT 99999999999999999999 LAST", b"NOOP\rNOOP", b"NOOP\nNOOP", b"LHLO x"),
    *(b"data", b"DATA x", b"QUIT x", b"GET / HTTP/1.1", b"XCLIENT NAME=x"),
)  # fmt: skip


class Sender:
    """
    Makes what one session sends, always the same for the same `random`.

    :param lmtp: it is for a door where LMTP is spoken.
    """

    def __init__(self, random: Random, *, lmtp: bool = False) -> None:
        self._random = random
        self._hellos = ("LHLO", "lhlo", "EHLO") if lmtp else ("EHLO", "ehlo", "HELO", "LHLO")
        self._makers: list[tuple[int, Callable[[], bytes]]] = [
            (30, self._transaction),
            (8, self._hello),
            (8, self._mail),
            (8, self._rcpt),
            (6, self._data),
            (8, self._chunk),
            (9, lambda: careless_login(random)),
            (4, self._proxy),
            (10, self._line),
            (2, self._long_line),
            (2, self._many),
            (1, lambda: random.randbytes(random.randrange(60))),
        ]

    def octets(self) -> bytes:
        """Return all that the session sends."""
        random = self._random
        weights, makers = zip(*self._makers, strict=True)
        pieces = [self._hello() if random.random() < 0.9 else b""]
        pieces += [maker() for maker in random.choices(makers, weights, k=random.randrange(1, 8))]
        if random.random() < 0.5:
            pieces.append(b"QUIT\r\n")
        while random.random() < 0.2:
            self._shuffle(pieces)
        octets = b"".join(pieces)
        while random.random() < 0.25:
            octets = self._damage(octets)
        return octets

    def segments(self, octets: bytes) -> list[bytes]:
        """Cut them as a network might."""
        random = self._random
        way = random.randrange(4)
        if way == 0:
            return [octets]
        if way == 1:
            return octets.splitlines(keepends=True)
        if way == 2 and len(octets) < 400:
            return [octets[at : at + 1] for at in range(len(octets))]
        cuts = sorted(random.randrange(len(octets) + 1) for _ in range(random.randrange(1, 12)))
        return [
            octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)
        ]

    def _pick(self, options: tuple[str, ...]) -> str:
        # The first ones are the right ones: without them no session would get far.
        return options[0] if self._random.random() < 0.85 else self._random.choice(options)

    def _parameters(self, options: tuple[str, ...]) -> str:
        count = self._random.choice((*(0,) * 11, 1, 1, 2))
        return "".join(" " + self._random.choice(options) for _ in range(count))

    def _hello(self) -> bytes:
        verb = self._pick(self._hellos)
        return f"{verb} {self._pick(NAMES)}\r\n".encode()

    def _mail(self) -> bytes:
        blank = self._random.choice(("", "", "", " "))
        path = self._pick(MAILBOXES)
        return f"MAIL FROM:{blank}<{path}>{self._parameters(MAIL_PARAMETERS)}\r\n".encode()

    def _rcpt(self) -> bytes:
        return f"RCPT TO:<{self._pick(MAILBOXES)}>{self._parameters(RCPT_PARAMETERS)}\r\n".encode()

    def _text(self) -> bytes:
        random = self._random
        text = TEXTS[0] if random.random() < 0.7 else b"".join(random.choices(TEXTS, k=2))
        if random.random() < 0.1:
            text += b"x" + random.choice(FALSE_ENDS) + b"RSET\r\n"
        return text * (random.randrange(1, 40) if random.random() < 0.1 else 1)

    def _data(self) -> bytes:
        return b"DATA\r\n" + self._text() + self._random.choice((b"", b"\r\n")) + b".\r\n"

    def _chunk(self) -> bytes:
        text = self._text()
        last = self._random.choice((b"", b" LAST", b" LAST", b" last"))
        length = len(text) + self._random.choice((0, 0, 0, 0, 0, 1, -1))
        return b"BDAT %d%b\r\n" % (max(length, 0), last) + text

    def _transaction(self) -> bytes:
        content = self._random.choice((self._data, self._data, self._chunk))
        recipients = self._random.choice((1, 1, 2, 3, 12))
        return self._mail() + b"".join(self._rcpt() for _ in range(recipients)) + content()

    def _proxy(self) -> bytes:
        line = self._random.choice(PROXIES).encode() + b"\r\n"
        return line + self._hello() if self._random.random() < 0.8 else line

    def _line(self) -> bytes:
        return self._random.choice(LINES) + b"\r\n"

    def _long_line(self) -> bytes:
        length = self._random.choice((510, 511, 2046, 2047, 2048, 12286, 12289, 70_000))
        return b"NOOP " + b"x" * (length - 5) + b"\r\n"

    def _many(self) -> bytes:
        return self._line() * self._random.randrange(2, 40)

    def _shuffle(self, pieces: list[bytes]) -> None:
        at = self._random.randrange(len(pieces))
        way = self._random.randrange(3)
        if way == 0:
            pieces.insert(at, pieces[self._random.randrange(len(pieces))])
        elif way == 1 and len(pieces) > 1:
            del pieces[at]
        else:
            pieces.append(pieces.pop(at))

    def _damage(self, octets: bytes) -> bytes:
        random = self._random
        at = random.randrange(len(octets) + 1)
        way = random.randrange(6)
        if way == 0:
            return octets[:at] + random.randbytes(random.randrange(1, 5)) + octets[at:]
        if way == 1:
            return octets[:at] + octets[at + random.randrange(1, 20) :]
        if way == 2:
            return (
                octets[:at]
                + random.choice((b"\r\n", b"\n", b"\r", b"\0", b".", b" ", b"<", b">"))
                + octets[at:]
            )
        if way == 3:
            return octets[:at]
        if way == 4:
            return octets.replace(
                b"\r\n", random.choice((b"\n", b"\r", b"\n\r")), random.randrange(1, 4)
            )
        return octets[:at] + octets[at : at + 30].swapcase() + octets[at + 30 :]
