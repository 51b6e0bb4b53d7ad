"""smtpcb's client: a SubmissionSession, as a program would use it."""

from __future__ import annotations

import load
from twisted.internet import task
from twisted.internet.defer import ensureDeferred

from smtpcb.client import Server, SubmissionSession
from smtpcb.engine import ClientSettings

PLAIN = ClientSettings(starttls="off", login="off")


async def send(sessions: int, messages: int) -> None:
    for _ in range(sessions):
        session = SubmissionSession(Server("127.0.0.1", load.PORT), settings=PLAIN)
        for _ in range(messages):
            session.add_message(load.SENDER, load.CONTENT).add_recipient(load.RECIPIENT)
        result = await session.run()
        if not result.is_delivered:
            raise SystemExit("a message got lost")


async def main() -> None:
    await send(*load.WARM)
    cost = load.Cost()
    await send(load.SESSIONS, load.MESSAGES)
    cost.tell()


task.react(lambda _: ensureDeferred(main()))
