"""What ``--check`` finds out: everything that a start would say, without starting anything."""

from __future__ import annotations

import sys

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import provider

from smtpcb.run._descriptors import provide
from smtpcb.run.build import make_service
from smtpcb.run.options import Configuration


def check(configuration: Configuration, owner: tuple[int, int] | None = None) -> list[str]:
    """
    Build the service as a start would; bind nothing, and change nothing on disk.

    :param owner: as for `make_service`.
    :return: the warnings that a start would log, each one line.
    :raises ConfigurationError: it would not start; one line says why.
    """
    warnings: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.warn, LogLevel.error, LogLevel.critical):
            warnings.append(" ".join(formatEvent(event).split()))

    globalLogPublisher.addObserver(observe)
    # Or Python would keep what it compiles of the user's modules beside them.
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        make_service(configuration, owner=owner, checking=True)
        provide(configuration)
    finally:
        sys.dont_write_bytecode = writes_bytecode
        globalLogPublisher.removeObserver(observe)
    return warnings
