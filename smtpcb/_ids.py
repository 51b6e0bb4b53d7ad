"""The names of connections: unique everywhere and always, and in the order of time."""

from __future__ import annotations

import itertools
import os
import secrets
from datetime import datetime


class Ids:
    """
    Makes them: the time in UTC, the process, a number, and what no other start has.

    Nothing of one is asked of the system that was asked for the last: that would take as long as a
    command does.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._random = secrets.token_hex(4)
        self._process = 0
        self._second: datetime | None = None
        self._second_text = ""

    def at(self, now: datetime) -> str:
        """
        Return the name of a connection.

        :param now: when it has come, in UTC.
        """
        second = now.replace(microsecond=0)
        if second != self._second:
            self._second = second
            self._process = os.getpid()  # not once and for all: twistd may still become a daemon
            self._second_text = f"{second:%Y%m%dT%H%M%S}"
        return (
            f"{self._second_text}.{now.microsecond:06}Z-{self._process}-{next(self._numbers)}-"
            f"{self._random}"
        )
