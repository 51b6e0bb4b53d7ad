"""One transcript in the thread that writes: what is written of it, and where it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from smtpcb.transcript._notation import CONTENT, END_OF_CONTENT, Head, Notation, Record

if TYPE_CHECKING:
    from smtpcb.transcript._folders import Folders
    from smtpcb.transcript._room import Room

# The worst that octets can become: an empty line, whose two octets are fourteen; and what each
# record may need beside: its time, its side, the end of a line of somebody else's.
_GROWTH = 8
_BESIDE = 48

# Content is taken in steps that cannot outgrow what is left of ``max_octets``.
_LEAST_STEP = 4096


class TranscriptWriting:
    """
    A transcript as the writing thread knows it; the connection's side only looks at `over`.

    It keeps no descriptor between two writes; a server at its limit of connections would need
    twice as many.

    :ivar over: nothing more will be written.
    """

    __slots__ = (
        "_head",
        "_in_line",
        "_left_out",
        "_max_octets",
        "_notation",
        "_written",
        "day",
        "name",
        "over",
    )

    def __init__(self, head: Head, day: str, name: str, max_octets: int) -> None:
        self.day = day
        self.name = name
        self.over = False
        self._head = head
        self._notation = Notation(head.started)
        self._max_octets = max_octets
        self._written = 0  # octets in the file, and
        self._in_line = False  # whether it ends inside a line
        self._left_out = 0  # octets of this message that are not in it

    def write(self, folders: Folders, room: Room, records: Sequence[Any], closed: bool) -> None:
        """
        Write what was said.

        :param records: when, which side and the octets of each, in a row.
        :param closed: it is the last.
        :raises OSError: it could not be written; the transcript is over.
        """
        if self.over:
            return
        self.over = closed
        new = not self._written
        try:
            if records:
                octets = self._text(records)
                try:
                    room.admit(len(octets), new=new)
                    self._append(folders, octets)
                except OSError as error:
                    self.cut(folders, records[-3], error.strerror or str(error))
                    raise
        except BaseException:
            self.over = True
            raise
        finally:
            # Most are written once, and over.
            if not (new and self.over):
                room.being_written(f"{self.day}/{self.name}", not self.over)

    def cut(self, folders: Folders, seconds: float, why: str) -> None:
        """
        Say in the file, if there is one, that something of it was lost: it is over.

        :param seconds: when, on the owner's clock.
        """
        self.over = True
        if not self._written:
            return
        mark = self._notation.mark(seconds, f"cut: {why}", inside=self._in_line)
        with suppress(OSError):
            descriptor = folders.open_again(self.day, self.name)
            try:
                # What arrived of the last write may end inside a character or an escape.  The
                # blocks given back are often enough for the line that says so.
                os.ftruncate(descriptor, self._written)
                os.write(descriptor, mark)
            finally:
                os.close(descriptor)

    def _append(self, folders: Folders, octets: bytes) -> None:
        where = self.day, self.name
        descriptor = folders.open_again(*where) if self._written else folders.open_new(*where)
        try:
            rest = octets
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            if not self._written:
                # A file without anything in it would look like a session in which nothing was said.
                with suppress(OSError):
                    folders.remove_new(*where)
            raise
        finally:
            os.close(descriptor)
        self._written += len(octets)
        self._in_line = octets[-1:] != b"\n"

    def _text(self, said: Sequence[Any]) -> bytes:
        all_octets = said[2::3]
        records: list[Record] = list(zip(said[::3], said[1::3], all_octets, strict=True))
        head = b"" if self._written else self._head.text()
        octets = b"".join(all_octets)
        most = len(octets) * _GROWTH + len(records) * _BESIDE
        if self._written + len(head) + most > self._max_octets:
            return b"".join(self._careful(head, records))
        return head + self._notation.lines_of(records, octets)

    def _careful(self, head: bytes, records: Sequence[Record]) -> Iterator[bytes]:
        """Write one record after the other, and look at the size before each."""
        size = self._written + len(head)
        yield head
        for record in records:
            for piece in self._pieces(record, size):
                size += len(piece)
                yield piece
            if size > 2 * self._max_octets:
                inside = piece[-1:] != b"\n"
                yield self._notation.mark(
                    record[0], "cut: the transcript is too long", inside=inside
                )
                self.over = True
                return

    def _pieces(self, record: Record, size: int) -> Iterator[bytes]:
        seconds, side, octets = record
        if side == END_OF_CONTENT:
            left_out, self._left_out = self._left_out + int(octets), 0
            yield self._notation.lines([(seconds, END_OF_CONTENT, b"%d" % left_out)])
        elif side != CONTENT:
            yield self._notation.lines([record])
        else:
            start = 0
            while start < len(octets) and (room := self._max_octets - size) > 0:
                stop = min(len(octets), start + max(room // _GROWTH, _LEAST_STEP))
                piece = self._notation.lines([(seconds, CONTENT, octets[start:stop])])
                size += len(piece)
                start = stop
                yield piece
            self._left_out += len(octets) - start
