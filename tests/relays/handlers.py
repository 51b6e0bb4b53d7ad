"""Handlers that mail servers relay to: ``--handler python:tests.relays.handlers.…``."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from dataclasses import asdict

from twisted.internet import reactor
from twisted.internet.task import deferLater

from smtpcb import Connection, Envelope, Reason, Recipient, threaded

NOTES = "notes"
# Who has come, and who has gone again.
CAME, WENT = "came", "went"
# A look-up in a database: short, and yet longer than a client on loopback takes to go.
LOOK_UP_SECONDS = 0.02


class Counted:
    """Notes who was there."""

    def connected(self, connection: Connection) -> None:
        add(CAME, connection.id)

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        add(WENT, connection.id)


class Plain(Counted):
    """Answers at once; a mailbox may refuse for good, or for as long as a file is not there."""

    extensions = frozenset({"DSN"})

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> object:
        mailbox = str(recipient)
        if mailbox.startswith("unknown@"):
            return 550, "No such user"
        if mailbox.startswith("busy@"):
            try:
                open("not-busy").close()
            except FileNotFoundError:
                return 451, "Come back later"
        return None

    def message(self, envelope: Envelope) -> None:
        note(envelope)


class Slow(Counted):
    """Looks each recipient up before it answers."""

    async def rcpt(self, recipient: Recipient, envelope: Envelope) -> None:
        await deferLater(reactor, LOOK_UP_SECONDS)

    async def message(self, envelope: Envelope) -> None:
        await deferLater(reactor, LOOK_UP_SECONDS)
        note(envelope)


@threaded
class Threaded(Counted):
    """The same for code that blocks."""

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> None:
        time.sleep(LOOK_UP_SECONDS)

    def message(self, envelope: Envelope) -> None:
        note(envelope)


class Delivers(Counted):
    """Answers for each recipient; mailboxes may be full until a file is there."""

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> object:
        return (550, "No such user") if recipient.local_part == "unknown" else None

    def message(self, envelope: Envelope) -> object:
        note(envelope)
        return {recipient: self.deliver(recipient) for recipient in envelope.recipients}

    def deliver(self, recipient: Recipient) -> object:
        if recipient.local_part == "spam":
            return 554, "5.7.1", "Not for me"
        if recipient.local_part == "full" and not os.path.exists("emptied"):
            return 452, "4.2.2", "Mailbox full"
        return None


def note(envelope: Envelope) -> None:
    """Leave a line for the test."""
    content = envelope.content.bytes()
    line = {
        "from": str(envelope.reverse_path),
        "to": [str(one.forward_path) for one in envelope.recipients],
        # Of what follows the header section, since a relay adds to that.
        "body": hashlib.sha256(content.partition(b"\r\n\r\n")[2]).hexdigest(),
        "content": content[:4096].decode("utf-8", "surrogateescape"),
        "tls": envelope.connection.tls is not None,
        "forwarded": envelope.forwarded and asdict(envelope.forwarded),
        "lmtp": envelope.connection.lmtp,
    }
    add(NOTES, json.dumps(line))


def add(name: str, line: str) -> None:
    """Add a line to a file, as others may do at the same time."""
    with open(name, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line + "\n")
