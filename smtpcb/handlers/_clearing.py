"""What is removed from a Maildir: only files that we have put there, only from one we have made."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from smtpcb.handlers._maildir import NAME, Maildir, opened

LEFTOVER_SECONDS = 36 * 3600
"""Age of what nobody can still be writing (https://cr.yp.to/proto/maildir.html)."""

# A mail reader may have added flags.
_IN_CUR = re.compile(NAME.pattern + r"(?::2,[A-Za-z]{0,52})?")
_ENVELOPE = re.compile(NAME.pattern + r"\.json")


@dataclass(frozen=True, slots=True)
class Keep:
    """
    How much of the captured mail is kept; ``None``, the default, is all of it.

    :ivar days: age at which a message is removed.
    :ivar messages: how many there may be; past it the oldest go until a tenth is free.
    :ivar octets: the same for all of them together.
    """

    days: float | None = None
    messages: int | None = None
    octets: int | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody can mean."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not value > 0:
                raise ValueError(f"keep {one.name} is a number above 0, not {value}")

    def is_passed(self, messages: int, octets: int) -> bool:
        """Whether so many are too many."""
        return (self.messages is not None and messages > self.messages) or (
            self.octets is not None and octets > self.octets
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there after a clearing."""

    messages: int
    octets: int


@dataclass(frozen=True, slots=True, order=True)
class _Message:
    seconds: int
    name: str
    flags: str
    folder: int
    octets: int


def clear(path: Path, keep: Keep, now: float) -> Kept | None:
    """
    Remove what was never finished, and messages that need not be kept, oldest first.

    It blocks: run it in a thread.  No symbolic link is followed, and no name is touched but those
    that `smtpcb.handlers._maildir.unique_name` makes.

    :param now: seconds since the epoch.
    :return: what is left; ``None``: it is no Maildir of our making, and was not looked at.
    :raises OSError: it cannot be used, or is not to be trusted.
    """
    with opened(path) as maildir:
        if not maildir.is_marked:
            return None
        _remove_leftovers(maildir, now - LEFTOVER_SECONDS)
        messages = sorted([*_messages(maildir.new), *_messages(maildir.cur)])
        left = _remove_old(maildir, messages, keep, now)
        _remove_envelopes(maildir, {one.name for one in left}, now - LEFTOVER_SECONDS)
        return Kept(len(left), sum(one.octets for one in left))


def _remove_leftovers(maildir: Maildir, before: float) -> None:
    for entry, status in _files(maildir.tmp, NAME):
        if max(status.st_mtime, status.st_atime) < before:
            _unlink(entry.name, maildir.tmp)


def _remove_envelopes(maildir: Maildir, messages: set[str], before: float) -> None:
    """Remove envelopes of messages that were never finished, or that a mail reader removed."""
    for entry, status in _files(maildir.envelopes, _ENVELOPE):
        if entry.name.removesuffix(".json") not in messages and status.st_mtime < before:
            _unlink(entry.name, maildir.envelopes)


def _messages(folder: int) -> Iterator[_Message]:
    for entry, status in _files(folder, _IN_CUR):
        name, colon, flags = entry.name.partition(":")
        seconds = int(name.partition(".")[0])
        yield _Message(seconds, name, colon + flags, folder, status.st_size)


def _remove_old(
    maildir: Maildir, messages: list[_Message], keep: Keep, now: float
) -> list[_Message]:
    """Return those that are left."""
    number, octets = len(messages), sum(one.octets for one in messages)
    most = keep
    if keep.is_passed(number, octets):
        # Some room, so that the next message is no reason to look through all of them again.
        most = Keep(None, _nine_tenths(keep.messages), _nine_tenths(keep.octets))
    left = []
    for one in messages:
        too_old = keep.days is not None and now - one.seconds > keep.days * 86400
        if (too_old or most.is_passed(number, octets)) and _unlink(
            one.name + one.flags, one.folder
        ):
            _unlink(f"{one.name}.json", maildir.envelopes)
            number -= 1
            octets -= one.octets
        else:
            left.append(one)
    return left


def _nine_tenths(limit: int | None) -> int | None:
    return None if limit is None else max(1, limit * 9 // 10)


def _files(
    folder: int, pattern: re.Pattern[str]
) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Find regular files of this name that are ours."""
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may clear away at the same time.
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if pattern.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
                    yield entry, status


def _unlink(name: str, folder: int) -> bool:
    """Remove a file; tell whether it is gone.  One that we may not remove is no obstacle."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
