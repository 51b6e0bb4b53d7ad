"""
aiosmtpd, which refuses by name and keeps each message in a file.

Arguments: FOLDER PORT SMTPS_PORT LMTP_PORT CERTIFICATE KEY USER PASSWORD.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from itertools import count
from pathlib import Path
from typing import Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult

BY_NAME = {
    "unknown": "550 5.1.1 Unknown",
    "later": "450 4.2.1 Later",
    "mail5": "550 5.7.1 Not from you",
    "mail4": "450 4.7.1 Not now",
}
BEHIND = {"dot5": "554 5.6.0 Not that", "dot4": "451 4.3.0 Busy"}


def name(address: str) -> str:
    return address.partition("@")[0]


class Handler:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = count()

    async def handle_MAIL(
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        refusal = BY_NAME.get(name(address))
        if refusal is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return refusal or "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        refusal = BY_NAME.get(name(address))
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if isinstance(server, LMTP):
            replies = {one: BEHIND.get(name(one)) for one in envelope.rcpt_tos}
        else:
            whole = BEHIND.get(name(envelope.mail_from))
            replies = dict.fromkeys(envelope.rcpt_tos, whole)
        taken = [one for one, refusal in replies.items() if refusal is None]
        if taken:
            who = " ".join(map(name, taken))
            path = self.folder / f"{next(self.numbers)} {who}"
            path.with_suffix(".part").write_bytes(envelope.content)
            path.with_suffix(".part").rename(path)
        said = [refusal or "250 2.0.0 Kept" for refusal in replies.values()]
        return "\r\n".join(said) if isinstance(server, LMTP) else said[0]


async def main(
    folder: str, port: str, smtps: str, lmtp: str, certificate: str, key: str, *login: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    handler = Handler(Path(folder))

    def may_log_in(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == login, handled=False)

    def serve(kind: type[SMTP], **more: Any) -> SMTP:
        return kind(
            handler,
            hostname="mail.example.org",
            enable_SMTPUTF8=True,
            data_size_limit=200_000,
            authenticator=may_log_in,
            loop=loop,
            **more,
        )

    servers = [
        await loop.create_server(
            lambda: serve(SMTP, tls_context=context, auth_require_tls=True), "127.0.0.1", int(port)
        ),
        await loop.create_server(
            lambda: serve(SMTP, auth_require_tls=False), "127.0.0.1", int(smtps), ssl=context
        ),
        await loop.create_server(lambda: serve(LMTP), "127.0.0.1", int(lmtp)),
    ]
    await asyncio.gather(*(one.serve_forever() for one in servers))


asyncio.run(main(*sys.argv[1:]))
