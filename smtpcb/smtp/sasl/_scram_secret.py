"""ScramSecret: what a server stores for SCRAM-SHA-256, of which no password can be made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from smtpcb.smtp.sasl._saslprep import saslprep

# RFC 7677 §4; as often as a server can do it while others wait.
LEAST_ITERATIONS = 4096
MOST_ITERATIONS = 10_000_000
# What is stored may cost more: only a login by PLAIN has the server do it, in a thread.
STORED_ITERATIONS = 65_536
SALT_OCTETS = 16

_WRITTEN = re.compile(
    r"\{SCRAM-SHA-256\}(?P<count>[1-9][0-9]{0,7}),(?P<salt>[^,]+),(?P<stored>[^,]+),(?P<server>[^,]+)"
)


def sign(key: bytes, text: bytes) -> bytes:
    """Return a signature (HMAC in RFC 5802 §2.2)."""
    return hmac.digest(key, text, "sha256")


def salted(password: str, salt: bytes, iterations: int) -> bytes:
    """Return what takes long (``Hi`` in RFC 5802 §2.2)."""
    octets = saslprep(password).encode("utf-8", "surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", octets, salt, iterations)


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """
    What a server stores of a password for SCRAM-SHA-256 (RFC 5802 §2.3, RFC 7677).

    :ivar salt: told to whoever asks.
    :ivar iterations: likewise.
    :ivar stored_key: checks the client's proof; in no repr.
    :ivar server_key: makes ours; in no repr.
    :raises ValueError: a number that nobody can mean.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.salt or not 1 <= self.iterations <= MOST_ITERATIONS:
            raise ValueError("a ScramSecret has a salt, and up to ten million iterations")
        if len(self.stored_key) != 32 or len(self.server_key) != 32:
            raise ValueError("the keys of a ScramSecret have 32 octets each")

    @classmethod
    def of(
        cls, password: str, *, salt: bytes | None = None, iterations: int = STORED_ITERATIONS
    ) -> ScramSecret:
        """Make one; it takes as long as it should, so not where others wait."""
        if salt is None:
            salt = secrets.token_bytes(SALT_OCTETS)
        key = salted(password, salt, iterations)
        stored = hashlib.sha256(sign(key, b"Client Key")).digest()
        return cls(salt, iterations, stored, sign(key, b"Server Key"))

    @classmethod
    def imaginary(
        cls,
        username: str,
        key: bytes,
        *,
        iterations: int = STORED_ITERATIONS,
        salt_octets: int = SALT_OCTETS,
    ) -> ScramSecret:
        """
        Make one for a user whom nobody knows, that no password fits.

        Answer with it who asks for the secret of somebody unknown: the client sees a salt that is
        always the same, as with anybody else, and cannot tell.

        :param key: what only you know, and what stays the same, in all your processes and after
            they have started again: whoever has it can tell.
        :param iterations: as many as known users have.
        :param salt_octets: the length of their salts.
        """
        name = username.encode("utf-8", "surrogateescape")
        salt = hashlib.shake_256(key + name).digest(salt_octets)
        return cls(salt, iterations, secrets.token_bytes(32), secrets.token_bytes(32))

    @classmethod
    def read(cls, text: str) -> ScramSecret:
        """
        Read what `write` has written, or GNU SASL's ``gsasl --mkpasswd``.

        :raises ValueError: it is nothing of the kind; the text quotes none of it.
        """
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise ValueError("no {SCRAM-SHA-256}ITERATIONS,SALT,STOREDKEY,SERVERKEY")
        try:
            salt, stored, server = (
                binascii.a2b_base64(match[name].encode("ascii"), strict_mode=True)
                for name in ("salt", "stored", "server")
            )
        except ValueError:
            raise ValueError("a part of it is not base64") from None
        return cls(salt, int(match["count"]), stored, server)

    def write(self) -> str:
        """Return it as a line of text."""
        salt, stored, server = (
            base64.b64encode(one).decode("ascii")
            for one in (self.salt, self.stored_key, self.server_key)
        )
        return f"{{SCRAM-SHA-256}}{self.iterations},{salt},{stored},{server}"

    def fits(self, password: str) -> bool:
        """Whether that is the password; it takes as long as `of`."""
        mine = ScramSecret.of(password, salt=self.salt, iterations=self.iterations)
        return hmac.compare_digest(mine.stored_key, self.stored_key)
