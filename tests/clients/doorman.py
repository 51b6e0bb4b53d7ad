"""A handler that knows one user by everything there is: password, token, certificate."""

from __future__ import annotations

from smtpcb import Connection, Credentials, Envelope

USER = "anne@example.org"
PASSWORD = "correct-horse-battery-314159"
TOKEN = "ya29.c0rrect-horse_battery~t0ken"


class Doorman:
    """Lets anne in, and takes what she sends."""

    mechanisms = frozenset(
        {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
        | {"OAUTHBEARER", "XOAUTH2", "EXTERNAL"}
    )

    def stored_secret(self, username: str, mechanism: str, connection: Connection) -> str | None:
        """Return the password, which is stored as it is."""
        return PASSWORD if username == USER else None

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
        """Decide."""
        if credentials.username != USER:
            return False
        if credentials.token is not None:
            return credentials.token == TOKEN
        return credentials.proven or credentials.password == PASSWORD

    def message(self, envelope: Envelope) -> tuple[int, str]:
        """Say who has logged in."""
        return 250, f"taken from {envelope.connection.identity}"
