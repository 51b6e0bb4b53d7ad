"""Clients that leave nothing behind, and what was logged meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from zope.interface import provider

from tests.server.client import Client


@pytest.fixture
def connect(clean_reactor: list[LogEvent]) -> Iterator[Callable[..., Client]]:
    """Make clients that are gone after the test, with their timers and their server's memory."""
    clients: list[Client] = []

    def make(*arguments: Any, **options: Any) -> Client:
        client = Client(*arguments, **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.leave()
    for client in clients:
        client.finish()


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Every log event of the test as text, tracebacks included."""
    texts: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        texts.append(eventAsText(event, includeTimestamp=False) + repr(event))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def failures(clean_reactor: list[LogEvent]) -> Iterator[list[LogEvent]]:
    """Failures that were logged, which this test is about."""
    yield clean_reactor
    clean_reactor.clear()
