"""Ports that take mail: opened together or not at all, closed without losing anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogEvent
from zope.interface import implementer

from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import SmtpService


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
    service = SmtpService(endpoint, make().factory)
    service.startService()
    assert service.ports == [endpoint.port]


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
