"""What is looked at for a name that nobody has, so that nobody can tell that nobody has it."""

from __future__ import annotations

import hmac
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from smtpcb.smtp.sasl import ScramSecret

# Looked at where nobody has a name.
_NOBODYS = ScramSecret.imaginary("", b"").write()


class Nobody:
    """
    Somebody who is not in a file, and looks like those who are.

    :param hashes: what the file has, by name.
    """

    def __init__(self, hashes: Mapping[bytes, str]) -> None:
        self.beside = hashes
        self._hashes = list(hashes.values()) or [_NOBODYS]
        self._shapes: list[tuple[int, int]] = []
        self._up_to: list[int] = []
        self._key = b""

    def hash_of(self, name: bytes) -> str:
        """
        Return whose hash is looked at in place of that name's.

        It is somebody else's, and always the same one's: it costs what this one might have cost.
        """
        return self._hashes[zlib.crc32(name) % len(self._hashes)]

    def secret_of(self, name: str) -> ScramSecret:
        """
        Return keys that no password fits.

        They stay the same from one time to the next, and in every process that reads the file; as
        many names as have salts and iterations of one kind in the file have them here too.
        """
        if not self._shapes:
            self._look_at_them()
        # Where it stands among all does not change much when others are added.
        drawn = int.from_bytes(hmac.digest(self._key, name.encode(), "sha256")[:8])
        share = drawn * self._up_to[-1] >> 64
        iterations, octets = self._shapes[bisect_right(self._up_to, share)]
        return ScramSecret.imaginary(name, self._key, iterations=iterations, salt_octets=octets)

    def _look_at_them(self) -> None:
        known = [ScramSecret.read(one) for one in self._hashes if one.startswith("{")]
        known = known or [ScramSecret.read(_NOBODYS)]
        self._key = known[0].server_key
        counted = Counter((one.iterations, len(one.salt)) for one in known)
        self._up_to = list(accumulate(counted.values()))
        self._shapes = list(counted)
