"""Reply: what a server answers to one command (RFC 5321 §4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import EllipsisType

# RFC 5321 §4.2: Reply-code = %x32-35 %x30-35 %x30-39; a first digit of 1 is not used in SMTP.
_CODE = re.compile(r"[2-5][0-5][0-9]\Z")
# RFC 3463 §2: class "." subject "." detail.
_STATUS = re.compile(r"[245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})\Z")
# RFC 5321 §4.2: textstring = 1*(%d09 / %d32-126); an empty text is allowed by Reply-line.
_TEXT = re.compile(r"[\t\x20-\x7e]*\Z")

# RFC 5321 §4.5.3.1.5, with the code and the CRLF.
MAXIMUM_LINE_OCTETS = 512


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """
    A server's answer to one command (RFC 5321 §4.2).

    A reply that exists is well formed: one that could add a line, a second reply or a wrong
    class of status code to the dialogue cannot be made.

    :ivar code: 200 to 559; its first digit decides what the client does next.
    :ivar status: enhanced status code such as ``"5.7.1"`` (RFC 3463 §2), or ``None``
        where RFC 2034 §4 has none: greeting, EHLO/HELO and every 3yz reply.  If it is not given, it
        is the one that fits the code best.
    :ivar lines: printable ASCII without CRLF, at least one line.  A single string is one line;
        each line with its codes fits into 512 octets (§4.5.3.1.5).
    :ivar closes: close the connection once this reply has been sent.  221 and 421 always do:
        that is what they say (§4.2.2, §4.2.3).
    :ivar wire: the octets as sent, CRLF included.
    :raises ValueError: the reply would not be well formed; the text says why.
    """

    code: int
    status: str | None
    lines: tuple[str, ...]
    closes: bool
    wire: bytes = field(repr=False, compare=False)

    def __init__(
        self,
        code: int,
        status: str | EllipsisType | None = ...,
        lines: str | Iterable[str] = (),
        closes: bool = False,
    ) -> None:
        if status is ...:
            status = DEFAULTS.get(code, _class_default(code))[0] if _is_code(code) else None
        try:
            lines = (lines,) if isinstance(lines, str) else tuple(lines)
        except TypeError:
            raise ValueError("the text of a reply is a string, or strings") from None
        if not all(isinstance(line, str) for line in lines):
            raise ValueError("the text of a reply is a string, or strings")
        if not _is_code(code):
            raise ValueError(f"{code!r} is no reply code (RFC 5321 §4.2)")
        if not lines:
            lines = (DEFAULTS.get(code, (None, ""))[1],)
        if status is not None:
            if not isinstance(status, str) or not _STATUS.match(status):
                raise ValueError(f"{status!r} is no enhanced status code (RFC 3463 §2)")
            if status[0] != str(code)[0]:
                raise ValueError(f"status {status} is of another class than {code} (RFC 2034 §4)")
        for line in lines:
            if not _TEXT.match(line):
                raise ValueError(
                    f"reply text is printable ASCII on one line (RFC 5321 §4.2): {line!r}"
                )
        start = f"{status} " if status is not None else ""
        last = len(lines) - 1
        texts = [
            f"{code}{' ' if at == last else '-'}{start}{line}".encode("ascii")
            for at, line in enumerate(lines)
        ]
        if any(len(text) + 2 > MAXIMUM_LINE_OCTETS for text in texts):
            raise ValueError("a reply line is longer than 512 octets (RFC 5321 §4.5.3.1.5)")
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "status", status)
        object.__setattr__(self, "lines", lines)
        object.__setattr__(self, "closes", bool(closes) or code in (221, 421))
        object.__setattr__(self, "wire", b"\r\n".join(texts) + b"\r\n")

    @property
    def positive(self) -> bool:
        """Whether the command succeeded, or goes on with a 3yz (RFC 5321 §4.2.1)."""
        return self.code < 400

    @property
    def text(self) -> str:
        """Code, status and text in one line, for logs and exceptions."""
        start = f"{self.code} {self.status}" if self.status is not None else str(self.code)
        return f"{start} {' '.join(self.lines)}"

    def closing(self) -> Reply:
        """Return the same reply, after which the connection is closed."""
        return Reply(self.code, self.status, self.lines, closes=True)

    @classmethod
    def from_verdict(cls, verdict: object) -> Reply | bool:
        """
        Turn what a handler answered into a reply, or into yes or no.

        :param verdict: ``None`` or ``True`` (accept), ``False`` (refuse), a `Reply`, a code, or
            ``(code, text)`` where text may be a sequence of lines.
        :return: a `Reply`, or ``True`` or ``False`` for the standard reply to that command.
        :raises TypeError: it is nothing of the kind.
        :raises ValueError: it cannot be made a well formed reply.
        """
        if verdict is None:
            return True
        if isinstance(verdict, (bool, Reply)):
            return verdict
        if isinstance(verdict, int):
            return cls(int(verdict))
        if isinstance(verdict, tuple) and len(verdict) == 2:
            code, lines = verdict
            if isinstance(code, int) and not isinstance(code, bool):
                return cls(int(code), lines=lines)
        raise TypeError(
            "a verdict is None, True, False, a Reply, a code or (code, text), "
            f"not {type(verdict).__name__}"
        )


def _is_code(code: object) -> bool:
    return (
        isinstance(code, int) and not isinstance(code, bool) and _CODE.match(str(code)) is not None
    )


def _class_default(code: int) -> tuple[str | None, str]:
    """Return the status that says nothing but the class (RFC 3463 §3.1)."""
    digit = code // 100
    return (f"{digit}.0.0", "") if digit in (2, 4, 5) else (None, "")


# What a bare code says: RFC 5321 §4.2.3 in our words, with the status of RFC 5248 that fits.
DEFAULTS: dict[int, tuple[str | None, str]] = {
    211: ("2.0.0", "System status"),
    214: ("2.0.0", "Help"),
    220: (None, "Service ready"),
    221: ("2.0.0", "Closing connection"),
    235: ("2.7.0", "Authentication succeeded"),
    250: ("2.0.0", "OK"),
    251: ("2.1.5", "Recipient not local, will forward"),
    252: ("2.5.0", "Cannot verify, but will take the message and try"),
    354: (None, "Start mail input, end with <CRLF>.<CRLF>"),
    421: ("4.3.0", "Service not available, closing connection"),
    450: ("4.2.0", "Mailbox busy, try again later"),
    451: ("4.3.0", "Local error in processing, try again later"),
    452: ("4.3.1", "Not enough storage, try again later"),
    454: ("4.7.0", "Temporary authentication failure"),
    455: ("4.5.4", "Parameters cannot be accommodated now"),
    500: ("5.5.2", "Command not recognised"),
    501: ("5.5.4", "Syntax error in parameters"),
    502: ("5.5.1", "Command not implemented"),
    503: ("5.5.1", "Bad sequence of commands"),
    504: ("5.5.4", "Parameter not implemented"),
    521: ("5.3.2", "This host takes no mail"),
    530: ("5.7.0", "Authentication required"),
    535: ("5.7.8", "Authentication credentials invalid"),
    550: ("5.7.1", "Refused by policy"),
    551: ("5.1.6", "Recipient not local"),
    552: ("5.3.4", "Message too big"),
    553: ("5.1.3", "Mailbox name not allowed"),
    554: ("5.7.1", "Transaction refused"),
    555: ("5.5.4", "Parameter not recognised"),
    556: ("5.1.10", "Domain takes no mail"),
}
