"""aiosmtplib."""

from __future__ import annotations

import asyncio

import aiosmtplib
import load


async def send(sessions: int, messages: int) -> None:
    for _ in range(sessions):
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=load.PORT, start_tls=False) as server:
            for _ in range(messages):
                await server.sendmail(load.SENDER, [load.RECIPIENT], load.CONTENT)


async def main() -> None:
    await send(*load.WARM)
    cost = load.Cost()
    await send(load.SESSIONS, load.MESSAGES)
    cost.tell()


asyncio.run(main())
