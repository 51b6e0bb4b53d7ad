"""Mail from a program of asyncio's: its loop is the reactor's, and its tasks await it."""

import asyncio

from twisted.internet import asyncioreactor


async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor

    from smtpcb.client import NotDelivered, send

    reactor.startRunning(installSignalHandlers=False)
    report = b"From: anne@example.org\nSubject: Report\n\nAll is well.\n"
    told = {"host": "localhost", "port": 10025, "tls": "off", "sender": "anne@example.org"}
    results = await asyncio.gather(
        send(report, to=["bob@example.org"], **told),
        send(report, to=["nobody@example.org"], **told),
        return_exceptions=True,
    )
    reactor.fireSystemEvent("shutdown")  # its threads, which look names up, end
    for result in results:
        print(result if isinstance(result, NotDelivered) else result.is_delivered)


if __name__ == "__main__":
    asyncio.run(main())
