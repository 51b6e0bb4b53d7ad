"""Who is not known is asked to come again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from smtpcb import Envelope, Recipient
from smtpcb.policies._greylist_store import GreylistStore, Times
from smtpcb.policies.greylist import Greylist
from smtpcb.smtp import ForwardPath, ReversePath

from .conftest import client, made

Rcpt = Callable[..., None]
TO = "anne@example.org"
LATER = "451 4.7.1 Greylisted, try again in 5 minutes"


def test_who_is_not_known_comes_again(rcpt: Rcpt) -> None:
    """Too early is no coming again; once it has passed it is known (RFC 6647 §5)."""
    clock = Clock()
    policy = made("greylist", clock)
    rcpt(policy, (TO, LATER))
    clock.advance(299)
    rcpt(policy, (TO, LATER))
    clock.advance(1)
    rcpt(policy, (TO, "250"))
    clock.advance(30 * 86400)
    rcpt(policy, (TO, "250"))
    clock.advance(37 * 86400)
    rcpt(policy, (TO, LATER))


def test_each_triplet_waits_for_itself(rcpt: Rcpt) -> None:
    """Network, sender and recipient; another machine of the same network will do."""
    clock = Clock()
    policy = made("greylist", clock)
    rcpt(policy, (TO, LATER), sender="a@example.com")
    clock.advance(300)
    rcpt(policy, (TO, LATER), sender="b@example.com")
    rcpt(policy, ("bob@example.org", LATER), sender="a@example.com")
    rcpt(policy, (TO, LATER), sender="a@example.com", connection=client("203.0.114.9"))
    rcpt(policy, (TO, "250"), sender="A@EXAMPLE.com", connection=client("203.0.113.77"))


def test_who_comes_again_too_late_begins_anew(rcpt: Rcpt) -> None:
    """After two days it is somebody else."""
    clock = Clock()
    policy = made("greylist", clock)
    rcpt(policy, (TO, LATER))
    clock.advance(2 * 86400 + 1)
    rcpt(policy, (TO, LATER))
    clock.advance(300)
    rcpt(policy, (TO, "250"))


def test_a_network_that_has_shown_to_come_again_waits_no_more(rcpt: Rcpt) -> None:
    """An allow list that fills itself; others still wait."""
    clock = Clock()
    policy = made("greylist:passes=2", clock)
    for sender in ("a@example.com", "b@example.com"):
        rcpt(policy, (TO, LATER), sender=sender)
        clock.advance(300)
        rcpt(policy, (TO, "250"), sender=sender)
    rcpt(policy, (TO, "250"), sender="c@example.com")
    rcpt(policy, (TO, LATER), sender="c@example.com", connection=client("198.51.100.1"))
    clock.advance(37 * 86400)
    rcpt(policy, (TO, LATER), sender="d@example.com")


def test_trusted_clients_and_the_postmaster_never_wait(rcpt: Rcpt) -> None:
    """Logins, named networks, UNIX sockets."""
    policy = made("greylist:trusted=192.0.2.0/24")
    rcpt(policy, (TO, "250"), connection=client(identity="anne"))
    rcpt(policy, (TO, "250"), connection=client("192.0.2.9"))
    rcpt(policy, (TO, "250"), connection=client(""))
    rcpt(policy, ("postmaster@example.org", "250"), ("Postmaster", "250"), (TO, LATER))


def test_bounces_wait_too(rcpt: Rcpt) -> None:
    """<> is a sender like others."""
    clock = Clock()
    policy = made("greylist:delay=60", clock)
    rcpt(policy, (TO, "451 4.7.1 Greylisted, try again in 1 minute"), sender="")
    clock.advance(60)
    rcpt(policy, (TO, "250"), sender="")


def test_what_is_remembered_has_a_bound() -> None:
    """What has expired goes first, then the oldest."""
    store = GreylistStore(None, Times(most=10))
    for number in range(100):
        assert not store.passes("192.0.2.0/24", f"{number}@example.com", TO, number)
        assert store._number("SELECT count(*) FROM triplets") <= 10
    assert store.passes("192.0.2.0/24", "99@example.com", TO, 500)
    store = GreylistStore(None, Times(most=10))
    for number in range(11):
        store.passes("192.0.2.0/24", f"{number}@example.com", TO, number * 3 * 86400)
    assert store._number("SELECT count(*) FROM triplets") == 1


# In a file


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], Greylist]]:
    from twisted.internet import reactor

    policies: list[Greylist] = []

    def start() -> Greylist:
        policy = made(f"greylist:file={tmp_path / 'grey'}", reactor)
        policy.startService()
        policies.append(policy)
        return policy

    yield start
    for policy in policies:
        policy.stopService()


async def ask(policy: Greylist) -> Any:
    envelope = Envelope(client(), ReversePath("a", "example.com"))
    answer: Any = policy.rcpt(Recipient(ForwardPath("anne", "example.org")), envelope)
    return None if answer is None else await answer


@pytest_twisted.ensureDeferred
async def test_a_file_remembers_over_a_restart(
    started: Callable[[], Greylist], tmp_path: Path
) -> None:
    """Workers share it; nobody else may read who writes to whom."""
    first, second = started(), started()
    assert (await ask(first)).code == 451
    first.stopService()
    assert await ask(first) is None  # it has stopped, and no mail is lost
    store = GreylistStore(tmp_path / "grey", Times())
    store._base.execute("UPDATE triplets SET first = first - 400")
    store.close()
    assert await ask(second) is None
    assert (await ask(second)) is None
    assert (tmp_path / "grey").stat().st_mode & 0o777 == 0o600


@pytest_twisted.ensureDeferred
async def test_a_file_that_breaks_loses_no_mail(
    started: Callable[[], Greylist], tmp_path: Path
) -> None:
    """It passes, and the log says why."""
    policy = started()
    assert (await ask(policy)).code == 451
    with (tmp_path / "grey").open("r+b") as file:
        os.truncate(file.fileno(), 50)
    assert await ask(policy) is None


def test_a_file_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """With a text that names it."""
    (tmp_path / "grey").write_text("something else, and longer than the head of a file" * 10)
    policy = made(f"greylist:file={tmp_path / 'grey'}")
    with pytest.raises(OSError, match="not a database"):
        policy.startService()


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("greylist:file=/nowhere/at/all", "there is no folder /nowhere/at"),
        ("greylist:delay=2d,retry=1d", "retry > delay"),
        ("greylist:grey.db", "NAME=VALUE is wanted"),
        ("greylist:file=", "a path is wanted"),
    ],
)
def test_a_mistake_is_one_line(description: str, why: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=why):
        made(description)
