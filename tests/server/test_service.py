"""Ports that take mail: opened together or not at all, closed without losing anything."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent
from zope.interface import implementer

from smtpcb.server._certificates import RELOAD_SECONDS
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._port import DirectPort
from smtpcb.server._service import SmtpService
from smtpcb.transcript import TranscriptFolder, TranscriptSettings
from tests.server.client import HELLO, MAIL, Client, Recorder


@pytest.fixture(autouse=True)
def own_sighup() -> Iterator[None]:
    """Services that a test has not stopped leave the signal theirs."""
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, kept)


class Port:
    """A port that was opened."""

    def __init__(self) -> None:
        self.closing: Deferred[None] = Deferred()
        self.closed = False

    def stopListening(self) -> Deferred[None]:
        self.closed = True
        return self.closing


@implementer(IStreamServerEndpoint)
class Endpoint:
    """
    Opens a port, or fails, or waits.

    :ivar result: what `listen` returns.
    """

    def __init__(self, result: Callable[[], Deferred[Any]]) -> None:
        self.port = Port()
        self.result = result
        self.opened = 0

    def listen(self, factory: object) -> Deferred[Any]:
        self.opened += 1
        return self.result()


def opening() -> Endpoint:
    """An endpoint that can be opened."""
    endpoint = Endpoint(lambda: succeed(endpoint.port))
    return endpoint


def failing() -> Endpoint:
    """An endpoint that cannot be opened."""
    return Endpoint(lambda: fail(OSError("taken")))


def make(*endpoints: Endpoint) -> SmtpService:
    """Make a service of endpoints."""

    class Nothing:
        def message(self, envelope: object) -> None:
            pass

    return SmtpService(endpoints, SmtpServerFactory(Nothing, reactor=Clock()))


def test_ports_are_bound_before_privileges_are_dropped() -> None:
    """And once only; they are in the order of the endpoints."""
    first, second = opening(), opening()
    service = make(first, second)
    service.privilegedStartService()
    assert service.ports == [first.port, second.port]
    assert not service.running
    service.startService()
    service.startService()
    assert service.running
    assert (first.opened, second.opened) == (1, 1)


def test_one_endpoint_needs_no_list() -> None:
    """A service of one port is given that."""
    endpoint = opening()
    service = SmtpService(endpoint, make(opening()).factory)
    service.startService()
    assert service.ports == [endpoint.port]


def test_a_service_that_listens_nowhere_is_a_mistake() -> None:
    """It would start, and look as if it served."""
    with pytest.raises(ValueError, match="endpoints is empty"):
        SmtpService([], make(opening()).factory)


@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
def test_one_that_cannot_be_bound_closes_the_others(method: str) -> None:
    """It raises; the service is not running, and may be tried again."""
    first, second = opening(), failing()
    service = make(first, second, opening())
    with pytest.raises(OSError, match="taken"):
        getattr(service, method)()
    assert first.port.closed
    assert service.ports == []
    assert not service.running
    second.result = lambda: succeed(second.port)
    service.startService()
    assert len(service.ports) == 3


def test_an_endpoint_that_takes_its_time(clean_reactor: list[LogEvent]) -> None:
    """Its port is there when it is; a late error is logged, as there is nobody to raise it to."""
    waiting: list[Deferred[Any]] = []

    def listen() -> Deferred[Any]:
        waiting.append(Deferred())
        return waiting[-1]

    slow, never = Endpoint(listen), Endpoint(listen)
    service = make(slow, never, opening())
    service.startService()
    assert len(service.ports) == 1
    waiting[0].callback(slow.port)
    assert len(service.ports) == 2
    assert clean_reactor == []
    waiting[1].errback(OSError("taken"))
    assert [event["log_failure"].value.args for event in clean_reactor] == [("taken",)]
    clean_reactor.clear()


def test_stopping_before_a_port_is_open() -> None:
    """What is still being opened is cancelled, and that is no error."""
    cancelled: list[Deferred[Any]] = []
    slow = Endpoint(lambda: Deferred(cancelled.append))
    service = make(slow)
    service.startService()
    stopped: list[None] = []
    service.stopService().addCallback(stopped.append)
    assert len(cancelled) == 1
    assert stopped == [None]


def test_stopping_waits_for_the_ports() -> None:
    """The Deferred fires when they are closed; stopped twice, it fires twice."""
    endpoint = opening()
    service = make(endpoint)
    service.startService()
    stopped: list[str] = []
    service.stopService().addCallback(lambda _: stopped.append("first"))
    assert endpoint.port.closed
    service.stopService().addCallback(lambda _: stopped.append("second"))
    assert stopped == ["second"]
    endpoint.port.closing.callback(None)
    assert stopped == ["second", "first"]


def test_a_port_that_fails_to_close() -> None:
    """Who waits for the end hears of it."""
    endpoint = opening()
    service = make(endpoint)
    service.startService()
    failures: list[Any] = []
    service.stopService().addErrback(failures.append)
    endpoint.port.closing.errback(CancelledError())
    assert len(failures) == 1


# What a service brings along.


class Both(Recorder, Service):
    """A handler that is a service as well: it has a database to open and to close."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.said_to: list[str] = []
        self.stopping: Deferred[None] | None = None
        self.fault: Exception | None = None

    def startService(self) -> None:
        self.said_to.append("start")
        if self.fault is not None:
            raise self.fault
        Service.startService(self)

    def stopService(self) -> Any:
        self.said_to.append("stop")
        Service.stopService(self)
        return self.stopping


@implementer(IOpenSSLServerConnectionCreator)
class Keys:
    """Reads its keys again."""

    def __init__(self) -> None:
        self.reloads = 0
        self.fault: Exception | None = None

    def reload(self) -> None:
        self.reloads += 1
        if self.fault is not None:
            raise self.fault

    def serverConnectionForTLS(self, protocol: object) -> Any:
        raise NotImplementedError


class AtOnce(Clock):
    """A clock with threads that are none."""

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, done: Any, work: Any, *a: Any, **k: Any) -> None:
        from twisted.python.failure import Failure

        try:
            done(True, work(*a, **k))
        except Exception:
            done(False, Failure())

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)


def factory_with(handler: Any, **options: Any) -> SmtpServerFactory:
    options.setdefault("reactor", AtOnce())
    options.setdefault("log_messages", False)
    return SmtpServerFactory(handler, **options)


def started(factory: SmtpServerFactory) -> SmtpService:
    endpoint = opening()
    endpoint.port.closing.callback(None)
    service = SmtpService(endpoint, factory)
    service.startService()
    return service


def stop(service: SmtpService) -> list[Any]:
    done: list[Any] = []
    service.stopService().addBoth(done.append)
    return done


def arrive(service: SmtpService) -> Client:
    client = Client.__new__(Client)
    factory: Any = service.doorway
    Client.__init__(client, factory=factory, clock=service.factory.reactor)
    client.factory = service.factory
    return client


def test_two_services_share_a_server() -> None:
    """One is stopped; the other one's clients are served on, and new ones come in."""
    handler = Both()
    factory = factory_with(handler)
    first, second = started(factory), started(factory)
    one, other = arrive(first), arrive(second)
    assert (one.codes(), other.codes()) == ([220], [220])
    other.send(HELLO + MAIL)
    done = stop(first)
    assert one.codes() == [421]
    one.leave()
    assert done == [None]
    assert arrive(first).codes() == [421]
    assert other.codes(b"RSET\r\nNOOP\r\n") == [250, 250]
    third = arrive(second)
    assert third.codes() == [220]
    assert handler.said_to == ["start"]
    done = stop(second)
    other.leave()
    third.leave()
    assert done == [None]
    assert handler.said_to == ["start", "stop"]
    first.startService()
    assert arrive(first).codes() == [220]
    assert handler.said_to == ["start", "stop", "start"]
    stop(first)


def test_cutting_one_service_leaves_the_other() -> None:
    """Stopped twice, one's connections are cut; nobody else's."""
    factory = factory_with(Both())
    first, second = started(factory), started(factory)
    one, other = arrive(first), arrive(second)
    one.send(HELLO + MAIL)
    other.send(HELLO + MAIL)
    stop(first)
    stop(first)
    assert one.codes() == [421]
    assert other.codes(b"NOOP\r\n") == [250]
    one.leave()
    stop(second)
    other.leave()


def test_the_handler_stops_when_its_last_connection_is_gone() -> None:
    """A database is not closed under a message; and who stops us waits for it to be closed."""
    handler = Both()
    handler.stopping = Deferred()
    service = started(factory_with(handler))
    client = arrive(service)
    client.send(HELLO + MAIL)
    done = stop(service)
    assert handler.said_to == ["start"]
    client.leave()
    assert handler.said_to == ["start", "stop"]
    assert done == []
    handler.stopping.callback(None)
    assert done == [None]


def test_a_handler_that_does_not_start_stops_the_start() -> None:
    """No port is left bound, and the next try is a first one."""
    handler = Both()
    handler.fault = OSError("no database")
    endpoint = opening()
    endpoint.port.closing.callback(None)
    service = SmtpService(endpoint, factory_with(handler))
    with pytest.raises(OSError, match="no database"):
        service.startService()
    assert endpoint.port.closed
    assert service.ports == []
    assert not service.running
    handler.fault = None
    service.startService()
    assert stop(service) == [None]
    assert handler.said_to == ["start", "start", "stop"]


def test_a_port_that_is_taken_does_not_start_the_handler() -> None:
    """And a later start and stop are one start and one stop."""
    handler = Both()
    endpoint = failing()
    service = SmtpService(endpoint, factory_with(handler))
    with pytest.raises(OSError, match="taken"):
        service.startService()
    assert handler.said_to == []
    endpoint.port.closing.callback(None)
    endpoint.result = lambda: succeed(endpoint.port)
    service.startService()
    stop(service)
    assert handler.said_to == ["start", "stop"]


def test_a_class_is_no_service_to_start() -> None:
    """Each connection has its own handler, which lives as long as that."""

    class PerConnection(Both):
        def __init__(self, connection: Any) -> None:
            super().__init__()

    service = started(factory_with(PerConnection))
    assert arrive(service).codes() == [220]
    stop(service)
    service.cut()


def test_transcripts_are_begun_and_closed(tmp_path: Path) -> None:
    """When the service has stopped everything that was said is in its file."""
    clock = AtOnce()
    folder = TranscriptFolder(TranscriptSettings(tmp_path, sessions="all"), clock)
    service = started(factory_with(Both(), transcripts=folder, reactor=clock))
    client = arrive(service)
    client.send(HELLO)
    stop(service)
    client.leave()
    folder.close()
    assert folder.flush()
    (path,) = tmp_path.rglob("*.txt")
    text = path.read_text()
    assert "EHLO client.example" in text
    assert "421 4.3.2" in text


def test_keys_are_read_again_daily_and_by_sighup(log: list[str]) -> None:
    """In a composed application as under twistd."""
    keys = Keys()
    before = signal.getsignal(signal.SIGHUP)
    factory = factory_with(Both(), tls=keys)
    service = started(factory)
    clock: Any = factory.reactor
    assert keys.reloads == 0
    clock.advance(RELOAD_SECONDS)
    clock.advance(RELOAD_SECONDS)
    assert keys.reloads == 2
    os.kill(os.getpid(), signal.SIGHUP)
    assert keys.reloads == 3
    assert sum("certificates reloaded" in line for line in log) == 3
    stop(service)
    assert signal.getsignal(signal.SIGHUP) is before
    assert clock.getDelayedCalls() == []


def test_keys_that_cannot_be_read_are_said_and_not_used(
    log: list[str], failures: list[LogEvent]
) -> None:
    """The old ones stay in force; a fault that nobody thought of comes with its traceback."""
    keys = Keys()
    service = started(factory_with(Both(), tls=keys))
    keys.fault = ValueError("key.pem: no key")
    service.reload()
    assert any("certificates not reloaded: key.pem: no key" in line for line in log)
    assert failures == []
    keys.fault = ArithmeticError()
    service.reload()
    assert len(failures) == 1
    stop(service)


def test_sighup_without_tls_ends_nobody() -> None:
    """Who sends it to every server of a machine does not mean to end this one."""
    service = started(factory_with(Both()))
    os.kill(os.getpid(), signal.SIGHUP)
    assert service.running
    assert service.reload().called
    stop(service)


@pytest_twisted.ensureDeferred
async def test_descriptions_are_endpoints_that_write_at_once() -> None:
    """A composed application has the transport that twistd has; and may do without."""
    from twisted.internet import reactor

    for direct in (True, False):
        factory = factory_with(Both(), reactor=reactor)
        described = ["tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"]
        service = SmtpService(described, factory, direct=direct)
        service.startService()
        assert [isinstance(port, DirectPort) for port in service.ports] == [direct] * 2
        await service.stopService()


@pytest_twisted.ensureDeferred
async def test_one_description_needs_no_list() -> None:
    """The shortest way to a server."""
    from twisted.internet import reactor

    service = SmtpService("tcp:0:interface=127.0.0.1", factory_with(Both(), reactor=reactor))
    service.startService()
    host: Any = service.ports[0].getHost()
    assert host.port
    await service.stopService()


def test_the_proxy_protocol_is_refused() -> None:
    """However the endpoint is made: every client would be the balancer."""
    from twisted.internet import reactor

    factory = factory_with(Both(), reactor=reactor)
    made = serverFromString(reactor, "haproxy:tcp:0")
    for endpoint in (made, "haproxy:tcp:0", "HAProxy:tcp:0", r"hapr\oxy:tcp:0", ["tcp:0", made]):
        for direct in (True, False):
            with pytest.raises(ValueError, match="not haproxy: but --proxy-from NETWORK"):
                SmtpService(endpoint, factory, direct=direct)
    SmtpService("unix:/tmp/haproxy:mode=660", factory)


@pytest.mark.parametrize("direct", [True, False])
@pytest_twisted.ensureDeferred
async def test_one_port_in_both_families(direct: bool) -> None:
    """Whoever describes ``tcp:25`` and ``tcp6:25`` has both, as ``twistd smtpcb`` has."""
    from twisted.internet import reactor

    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::", 0))
        number = free.getsockname()[1]
    factory = factory_with(Both(), reactor=reactor)
    described = [f"tcp:{number}", f"tcp6:{number}"]
    service = SmtpService(described, factory, direct=direct)
    service.startService()
    hosts: list[Any] = [port.getHost() for port in service.ports]
    assert [(host.host, host.port) for host in hosts] == [("0.0.0.0", number), ("::", number)]
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_files_of_an_application_are_no_connections(log: list[str]) -> None:
    """Though it has opened more than half of all it can, clients come in as fast as they come."""
    from twisted.internet import reactor

    service = SmtpService("tcp:0:interface=127.0.0.1", factory_with(Recorder(), reactor=reactor))
    service.startService()
    port: Any = service.ports[0]
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    port._most = files[-1] + 60
    clients = []
    try:
        for _ in range(10):
            clients.append(socket.create_connection(("127.0.0.1", port.getHost().port)))
            said: str = await deferToThread(lambda: clients[-1].recv(100).decode("ascii"))
            assert said.startswith("220 ")
            assert port in reactor.getReaders()
        assert port.connections() == len(clients)
    finally:
        for client in clients:
            client.close()
        for file in files:
            os.close(file)
        await service.stopService()
    assert not [text for text in log if "have to wait" in text]
