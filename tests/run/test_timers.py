"""Whoever sets the clock changes nothing for a server that runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from smtpcb.run._timers import follow_no_clock

from ..running import Client, running

HANDLER = """
import time
from twisted.internet import reactor

class Tells:
    discards_content = True
    def hello(self, introduction, connection):
        return 550, "steady" if reactor.seconds is time.monotonic else "as the clock is set"
    def message(self, envelope):
        return None
"""


class Reactor(Clock):
    """One whose time is that of the wall, as Twisted's are."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Any = time.time


def test_timers_do_not_follow_the_wall_clock() -> None:
    """When it is set back, nothing waits for the time to come again."""
    reactor = Reactor()
    follow_no_clock(reactor)
    assert reactor.seconds is time.monotonic


def test_what_waits_already_keeps_its_time() -> None:
    """A timer that was set before would never come, by another clock."""
    reactor = Reactor()
    reactor.callLater(1, print)
    follow_no_clock(reactor)
    assert reactor.seconds is time.time


def test_a_reactor_with_a_time_of_its_own_keeps_it() -> None:
    """It may be a test's."""
    clock = Clock()
    follow_no_clock(clock)
    assert clock.seconds() == 0


@pytest.mark.parametrize("options", [(), ("--workers", "1")], ids=["alone", "worker"])
def test_a_server_is_steady(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Every process that takes mail, whoever has started it."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "tells.py").write_text(HANDLER)
    with (
        running(tmp_path / "server", "--handler", "python:tells.Tells", *options) as server,
        Client(server.port) as client,
    ):
        assert client.say("EHLO again.example") == b"550 steady\r\n"
