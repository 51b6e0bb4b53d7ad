"""Clients of some networks only, or all but those."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smtpcb import around
from smtpcb.policies.networks import Deny
from smtpcb.testing import play

from .conftest import Inbox, client, made

Rcpt = Callable[..., None]


def connect(policy: object, address: str, reply: str) -> None:
    play(f"S: {reply}\n", around(Inbox, policy), connection=client(address))


def test_clients_of_denied_networks_are_not_served() -> None:
    """554 in place of the greeting (RFC 5321 §3.1)."""
    policy = made("deny:203.0.113.0/24,2001:db8::/32")
    connect(policy, "203.0.113.9", "554")
    connect(policy, "::ffff:203.0.113.9", "554")
    connect(policy, "2001:db8::5", "554")
    connect(policy, "198.51.100.1", "220")
    connect(policy, "", "220")


def test_an_allow_list_serves_nobody_else() -> None:
    """UNIX sockets have no network; they are named by `unix`."""
    connect(made("allow:192.0.2.0/24"), "192.0.2.9", "220")
    connect(made("allow:192.0.2.0/24"), "203.0.113.9", "554")
    connect(made("allow:192.0.2.0/24"), "", "554")
    connect(made("allow:192.0.2.0/24,unix"), "", "220")


def test_at_rcpt_the_postmaster_can_still_be_reached(rcpt: Rcpt) -> None:
    """Somebody who was shut out by mistake has to be able to say so (RFC 5321 §4.5.1)."""
    policy = made("deny:203.0.113.0/24,at=rcpt")
    rcpt(policy, ("anne@example.org", "554 5.7.1"), ("Postmaster", "250"))
    rcpt(policy, ("anne@example.org", "250"), connection=client(identity="anne"))


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("deny", "a network is wanted"),
        ("allow:at=rcpt", "a network is wanted"),
        ("deny:example.org", "is no network such as"),
        ("deny:192.0.2.0/24,at=never", "at=never: connect or rcpt"),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=why):
        made(description)


def test_an_event_that_is_none_is_a_mistake() -> None:
    """A policy that is asked at no event would guard nothing."""
    with pytest.raises(ValueError, match="connected, hello or rcpt"):
        Deny(["192.0.2.0/24"], at="mail")
