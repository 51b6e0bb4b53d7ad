"""What one connection said, gathered where it is said and handed to the thread that writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from smtpcb.transcript._notation import CLIENT, CONTENT, END_OF_CONTENT, NOTE, SERVER

if TYPE_CHECKING:
    from smtpcb.transcript._file import TranscriptWriting
    from smtpcb.transcript._folder import TranscriptFolder
    from smtpcb.transcript._settings import TranscriptSettings

# So much is gathered before it is handed over early, and so much a record takes beside its octets.
HAND_OVER_OCTETS = 16_384
RECORD_OCTETS = 120

# With or without CR: BDAT content may have lines that end in LF alone (RFC 3030 §3).
_END_OF_HEAD = re.compile(rb"\n\r?\n")


class Transcript:
    """
    The record of one connection.  Nothing here raises or waits: what cannot be written is dropped.

    Secrets are masked by the caller, before they come here.

    :ivar path: where the file is, or will be once something has been written.
    """

    __slots__ = (
        "_content",
        "_content_octets",
        "_folder",
        "_handed",
        "_head_end",
        "_kept",
        "_left_out",
        "_max_octets",
        "_over",
        "_records",
        "_seconds",
        "_sessions",
        "_weight",
        "_writing",
    )

    def __init__(
        self, folder: TranscriptFolder, settings: TranscriptSettings, writing: TranscriptWriting
    ) -> None:
        self._folder = folder
        self._seconds = folder.seconds
        self._writing = writing
        self._content = settings.content
        self._sessions = settings.sessions
        self._max_octets = settings.max_octets
        # The three of each `Record` in a row: many objects that live for a second would keep the
        # collector of garbage at work.
        self._records: list[Any] = []
        self._weight = 0
        self._handed = False  # whether some of it is on its way already
        self._kept = settings.sessions == "all"  # until then it is not known if there will be one
        self._over = False
        self._content_octets = 0  # all that was recorded, and
        self._left_out = 0  # what of this message was not
        self._head_end: bytes | None = b"\n"  # what the search goes on from; None: found
        if self._kept:
            folder.remember(self)

    @property
    def path(self) -> str:
        """Where the file is, or will be once something has been written."""
        return self._folder.path_of(self._writing)

    def client(self, octets: bytes) -> None:
        """
        Record command lines, secrets already masked.

        :param octets: as received, with CRLF.
        """
        if not self._kept and (self._sessions != "transactions" or _names_a_sender(octets)):
            self._keep()
        # Here and in `server` as in `_record`: they are what a session consists of.
        if not self._records:
            if self._over:
                return
            self._first()
        self._records += (self._seconds(), CLIENT, octets)
        self._weight += len(octets) + RECORD_OCTETS
        if self._weight > HAND_OVER_OCTETS:
            self._early()

    def server(self, octets: bytes) -> None:
        """
        Record replies.

        :param octets: as sent, with CRLF.
        """
        if not self._records:
            if self._over:
                return
            self._first()
        self._records += (self._seconds(), SERVER, octets)
        self._weight += len(octets) + RECORD_OCTETS
        if self._weight > HAND_OVER_OCTETS:
            self._early()

    def content(self, octets: bytes) -> None:
        """
        Record a piece of mail data, or count it, as the settings say.

        :param octets: as on the wire, dots still stuffed; cut anywhere.
        """
        if not self._kept:
            self._keep()
        kept = size = len(octets)
        # A transcript is never shorter than what it records: the rest would be left out anyway.
        if self._content_octets > self._max_octets or self._content == "none":
            kept = 0
        elif self._content == "head":
            kept = self._head_of(octets)
        self._content_octets += kept
        self._left_out += size - kept
        if kept:
            self._record(CONTENT, octets if kept == size else octets[:kept])

    def end_of_content(self) -> None:
        """Say that the mail data is complete; what comes next belongs to another message."""
        self._record(END_OF_CONTENT, b"%d" % self._left_out)
        self._left_out, self._head_end = 0, b"\n"

    def note(self, text: str) -> None:
        """
        Record a remark of the server's.

        :param text: anything; what does not print is escaped.
        """
        self._record(NOTE, text.encode("utf-8", "backslashreplace") + b"\r\n")

    def close(self, reason: str) -> None:
        """
        Record the last line; later records are ignored.

        :param reason: why the connection ended.
        """
        if self._over:
            return
        if self._kept:
            if self._left_out or self._content_octets:
                self.end_of_content()
            self.note(f"closed: {reason}")
            self.hand_over(closed=True)
        self._over = True
        self._records = []

    def hand_over(self, *, closed: bool = False) -> None:
        """
        Give what has been gathered to the thread that writes.

        :param closed: nothing more will come.
        """
        records, self._records = self._records, []
        weight, self._weight = self._weight, 0
        self._folder.forget(self)
        if self._over or not (records or closed):
            return
        if self._writing.over:  # the thread has cut it
            self._over = True
        elif self._folder.write(self._writing, records, weight, closed=closed):
            self._handed = True
        else:
            self._over = True
            if self._handed:
                self._folder.cut(self._writing, self._seconds())

    def _record(self, side: int, octets: bytes) -> None:
        if not self._records:
            if self._over:
                return
            self._first()
        self._records += (self._seconds(), side, octets)
        self._weight += len(octets) + RECORD_OCTETS
        if self._weight > HAND_OVER_OCTETS:
            self._early()

    def _first(self) -> None:
        """The next record is the first of some that are written together."""
        if self._kept:
            self._folder.remember(self)

    def _early(self) -> None:
        self._kept = True  # nobody who says so much is a health check
        self.hand_over()

    def _keep(self) -> None:
        self._kept = True
        if self._records:
            self._folder.remember(self)

    def _head_of(self, octets: bytes) -> int:
        if self._head_end is None:
            return 0
        known = len(self._head_end)
        around = self._head_end + octets
        end = _END_OF_HEAD.search(around)
        self._head_end = None if end else around[-2:]
        return end.end() - known if end else len(octets)


def _names_a_sender(lines: bytes) -> bool:
    return b"\nMAIL" in b"\n" + lines.upper()
