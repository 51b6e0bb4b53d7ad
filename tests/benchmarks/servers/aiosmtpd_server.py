"""aiosmtpd with its own Sink handler.  Arguments: PORT [CERTIFICATE KEY]."""

from __future__ import annotations

import asyncio
import ssl
import sys

from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP


async def main(port: int, certificate: str | None = None, key: str | None = None) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            Sink(),
            hostname="localhost",
            data_size_limit=1_000_000_000,
            tls_context=context,
            loop=loop,
        )

    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=511)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
