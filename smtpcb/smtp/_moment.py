"""A moment in time as parameters say it: date-time of RFC 3339 §5.6, both ways."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DATE_TIME = re.compile(
    r"(?P<seconds>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:)(?P<second>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,64}))?+(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def read_moment(text: str | None) -> datetime:
    """
    Read a moment; it is returned in UTC.

    :raises ValueError: it is none, or has no zone.
    """
    match = _DATE_TIME.fullmatch(text or "")
    if match is None:
        raise ValueError("a date and time with its zone")
    second = match["second"]
    # A leap second: `datetime` has none, so it is the one after it.
    leap = timedelta(seconds=second == "60")
    zone = match["zone"].upper()
    if not ("00" <= zone[1:3] <= "23" and "00" <= zone[4:] <= "59") and zone != "Z":
        raise ValueError("a zone")
    whole = match["seconds"].upper() + ("59" if leap else second)
    moment = datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
    microseconds = int((match["fraction"] or "").ljust(6, "0")[:6])
    try:
        return moment.replace(microsecond=microseconds).astimezone(UTC) + leap
    except OverflowError:  # in another zone it is before the year 1, or after 9999
        raise ValueError("a year of four digits") from None


def write_moment(moment: datetime) -> str:
    """
    Write a moment, in UTC.

    :raises ValueError: it has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a datetime that knows its zone is wanted")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
