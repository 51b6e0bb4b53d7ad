"""What all seeds share: the law that no item is forgotten, and how one of them is tried."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Collection, Iterable
from typing import Any

from smtpcb import Connection, Settings, SmtpService
from smtpcb.engine import Driver


def check_items(
    seed: str,
    names: Iterable[str],
    *,
    items: int,
    traps: int,
    omitted: Collection[str],
    first: int = 1,
) -> None:
    """
    See that each item and each trap of a seed has a test that names it, or a reason.

    A test names its items between underscores, such as ``test_p2_p3_mail_is_taken``.

    :param seed: its letter; its items are ``p1``, ``p2``, ..., its traps ``px1``, ``px2``, ...
    :param names: all names of its module.
    :param first: of its items, where those before it have another module.
    :param omitted: the items that have a reason in the place of a test.
    :raises AssertionError: an item has neither or both, or there is no such item.
    """
    wanted = {f"{seed}{number}" for number in range(first, items + 1)}
    wanted |= {f"{seed}x{number}" for number in range(1, traps + 1)}
    tests = [name for name in names if name.startswith("test_")]
    tested = {item for name in tests for item in re.findall(rf"(?<=_){seed}x?[0-9]+(?=_)", name)}
    assert not (forgotten := wanted - tested - set(omitted)), f"without a test: {forgotten}"
    assert not (unknown := (tested | set(omitted)) - wanted), f"no such items: {unknown}"
    assert not (both := tested & set(omitted)), f"a test and a reason: {both}"


def greeted(
    handler: object,
    settings: Settings = Settings(),  # noqa: B008
    **options: Any,
) -> Driver:
    """Return a driver whose client has been greeted."""
    driver = Driver(handler, settings, Connection("test", "192.0.2.1", 40000), **options)
    driver.start()
    return driver


def port_of(service: SmtpService) -> int:
    """Return the number of the first port on which a service listens."""
    port: Any = service.ports[0]
    return int(port.getHost().port)


def deliver(port: int, recipient: str = "b@example.org", *, host: str = "127.0.0.1") -> None:
    """Send one short message by a stock client; it blocks."""
    with smtplib.SMTP(host, port, timeout=10) as client:
        client.sendmail("a@example.org", [recipient], "x")
