"""The certificate that all servers show here, and how a client trusts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smtpcb.client import Server
from smtpcb.engine import ClientSettings
from smtpcb.smtp import Credentials
from tests.certificates import make_authority, make_identity, write_pem

HOSTNAME = "mail.example.org"
USER, PASSWORD = "bob", "correct-horse-314159"


class Trusted:
    """
    An authority, and what it has issued.

    :ivar certificate: a PEM file; and `key`, that of its key; and `chain`, both in one.
    """

    def __init__(self, folder: Path) -> None:
        authority = make_authority()
        issued = make_identity([HOSTNAME], authority)
        # Servers read them as whoever they are.
        self.certificate = write_pem(folder / "certificate.pem", issued.certificate, mode=0o644)
        self.key = write_pem(folder / "key.pem", issued.private_key, mode=0o644)
        self.chain = write_pem(
            folder / "chain.pem", issued.private_key, issued.certificate, mode=0o600
        )
        self._trust = [authority.certificate]

    def server(self, port: int, **how: Any) -> Server:
        """Return one on loopback whose certificate is checked."""
        return Server("127.0.0.1", port, hostname=HOSTNAME, trust=self._trust, **how)

    def stranger(self, port: int, **how: Any) -> Server:
        """Return the same, not trusted."""
        return Server("127.0.0.1", port, hostname=HOSTNAME, **how)


def secure(*mechanisms: str, login: bool = True) -> ClientSettings:
    """Return settings for TLS and a login."""
    return ClientSettings(
        hostname="client.example.org",
        login="required" if login else "off",
        mechanisms=mechanisms or None,
    )


def give(mechanism: str) -> Credentials:
    """Log in."""
    return Credentials(mechanism, USER, PASSWORD)


def give_wrong(mechanism: str) -> Credentials:
    """Try to."""
    return Credentials(mechanism, USER, "wrong")
