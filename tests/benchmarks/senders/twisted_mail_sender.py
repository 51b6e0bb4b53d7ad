"""twisted.mail's SMTPClient, which is asked for one message after the other."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import load
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.mail.smtp import ESMTPClient


class Sender(ESMTPClient):
    """So many messages, and QUIT."""

    def __init__(self, messages: int) -> None:
        super().__init__(b"", identity=b"client.example.com")
        self.requireAuthentication = self.requireTransportSecurity = False
        self._left = messages
        self.done: Deferred[None] = Deferred()

    def getMailFrom(self) -> bytes | None:
        self._left -= 1
        return load.SENDER.encode() if self._left >= 0 else None

    def getMailTo(self) -> list[bytes]:
        return [load.RECIPIENT.encode()]

    def getMailData(self) -> BytesIO:
        # It wants LF, and makes CRLF of it.
        return BytesIO(LINES)

    def sentMail(self, code: int, *others: Any) -> None:
        if code != 250:
            raise SystemExit(f"refused: {code}")

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.done.callback(None)


LINES = load.CONTENT.replace(b"\r\n", b"\n")


async def send(sessions: int, messages: int) -> None:
    for _ in range(sessions):
        sender = Sender(messages)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", load.PORT), sender)
        await sender.done


async def main() -> None:
    await send(*load.WARM)
    cost = load.Cost()
    await send(load.SESSIONS, load.MESSAGES)
    cost.tell()


task.react(lambda _: ensureDeferred(main()))
