"""The same engine and the same handler on asyncio: asyncio_server.py [PORT]."""

import asyncio
import secrets
import sys

from inbox import Inbox

from smtpcb.engine import Connection, Driver, Settings

SETTINGS = Settings(hostname="localhost")
INBOX = Inbox()


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lead one connection from its greeting to its end."""
    connection = Connection(secrets.token_hex(8), *writer.get_extra_info("peername")[:2])
    driver = Driver(INBOX, SETTINGS, connection)
    idle_seconds = SETTINGS.limits.idle_seconds
    try:
        # In threads, since the handler may block; one call at a time, since each is waited for.
        writer.write(await asyncio.to_thread(driver.start))
        await writer.drain()
        while not driver.finished:
            try:
                octets = await asyncio.wait_for(reader.read(65536), idle_seconds)
            except TimeoutError:
                writer.write(driver.time_out())
                break
            if not octets:
                break
            writer.write(await asyncio.to_thread(driver.receive, octets))
            await asyncio.wait_for(writer.drain(), idle_seconds)
    except OSError:
        pass  # the client has gone in its own way, or does not read
    finally:
        driver.disconnect()  # says nothing new if the dialogue came to its end
        writer.close()


async def main(port: int) -> None:
    """Listen until somebody stops us."""
    server = await asyncio.start_server(converse, "127.0.0.1", port)
    print("listening on", *server.sockets[0].getsockname()[:2], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10025))
