"""Handlers for servers that run as processes of their own: ``--handler python:…``."""

from __future__ import annotations

import os
import sys

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.task import deferLater

from smtpcb import Connection, Envelope, Reason, Reply


class Slow:
    """Takes half a second to take a message, and notes what became of it."""

    async def message(self, envelope: Envelope) -> None:
        await deferLater(reactor, 0.5)
        note(f"message {envelope.content.size_octets}")

    def aborted(self, reason: Reason, envelope: Envelope) -> None:
        note(f"aborted {reason.name}")

    def disconnected(self, reason: Reason, connection: Connection) -> None:
        note(f"disconnected {reason.name}")


class Dropping:
    """Streams the content to nowhere."""

    def mail(self, envelope: Envelope) -> None:
        self.octets = 0

    def chunk(self, octets: bytes, envelope: Envelope) -> None:
        self.octets += len(octets)

    def message(self, envelope: Envelope) -> None:
        note(f"message {self.octets}")


class Whole:
    """Takes the content whole, and looks at its size only."""

    def message(self, envelope: Envelope) -> None:
        note(f"message {envelope.content.size_octets}")


class Told:
    """Says which process it is in, how many messages that has taken, and which worker it is."""

    taken = 0

    def __init__(self, connection: Connection) -> None:
        self.worker = connection.worker

    def message(self, envelope: Envelope) -> Reply:
        Told.taken += 1
        note(f"{os.getpid()} {envelope.content.bytes()!r}")
        return Reply(250, (f"{os.getpid()} {Told.taken} {self.worker}",), status="2.0.0")


class _Broken(Service):
    """Starts in the first worker only."""

    def message(self, envelope: Envelope) -> None:
        pass

    def startService(self) -> None:
        if sys.argv[-1] != "1":
            raise ValueError("no\nroom")
        super().startService()


broken = _Broken()


def note(text: str) -> None:
    """Leave a line for the test."""
    with open("notes", "a") as file:
        file.write(text + "\n")
