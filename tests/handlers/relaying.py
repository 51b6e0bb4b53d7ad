"""A gateway, and somebody who talks to it."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from smtpcb.client import Server
from smtpcb.handlers.relay import Relay


def gateway(port: int, *, creator: Any = None, **options: Any) -> Relay:
    """Make a relay to a port of this machine."""
    return Relay(Server("127.0.0.1", port, creator=creator), **options)


def conversation(port: int, steps: Callable[[smtplib.SMTP], Any]) -> Deferred[Any]:
    """Talk to the gateway in a thread."""

    def talk() -> Any:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.ehlo("client.example.org")
            return steps(client)

    return deferToThread(talk)
