"""What tests of policies share: a dialogue with a handler behind one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from smtpcb import Connection, Envelope, around
from smtpcb.policies import POLICIES
from smtpcb.testing import play

PLUGINS = {plugin.name: plugin for plugin in POLICIES}


class Inbox:
    def message(self, envelope: Envelope) -> None: ...


def made(description: str, reactor: Any = None, state: Path = Path("/nowhere")) -> Any:
    """Make a policy as ``--policy`` does."""
    name, _, argument = description.partition(":")
    setting = SimpleNamespace(
        reactor=reactor or Clock(), state=state, owners=frozenset(), make_state=state.mkdir
    )
    return PLUGINS[name].make(argument, setting)


def client(address: str = "203.0.113.9", identity: object = None) -> Connection:
    """Return a client's connection."""
    return Connection("test", peer_address=address, peer_port=40000, identity=identity)


@pytest.fixture
def rcpt() -> Callable[..., None]:
    """Name recipients, each with the reply that is wanted."""

    def say(
        policy: object,
        *recipients: tuple[str, str],
        connection: Connection | None = None,
        sender: str = "a@example.com",
        mail: str = "250",
        hello: str = "client.example.com",
        **options: Any,
    ) -> None:
        lines = [f"C: EHLO {hello}", "S: 250 ...", f"C: MAIL FROM:<{sender}>", f"S: {mail}"]
        for recipient, reply in recipients:
            lines += [f"C: RCPT TO:<{recipient}>", f"S: {reply}"]
        play("\n".join(lines), around(Inbox, policy), connection=connection or client(), **options)

    return say
