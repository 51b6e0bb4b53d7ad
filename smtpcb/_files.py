"""Files that an operator names: read whole, unless they are none that could be meant."""

from __future__ import annotations

import errno
from typing import BinaryIO

MOST_OCTETS = 4_194_304
"""No certificate, key, passphrase or file of settings is longer."""


def read_all(file: BinaryIO) -> bytes:
    """
    Return what is in a file; a pipe is one too, a device that never ends is not.

    :raises OSError: it is longer than any that could be meant, or cannot be read.
    """
    octets = file.read(MOST_OCTETS + 1)
    if len(octets) > MOST_OCTETS:
        raise OSError(errno.EFBIG, f"has no end within {MOST_OCTETS} octets: another file is meant")
    return octets
