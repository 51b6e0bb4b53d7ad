"""A program of asyncio's that sends: its loop is the reactor's, and its tasks await the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

from twisted.internet import asyncioreactor

loop = asyncio.new_event_loop()
asyncioreactor.install(loop)

from twisted.internet import reactor  # noqa: E402
from twisted.internet.endpoints import serverFromString  # noqa: E402

from smtpcb import Connection, Envelope, Settings, SmtpServerFactory  # noqa: E402
from smtpcb.client import Server, SubmissionSession, send  # noqa: E402
from smtpcb.engine import ClientSettings  # noqa: E402
from smtpcb.smtp.sasl import Credentials  # noqa: E402

TEXT = b"Subject: Hello\r\n\r\nHi\r\n"


class Inbox:
    """Says how many octets came, and holds some back for ever."""

    def authenticate(self, credentials: Credentials, connection: Connection) -> bool:
        return credentials.password == "tim"

    async def message(self, envelope: Envelope) -> tuple[int, str]:
        if b"forever" in envelope.content.bytes():
            await asyncio.Event().wait()
        return (
            250,
            f"{len(envelope.content.bytes())} octets by {envelope.connection.identity or 'nobody'}",
        )


async def slow_pieces() -> AsyncIterator[bytes]:
    yield b"Subject: Slow\r\n\r\n"
    await asyncio.sleep(0.01)
    yield b"Hi\r\n"


async def credentials(mechanism: str) -> Credentials:
    await asyncio.sleep(0.01)
    return Credentials(mechanism, "anne", "tim")


class Sender:
    def __init__(self, port: int) -> None:
        self.server = Server("127.0.0.1", port)

    async def send(self, message: object, **more: object) -> str:
        result = await send(
            message, host="127.0.0.1", port=self.server_port, sender="a@example.org",
            to=["b@example.org"], tls="off",
        )  # fmt: skip
        reply = result.messages[0].recipients[0].reply
        assert reply is not None
        return reply.text

    @property
    def server_port(self) -> int:
        return int(self.server.name.rpartition(":")[2])

    async def logged_in(self) -> str:
        settings = ClientSettings(starttls="off", login="required", allow_insecure_auth=True)
        session = SubmissionSession(self.server, settings=settings, give=credentials)
        message = session.add_message("a@example.org", slow_pieces)
        recipient = message.add_recipient("b@example.org")
        await asyncio.gather(session.run(), asyncio.sleep(0.01))
        assert recipient.reply is not None
        return recipient.reply.text


async def said(name: str, of: Awaitable[str]) -> None:
    try:
        print(name, await of)
    except (Exception, asyncio.CancelledError) as error:
        print(name, type(error).__name__)


async def too_late() -> AsyncIterator[bytes]:
    yield TEXT
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()


async def main() -> None:
    settings = Settings(allow_insecure_auth=True)
    factory = SmtpServerFactory(Inbox, settings)
    port = (
        await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory).asFuture(loop)
    )
    sender = Sender(port.getHost().port)
    await said("bytes", sender.send(TEXT))
    await said("pieces", sender.send(slow_pieces()))
    await said("task", asyncio.create_task(sender.send(slow_pieces)))
    await said("login", sender.logged_in())
    await said("source", sender.send(too_late()))
    await said("timeout", asyncio.wait_for(sender.send(TEXT + b"forever\r\n"), 0.2))
    task = asyncio.create_task(sender.send(TEXT + b"forever\r\n"))
    await asyncio.sleep(0.1)
    task.cancel()
    await said("cancelled", task)
    await said("refused", sender.send(b"a\rb"))
    await port.stopListening().asFuture(loop)


if __name__ == "__main__":
    reactor.startRunning(installSignalHandlers=False)  # type: ignore[attr-defined]
    loop.run_until_complete(main())
    reactor.stop()  # type: ignore[attr-defined]
    loop.run_forever()
