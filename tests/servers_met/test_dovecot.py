"""Dovecot's LMTP, in which each recipient has a reply behind the message (RFC 2033)."""

from __future__ import annotations

import pytest
import pytest_twisted

from smtpcb.client import Server
from smtpcb.engine import ClientSettings, Outcome, Stage
from tests.servers_met.dovecot import Dovecot
from tests.servers_met.sending import DOTS, send, text

LMTP = ClientSettings(hostname="client.example.org", starttls="off", lmtp=True)
IN_DATA = ClientSettings(
    hostname="client.example.org", starttls="off", lmtp=True, without=frozenset({"CHUNKING"})
)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [LMTP, IN_DATA])
@pytest.mark.parametrize("unix", [True, False])
async def test_each_recipient_has_an_outcome(
    delivery: Dovecot, settings: ClientSettings, unix: bool
) -> None:
    """Who is not known, whose mailbox is full and whose cannot be opened: the others have it."""
    server = Server(f"unix:{delivery.lmtp}") if unix else Server("127.0.0.1", delivery.port)
    before = {name: delivery.inbox(name) for name in ("bob", "carl", "full")}
    large = text(body=DOTS + b"y\r\n" * 500)
    names = ("bob", "unknown", "full", "broken", "carl")
    sent = await send(
        server, large, large, to=[f"{name}@example.org" for name in names], settings=settings
    )
    assert sent.result.failure is None
    for told in sent.told:
        assert told == {
            "bob": (Outcome.DELIVERED, Stage.FINAL, 250, "2.0.0"),
            "unknown": (Outcome.REFUSED, Stage.RCPT, 550, "5.1.1"),
            "full": (Outcome.REFUSED, Stage.FINAL, 552, "5.2.2"),
            "broken": (Outcome.DEFERRED, Stage.FINAL, 451, "4.2.0"),
            "carl": (Outcome.DELIVERED, Stage.FINAL, 250, "2.0.0"),
        }
    for name, more in (("bob", 2), ("carl", 2), ("full", 0)):
        new = [one for one in delivery.inbox(name) if one not in before[name]]
        assert len(new) == more
        # Dovecot keeps lines as its system has them.
        body = large.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
        assert all(one.partition(b"\n\n")[2] == body for one in new)
