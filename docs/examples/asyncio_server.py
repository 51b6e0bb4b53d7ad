"""The same engine and the same handler on asyncio: asyncio_server.py [PORT]."""

import asyncio
import secrets
import sys
from functools import partial

from inbox import Inbox

from smtpcb.engine import (
    Connection,
    Driver,
    Reason,
    ServerDialogue,
    Settings,
    abilities_of,
    replies,
)

SETTINGS = Settings(hostname="localhost")


async def converse(handler, reader, writer):
    """Lead one connection from its greeting to its end."""
    connection = Connection(secrets.token_hex(8), *writer.get_extra_info("peername")[:2])
    dialogue = ServerDialogue(connection, SETTINGS, abilities_of(handler))
    driver = Driver(dialogue, handler)
    idle_seconds = SETTINGS.limits.idle_seconds
    try:
        # In threads, since the handler may block; one call at a time, since each is waited for.
        writer.write(await asyncio.to_thread(driver.start))
        await writer.drain()
        while not driver.finished:
            try:
                octets = await asyncio.wait_for(reader.read(65536), idle_seconds)
            except TimeoutError:
                dialogue.close(replies.TIMED_OUT, Reason.TIMEOUT)
                octets = b""
            else:
                if not octets:
                    break
            writer.write(await asyncio.to_thread(driver.receive, octets))
            await asyncio.wait_for(writer.drain(), idle_seconds)
    except OSError:
        pass  # the client has gone in its own way, or does not read
    finally:
        driver.disconnect()  # says nothing new if the dialogue came to its end
        writer.close()


async def main(port):
    """Listen until somebody stops us."""
    server = await asyncio.start_server(partial(converse, Inbox()), "127.0.0.1", port)
    print("listening on", *server.sockets[0].getsockname(), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10025))
