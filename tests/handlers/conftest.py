"""Servers of ours, for handlers that talk to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted

from smtpcb import Settings, SmtpServerFactory, SmtpService


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serve a handler; return the port."""
    services: list[SmtpService] = []

    def start(handler: object, settings: Settings | None = None, **options: Any) -> int:
        factory = SmtpServerFactory(handler, settings or Settings(), **options)
        service = SmtpService("tcp:0:interface=127.0.0.1", factory)
        service.startService()
        services.append(service)
        return int(service.ports[0].getHost().port)

    yield start
    for service in reversed(services):
        pytest_twisted.blockon(service.stopService())
