"""What a greylist remembers: triplets that were seen, networks that have shown to come again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS triplets (
    network TEXT, sender TEXT, recipient TEXT, first REAL, last REAL, passed INTEGER,
    PRIMARY KEY (network, sender, recipient)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS oldest ON triplets (last);
CREATE TABLE IF NOT EXISTS networks (
    network TEXT PRIMARY KEY, passed INTEGER, last REAL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Times:
    """
    When a triplet passes, and how long it is remembered (RFC 6647 §5).

    :ivar delay_seconds: how long it has to wait at first.
    :ivar retry_seconds: it has to come again within this.
    :ivar keep_seconds: one that has passed, or a network, is forgotten when not seen for so long.
    :ivar passes: of so many triplets of a network that have passed, all of it passes; 0: never.
    :ivar most: so many triplets are remembered; then the oldest are forgotten.
    """

    delay_seconds: float = 300.0
    retry_seconds: float = 2 * 86400.0
    keep_seconds: float = 36 * 86400.0
    passes: int = 5
    most: int = 1_000_000


class GreylistStore:
    """
    Triplets in SQLite, in memory or in a file that several processes may share.

    It blocks, and may be used from one thread at a time.

    :param path: of the file, which is made with mode 0600; None: in memory.
    :raises OSError: it cannot be made or is none; the text says why.
    """

    def __init__(self, path: Path | None, times: Times) -> None:
        self._times = times
        if path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            self._base = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=5,
                isolation_level=None,
                check_same_thread=False,
            )
            # What a power cut takes costs a client one more try.
            self._base.execute("PRAGMA synchronous = OFF")
            self._base.executescript(_TABLES)
            self._count = self._number("SELECT count(*) FROM triplets")
        except sqlite3.Error as error:
            raise OSError(0, str(error), None if path is None else str(path)) from None

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def passes(self, network: str, sender: str, recipient: str, now: float) -> bool:
        """
        Whether mail passes; that it was here is remembered.

        :raises sqlite3.Error: the file cannot be read or written now.
        """
        with closing(self._base.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                found = self._look(cursor, {"n": network, "s": sender, "r": recipient, "now": now})
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
        return found

    def _look(self, cursor: sqlite3.Cursor, of: Mapping[str, str | float]) -> bool:
        times, now = self._times, float(of["now"])
        known = cursor.execute(
            "SELECT passed, last FROM networks WHERE network = :n", of
        ).fetchone()
        if known and known[1] + times.keep_seconds < now:
            cursor.execute("DELETE FROM networks WHERE network = :n", of)
            known = None
        if known and 0 < times.passes <= known[0]:
            cursor.execute("UPDATE networks SET last = :now WHERE network = :n", of)
            return True
        where = "WHERE network = :n AND sender = :s AND recipient = :r"
        row = cursor.execute(f"SELECT first, last, passed FROM triplets {where}", of).fetchone()  # noqa: S608 - ours; values are bound
        if row is None:
            self._make_room(cursor, now)
            cursor.execute("INSERT INTO triplets VALUES (:n, :s, :r, :now, :now, 0)", of)
            self._count += 1
            return times.delay_seconds <= 0
        first, last, passed = row
        if (last + times.keep_seconds if passed else first + times.retry_seconds) < now:
            begin = "first = :now, last = :now, passed = 0"
            cursor.execute(f"UPDATE triplets SET {begin} {where}", of)  # noqa: S608 - ours; values are bound
            return False
        if not passed and now - first < times.delay_seconds:
            return False
        cursor.execute(f"UPDATE triplets SET last = :now, passed = 1 {where}", of)  # noqa: S608 - ours; values are bound
        if not passed:
            cursor.execute(
                "INSERT INTO networks VALUES (:n, 1, :now) "
                "ON CONFLICT (network) DO UPDATE SET passed = passed + 1, last = :now",
                of,
            )
        return True

    def _make_room(self, cursor: sqlite3.Cursor, now: float) -> None:
        """Forget what has expired, and of what is left the oldest tenth, where it is too much."""
        times = self._times
        if self._count < times.most:
            return
        cursor.execute(
            "DELETE FROM triplets WHERE passed = 0 AND first < ? OR last < ?",
            (now - times.retry_seconds, now - times.keep_seconds),
        )
        cursor.execute("DELETE FROM networks WHERE last < ?", (now - times.keep_seconds,))
        self._count = self._number("SELECT count(*) FROM triplets")
        if self._count >= times.most:
            cursor.execute(
                "DELETE FROM triplets WHERE (network, sender, recipient) IN "
                "(SELECT network, sender, recipient FROM triplets ORDER BY last LIMIT ?)",
                (max(1, times.most // 10),),
            )
            self._count = self._number("SELECT count(*) FROM triplets")

    def _number(self, query: str) -> int:
        return int(self._base.execute(query).fetchone()[0])
