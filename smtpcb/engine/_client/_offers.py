"""Offers: what a server says of itself in its reply to EHLO or LHLO (RFC 5321 §4.1.1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp._moment import read_moment
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import upper

# RFC 9422 §4: a limit, and 1 to 6 digits.
_LIMIT = re.compile(r"([A-Za-z][A-Za-z0-9-]*)=([1-9][0-9]{0,5})")
_OCTETS = re.compile("[0-9]{1,20}")
_SECONDS = re.compile("[0-9]{1,9}")


class Offers(Mapping[str, str]):
    """
    Keywords in upper case, and what is said behind them.

    A line that is no keyword says nothing, and a number that cannot be read is none: a server is
    no worse for it.

    :param reply: to EHLO or LHLO; ``None``: HELO was answered, or nothing yet, so nothing is
        offered.
    :param without: keywords that are not to be used.
    :ivar keywords: the same as a dict.
    :ivar hostname: the name by which the server calls itself, ``""`` if it says none.
    :ivar pipelining: commands may be sent in groups (RFC 2920).
    :ivar chunking: BDAT is understood (RFC 3030).
    :ivar size_octets: the longest message that it takes (RFC 1870), ``None``: it does not say.
    :ivar mechanisms: those of AUTH, in its order, in upper case.
    :ivar limits: those of LIMITS by name in upper case, such as ``RCPTMAX`` (RFC 9422).
    """

    __slots__ = (
        "chunking",
        "hostname",
        "keywords",
        "limits",
        "mechanisms",
        "pipelining",
        "size_octets",
    )

    def __init__(self, reply: Reply | None = None, without: frozenset[str] = frozenset()) -> None:
        lines = () if reply is None else reply.lines
        words = lines[0].split() if lines else ()
        self.hostname = words[0] if words else ""
        self.keywords: dict[str, str] = {}
        for line in lines[1:]:
            self._add(line, without)
        self.pipelining = "PIPELINING" in self.keywords
        self.chunking = "CHUNKING" in self.keywords
        self.size_octets = self.number("SIZE", _OCTETS) or None  # 0: no limit (RFC 1870 §4)
        mechanisms = dict.fromkeys(upper(self.keywords.get("AUTH", "")).split())
        self.mechanisms = tuple(mechanisms)
        self.limits = {
            upper(name): int(most) for name, most in _LIMIT.findall(self.keywords.get("LIMITS", ""))
        }

    def _add(self, line: str, without: frozenset[str]) -> None:
        keyword, _, said = line.strip(" \t").partition(" ")
        if keyword[:5].upper() == "AUTH=":  # as it was written before RFC 2554
            keyword, said = keyword[:4], f"{keyword[5:]} {said}"
        if not grammar.KEYWORD.fullmatch(keyword):
            return
        keyword = upper(keyword)
        if keyword in without:
            return
        if keyword == "AUTH" and keyword in self.keywords:
            said = f"{self.keywords[keyword]} {said}"
        elif keyword in self.keywords:
            return
        self.keywords[keyword] = said.strip(" \t")

    def number(self, keyword: str, pattern: re.Pattern[str] = _SECONDS) -> int | None:
        """Return the number that is said first behind a keyword, ``None`` if there is none."""
        words = self.keywords.get(keyword, "").split()
        return int(words[0]) if words and pattern.fullmatch(words[0]) else None

    def moment(self, keyword: str) -> datetime | None:
        """Return the time that is said second behind a keyword, ``None`` if there is none."""
        words = self.keywords.get(keyword, "").split()
        try:
            return read_moment(words[1]) if len(words) > 1 else None
        except ValueError:
            return None

    def __getitem__(self, keyword: str) -> str:
        return self.keywords[keyword]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keywords)

    def __len__(self) -> int:
        return len(self.keywords)

    def __repr__(self) -> str:
        return f"Offers({self.hostname!r}, {', '.join(self.keywords)})"
