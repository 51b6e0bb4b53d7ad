"""
A server under asyncio's reactor, and one client of it; it prints the codes that the client hears.

``python -m tests.server.asyncio_handlers``
"""

from __future__ import annotations

from twisted.internet import asyncioreactor

asyncioreactor.install()

import asyncio  # noqa: E402 - the reactor comes first
import sys  # noqa: E402 - the reactor comes first
from typing import Any  # noqa: E402 - the reactor comes first

from twisted.internet import reactor as installed  # noqa: E402 - the reactor comes first
from twisted.internet.defer import Deferred  # noqa: E402 - the reactor comes first
from twisted.internet.task import deferLater  # noqa: E402 - the reactor comes first
from twisted.logger import globalLogBeginner, textFileLogObserver  # noqa: E402 - the reactor comes first

from smtpcb.engine import Settings  # noqa: E402 - the reactor comes first
from smtpcb.server import SmtpServerFactory, SmtpService  # noqa: E402 - the reactor comes first
from smtpcb.smtp import Limits, Refusal  # noqa: E402 - the reactor comes first

reactor: Any = installed


class Inbox:
    """What asyncio's programs do, a recipient each."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def rcpt(self, recipient: Any, envelope: Any) -> Any:
        how = getattr(self, recipient.local_part)
        self.seen.append(recipient.local_part)
        return await how()

    async def at_once(self) -> None:
        assert asyncio.current_task() is not None

    async def sleep(self) -> None:
        await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    async def timeout(self) -> Any:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(3600)
        except TimeoutError:
            return 450, "Timed out"

    async def deferred(self) -> Any:
        assert await deferLater(reactor, 0.001, lambda: 7) == 7
        return 251, "Forwarded"

    async def failed_deferred(self) -> Any:
        failing: Deferred[None] = Deferred()
        reactor.callLater(0.001, failing.errback, LookupError())
        try:
            await failing
        except LookupError:
            return 550, "Looked up"

    async def deferred_in_time(self) -> Any:
        cancelled: list[Any] = []
        try:
            async with asyncio.timeout(0.001):
                await Deferred(cancelled.append)
        except TimeoutError:
            return 450 + len(cancelled), "Cancelled"

    async def together(self) -> Any:
        both = await asyncio.gather(self.sleep(), asyncio.to_thread(lambda: 3))
        return both == [None, 3]

    async def group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.001))

    async def refused(self) -> None:
        await asyncio.sleep(0)
        raise Refusal(553, "No")

    async def fault(self) -> None:
        await asyncio.sleep(0)
        raise ArithmeticError

    async def leaving(self) -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    async def leaving_when_cancelled(self) -> Any:
        try:
            async with asyncio.timeout(0.001):
                await Deferred(lambda _: sys.exit(3))
        except TimeoutError:
            return 450, "Cancelled"

    async def odd(self) -> None:
        class Odd:
            def __await__(self) -> Any:
                yield 42

        await Odd()

    async def late(self) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    def mail(self, envelope: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        reactor.callLater(0.001, future.set_result, (250, "A future"))
        return future

    async def message(self, envelope: Any) -> Any:
        await asyncio.sleep(0.001)
        return 250, f"{len(envelope.content.bytes())} octets"


async def talk(port: int, inbox: Inbox) -> None:
    """Be a client."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say(line: str) -> str:
        if line:
            writer.write(line.encode() + b"\r\n")
        while True:
            reply = (await asyncio.wait_for(reader.readline(), 20)).decode()
            if reply[3:4] != "-":
                return reply.rstrip()

    await say("")
    await say("EHLO client.example")
    print("MAIL", await say("MAIL FROM:<>"))
    for name in (
        *("at_once", "sleep", "timeout", "deferred", "failed_deferred", "deferred_in_time"),
        *("together", "group", "refused", "fault", "odd", "late"),
        *("leaving", "leaving_when_cancelled"),
    ):
        print(name, await say(f"RCPT TO:<{name}@example.org>"))
    await say("DATA")
    print("DATA", await say("A: b\r\n."))
    await say("MAIL FROM:<>")
    writer.write(b"RCPT TO:<late@example.org>\r\n")
    while inbox.seen.count("late") < 2:
        await asyncio.sleep(0.001)
    writer.close()
    while inbox.seen.count("cancelled") < 2:
        await asyncio.sleep(0.001)
    print("cancelled twice")


def main() -> None:
    """Serve, talk, stop."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    inbox = Inbox()
    limits = Limits(decision_seconds=0.5, errors=None, free_errors=None)
    factory = SmtpServerFactory(inbox, Settings(limits=limits))
    service = SmtpService("tcp:0:interface=127.0.0.1", factory)
    service.startService()
    port: Any = service.ports[0]

    def begin() -> None:
        done = Deferred.fromFuture(asyncio.ensure_future(talk(port.getHost().port, inbox)))
        done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        done.addCallback(lambda _: service.stopService())
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
