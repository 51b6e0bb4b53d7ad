"""No more mail than so much in a while."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from smtpcb.policies.rate import Buckets, RateLimit

from .conftest import client, made

Rcpt = Callable[..., None]
LATER = "450 4.7.1 Too much mail from you, try again later"


def mail(
    rcpt: Rcpt, policy: object, replies: str, address: str = "203.0.113.9", **said: object
) -> None:
    """Say MAIL, in two connections (a dialogue is held twice), and be answered so."""
    identity = said.pop("identity", None)
    rcpt(policy, mail=replies, connection=client(address, identity), **said)


def test_messages_in_a_while_are_limited(rcpt: Rcpt) -> None:
    """Four in an hour; then one more for each quarter of it that has passed."""
    clock = Clock()
    policy = made("rate:messages=4,seconds=1h", clock)
    mail(rcpt, policy, "250")
    mail(rcpt, policy, "250")
    mail(rcpt, policy, LATER)
    clock.advance(1800)
    mail(rcpt, policy, "250")
    mail(rcpt, policy, LATER)


def test_recipients_in_a_while_are_limited(rcpt: Rcpt) -> None:
    """Refused ones count too: who guesses addresses is slowed down."""
    policy = made("rate:recipients=4")
    rcpt(policy, ("a@example.org", "250"), ("b@example.org", "250"))
    rcpt(policy, ("a@example.org", LATER))


def test_each_client_is_counted_by_its_address(rcpt: Rcpt) -> None:
    """Of IPv6 by its /64, which one client has whole."""
    policy = made("rate:messages=2")
    mail(rcpt, policy, "250", "203.0.113.9")
    mail(rcpt, policy, "250", "203.0.113.10")
    mail(rcpt, policy, LATER, "::ffff:203.0.113.10")
    mail(rcpt, policy, "250", "2001:db8::1")
    mail(rcpt, policy, LATER, "2001:db8::ffff:2")
    mail(rcpt, policy, "250", "2001:db8:0:1::1")


def test_clients_of_this_machine_and_exempt_networks_are_not_counted(rcpt: Rcpt) -> None:
    """A UNIX socket has no address, and many users."""
    policy = made("rate:messages=2,exempt=192.0.2.0/24")
    for _ in range(3):
        mail(rcpt, policy, "250", "192.0.2.7")
        mail(rcpt, policy, "250", "")


def test_logins_and_senders_can_be_counted(rcpt: Rcpt) -> None:
    """Others are not counted then; bounces never are."""
    policy = made("rate:messages=2,by=login")
    mail(rcpt, policy, "250", identity="anne")
    mail(rcpt, policy, LATER, "198.51.100.7", identity="anne")
    mail(rcpt, policy, "250", identity="bob")
    for _ in range(3):
        mail(rcpt, policy, "250")
    policy = made("rate:messages=2,by=sender")
    mail(rcpt, policy, "250", sender="a@example.com")
    mail(rcpt, policy, LATER, "198.51.100.7", sender="A@EXAMPLE.com")
    for _ in range(3):
        mail(rcpt, policy, "250", sender="")


def test_counts_are_kept_of_a_bounded_number_of_clients() -> None:
    """The one that was quiet longest is forgotten."""
    buckets = Buckets(1, 60, Clock().seconds, most=10)
    assert buckets.take("busy")
    for number in range(100):
        buckets.take(number)
        assert not buckets.take("busy")
    assert len(buckets) == 10


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("rate", "messages= or recipients= is wanted"),
        ("rate:10", "NAME=VALUE is wanted"),
        ("rate:messages=0", "messages=0: a number above 0"),
        ("rate:messages=1,by=colour", "address or login or sender"),
        ("rate:messages=1,seconds=soon", "a number of seconds, or 5m"),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=why):
        made(description)


def test_limits_in_code_are_checked_too() -> None:
    """A limit of none, and one by what is not counted."""
    with pytest.raises(ValueError, match="at least 1"):
        RateLimit(Clock(), messages=0)
    with pytest.raises(ValueError, match="address, login or sender"):
        RateLimit(Clock(), messages=1, by="colour")
