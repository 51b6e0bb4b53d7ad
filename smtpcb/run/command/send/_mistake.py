"""MistakeError: why nothing was sent, in one line, and the exit status that says so."""

from __future__ import annotations

import os


class MistakeError(Exception):
    """
    What the user got wrong, before anything was sent.

    :ivar status: one of sysexits.h.
    """

    def __init__(self, text: str, status: int = os.EX_USAGE) -> None:
        super().__init__(text)
        self.status = status


def unreadable(path: object, error: OSError) -> MistakeError:
    """Return what is said of a file that cannot be read."""
    return MistakeError(f"{path}: {error.strerror or error}", os.EX_NOINPUT)
