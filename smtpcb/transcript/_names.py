"""Which names are ours: a transcript is called as its connection is, and no other is touched."""

from __future__ import annotations

import re

#: The file that makes a folder ours: only where it is, transcripts are removed.
MARK = ".smtpcb-transcripts"

#: Folders by date, one in the other.
DAY = (re.compile(r"[0-9]{4}", re.ASCII), re.compile(r"[0-9]{2}"), re.compile(r"[0-9]{2}"))

# When, in UTC, then process, counter and random digits: what a server makes of each connection.
_ID = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9]{1,10}-[0-9]{1,20}-[0-9a-f]{6,16}")

#: The time in front of a name: names sort by age.
TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"


def place_of(identifier: str) -> tuple[str, str]:
    """
    Say where the transcript of a connection is.

    :param identifier: the connection's ``id``.
    :return: the day, as ``2026/11/20``, and the name of the file in that folder.
    :raises ValueError: it is none that we make, so that it may be no name at all.
    """
    if not _ID.fullmatch(identifier):
        raise ValueError(f"{identifier!r} cannot name a file: it is no id of a connection")
    return f"{identifier[:4]}/{identifier[4:6]}/{identifier[6:8]}", f"{identifier}.txt"


def is_ours(day: str, name: str) -> bool:
    """
    Whether a file may be one of our transcripts.

    :param day: the folder it is in, as ``2026/11/20``.
    """
    identifier, dot, kind = name[:-4], name[-4:-3], name[-3:]
    return (
        dot + kind == ".txt"
        and identifier[:8] == day.replace("/", "")
        and _ID.fullmatch(identifier) is not None
    )
