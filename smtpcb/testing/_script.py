"""A written dialogue: the turns it has, and whether what was said is what is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from smtpcb.transcript._replay import Line

_TIME = re.compile(rb"([0-9]+(?:\.[0-9]+)?) s pass(?:es)?\b.*", re.DOTALL)
_GONE = re.compile(rb"(?:closed: )?the client has gone\b.*", re.DOTALL)
# Remarks that were meant for one of these: nothing would happen, and the test would pass.
_MEANT = {
    "2.5 s pass": re.compile(
        rb"(?:[-+.]?[0-9]\S*|nan|inf|an?|one|two|five|ten)(?:\s+\S+)?\s+pass(?:es|ed)?\b.*",
        re.DOTALL | re.IGNORECASE,
    ),
    "the client has gone": re.compile(
        rb"(?:the )?client (?:has |is )?"
        rb"(?:gone|goes|left|leaves|hangs up|disconnect(?:s|ed)?|closes|closed)\b.*",
        re.DOTALL | re.IGNORECASE,
    ),
}
_REST = re.compile(r"([2-5][0-9][0-9])([ -])\.\.\.")

# What is another each time: numbers of incidents, ids of connections and transactions, names of
# captured messages.
_MASKS = (
    (re.compile(r"\bincident [0-9a-f]{8}\b"), "incident …"),
    (re.compile(r"\b[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9]+-[0-9]+-[0-9a-f]+"), "…"),
    (re.compile(r"\b[0-9]+\.M[0-9]+P[0-9]+Q[0-9]+R[0-9a-f]+\.\S+"), "…"),
)


@dataclass
class Turn:
    """
    What happens at once, and what is said to it.

    :ivar octets: the client's.
    :ivar answer: the lines of the server.
    :ivar seconds: how much time passes before anything is said; ``None``: no more than it takes.
    :ivar gone: the client leaves.
    """

    octets: bytes = b""
    answer: list[str] = field(default_factory=list)
    seconds: float | None = None
    gone: bool = False


def turns(lines: Iterable[Line]) -> Iterator[Turn]:
    """
    Divide a script; a first turn in which nothing happens has the greeting, if it is shown.

    :raises ValueError: a remark was meant to let time pass, or to end the connection.
    """
    turn: Turn | None = None
    for line in lines:
        if line.side == "S":
            turn = turn or Turn()
            turn.answer.append(text_of(line.octets))
            continue
        seconds = _TIME.fullmatch(line.octets) if line.side == "*" else None
        gone = line.side == "*" and _GONE.fullmatch(line.octets) is not None
        if line.side == "*" and not (seconds or gone):
            _require_remark(line.octets)
            continue
        if turn is not None and (turn.answer or turn.seconds is not None or line.side == "*"):
            yield turn
            turn = None
        turn = turn or Turn()
        if seconds is not None:
            turn.seconds = float(seconds[1])
        elif gone:
            turn.gone = True
        else:
            turn.octets += line.octets + (b"\r\n" if line.ended else b"")
    if turn is not None:
        yield turn


def _require_remark(octets: bytes) -> None:
    for right, meant in _MEANT.items():
        if meant.fullmatch(octets):
            raise ValueError(f"'*: {text_of(octets)}' does nothing: write '*: {right}'")


def text_of(octets: bytes) -> str:
    """Return what was said as text, whatever it is."""
    return octets.decode("utf-8", "backslashreplace")


def masked(line: str, connection_id: str) -> str:
    """Return a line without what is another each time."""
    if len(connection_id) > 8:  # a shorter one may be part of any word
        line = line.replace(connection_id, "…")
    for pattern, instead in _MASKS:
        line = pattern.sub(instead, line)
    return line


def fits(wanted: Sequence[str], said: Sequence[str]) -> bool:
    """Whether the lines are what is written; both are masked."""
    for place, want in enumerate(wanted):
        rest = _REST.fullmatch(want)
        if rest is not None:
            return any(
                _is_elided(rest[1], rest[2] == " ", said[place:at])
                and fits(wanted[place + 1 :], said[at:])
                for at in range(place, len(said) + 1)
            )
        if place >= len(said) or not line_fits(want, said[place]):
            return False
    return len(said) == len(wanted)


def aligned(wanted: Sequence[str], said: Sequence[str]) -> list[str]:
    """Return what was said in the written words where it fits, to show where it does not."""
    shown: list[str] = []
    at = 0
    for place, want in enumerate(wanted):
        rest = _REST.fullmatch(want)
        if rest is None:
            if at < len(said):
                shown.append(want if line_fits(want, said[at]) else said[at])
                at += 1
            continue
        until = at
        while until < len(said) and said[until].startswith(f"{rest[1]}-"):
            if rest[2] == "-" and fits(wanted[place + 1 : place + 2], said[until : until + 1]):
                break
            until += 1
        if rest[2] == " ":
            until += until < len(said) and said[until].startswith(f"{rest[1]} ")
        shown += [want] if _is_elided(rest[1], rest[2] == " ", said[at:until]) else said[at:until]
        at = until
    return [*shown, *said[at:]]


def line_fits(wanted: str, line: str) -> bool:
    """Whether a line is what was written, or begins with it and goes on with another word."""
    return line == wanted or (line.startswith(wanted) and line[len(wanted)] in " -")


def _is_elided(code: str, to_its_end: bool, lines: Sequence[str]) -> bool:
    """Whether lines go on with a reply of that code, up to its last line or before it."""
    last = len(lines) - 1
    if to_its_end and last < 0:
        return False
    return all(
        line.startswith(f"{code} " if to_its_end and at == last else f"{code}-")
        for at, line in enumerate(lines)
    )
