"""As many open files as connections need."""

from __future__ import annotations

import resource
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from smtpcb.run import _descriptors
from smtpcb.run._descriptors import PER_CONNECTION, PLENTY, RESERVE, provide, raise_limit
from smtpcb.run.options import BY_NAME, Configuration, read_value, resolve

INFINITE = resource.RLIM_INFINITY


class System:
    """A system with limits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.limits = (soft, hard)
        self.refuses = False
        monkeypatch.setattr(_descriptors.resource, "getrlimit", lambda _: self.limits)
        monkeypatch.setattr(_descriptors.resource, "setrlimit", self._set)

    def _set(self, kind: int, limits: tuple[int, int]) -> None:
        assert kind == resource.RLIMIT_NOFILE
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        assert limits[1] == self.limits[1]
        self.limits = limits


def configured(connections: str, **said: Any) -> Configuration:
    """Return settings."""
    value = read_value(BY_NAME["connections"], connections, "")
    return resolve({"connections": value, **said}, {})


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "becomes"),
    [
        (1024, 20_000, 3256, 3256),
        (1024, 2000, 3256, 2000),
        (1024, 1024, 3256, 1024),
        (8192, 20_000, 3256, 8192),
        (1024, INFINITE, 3256, 3256),
        (INFINITE, INFINITE, 3256, INFINITE),
    ],
)
def test_the_soft_limit_is_raised_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, becomes: int
) -> None:
    """As far as it is needed, and as the hard one allows."""
    system = System(monkeypatch, soft, hard)
    assert raise_limit(wanted) == (wanted if becomes == INFINITE else becomes)
    assert system.limits == (becomes, hard)


def test_a_system_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays as it was."""
    system = System(monkeypatch, 256, INFINITE)
    system.refuses = True
    assert raise_limit(3256) == 256


def test_what_connections_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each a few; without a limit on them, whatever there is."""
    system = System(monkeypatch, 1024, 20_000)
    with capturedLogs() as events:
        provide(configured("1000"))
        assert system.limits[0] == RESERVE + 1000 * PER_CONNECTION
        provide(configured("none"))
        assert system.limits[0] == 20_000 < PLENTY
    assert not events


def test_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning that says what to do; each of several workers needs its share only."""
    System(monkeypatch, 1024, 2000)
    with capturedLogs() as events:
        provide(configured("1000"))
    [event] = events
    assert formatEvent(event) == (
        "a process can have 2000 files open, and 1000 connections may need 3256: raise the limit "
        "(LimitNOFILE of systemd, ulimit -n), or lower --connections"
    )
    with capturedLogs() as events:
        provide(configured("1000", workers=2))
    assert not events
