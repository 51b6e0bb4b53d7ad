"""When a message is to be delivered: BY, HOLDFOR, HOLDUNTIL and MT-PRIORITY, both ways."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

MAXIMUM_SECONDS = 999_999_999  # RFC 2852 §4, RFC 4865 §3: nine digits

_BY = re.compile("(?P<time>[+-]?[0-9]{1,9});(?P<mode>[NR])(?P<trace>T?)", re.IGNORECASE | re.ASCII)
_INTERVAL = re.compile("[1-9][0-9]{0,8}")
_PRIORITY = re.compile("0|-?[1-9]")


class WhenLate(enum.StrEnum):
    """What becomes of a message that is not delivered in time (RFC 2852 §4)."""

    NOTIFY = "N"
    """It goes on, and the sender is told."""
    RETURN = "R"
    """It is returned."""


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """
    Until when a message is wanted (RFC 2852 §4).

    :ivar seconds: from now; nought or less: the time has passed, and only the sender is to be told.
    :ivar late: what becomes of it then.
    :ivar trace: each server that takes it is to tell the sender.
    :raises ValueError: more than nine digits, or a time that has passed with `WhenLate.RETURN`.
    """

    seconds: int
    late: WhenLate
    trace: bool = False

    def __post_init__(self) -> None:
        if abs(self.seconds) > MAXIMUM_SECONDS:
            raise ValueError("at most nine digits")
        if self.seconds <= 0 and self.late is WhenLate.RETURN:
            raise ValueError("a message that is late already cannot be returned when it is late")


def read_deliver_by(text: str | None) -> DeliverBy:
    """Read until when a message is wanted (RFC 2852 §4)."""
    match = _BY.fullmatch(text or "")
    if match is None:
        raise ValueError("seconds;N or seconds;R")
    return DeliverBy(int(match["time"]), WhenLate(match["mode"].upper()), bool(match["trace"]))


def write_deliver_by(value: DeliverBy) -> str:
    """Write until when a message is wanted."""
    return f"{value.seconds};{value.late}{'T' if value.trace else ''}"


def read_interval(text: str | None) -> int:
    """Read for how many seconds a message is to be held (RFC 4865 §3)."""
    if text is None or not _INTERVAL.fullmatch(text):
        raise ValueError("1 to 999999999 seconds")
    return int(text)


def write_interval(seconds: int) -> str:
    """Write for how many seconds a message is to be held."""
    if not 0 < seconds <= MAXIMUM_SECONDS:
        raise ValueError("1 to 999999999 seconds")
    return str(seconds)


def read_priority(text: str | None) -> int:
    """Read how urgent a message is: -9 to 9 (RFC 6710 §9)."""
    if text is None or not _PRIORITY.fullmatch(text):
        raise ValueError("-9 to 9")
    return int(text)


def write_priority(priority: int) -> str:
    """Write how urgent a message is."""
    if not -9 <= priority <= 9:
        raise ValueError("-9 to 9")
    return str(priority)
