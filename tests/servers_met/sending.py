"""A message to a server that somebody else has written, and what the client says became of it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smtpcb.client import ClientTimes, Message, Server, SessionResult, SubmissionSession
from smtpcb.engine import ClientSettings
from tests.running import wait_until

SENDER = "anne@example.org"
CLEAR = ClientSettings(hostname="client.example.org", starttls="off")
DOTS = b".\r\n..\r\n.dots\r\n"


def text(subject: str = "Hello", body: bytes = DOTS) -> bytes:
    """Return a message."""
    head = f"From: {SENDER}\r\nTo: bob@example.org\r\nSubject: {subject}\r\n"
    return head.encode() + b"Date: Sat, 28 Nov 2026 09:00:00 +0000\r\n\r\n" + body


@contextmanager
def started(
    command: Sequence[str | Path], log: Path, ready: Callable[[], object], **how: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end; it is ready when that says so."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **how
        )
    try:
        wait_until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


def listens(place: Path | int) -> bool:
    """Tell whether somebody takes connections on a UNIX socket, or on a port of loopback."""
    unix = isinstance(place, Path)
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as found:
        return not found.connect_ex(str(place) if unix else ("127.0.0.1", place))


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@dataclass
class Sent:
    """
    A session that is over.

    :ivar messages: each is all that the client knows of it.
    """

    result: SessionResult
    messages: Sequence[Message]

    @property
    def told(self) -> list[dict[str, tuple[object, ...]]]:
        """
        What became of each message, by the local part of each recipient.

        Outcome, stage, and code and status of the reply that decided it, where there was one.
        """
        return [
            {
                one.forward_path.local_part: (
                    one.outcome,
                    one.stage,
                    *((one.reply.code, one.reply.status) if one.reply else ()),
                )
                for one in message.recipients
            }
            for message in self.messages
        ]


async def send(
    server: Server,
    *messages: bytes,
    to: Iterable[str] = ("bob@example.org",),
    sender: str = SENDER,
    settings: ClientSettings = CLEAR,
    times: ClientTimes | None = None,
    options: Mapping[str, Any] | None = None,
    **message: Any,
) -> Sent:
    """
    Send messages in one session, as they are.

    :param options: of the session.
    :param message: of each message.
    """
    session = SubmissionSession(server, settings=settings, times=times, **(options or {}))
    recipients = list(to)
    for source in messages or (text(),):
        added = session.add_message(sender, source, rules=None, **message)
        for one in recipients:
            added.add_recipient(one)
    return Sent(await session.run(), session.messages)


async def nobody_then_bob(
    server: Server, mark: str, settings: ClientSettings, **message: Any
) -> Sent:
    """Send a message that no recipient takes, and behind it one that Bob does."""
    session = SubmissionSession(server, settings=settings)
    for names in (("unknown", "later"), ("bob",), ("bob", "unknown"), ("bob",)):
        added = session.add_message(SENDER, text(mark), rules=None, **message)
        for name in names:
            added.add_recipient(f"{name}@example.org")
    return Sent(await session.run(), session.messages)
