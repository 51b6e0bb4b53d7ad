"""Messages over connections that a pool lends."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater

from smtpcb import SmtpServerFactory, SmtpService
from smtpcb.client import ConnectionPool, Feed, NotDelivered, Server, SubmissionSession, send
from smtpcb.engine import Cause, ClientSettings, Outcome

TEXT = b"From: anne@example.org\nTo: bob@example.org\nSubject: Hello\n\nHello!\n"
PLAIN = ClientSettings(starttls="off")


class Inbox:
    """Counts connections and messages."""

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.messages = 0

    def connected(self, connection: Any) -> None:
        self.connections.append(connection)

    def rcpt(self, recipient: Any, envelope: Any) -> Any:
        return (550, "5.1.1", "No such mailbox") if recipient.local_part == "nobody" else None

    def message(self, envelope: Any) -> None:
        self.messages += 1


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest_twisted.async_yield_fixture
async def pool(inbox: Inbox) -> Any:
    """Lend two connections to it."""
    service = SmtpService(
        serverFromString(reactor, "tcp:0:interface=127.0.0.1"), SmtpServerFactory(inbox)
    )
    service.startService()
    server = Server("127.0.0.1", service.ports[0].getHost().port)
    pool = ConnectionPool([server], PLAIN, size=2, reactor=reactor)
    yield pool
    await pool.close()
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_many_messages_over_few_connections(pool: ConnectionPool, inbox: Inbox) -> None:
    """Each waits for its turn; who was refused is told, and costs no connection."""
    named: Any = {"sender": "anne@example.org", "to": ["bob@example.org"], "pool": pool}
    results = await gatherResults([ensureDeferred(send(TEXT, **named)) for _ in range(10)])
    assert all(one.is_delivered for one in results)
    with pytest.raises(NotDelivered, match=r"550 5\.1\.1"):
        await send(TEXT, **named | {"to": ["nobody@example.org"]})
    assert (await send(TEXT, **named)).is_delivered
    assert (len(inbox.connections), inbox.messages) == (2, 11)


@pytest_twisted.ensureDeferred
async def test_a_session_run_again_is_lent_another_time(pool: ConnectionPool, inbox: Inbox) -> None:
    """It gives its connection back each time, and the pool is closed when all are back."""
    session = SubmissionSession(pool=pool)
    for _ in range(3):
        session.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
        result = await session.run()
        assert result.failure is None
    assert (len(inbox.connections), inbox.messages) == (1, 3)


@pytest_twisted.ensureDeferred
async def test_a_source_that_fails_costs_the_connection_and_not_the_next_message(
    pool: ConnectionPool, inbox: Inbox
) -> None:
    """Half a message is never taken for a whole one, and others go by another connection."""

    feed = Feed()
    feed.write(TEXT)
    session = SubmissionSession(pool=pool)
    failing = session.add_message("anne@example.org", feed).add_recipient("bob@example.org")
    next_one = session.add_message("anne@example.org", TEXT).add_recipient("bob@example.org")
    running = ensureDeferred(session.run())
    await deferLater(reactor, 0.05)
    feed.fail("the disk is gone")
    await running
    assert failing.failure is not None
    assert failing.failure.cause is Cause.SOURCE
    assert (failing.outcome is Outcome.DELIVERED, next_one.outcome) == (False, Outcome.DELIVERED)
    assert (len(inbox.connections), inbox.messages) == (2, 1)


@pytest_twisted.ensureDeferred
async def test_who_gives_it_up_lets_others_have_the_place(
    pool: ConnectionPool, inbox: Inbox
) -> None:
    """A message that is cancelled in its midst leaves its connection, and the pool has room."""
    named: Any = {"sender": "anne@example.org", "to": ["bob@example.org"], "pool": pool}
    for _ in range(3):
        feed = Feed()
        feed.write(TEXT)
        sending = ensureDeferred(send(feed, **named))
        await deferLater(reactor, 0.05)
        sending.cancel()
        with pytest.raises(CancelledError):
            await sending
    assert (await send(TEXT, **named)).is_delivered
    assert inbox.messages == 1


@pytest_twisted.ensureDeferred
async def test_what_a_pool_knows_is_not_said_again(pool: ConnectionPool) -> None:
    """It would be one or the other that counts."""
    with pytest.raises(ValueError, match="a pool has its servers"):
        SubmissionSession(Server("127.0.0.1", 1), pool=pool)
    with pytest.raises(ValueError, match="a pool has its servers"):
        SubmissionSession(settings=PLAIN, pool=pool)
    named: Any = {"sender": "anne@example.org", "to": ["bob@example.org"]}
    with pytest.raises(ValueError, match="a pool knows where to"):
        await send(TEXT, **named, host="127.0.0.1", pool=pool)
    with pytest.raises(ValueError, match=r"host='\.\.\.', or pool"):
        await send(TEXT, **named)
