"""Addresses that guess passwords."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine import Settings
from smtpcb.server import _circumstances
from smtpcb.server._circumstances import ServerCircumstances
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.smtp import Limits
from tests.server.client import HELLO, Client

Connect = Callable[..., Client]

WRONG = b"AUTH PLAIN " + base64.b64encode(b"\0anne\0tom") + b"\r\n"
RIGHT = b"AUTH PLAIN " + base64.b64encode(b"\0anne\0tim") + b"\r\n"


class Logins:
    """It knows one password."""

    discards_content = True

    def authenticate(self, credentials: Any, connection: Any) -> bool:
        return bool(credentials.password == "tim")


def server(clock: Clock, **limits: Any) -> SmtpServerFactory:
    settings = Settings(allow_insecure_auth=True, limits=Limits(**limits))
    return SmtpServerFactory(Logins(), settings, reactor=clock, log_messages=False)


def arrive(connect: Connect, factory: Any, clock: Clock, host: str) -> Client:
    kind = IPv6Address if ":" in host else IPv4Address
    return connect(factory=factory, clock=clock, address=kind("TCP", host, 1))


def guess(client: Client, times: int) -> list[int]:
    codes = client.codes(HELLO)
    for _ in range(times):
        client.send(WRONG)
        client.clock.advance(1)  # the answer to a wrong password is held back
        codes += client.codes()
    return codes


def test_an_address_that_has_failed_too_often_is_let_alone(connect: Connect) -> None:
    """It may not come again, nor log in where it is; others may, and it may later."""
    clock = Clock()
    factory = server(clock, auth_failures_per_address=3, auth_failure_seconds=600)
    first, second = (arrive(connect, factory, clock, "192.0.2.1") for _ in range(2))
    second.codes(HELLO)
    with capturedLogs() as events:
        assert guess(first, 3) == [220, 250, 535, 535, 535]
    assert [formatEvent(event) for event in events] == [
        "192.0.2.1 has failed to log in 3 times: it is let alone for 598 seconds"
    ]
    third = arrive(connect, factory, clock, "192.0.2.1")
    assert third.send() == ["421 4.7.0 Too many failed logins, try again later"]
    assert second.send(RIGHT) == [
        "454 4.7.0 Too many failed logins from your address, try again later"
    ]
    assert arrive(connect, factory, clock, "192.0.2.2").codes(HELLO, RIGHT) == [220, 250, 235]
    assert factory.counters.turned_away == {"failed logins": 1}
    clock.advance(596)
    assert arrive(connect, factory, clock, "192.0.2.1").codes() == [421]
    clock.advance(1)
    assert arrive(connect, factory, clock, "192.0.2.1").codes(HELLO, RIGHT) == [220, 250, 235]


def test_a_network_of_ipv6_is_one_address(connect: Connect) -> None:
    """Whoever has one has all 2^64 of them."""
    clock = Clock()
    factory = server(clock, auth_failures_per_address=2)
    for host in ("2001:db8::1", "2001:db8::2"):
        guess(arrive(connect, factory, clock, host), 1)
    assert arrive(connect, factory, clock, "2001:db8::3").codes() == [421]
    assert arrive(connect, factory, clock, "2001:db8:0:1::1").codes() == [220]


def test_by_default_and_from_this_machine_nobody_is_counted(connect: Connect) -> None:
    """One who tests a program may mistype a password as often as he likes."""
    clock = Clock()
    for factory, host in (
        (server(clock, auth_failures_per_address=1), "127.0.0.1"),
        (server(clock), "192.0.2.1"),
    ):
        guess(arrive(connect, factory, clock, host), 3)
        assert arrive(connect, factory, clock, host).codes(HELLO, RIGHT) == [220, 250, 235]


def test_what_is_remembered_is_bounded(monkeypatch: Any) -> None:
    """Whoever comes from everywhere fills no memory; who has failed longest ago is forgotten."""
    monkeypatch.setattr(_circumstances, "MOST_ADDRESSES", 10)
    here = ServerCircumstances(Limits(auth_failures_per_address=1), lambda: 0.0)
    for number in range(1, 30):
        here.login_failed(f"192.0.2.{number}")
    assert len(here._failures) == 10
    assert here.may_log_in("192.0.2.1")
    assert not here.may_log_in("192.0.2.29")
