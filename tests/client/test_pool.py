"""Sessions that are kept for the next message: how many, for how long, and which are of no use."""

from __future__ import annotations

from collections.abc import Iterator
from select import select
from socket import SHUT_WR
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from smtpcb.client import ConnectionPool, NoSession, Outgoing, Server
from smtpcb.engine import Cause, ClientSettings, Destination, Transaction
from tests.client.servers import READY, ScriptedServer

PLAIN = ClientSettings(hostname="client.example.org", starttls="off")
OK = b"250 ok\r\n"
MESSAGE = (OK, OK, b"354 go\r\n", OK)
"""The replies to a message."""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Run a server that takes two messages."""
    started = ScriptedServer(*READY, *MESSAGE, *MESSAGE)
    started.listen()
    yield started
    pytest_twisted.blockon(ensureDeferred(started.stop()))


@pytest.fixture
def make(server: ScriptedServer) -> Iterator[Any]:
    """Return pools of it; they are closed at the end."""
    pools: list[ConnectionPool] = []

    def one(**options: Any) -> ConnectionPool:
        place = Server("127.0.0.1", server.listening.getHost().port)
        pools.append(ConnectionPool([place], PLAIN, reactor=reactor, **options))
        return pools[-1]

    yield one
    for pool in pools:
        pytest_twisted.blockon(ensureDeferred(pool.close()))


async def turn() -> None:
    """Let the reactor work."""
    waiting: Deferred[None] = Deferred()
    reactor.callLater(0.001, waiting.callback, None)  # type: ignore[attr-defined]
    await waiting


async def deliver(protocol: Any) -> None:
    transaction = Transaction("anne@example.org", [Destination("bob@example.org")])
    await protocol.deliver(transaction, Outgoing(b"Subject: x\r\n\r\nx\r\n", rules=None))
    assert transaction.final_reply is not None, transaction.failure


@pytest_twisted.ensureDeferred
async def test_a_session_is_used_again(make: Any, server: ScriptedServer) -> None:
    """Two messages go over one connection, and closing quits it."""
    pool = make()
    for _ in range(2):
        protocol = await pool.take()
        await deliver(protocol)
        pool.give_back(protocol)
    assert server.came == 1
    await pool.close()
    assert server.got.endswith(b"QUIT\r\n")
    assert server.open == []
    with pytest.raises(NoSession, match="the pool is closed"):
        await pool.take()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("said", [b"421 4.3.2 idle\r\n", None])
async def test_a_session_that_its_server_has_left_is_given_to_nobody(
    make: Any, server: ScriptedServer, said: bytes | None, seen: bool
) -> None:
    """Closed or told off while it was idle, even in this moment: there is a new one."""
    pool = make()
    first = await pool.take()
    pool.give_back(first)
    link = server.open[0].transport.getHandle()  # type: ignore[union-attr]
    if said is None:
        link.shutdown(SHUT_WR)
    else:
        link.send(said)
    # It has come, and our reactor has not looked, or has.
    assert select([first.transport.getHandle()], [], [], 10)[0]
    while seen and first.transport.connected:
        await turn()
    second = await pool.take()
    assert second is not first
    assert second.is_ready
    assert server.came == 2
    pool.give_back(second)


@pytest_twisted.ensureDeferred
async def test_who_comes_first_gets_the_next_one(make: Any, server: ScriptedServer) -> None:
    """No more than its size are open; who waits may give it up, and too many may not wait."""
    pool = make(size=1, most_waiting=2)
    protocol = await pool.take()
    order: list[str] = []

    def wants(name: str) -> Deferred[Any]:
        async def take() -> Any:
            taken = await pool.take()
            order.append(name)
            return taken

        return ensureDeferred(take())

    first, second = wants("first"), wants("second")
    with pytest.raises(NoSession, match="1 sessions are in use, and too many wait") as told:
        await pool.take()
    assert told.value.failures[0][1].cause is Cause.LIMIT
    assert told.value.temporary
    second.cancel()
    with pytest.raises(CancelledError):
        await second
    third = wants("third")
    pool.give_back(protocol)
    assert await first is protocol
    pool.give_back(protocol)
    assert await third is protocol
    assert (order, server.came) == (["first", "third"], 1)
    waits = wants("late")
    await pool.close()
    with pytest.raises(NoSession, match="closed"):
        await waits
    pool.give_back(protocol)  # it is quit
    while server.open:
        await turn()
    assert server.got.endswith(b"QUIT\r\n")


@pytest_twisted.ensureDeferred
async def test_whoever_gives_up_in_any_moment_takes_no_place_away(
    make: Any, server: ScriptedServer
) -> None:
    """While the session is opened, and while one that is kept is looked at."""
    pool = make(size=1)
    for _ in range(2):
        taking = ensureDeferred(pool.take())
        taking.cancel()
        with pytest.raises(CancelledError):
            await taking
        protocol = await pool.take()
        pool.give_back(protocol)
        server.open[-1].transport.getHandle().send(b"421 bye\r\n")  # type: ignore[union-attr]
        assert select([protocol.transport.getHandle()], [], [], 10)[0]


@pytest_twisted.ensureDeferred
async def test_sessions_end(make: Any, server: ScriptedServer) -> None:
    """After so many messages, after so long without one, and if the server takes no more."""
    pool = make(most_messages=2)
    for expected in (1, 1, 2):
        protocol = await pool.take()
        assert server.came == expected
        pool.give_back(protocol)
    short = make(idle_seconds=0.01)
    short.give_back(await short.take())
    while server.got.count(b"QUIT\r\n") < 2:
        await turn()
    assert server.came == 3
    server.script = (b"220 here\r\n", b"250-here\r\n250 LIMITS MAILMAX=1\r\n", *MESSAGE)
    limited = make()
    for expected in (4, 5):
        protocol = await limited.take()
        await deliver(protocol)
        limited.give_back(protocol)
        assert server.came == expected
    assert server.got.count(b"QUIT\r\n") >= 3


@pytest_twisted.ensureDeferred
async def test_a_session_in_the_midst_of_a_message_is_left(
    make: Any, server: ScriptedServer
) -> None:
    """What was begun comes to nothing, and the next one has a session of its own."""
    pool = make(size=1)
    protocol = await pool.take()
    await protocol.open(Transaction("anne@example.org", []))
    pool.give_back(protocol)
    with pytest.raises(ValueError, match="it was given back"):
        pool.give_back(protocol)
    other = await pool.take()
    assert other is not protocol
    assert protocol.failure.cause is Cause.CANCELLED
    pool.give_back(other)


@pytest_twisted.ensureDeferred
async def test_where_there_is_no_session_the_place_is_free(
    make: Any, server: ScriptedServer
) -> None:
    """An error takes nothing away from the next one."""
    pool = make(size=1)
    server.script = (b"421 busy\r\n", None)
    for _ in range(2):
        with pytest.raises(NoSession, match="421 busy"):
            await pool.take()
    server.script = READY
    pool.give_back(await pool.take())


@pytest_twisted.ensureDeferred
async def test_a_pool_that_is_closed_meanwhile_gives_nothing(
    make: Any, server: ScriptedServer
) -> None:
    """Whoever waits for the session to be opened is told."""
    pool = make()
    taking = ensureDeferred(pool.take())
    await pool.close()
    with pytest.raises(NoSession, match="closed"):
        await taking
    while server.open:
        await turn()
    assert server.got.endswith(b"QUIT\r\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size and most_messages are 1 or more"),
        ({"most_messages": 0}, "size and most_messages are 1 or more"),
        ({"most_waiting": -1}, "most_waiting is not below 0"),
        ({"idle_seconds": 300}, "below 300, when servers leave"),
    ],
)
def test_a_pool_that_cannot_be(options: dict[str, Any], says: str) -> None:
    """It is told when it is made."""
    with pytest.raises(ValueError, match=says):
        ConnectionPool([Server("mail.example.org")], PLAIN, reactor=reactor, **options)


def test_a_pool_is_of_some_server() -> None:
    """Or it would have no session ever."""
    with pytest.raises(ValueError, match="a pool needs a server"):
        ConnectionPool([], PLAIN)
