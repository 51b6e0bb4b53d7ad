"""Room: the octets and files of the folder, counted as they are written, and the oldest removed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from smtpcb.transcript._names import TIME_FORMAT

if TYPE_CHECKING:
    from smtpcb.transcript._folders import Folders
    from smtpcb.transcript._settings import TranscriptSettings

# Past a limit so much more than needed is removed: the next hundreds of sessions need not look.
_FREED = 20

# Other processes write to the folder too: it is looked through again after such a part of a limit.
_LOOK_AGAIN = 4

# No disk has so much room.
_BOUNDLESS = 1 << 63

# Where nothing could be removed, it is not tried again for every session.
_RETRY_SECONDS = 60.0

FULL = "The folder is full: keep_octets or keep_files is reached, and nothing in it can be removed"


class Room:
    """
    What the folder holds and may hold.  It blocks, and belongs to one thread.

    :param seconds: any clock, for what is not tried again at once.
    :param wall: seconds since the epoch, for the age of transcripts.
    """

    def __init__(
        self,
        folders: Folders,
        settings: TranscriptSettings,
        seconds: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._folders = folders
        self._keep_days = settings.keep_days
        self._most_octets = _BOUNDLESS if settings.keep_octets is None else settings.keep_octets
        self._most_files = _BOUNDLESS if settings.keep_files is None else settings.keep_files
        self._look_octets = self._most_octets // _LOOK_AGAIN
        self._look_files = self._most_files // _LOOK_AGAIN
        self._seconds = seconds
        self._wall = wall
        self.octets = self.files = 0
        self._octets_since = self._files_since = 0  # written since the folder was looked through
        self._opening = 0  # which opening of the folder the figures are of
        self._tried: float | None = None
        self._live: set[str] = set()  # those that are being written: they stay

    def tidy(self) -> int:
        """
        Look the folder through, and remove what is too old or too much.

        :return: how many were removed.
        """
        self.octets = self.files = self._octets_since = self._files_since = 0
        for day in self._folders.days():
            for size in self._folders.sizes(day):
                self.octets += size
                self.files += 1
        self._opening = self._folders.openings
        return self._clear(0, 0)

    def admit(self, octets: int, *, new: bool) -> None:
        """
        Count what will be written, and remove what is in its way.

        :param new: whether it is a file of its own.
        :raises OSError: there is no room and none can be made.
        """
        files = int(new)
        if (
            self._octets_since > self._look_octets
            or self._files_since > self._look_files
            or self._opening != self._folders.openings
        ):
            self.tidy()
        if (
            self.octets + octets > self._most_octets or self.files + files > self._most_files
        ) and not self._make_room(octets, files):
            raise OSError(errno.EDQUOT, FULL)
        self.octets += octets
        self.files += files
        self._octets_since += octets
        self._files_since += files

    def being_written(self, path: str, being: bool) -> None:
        """
        Say whether a transcript goes on, so that it is not removed.

        :param path: as ``2026/11/20/NAME``.
        """
        if being:
            self._live.add(path)
        else:
            self._live.discard(path)

    def _over(self, octets: int, files: int, part: int = 0) -> bool:
        """Whether so much more is too much, or leaves free less than one part in so many."""
        octets_limit, files_limit = self._most_octets, self._most_files
        if part:
            octets_limit -= octets_limit // part
            files_limit -= files_limit // part
        return self.octets + octets > octets_limit or self.files + files > files_limit

    def _make_room(self, octets: int, files: int) -> bool:
        # All would be removed, and nothing won.
        if not self._most_files or octets > self._most_octets:
            return False
        now = self._seconds()
        if self._tried is not None and 0 <= now - self._tried < _RETRY_SECONDS:
            return False
        self._clear(octets, files)
        if self._over(octets, files):
            self.tidy()  # others may have removed what we count still
        self._tried = now if self._over(octets, files) else None
        return self._tried is None

    def _clear(self, octets: int, files: int) -> int:
        """Remove what is too old, and if so much more is too much, the oldest of the rest."""
        removed = 0
        if self._folders.ours:
            oldest = self._oldest_time()
            part = _FREED if self._over(octets, files) else 0
            for day in self._folders.days():
                if day.replace("/", "") > oldest[:8] and not self._over(octets, files, part):
                    break
                with suppress(OSError):
                    removed += self._clear_day(day, oldest, octets, files, part)
        return removed

    def _clear_day(self, day: str, oldest: str, octets: int, files: int, part: int) -> int:
        found = [
            name for name in self._folders.transcripts(day) if f"{day}/{name}" not in self._live
        ]
        removed = 0
        if found and (found[0] < oldest or self._over(octets, files, part)):
            with self._folders.removing(day) as remove:
                for name in found:
                    if name >= oldest and not self._over(octets, files, part):
                        break
                    size = remove(name)
                    if size is not None:
                        removed += 1
                        self.octets = max(0, self.octets - size)
                        self.files = max(0, self.files - 1)
        return removed

    def _oldest_time(self) -> str:
        if self._keep_days is None:
            return ""
        seconds = max(0.0, self._wall() - self._keep_days * 86400)
        return datetime.fromtimestamp(seconds, UTC).strftime(TIME_FORMAT)
