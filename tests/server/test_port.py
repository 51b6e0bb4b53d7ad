"""Ports that accept: whom, how many at a time, and what they do when they cannot."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from smtpcb.server._port import ACCEPTS_A_TURN, DirectPort, SharedPort


class Reactor(Clock):
    """A clock that knows who wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    addWriter = addReader

    def removeWriter(self, writer: Any) -> None: ...


class Listening:
    """A socket that gives what it is told to, then nothing."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.coming: list[Any] = []
        self.given: list[socket.socket] = []

    def accept(self) -> Any:
        if not self.coming:
            raise BlockingIOError
        one = self.coming.pop(0)
        if isinstance(one, int):
            raise OSError(one, os.strerror(one))
        mine, other = socket.socketpair()
        self.given += [mine, other]
        return mine, one

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Taken(Factory):
    """Remembers whom it was asked for; refuses or fails for some."""

    noisy = False

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.stop: Callable[[], object] = lambda: None

    def buildProtocol(self, addr: Any) -> Protocol | None:
        self.hosts.append(addr.host)
        if addr.host == "192.0.2.66":
            return None
        if addr.host == "192.0.2.67":
            raise ArithmeticError("who is that?")
        if addr.host == "192.0.2.69":
            raise SystemExit
        protocol = Protocol()
        if addr.host == "192.0.2.70":
            self.stop()
        if addr.host == "192.0.2.68":
            protocol.makeConnection = lambda transport: 1 / 0
        return protocol


class Fixture:
    def __init__(self, kind: Any) -> None:
        self.reactor = Reactor()
        self.factory = Taken()
        self.port = kind(0, self.factory, 50, "127.0.0.1", self.reactor)
        self.port.startListening()
        self.socket = self.port.socket = Listening(self.port.socket)

    def stop(self) -> None:
        self.port.stopListening()
        self.reactor.advance(0)
        for one in self.socket.given:
            one.close()


@pytest.fixture
def one() -> Iterator[Fixture]:
    fixture = Fixture(DirectPort)
    yield fixture
    fixture.stop()
    assert fixture.reactor.getDelayedCalls() == []


def clients(number: int, host: str = "192.0.2.1") -> list[tuple[str, int]]:
    return [(host, 50000 + count) for count in range(number)]


def test_half_of_the_descriptors_are_for_what_clients_send(one: Fixture, log: list[str]) -> None:
    """Who has been let in is not told to try again because others have been let in as well."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert one.port._most == most
    one.port._most = 0  # as if that many were open already
    one.socket.coming = clients(3)
    for taken in (1, 2, 3):
        one.port.doRead()
        assert len(one.factory.hosts) == taken
        assert one.port not in one.reactor.readers
        one.reactor.advance(1)
        assert one.port in one.reactor.readers
    assert len([text for text in log if "few open files are left" in text]) == 1


@pytest.mark.parametrize(
    ("most", "opened", "connections", "few"),
    [
        (1024, 512, 511, False),  # all of them are connections
        (1024, 513, 512, True),
        (1024, 800, 10, False),  # most of them are the application's
        (1024, 800, 223, False),
        (1024, 800, 224, True),
        (1024, 1024, 0, True),
        (1024, 1023, 0, False),
        (1024, 513, None, True),  # nobody knows
        (1024, 512, None, False),
    ],
)
def test_what_an_application_has_open_itself_is_no_connection(
    one: Fixture, most: int, opened: int, connections: int | None, few: bool
) -> None:
    """Its own files, however many, make no client wait while there are enough for those that come.

    Enough is one for each client, beside its socket.
    """
    one.port._most = most
    if connections is not None:
        one.port.connections = lambda: connections
    assert one.port._has_few_left(opened - 1) is few


def test_a_port_that_a_client_has_had_closed_is_not_tried_again(
    one: Fixture, log: list[str]
) -> None:
    """A handler may stop the server from `connected`, though open files are few by then."""
    one.port._most = 0
    one.socket.coming = clients(1, "192.0.2.70")
    one.factory.stop = one.port.stopListening
    one.port.doRead()
    assert one.factory.hosts == ["192.0.2.70"]
    assert one.port not in one.reactor.readers
    one.reactor.advance(0)
    one.reactor.advance(2)
    assert one.port not in one.reactor.readers
    assert one.reactor.getDelayedCalls() == []
    assert not any("have to wait" in text for text in log)


def test_a_system_without_a_limit_has_no_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where any number of files may be open, nobody waits."""
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (unlimited, unlimited))
    fixture = Fixture(DirectPort)
    fixture.socket.coming = clients(3)
    fixture.port.doRead()
    assert len(fixture.factory.hosts) == 3
    fixture.stop()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_clients_wait(one: Fixture, log: list[str], number: int) -> None:
    """Who cannot be accepted waits in the system's queue; a second later it is tried again."""
    one.socket.coming = [*clients(1), number, *clients(2)]
    one.port.doRead()
    assert len(one.factory.hosts) == 1
    assert one.port not in one.reactor.readers
    assert [text for text in log if "have to wait" in text] != []
    one.reactor.advance(1)
    assert one.port in one.reactor.readers
    one.port.doRead()
    assert len(one.factory.hosts) == 3


def test_a_lack_that_lasts_is_said_once_a_minute(one: Fixture, log: list[str]) -> None:
    """One line, not one a client or one a second."""
    for _ in range(90):
        one.socket.coming = [errno.EMFILE]
        one.port.doRead()
        one.reactor.advance(1)
    assert len([text for text in log if "have to wait: Too many open files" in text]) == 2


def test_a_port_that_waits_can_be_closed(one: Fixture) -> None:
    """Nothing is left to be done later."""
    one.socket.coming = [errno.EMFILE]
    one.port.doRead()
    one.port.stopListening()
    one.reactor.advance(5)
    assert one.port not in one.reactor.readers


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.EPROTO])
def test_a_client_that_has_gone_already_is_passed_by(one: Fixture, number: int) -> None:
    """Those behind it are taken."""
    one.socket.coming = [number, number, *clients(1)]
    one.port.doRead()
    assert len(one.factory.hosts) == 1
    assert one.port in one.reactor.readers


def test_others_have_their_turn(one: Fixture) -> None:
    """However many come, the reactor turns after some."""
    one.socket.coming = clients(100)
    one.port.doRead()
    assert len(one.factory.hosts) == ACCEPTS_A_TURN
    one.port.doRead()
    assert len(one.factory.hosts) == 2 * ACCEPTS_A_TURN


def test_of_a_shared_socket_one_is_taken_at_a_time() -> None:
    """Processes that share it take turns, and the one with less to do takes more."""
    fixture = Fixture(SharedPort)
    fixture.socket.coming = clients(3)
    fixture.port.doRead()
    assert len(fixture.factory.hosts) == 1
    fixture.stop()


def test_whom_nobody_wants_is_closed(one: Fixture) -> None:
    """A factory that returns no protocol closes the connection, and others are taken."""
    one.socket.coming = [*clients(1, "192.0.2.66"), *clients(1)]
    one.port.doRead()
    assert one.socket.given[1].recv(1) == b""
    assert len(one.factory.hosts) == 2


@pytest.mark.parametrize("host", ["192.0.2.67", "192.0.2.68", "192.0.2.69"])
def test_a_fault_at_the_start_is_logged(one: Fixture, failures: list[LogEvent], host: str) -> None:
    """The connection is closed, what has happened is in the log, and others are taken."""
    one.socket.coming = [*clients(1, host), *clients(1)]
    one.port.doRead()
    one.reactor.advance(0)
    assert one.socket.given[1].recv(1) == b""
    assert len(one.factory.hosts) == 2
    assert [type(event["log_failure"].value) for event in failures] == [
        {"67": ArithmeticError, "68": ZeroDivisionError, "69": SystemExit}[host[-2:]]
    ]


def test_a_link_local_address_says_of_which_link(one: Fixture) -> None:
    """Without the name of the link nobody could answer it."""
    loopback = socket.if_nametoindex("lo")
    one.socket.coming = [("fe80::1", 50000, 0, loopback), ("2001:db8::1", 50000, 0, 0)]
    one.port.addressFamily = socket.AF_INET6
    from twisted.internet.address import IPv6Address

    one.port._addressType = IPv6Address
    one.port.doRead()
    assert one.factory.hosts == ["fe80::1%lo", "2001:db8::1"]
