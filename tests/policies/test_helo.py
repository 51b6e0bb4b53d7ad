"""What a client calls itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smtpcb import around
from smtpcb.testing import play

from .conftest import Inbox, client, made

Rcpt = Callable[..., None]
TO = "anne@example.org"


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("client.example.com", "250"),
        ("client.example.com.", "250"),
        ("[203.0.113.9]", "250"),
        ("friend", "550 5.7.1 Bad name in HELO or EHLO: a full name"),
        ("203.0.113.9", "550 5.7.1 Bad name in HELO or EHLO: a full name"),
        ("[203.0.113.10]", "550 5.7.1 Bad name in HELO or EHLO: it is not your address"),
        ("[nonsense]", "550 5.7.1 Bad name in HELO or EHLO: it is not your address"),
        ("MX.example.org", "550 5.7.1 Bad name in HELO or EHLO: it is ours"),
        ("localhost.localdomain", "550 5.7.1 Bad name in HELO or EHLO: it is nobody's"),
    ],
)
def test_names_that_cannot_be_true_are_refused(rcpt: Rcpt, name: str, reply: str) -> None:
    """At RCPT, so that the postmaster can still be told of it."""
    policy = made("helo:own=mx.example.org,bad=localhost.localdomain")
    rcpt(policy, (TO, reply), ("postmaster@example.org", "250"), hello=name)


def test_an_ipv6_literal_is_compared_as_an_address(rcpt: Rcpt) -> None:
    """However it is written."""
    here = client("2001:db8::1")
    rcpt(made("helo"), (TO, "250"), hello="[IPv6:2001:DB8:0::1]", connection=here)
    rcpt(made("helo"), (TO, "550"), hello="[IPv6:2001:db8::2]", connection=here)


def test_users_and_programs_of_this_machine_are_not_judged(rcpt: Rcpt) -> None:
    """Those who submit mail seldom know their name."""
    for here in (client(identity="anne"), client("127.0.0.1"), client("::1"), client("")):
        rcpt(made("helo"), (TO, "250"), hello="laptop", connection=here)
    rcpt(made("helo:exempt=203.0.113.0/24"), (TO, "250"), hello="laptop")


def test_names_without_a_dot_can_be_taken(rcpt: Rcpt) -> None:
    """By choice."""
    rcpt(made("helo:full-names=no"), (TO, "250"), hello="laptop")


def test_it_can_be_said_at_once() -> None:
    """At HELO, where the client may try another name."""
    play(
        """
        C: HELO friend
        S: 550
        C: EHLO client.example.com
        S: 250 ...
        """,
        around(Inbox, made("helo:at=hello")),
        connection=client(),
    )


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("helo:mx.example.org", "NAME=VALUE is wanted"),
        ("helo:own=", "a domain such as"),
        ("helo:at=connect", "rcpt or hello"),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=why):
        made(description)
