"""What an observer is told must make sense, whatever the server does: each event once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smtpcb.engine import ClientFailure, ClientObserver, Connection, TlsInformation, Transaction

from .server import SECRETS


class Seen(ClientObserver):
    """
    Watches each connection of a session.

    :ivar connections: those that were made.
    """

    def __init__(self) -> None:
        self.connections: list[SeenConnection] = []

    def connected(self, connection: Connection) -> ClientObserver:
        self.connections.append(SeenConnection(connection))
        return self.connections[-1]

    def complaints(self) -> Iterator[str]:
        """Yield what was wrong, once all is over."""
        for one in self.connections:
            yield from one.wrong
            if not one.gone:
                yield "an observer has seen no end of a connection"
            if one.message is not None:
                yield "an observer has seen no end of a message"
            if any(secret in one.said for secret in SECRETS):
                yield "an observer has seen a secret"


class SeenConnection(ClientObserver):
    """
    Watches one connection.

    :ivar wrong: what should not have been told.
    :ivar gone: the end was told.
    :ivar message: the one under way.
    :ivar said: all commands.
    """

    def __init__(self, connection: Connection) -> None:
        self.wrong: list[str] = [] if connection.peer_address else ["it is not known where"]
        self.gone = self._over = self._secure = False
        self.message: Transaction | None = None
        self.said = b""

    def _check(self, right: bool, text: str) -> None:
        if not right or self.gone:
            self.wrong.append(f"an observer was told: {text}{' behind the end' * self.gone}")

    def connected(self, connection: Connection) -> None:
        self._check(False, "connected twice")

    def secured(self, tls: TlsInformation) -> None:
        self._check(not self._secure and not self._over, "secured")
        self._secure = True

    def client(self, octets: bytes) -> None:
        self._check(not self._over and octets.endswith(b"\r\n"), f"client {octets!r:.40}")
        self.said += octets

    def server(self, octets: bytes) -> None:
        self._check(True, "server")

    def content(self, octets: bytes) -> None:
        self._check(self.message is not None, "content")

    def end_of_content(self) -> None:
        self._check(self.message is not None, "end of content")

    def begun(self, transaction: Transaction) -> None:
        self._check(self.message is None and not self._over, "begun")
        self.message = transaction

    def replied(self, stage: Any, subject: object, reply: object) -> None:
        self._check(self.message is not None and not self._over, f"replied {stage.value}")

    def finished(self, transaction: Transaction) -> None:
        lacking = self.message is None and transaction.failure is not None
        self._check(lacking or self.message is transaction, "finished")
        self.message = None

    def ended(self, failure: ClientFailure | None) -> None:
        self._check(not self._over and self.message is None, "ended")
        self._over = True

    def disconnected(self, failure: ClientFailure | None) -> None:
        self._check(True, "disconnected")
        self.gone = True

    def failed(self, error: Exception) -> None:
        self.wrong.append(f"an observer has failed: {error!r}")
