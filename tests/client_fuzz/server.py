"""A server that says anything, and knows what it has said: a strict judge of what it hears."""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Sequence
from random import Random

PASSWORD = "a-secret"
_COMMAND = re.compile(rb"[ -~\x80-\xff]*")
_TEXTS = ("ok", "", "2.1.0 ok", "no \x1b[31m such \x07", "5.1.1 no", "é", "x" * 400, "250 ok", ".")
_KEYWORDS = (
    *("PIPELINING", "PIPELINING", "PIPELINING", "CHUNKING", "CHUNKING", "8BITMIME", "8BITMIME"),
    *("SIZE", "SIZE 0", "SIZE 100", "SIZE -1", "SIZE 99999999999999999999", "DSN", "SMTPUTF8"),
    *("ENHANCEDSTATUSCODES", "STARTTLS", "STARTTLS", "BINARYMIME", "LIMITS RCPTMAX=1", "HELP"),
    *("LIMITS MAILMAX=1 RCPTDOMAINMAX=1", "LIMITS RCPTMAX=0 =", "AUTH", "AUTH=PLAIN", "\x1b", ""),
    *("AUTH PLAIN LOGIN", "AUTH CRAM-MD5", "AUTH SCRAM-SHA-256", "AUTH XOAUTH2 EXTERNAL PLAIN"),
    *("AUTH LOGIN CRAM-MD5 SCRAM-SHA-256-PLUS X", "DELIVERBY 1", "FUTURERELEASE x", "XFORWARD Y"),
)
_NEEDED = ("STARTTLS", "8BITMIME", "SMTPUTF8", "AUTH CRAM-MD5 PLAIN")
_CHALLENGES = (
    b"",
    b"YQ==",
    b"VXNlcm5hbWU6",
    b"PDFAeD4=",
    b"%",
    b"YQ=",
    b"Y" * 3000,
    b"cj14LHM9eA==",
)
_MALFORMED = (
    *(b"250 a\0b\r\n", b"250 ok\n", b"250 a\rb\r\n", b"250-a\r\n251 b\r\n", b"199 x\r\n"),
    *(b"hello\r\n", b"\r\n", b"\n", b"600 x\r\n", b"250_\r\n", b"2500 x\r\n", b"\xff\xff\r\n"),
    *(b"250-x\r\n" * 201 + b"250 x\r\n", b"250 " + b"x" * 30_000, b"\x16\x03\x01\0"),
)  # fmt: skip


class Transaction:
    """One that a client has begun, as the server has it."""

    def __init__(self) -> None:
        self.recipients: list[str] = []
        self.content = b""


class Judge:
    """
    One connection, from the server's side.

    It answers each command once, and what it says is remembered: a reply that fits nothing, or is
    none, is *poison*, behind which nothing may be believed any more.

    :param offered: what it offers behind EHLO; then it also is kind.  ``None``: anything.

    :ivar said: pieces that are still to be given to the client.
    :ivar accepted: the recipient and the content of each message that was taken.
    :ivar whole: the recipients of messages that have come to their end.
    :ivar poisoned: it has said what no server may say.
    :ivar complaints: what the client has done wrong.
    """

    def __init__(
        self,
        random: Random,
        *,
        lmtp: bool = False,
        evil: float = 0.0,
        offered: Sequence[str] | None = None,
    ) -> None:
        self._random = random
        self._lmtp = lmtp
        self._evil = evil
        self._offered = offered
        self._kindness = random.choice((0.0, 0.9, 1.0)) if offered is None else 1.0
        self._waiting = b""
        self._mode = "command"
        self._chunk: tuple[int, bool] = (0, False)
        self._transaction: Transaction | None = None
        self._pipelines = False
        self._refused_chunk = False
        self.said: deque[bytes] = deque()
        self.accepted: list[tuple[str, bytes]] = []
        self.whole: set[str] = set()
        self.poisoned = self.malformed = self.secure = False
        self.wants_tls = self.closing = False
        self.complaints: list[str] = []
        self.verbs: set[str] = set()

    def greet(self) -> None:
        """Say who it is."""
        self._answer({220: 20, 554: 1, 421: 1, 450: 1})

    # What it hears.

    def hear(self, octets: bytes) -> None:
        """Take what the client has sent."""
        if self.poisoned or self.closing or self.wants_tls:
            return
        self._waiting += octets
        while self._waiting and not (self.poisoned or self.closing or self.wants_tls):
            if self._mode == "content":
                end = (b"\r\n" + self._waiting).find(b"\r\n.\r\n")
                if end < 0:
                    return
                content, self._waiting = self._waiting[:end], self._waiting[end + 3 :]
                self._mode = "command"
                assert self._transaction is not None
                self._transaction.content = _unstuffed(content)
                self._final()
            elif self._mode == "chunk":
                size, last = self._chunk
                if len(self._waiting) < size:
                    return
                chunk, self._waiting = self._waiting[:size], self._waiting[size:]
                self._mode = "command"
                self._chunked(chunk, last=last)
            else:
                line, found, rest = self._waiting.partition(b"\r\n")
                if not found:
                    return
                self._waiting = rest
                self._command(line)

    def _command(self, line: bytes) -> None:
        if not _COMMAND.fullmatch(line) or len(line) > 12_288:
            self.complaints.append(f"no command: {line!r:.80}")
            return
        if self._mode == "response":
            self._mode = "command"
            self._challenge(line)
            return
        verb, _, rest = line.decode("latin-1").partition(" ")
        self.verbs.add(verb)
        known = getattr(self, f"_{verb.lower()}", None)
        if known is None or verb != verb.upper():
            self.complaints.append(f"an unknown command: {line!r:.80}")
            return
        known(rest)

    def _ehlo(self, _: str) -> None:
        self._transaction = None
        code = self._answer({250: 12, 500: 1, 502: 1, 550: 1, 451: 1, 421: 1}, self._offer())
        self._pipelines = self._pipelines and code == 250

    _lhlo = _ehlo

    def _helo(self, _: str) -> None:
        self._pipelines = False
        self._answer({250: 9, 550: 1})

    def _starttls(self, _: str) -> None:
        if self.secure:
            self.complaints.append("STARTTLS inside TLS")
        if self._answer({220: 9, 454: 1, 501: 1, 421: 1}) == 220 and not self.poisoned:
            self.wants_tls = True
            if self._waiting:
                self.complaints.append(f"sent behind STARTTLS: {self._waiting!r:.80}")

    def _auth(self, rest: str) -> None:
        self._challenge(rest.encode())

    def _challenge(self, line: bytes) -> None:
        code = 235 if self._random.random() < self._kindness else 334
        if self._random.random() < 0.2:
            code = self._random.choice((334, 535, 454, 504, 501, 421))
        if code == 334 and self._random.random() >= self._evil:
            self._mode = "response"
            self.said.append(b"334 " + self._random.choice(_CHALLENGES) + b"\r\n")
        elif self._answer({code: 1}) == 334:
            self._mode = "response"

    def _mail(self, rest: str) -> None:
        if self._transaction is not None:
            self.complaints.append("MAIL within a transaction")
        if self._answer({250: 9, 550: 1, 450: 1, 421: 1}) == 250:
            self._transaction = Transaction()
            self._refused_chunk = False

    def _rcpt(self, rest: str) -> None:
        if self._transaction is None:
            self._answer({503: 1})
            return
        if self._answer({250: 6, 251: 1, 550: 2, 452: 1, 421: 0.3}) in (250, 251):
            found = re.match("TO:<([^>]+)>", rest)
            assert found is not None
            self._transaction.recipients.append(found[1])

    def _data(self, _: str) -> None:
        if self._transaction is None or (self._lmtp and not self._transaction.recipients):
            self._answer({503: 1})
            return
        if self._answer({354: 9, 554: 1, 451: 1, 421: 0.5}) == 354:
            self._mode = "content"
        else:
            self._transaction = None

    def _bdat(self, rest: str) -> None:
        size, _, last = rest.partition(" ")
        self._chunk = (int(size), last == "LAST")
        self._mode = "chunk"
        if self._chunk[0] == 0 and not self._waiting:
            self._mode = "command"
            self._chunked(b"", last=self._chunk[1])

    def _chunked(self, chunk: bytes, *, last: bool) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.recipients or self._refused_chunk:
            self._answer({503: 1})
            return
        transaction.content += chunk
        if last:
            self._final()
        elif self._answer({250: 9, 554: 1, 451: 1, 421: 0.3}) != 250:
            self._refused_chunk = True

    def _final(self) -> None:
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        self.whole.update(transaction.recipients)
        if not transaction.recipients:
            self._answer({554: 1})
            return
        each = [[one] for one in transaction.recipients] if self._lmtp else [transaction.recipients]
        for recipients in each:
            code = self._answer({250: 9, 550: 1, 451: 1, 421: 0.5})
            if code == 250:
                self.accepted += [(one, transaction.content) for one in recipients]
            if self.poisoned or self.closing:
                return

    def _rset(self, _: str) -> None:
        self._transaction = None
        self._answer({250: 1})

    def _quit(self, _: str) -> None:
        self._answer({221: 1})
        self.closing = True

    # What it says.

    def _offer(self) -> list[str]:
        if self._offered is not None:
            return ["here", *self._offered]
        words = self._random.sample(_KEYWORDS, self._random.randrange(12))
        # Most clients do not get far without these.
        words += [one for one in _NEEDED if self._random.random() < 0.7]
        if self._lmtp:
            words += ["PIPELINING", "ENHANCEDSTATUSCODES"]
        self._pipelines = "PIPELINING" in words
        return ["here", *words]

    def _answer(self, codes: dict[int, float], lines: list[str] | None = None) -> int:
        """Say something; return the code, 0 if it was not that of a reply that fits."""
        random = self._random
        if random.random() < self._evil:
            self._poison(codes)
            return 0
        code = next(iter(codes))
        if random.random() >= self._kindness:
            code = random.choices(list(codes), list(codes.values()))[0]
        if lines is None or code != 250:
            lines = [random.choice(_TEXTS) for _ in range(random.choice((1, 1, 1, 2, 5)))]
        octets = b"".join(
            f"{code}{'-' if at < len(lines) - 1 else ' '}{line}\r\n".encode()
            for at, line in enumerate(lines)
        )
        if random.random() < 0.05 and len(lines) == 1:
            octets = b"%d\r\n" % code
        self.said.append(octets)
        if code == 421:
            self.closing = True
        return code

    def _poison(self, codes: dict[int, float]) -> None:
        self.poisoned = True
        if self._random.random() < 0.2:
            return  # and never anything any more
        if self._random.random() < 0.6:
            self.malformed = True
            self.said.append(self._random.choice(_MALFORMED))
        elif self._random.random() < 0.5:
            self.said.append(b"%d x\r\n" % self._random.choice((220, 250, 235, 334, 354, 354, 221)))
        else:
            code = self._random.choice(list(codes))
            self.said.append((b"%d x\r\n" % code) * self._random.randrange(2, 5))


def _unstuffed(content: bytes) -> bytes:
    lines = content.split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


SECRETS = [
    PASSWORD.encode(),
    base64.b64encode(PASSWORD.encode()),
    base64.b64encode(b"\0anne\0" + PASSWORD.encode()),
]
"""None of which is ever seen outside TLS."""
