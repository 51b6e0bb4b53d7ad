"""Whether there is room for mail on the disks that it is written to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from smtpcb.engine._budget import Circumstances

# How old what is known of a disk may be.
LOOK_SECONDS = 2.0

_log = Logger(namespace="smtpcb.server")


def free_octets(folder: Path) -> int:
    """
    Return how much whoever we are may write there.

    :raises OSError: it cannot be known.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class FreeSpace:
    """
    Looks how much is free, again and again, in a thread: a disk may stall.

    One that does is as it was when it was looked at last; one that cannot be looked at is none.

    :param least: octets that must be free in each folder.
    :param folders: returns where mail is written, when we start.
    :param circumstances: where it is said that there is no room.
    :param reactor: without threads, nothing is looked at.
    :param free: asks a disk.
    """

    def __init__(
        self,
        least: int | None,
        folders: Callable[[], Sequence[Path]],
        circumstances: Circumstances,
        reactor: Any,
        *,
        free: Callable[[Path], int] = free_octets,
    ) -> None:
        self._least = least
        self._find_folders = folders
        self._circumstances = circumstances
        self._reactor = reactor
        self._free = free
        self._folders: Sequence[Path] = ()
        self._loop: LoopingCall | None = None
        self._looking = False
        self._warned: set[Path] = set()

    def start(self) -> None:
        """Look now, and from now on."""
        threads = IReactorFromThreads.providedBy(self._reactor)
        if not self._least or not threads:
            return
        self._folders = tuple(self._find_folders())
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._reactor
        self._loop.start(LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _look(self) -> None:
        if not self._looking:
            self._looking = True
            Thread(target=self._ask, daemon=True, name="smtpcb-free").start()

    def _ask(self) -> None:
        found: list[tuple[Path, int | OSError]] = []
        for folder in self._folders:
            try:
                found.append((folder, self._free(folder)))
            except OSError as error:
                found.append((folder, error))
        self._reactor.callFromThread(self._take, found)

    def _take(self, found: list[tuple[Path, int | OSError]]) -> None:
        self._looking = False
        if self._loop is None:
            return
        least = self._least or 0
        short = [folder for folder, free in found if isinstance(free, int) and free < least]
        before, self._circumstances.storage_full = self._circumstances.storage_full, bool(short)
        if short and not before:
            _log.warn(
                "less than {least} octets are free in {folder}: mail is refused until there are",
                least=least,
                folder=short[0],
            )
        elif before and not short:
            _log.info("there is room for mail again")
        for folder, error in found:
            if isinstance(error, OSError) and folder not in self._warned:
                self._warned.add(folder)
                _log.warn(
                    "how much is free in {folder} cannot be known: {why}",
                    folder=folder,
                    why=error.strerror or str(error),
                )
