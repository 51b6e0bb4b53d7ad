"""Many clients share few sessions with the next server."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread, deferToThread

from smtpcb import Connection, Envelope
from smtpcb.client import ClientTimes

from ..client.servers import READY, ScriptedServer
from .relaying import conversation, gateway

Serve = Callable[..., int]
TEXT = b"Subject: x\r\n\r\nHi\r\n"


class Counting:
    """The next server: counts who comes."""

    def __init__(self) -> None:
        self.came: list[Connection] = []
        self.got = 0
        self.most = self.now = 0
        self.held: Deferred[None] | None = None

    def connected(self, connection: Connection) -> None:
        self.came.append(connection)

    async def message(self, envelope: Envelope) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        later: Deferred[None] = Deferred()
        reactor.callLater(0.02, later.callback, None)  # type: ignore[attr-defined]
        await later
        self.now -= 1
        self.got += 1


def send(client: smtplib.SMTP) -> Any:
    client.mail("a@example.org")
    client.rcpt("b@example.org")
    return client.data(TEXT)


@pytest_twisted.ensureDeferred
async def test_one_client_after_the_other_has_the_same_session(serve: Serve) -> None:
    """No client waits for a connection that is there already."""
    behind = Counting()
    port = serve(gateway(serve(behind)))
    for _ in range(3):
        assert (await conversation(port, send))[0] == 250
    assert (len(behind.came), behind.got) == (1, 3)


@pytest_twisted.ensureDeferred
async def test_many_clients_share_few_sessions(serve: Serve) -> None:
    """There are never more than were allowed, and everybody is served."""
    behind = Counting()
    port = serve(gateway(serve(behind), size=2))
    said = await gatherResults([conversation(port, send) for _ in range(8)])
    assert {code for code, _ in said} == {250}
    assert (len(behind.came), behind.most, behind.got) == (2, 2, 8)


@pytest_twisted.ensureDeferred
async def test_who_gets_no_session_in_time_comes_again(serve: Serve) -> None:
    """A client that waits too long for another one's transaction hears 451, and no more."""
    behind = Counting()
    port = serve(gateway(serve(behind), size=1, wait_seconds=0.2))

    def both(first: smtplib.SMTP) -> Any:
        first.mail("a@example.org")
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as second:
            second.ehlo("other.example.org")
            refused = second.mail("a@example.org")
            first.rset()
            return refused, second.mail("a@example.org")

    refused, taken = await conversation(port, both)
    assert refused == (451, b"4.4.5 The next server has too much to do, try again later")
    assert taken[0] == 250


@pytest.mark.parametrize("last", [b"421 idle for too long\r\n", None])
@pytest_twisted.ensureDeferred
async def test_a_session_that_was_left_meanwhile_costs_nothing(
    serve: Serve, last: bytes | None
) -> None:
    """Where its server leaves it at the next MAIL, another one is opened, and the client waits."""
    replies = (b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n", b"250 got it\r\n")
    server = ScriptedServer(*READY, *replies, last)
    port = serve(gateway(server.listen()))
    try:
        assert await conversation(port, send) == (250, b"2.0.0 got it")
        assert await conversation(port, send) == (250, b"2.0.0 got it")
        assert server.came == 2
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_that_closes_closes_no_client(serve: Serve) -> None:
    """421 is said of their connection, and not of ours: 451 here, and the session goes on."""
    server = ScriptedServer(*READY, b"250 ok\r\n", b"421 4.3.2 shutting down\r\n", None)
    port = serve(gateway(server.listen()))

    def talk(client: smtplib.SMTP) -> Any:
        client.mail("a@example.org")
        return client.rcpt("b@example.org"), client.rset(), client.noop()

    try:
        refused, *others = await conversation(port, talk)
        assert refused == (451, b"4.3.2 shutting down")
        assert [code for code, _ in others] == [250, 250]
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_no_answer_to_the_end_is_no_yes(serve: Serve) -> None:
    """A link that drops before the last reply: the client comes again (RFC 1047)."""
    server = ScriptedServer(*READY, b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n", None)
    port = serve(gateway(server.listen()))
    try:
        said = await conversation(port, send)
        assert said == (451, b"4.4.2 The next server has not answered, try again later")
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_that_refuses_early_is_heard(serve: Serve) -> None:
    """What it says to DATA, or in the midst of the content, is what the client hears."""
    server = ScriptedServer(*READY, b"250 ok\r\n", b"250 ok\r\n", b"552 5.2.2 no room\r\n")
    port = serve(gateway(server.listen()))

    def talk(client: smtplib.SMTP) -> Any:
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        return client.data(TEXT + b"x" * 2_000_000)

    try:
        assert await conversation(port, talk) == (552, b"5.2.2 no room")
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_what_is_given_back_behind_the_end_is_left(serve: Serve) -> None:
    """A client whose transaction outlives the relay leaves no connection with the next server."""
    server = ScriptedServer(*READY, b"250 ok\r\n")
    relay = gateway(server.listen())
    port = serve(relay)

    def begin(client: smtplib.SMTP) -> Any:
        assert client.mail("a@example.org")[0] == 250
        blockingCallFromThread(reactor, relay.stopService)
        return client.rset()

    try:
        assert (await conversation(port, begin))[0] == 250
        for _ in range(200):
            if not server.open:
                break
            await deferLater(reactor, 0.01)
        assert server.open == []
    finally:
        await server.stop()


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_wait_takes_nothing_with_it(
    serve: Serve, command: str
) -> None:
    """It leaves while the next server is asked: the session is another one's soon."""
    behind = Counting()
    asked: Deferred[None] = Deferred()
    held: Deferred[None] = Deferred()

    async def wait(*arguments: Any) -> None:
        if not asked.called:
            asked.callback(None)
            await held

    setattr(behind, command.lower(), wait)
    port = serve(gateway(serve(behind), size=1))

    def leave() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            lines = client.makefile("rb")
            lines.readline()
            client.sendall(b"HELO me\r\n")
            lines.readline()
            client.sendall(b"MAIL FROM:<a@example.org>\r\n")
            if command == "RCPT":
                lines.readline()
                client.sendall(b"RCPT TO:<b@example.org>\r\n")
            blockingCallFromThread(reactor, lambda: asked)

    await deferToThread(leave)
    later = conversation(port, send)
    held.callback(None)
    assert (await later)[0] == 250
    assert behind.got == 1


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_slow_is_not_asked_again_and_again(serve: Serve) -> None:
    """One time limit is enough for the client to wait, who then comes again."""
    server = ScriptedServer(*READY)
    times = ClientTimes(envelope=0.3)
    port = serve(gateway(server.listen(), times=times))
    try:
        said = await conversation(port, lambda client: client.mail("a@example.org"))
        assert said == (451, b"4.4.2 The next server has not answered, try again later")
        assert server.came == 1
    finally:
        await server.stop()
