"""Reply: what a server answers to one command (RFC 5321 §4.2), and the grammar of verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import EllipsisType
from typing import overload

from smtpcb.smtp._sendable import LINE_END, sendable
from smtpcb.smtp._status import STATUS, default

# RFC 5321 §4.2: Reply-code = %x32-35 %x30-35 %x30-39; a first digit of 1 is not used in SMTP.
_CODE = re.compile(r"[2-5][0-5][0-9]\Z")

# RFC 5321 §4.5.3.1.5, with the code and the CRLF.
MAXIMUM_LINE_OCTETS = 512


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """
    A server's answer to one command (RFC 5321 §4.2).

    ``Reply(550, "No such mailbox", status="5.1.1")``, or as verdicts have it, ``Reply(550, "5.1.1",
    "No such mailbox")``.  A reply that exists is well formed.  Its
    text is made sendable, whatever it holds: it never adds a second reply to the dialogue.  A code
    or a status that is none is a mistake, and raises.

    :param code: 200 to 559; its first digit decides what the client does next.
    :param text: one string, or one a line; the standard text of the code if there is none.  A line
        end begins another line of the same reply, other controls become blanks, and what does not
        fit into 512 octets (§4.5.3.1.5) goes on in another line.  Where no status is given, one
        that the first line begins with is the status; no line says it twice (RFC 2034 §4: each
        line has the same).
    :param status: enhanced status code such as ``"5.7.1"`` (RFC 3463 §2), or ``None`` where
        RFC 2034 §4 has none: greeting, EHLO/HELO and every 3yz reply.  If it is not given, it is
        the one that fits the event, or else the code.
    :param closes: close the connection once this reply has been sent.  221 and 421 always do:
        that is what they say (§4.2.2, §4.2.3).
    :ivar lines: the text as it will be sent where UTF-8 may be sent.
    :ivar wire: the octets as sent, CRLF included; a question mark for what is not ASCII.
    :raises ValueError: such a code or status does not exist.
    :raises TypeError: an argument is of another type.
    """

    code: int
    status: str | None
    lines: tuple[str, ...]
    closes: bool
    wire: bytes = field(repr=False, compare=False)
    _wide: bytes = field(repr=False, compare=False)
    # What nobody said: `fitted` may choose better than the code alone can.
    _status_assumed: bool = field(repr=False, compare=False)
    _text_assumed: bool = field(repr=False, compare=False)

    @overload
    def __init__(
        self,
        code: int,
        text: str | Iterable[str] = ...,
        *,
        status: str | EllipsisType | None = ...,
        closes: bool = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        code: int,
        status: str | None,
        text: str | Iterable[str],
        /,
        *,
        closes: bool = ...,
    ) -> None: ...

    def __init__(
        self,
        code: int,
        text: str | Iterable[str] | None = (),
        behind: str | Iterable[str] | EllipsisType = ...,
        *,
        status: str | EllipsisType | None = ...,
        closes: bool = False,
    ) -> None:
        code = _checked_code(code)
        if behind is not ...:
            if status is not ...:
                raise TypeError("a reply has one status: by name, or in front of the text")
            # What stands in its place is checked as a status, whatever it is.
            status, text = text, behind  # type: ignore[assignment]
        texts = _texts(text)
        assumed = status is ...
        if status is ...:
            status = _leading_status(code, texts)
            assumed = status is None
            if assumed:
                status = default(code)[0]
        elif status is not None:
            _check_status(code, status)
        if status is not None:
            texts = _without(status, texts)
        self._fill(code, texts or (default(code)[1],), status, closes, assumed, not texts)

    def _fill(
        self,
        code: int,
        texts: tuple[str, ...],
        status: str | None,
        closes: bool,
        status_assumed: bool,
        text_assumed: bool,
    ) -> None:
        start = f"{status} " if status is not None else ""
        lines = sendable(texts, MAXIMUM_LINE_OCTETS - 6 - len(start))
        wide = f"{code} {start}{lines[-1]}\r\n"
        if len(lines) > 1:
            wide = "".join([f"{code}-{start}{line}\r\n" for line in lines[:-1]]) + wide
        wire = wide.encode("ascii", "replace")
        put = object.__setattr__
        put(self, "code", code)
        put(self, "status", status)
        put(self, "lines", lines)
        put(self, "closes", bool(closes) or code == 421 or code == 221)
        put(self, "wire", wire)
        put(self, "_wide", wire if wide.isascii() else wide.encode())
        put(self, "_status_assumed", status_assumed)
        put(self, "_text_assumed", text_assumed)

    @classmethod
    def received(cls, code: int, lines: tuple[str, ...], status: str | None = None) -> Reply:
        """
        Return a reply that somebody else has made, as it came; nothing is added to it.

        :param code: 200 to 559.
        :param lines: the text of each line, at least one; it may be empty.
        :param status: the enhanced status code that the lines began with, or ``None``.
        """
        reply = object.__new__(cls)
        reply._fill(code, lines, status, False, False, False)
        return reply

    @property
    def positive(self) -> bool:
        """Whether the command succeeded, or goes on with a 3yz (RFC 5321 §4.2.1)."""
        return self.code < 400

    @property
    def text(self) -> str:
        """Code, status and text in one line, for logs and exceptions."""
        start = f"{self.code} {self.status}" if self.status is not None else str(self.code)
        return f"{start} {' '.join(self.lines)}"

    def encoded(self, *, utf8: bool) -> bytes:
        """
        Return the octets to send.

        :param utf8: the transaction has SMTPUTF8, so that the client reads UTF-8 in replies
            (RFC 6531 §3.7.4.1, §3.7.4.2); otherwise the same as ``wire``.
        """
        return self._wide if utf8 else self.wire

    def closing(self) -> Reply:
        """Return the same reply, after which the connection is closed."""
        return self if self.closes else self._with(self.status, self.lines, closes=True)

    def bare(self) -> Reply:
        """Return the same reply without its status, where no client was told of such."""
        return self if self.status is None else self._with(None, self.lines, self.closes)

    def fitted(self, refuse: Reply) -> Reply:
        """
        Return the same reply, with the status and text that fit an event where none were given.

        :param refuse: the standard refusal of the event.  If it has no status, nothing said there
            has one (RFC 2034 §4); one with the same code says what that code means there.
        """
        if refuse.status is None:
            return self if self.status is None else self._with(None, self.lines, self.closes)
        if self.code == refuse.code and self._status_assumed:
            lines = refuse.lines if self._text_assumed else _without(refuse.status, self.lines)
            return self._with(refuse.status, lines, self.closes)
        return self

    def _with(self, status: str | None, lines: tuple[str, ...], closes: bool) -> Reply:
        reply = object.__new__(Reply)
        reply._fill(self.code, lines, status, closes, self._status_assumed, self._text_assumed)
        return reply

    @classmethod
    def from_verdict(cls, answer: object, refuse: Reply | None = None) -> Reply | bool:
        """
        Turn what a handler answered into a reply, or into yes or no.

        :param answer: ``None`` or ``True`` (accept), ``False`` (refuse), ``550``,
            ``(550, "text")``, ``(550, "5.1.1", "text")`` or a `Reply`; a text may be one string or
            one a line.
        :param refuse: the standard refusal of the event; see `fitted`.
        :return: a `Reply`, or ``True`` or ``False`` for the standard reply to that command.
        :raises TypeError: it is nothing of the kind.
        :raises ValueError: its code or status does not exist.
        """
        if answer is None:
            return True
        if isinstance(answer, bool):
            return answer
        if isinstance(answer, Reply):
            reply = answer
        elif isinstance(answer, int):
            reply = cls(answer)
        elif isinstance(answer, tuple) and len(answer) == 2:
            reply = cls(answer[0], answer[1])
        elif isinstance(answer, tuple) and len(answer) == 3:
            reply = cls(*answer)
        else:
            raise TypeError(
                "a verdict is None, True, False, a code, (code, text), (code, status, text) "
                f"or a Reply, not {_described(answer)}{_as_tuple(answer)}"
            )
        return reply if refuse is None else reply.fitted(refuse)


_LINE = re.compile(r"([2-5][0-9][0-9])(?:[ -](.{0,60}))?\Z")


def _as_tuple(answer: object) -> str:
    """Return how a line of other libraries is said here."""
    match = _LINE.match(answer) if isinstance(answer, str) else None
    return "" if match is None else f"; did you mean ({match[1]}, {match[2] or ''!r})?"


def _described(answer: object) -> str:
    if isinstance(answer, tuple):
        return f"a tuple of {len(answer)}"
    if isinstance(answer, BaseException):
        return f"{type(answer).__name__}, which is raised"
    return type(answer).__name__


def _checked_code(code: object) -> int:
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a reply code is an int, not {type(code).__name__}")
    if not 200 <= code < 600 or not _CODE.match(str(int(code))):
        raise ValueError("a reply code is 200 to 559 (RFC 5321 §4.2)")
    return int(code)


def _check_status(code: int, status: object) -> None:
    if not isinstance(status, str):
        raise TypeError(f"an enhanced status code is a str, not {type(status).__name__}")
    match = STATUS.fullmatch(status)
    if match is None:
        raise ValueError(f"{status!r:.80} is no enhanced status code (RFC 3463 §2)")
    if match[1] != str(code)[0]:
        raise ValueError(f"status {status} is of another class than {code} (RFC 2034 §4)")


def _texts(text: object) -> tuple[str, ...]:
    if isinstance(text, str):
        return (text,)
    if isinstance(text, Iterable):
        texts = tuple(text)
        if all(isinstance(line, str) for line in texts):
            return texts
    raise TypeError("the text of a reply is a str, or one a line")


def _leading_status(code: int, texts: tuple[str, ...]) -> str | None:
    """Take the status that a text begins with: ``(550, "5.1.1 No such user")`` is a habit."""
    match = STATUS.match(texts[0].lstrip(" \t")) if texts else None
    if match is None or match[1] != str(code)[0]:
        return None
    status = match[0]
    return status if _rest_behind(status, LINE_END.split(texts[0], 1)[0]) is not None else None


def _without(status: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Take a status away that lines begin with: each of them gets it (RFC 2034 §4)."""
    if not any(status in text for text in texts):
        return texts
    lines: list[str] = []
    for text in texts:
        parts = LINE_END.split(text)
        if len(parts) > 1 and not parts[-1]:
            del parts[-1]
        for part in parts:
            rest = _rest_behind(status, part)
            if rest != "":  # a status alone is no line of text
                lines.append(part if rest is None else rest)
    return tuple(lines)


def _rest_behind(status: str, line: str) -> str | None:
    """Return what follows a status in a line; ``None`` where the line does not begin with it."""
    line = line.lstrip(" \t")
    rest = line.removeprefix(status)
    if len(rest) == len(line) or (rest and rest[0] not in " \t"):
        return None
    return rest.strip(" \t")
