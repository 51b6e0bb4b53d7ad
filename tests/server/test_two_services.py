"""Two services of one server: each has its own ports and clients, and the handler is theirs."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb.engine import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import SmtpService
from smtpcb.smtp import Limits

from .client import MAIL, RCPT, TEXT, Transport


class Handler(Service):
    """It has to be started before the first client, and stopped after the last."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.error: Exception | None = None

    def startService(self) -> None:
        if self.error is not None:
            raise self.error
        self.happened.append("started")

    def stopService(self) -> Deferred[None]:
        self.happened.append("stopped")
        return succeed(None)

    def message(self, envelope: object) -> None:
        self.happened.append("message")


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Opens a port that a client can connect to, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.factory: Any = None

    def listen(self, factory: Any) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        self.factory = factory
        return succeed(self)

    def stopListening(self) -> None:
        self.factory = None

    def connect(self) -> Caller:
        return Caller(self.factory)


class Caller:
    """A client of one of them."""

    def __init__(self, factory: Any) -> None:
        self.transport = Transport()
        self.protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 50000))
        self.protocol.makeConnection(self.transport)

    def send(self, octets: bytes = b"") -> list[int]:
        """Return the codes of the replies."""
        if octets:
            self.protocol.dataReceived(octets)
        lines = self.transport.value().splitlines()
        self.transport.clear()
        return [int(line[:3]) for line in lines if line[3:4] == b" "]

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def factory(handler: Handler) -> SmtpServerFactory:
    return SmtpServerFactory(handler, reactor=Clock())


def test_one_is_stopped_and_the_other_goes_on(factory: SmtpServerFactory, handler: Handler) -> None:
    """Its clients are served, old and new ones; the handler stops with the last service."""
    first, second = Endpoint(), Endpoint()
    one, other = SmtpService(first, factory), SmtpService(second, factory)
    one.startService()
    other.startService()
    here, there = first.connect(), second.connect()
    assert here.send() == there.send() == [220]
    stopped: list[object] = []
    one.stopService().addCallback(stopped.append)
    assert here.send() == [421]
    here.leave()
    assert len(stopped) == 1
    content = b"DATA\r\n" + TEXT + b".\r\n"
    assert there.send(b"HELO x\r\n" + MAIL + RCPT + content) == [250, 250, 250, 354, 250]
    late = second.connect()
    assert late.send() == [220]
    assert handler.happened == ["started", "message"]
    for client in (there, late):
        client.leave()
    other.stopService().addCallback(stopped.append)
    assert len(stopped) == 2
    assert handler.happened == ["started", "message", "stopped"]


def test_one_that_was_stopped_starts_again(factory: SmtpServerFactory, handler: Handler) -> None:
    """It takes clients as before."""
    endpoint = Endpoint()
    service = SmtpService(endpoint, factory)
    for _ in range(2):
        service.startService()
        client = endpoint.connect()
        assert client.send() == [220]
        client.leave()
        assert service.stopService().called
    assert handler.happened == ["started", "stopped"] * 2


def test_a_port_that_cannot_be_bound_starts_no_handler(
    factory: SmtpServerFactory, handler: Handler
) -> None:
    """It would never be stopped."""
    endpoint = Endpoint(OSError("taken"))
    service = SmtpService(endpoint, factory)
    with pytest.raises(OSError, match="taken"):
        service.startService()
    assert handler.happened == []
    endpoint.error = None
    service.startService()
    service.stopService()
    assert handler.happened == ["started", "stopped"]


def test_a_handler_that_cannot_start_leaves_no_port_open(
    factory: SmtpServerFactory, handler: Handler
) -> None:
    """Whoever starts the service hears why, and may try again."""
    endpoint = Endpoint()
    service = SmtpService(endpoint, factory)
    handler.error = ValueError("no room")
    with pytest.raises(ValueError, match="no room"):
        service.startService()
    assert not service.running
    assert endpoint.factory is None
    handler.error = None
    service.startService()
    assert endpoint.connect().send() == [220]
    assert handler.happened == ["started"]
    service.stopService()


def test_each_leads_its_dialogues_by_its_own_settings(factory: SmtpServerFactory) -> None:
    """Another name, another limit and another time to wait, over one server."""
    first, second = Endpoint(), Endpoint()
    strict = Settings(hostname="strict.example", limits=Limits(recipients=1, idle_seconds=5))
    services = [SmtpService(first, factory), SmtpService(second, factory, strict)]
    for service in services:
        service.startService()
    here, there = first.connect(), second.connect()
    assert there.transport.value().startswith(b"220 strict.example ")
    assert here.send() == there.send() == [220]
    mail = b"HELO x\r\n" + MAIL + RCPT + RCPT
    assert here.send(mail) == [250, 250, 250, 250]
    assert there.send(mail) == [250, 250, 250, 452]
    clock: Any = factory.reactor
    clock.advance(6)
    assert here.send() == []
    assert there.send() == [421]
    for client in (here, there):
        client.leave()
    for service in services:
        service.stopService()


def test_settings_that_the_handler_cannot_meet_make_no_service(factory: SmtpServerFactory) -> None:
    """Nobody could send anything on these ports."""
    with pytest.raises(TypeError, match="require_auth needs who decides on logins"):
        SmtpService(Endpoint(), factory, Settings(require_auth=True))
    with pytest.raises(TypeError, match="settings is a Settings, not str"):
        SmtpService(Endpoint(), factory, "strict")
