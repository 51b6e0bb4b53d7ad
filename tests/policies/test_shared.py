"""What policies share: who is counted and exempt, how lists are read, what holds without a file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText

from smtpcb import Connection, Envelope, Introduction, ReversePath, Verb, around, callbacks
from smtpcb.policies._client_policy import ClientPolicy
from smtpcb.policies._domains import Domains
from smtpcb.policies._watched import WatchedFile
from smtpcb.policies.greylist import Greylist
from smtpcb.policies.local_domains import LocalDomains
from smtpcb.policies.networks import Deny
from smtpcb.policies.rate import Buckets, RateLimit
from smtpcb.policies.recipients import RecipientFile, Recipients
from smtpcb.policies.sender_login import SenderLoginFile
from smtpcb.policies.size import SizeByRecipient
from smtpcb.smtp import ForwardPath
from smtpcb.testing import play

from .conftest import made

HERE = Connection("test", peer_address="192.0.2.7")


def rows(folder: Path, *lines: str) -> Path:
    """Write a file of a policy."""
    path = folder / "rows"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "policy",
    [Deny, Greylist, LocalDomains, RateLimit, RecipientFile, Recipients, SizeByRecipient],
)
def test_recipients_that_come_together_are_asked_about_together(policy: Any) -> None:
    """One policy that asked about one after the other would slow down all that stand beside it."""
    assert policy.concurrent_recipients is True


@pytest.mark.parametrize("event", ["connected", "hello"])
def test_who_is_exempt_is_not_judged_at_any_event(event: str) -> None:
    """Nor is who is not exempt let through."""

    class Nobody(ClientPolicy):
        def _judge(self, connection: Connection) -> Any:
            return 550, "Nobody"

    policy: Any = Nobody(event, ["192.0.2.0/24"])
    ask = getattr(policy, event)
    said = () if event == "connected" else (Introduction(Verb.EHLO, "me"),)
    assert ask(*said, HERE) is None
    assert ask(*said, Connection("other", peer_address="198.51.100.7")) == (550, "Nobody")


def test_a_file_that_is_gone_is_told_of_once(tmp_path: Path) -> None:
    """Not for each client that comes meanwhile; and again, when it has been there in between."""
    path = rows(tmp_path, "one")
    watched = WatchedFile(path, list)
    with capturedLogs() as events:
        for _ in range(2):
            path.unlink()
            assert watched.now() is None
            assert watched.now() is None
            rows(tmp_path, "another")
            assert watched.now() == [(1, "another")]
    said = [eventAsText(event) for event in events]
    assert len(said) == 2
    assert all(f"{path}: No such file or directory; clients are asked" in line for line in said)


def test_a_file_is_read_again_when_it_was_exchanged(tmp_path: Path) -> None:
    """An equal size and time do not hide another file behind the same name."""
    path = rows(tmp_path, "one")
    watched = WatchedFile(path, list)
    (tmp_path / "new").write_text("two\n")
    os.utime(tmp_path / "new", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new").replace(path)
    assert watched.now() == [(1, "two")]


def test_a_delimiter_is_one_sign(tmp_path: Path) -> None:
    """What no local-part could be cut at in one way is refused."""
    path = rows(tmp_path, "anne@example.org")
    for wrong in ("++", "", "a", "7", "@"):
        with pytest.raises(ValueError, match="one sign"):
            made(f"recipients:{path},delimiter={wrong}")


def test_case_does_not_count_before_a_delimiter(tmp_path: Path) -> None:
    """Anne is anne, with the name of a shop behind her own too."""
    policy = made(f"recipients:{rows(tmp_path, 'anne@example.org')},delimiter=+")
    envelope = Envelope(HERE, ReversePath.NULL)
    for name, known in (("Anne+Shop", True), ("ANNE", True), ("+anne", False), ("bob+x", False)):
        recipient: Any = type("One", (), {"forward_path": ForwardPath(name, "example.org")})
        recipient.is_postmaster = False
        assert (policy.rcpt(recipient, envelope) is None) is known, name


def test_blanks_around_a_login_are_none_of_it(tmp_path: Path) -> None:
    """Columns may be lined up, and a login that stands twice is one."""
    policy = SenderLoginFile(rows(tmp_path, "anne  : anne@example.org"))
    connection = Connection("test", identity="anne")
    assert policy.mail(Envelope(connection, ReversePath("anne", "example.org"))) is None
    with pytest.raises(ValueError, match="'anne' has a line already"):
        SenderLoginFile(rows(tmp_path, "anne: anne@example.org", "anne : bob@example.org"))


def test_a_list_of_domains_is_read_as_it_is_meant() -> None:
    """Blanks around a name are none of it; half of an address literal is no name."""
    assert "a.example.org" in Domains([" .example.org "])
    assert "[192.0.2.1]" in Domains([" [192.0.2.1] "])
    for wrong in ("example]", "[192.0.2.1", ".[192.0.2.1]", "exa mple.org"):
        with pytest.raises(ValueError, match="a domain such as"):
            Domains([wrong])


def test_what_comes_back_is_whole_when_its_time_has_passed() -> None:
    """A limit that divides badly withholds nobody's last message (it is reckoned in fractions)."""
    clock = Clock()
    buckets = Buckets(11, 30, clock.seconds)
    assert [buckets.take("one") for _ in range(12)] == [True] * 11 + [False]
    clock.advance(30 / 11)
    assert buckets.take("one")
    assert not buckets.take("one")


def test_short_times_are_times() -> None:
    """Less than a second for a limit, and no delay at all, can be tried out."""
    assert RateLimit(Clock(), messages=1, seconds=0.5)
    assert Greylist(Clock(), delay_seconds=0)
    with pytest.raises(ValueError, match="its time above 0"):
        RateLimit(Clock(), messages=1, seconds=0)
    with pytest.raises(ValueError, match="retry > delay"):
        Greylist(Clock(), delay_seconds=-1)


@pytest.mark.parametrize(
    ("seconds", "said"), [(1, "1 minute"), (60, "1 minute"), (120, "2 minutes"), (300, "5 minutes")]
)
def test_who_is_greylisted_hears_when_to_come_again(seconds: float, said: str) -> None:
    """In minutes, and never in none."""
    play(
        f"""
        C: EHLO client.example.com
        S: 250 ...
        C: MAIL FROM:<a@example.com>
        S: 250
        C: RCPT TO:<b@example.org>
        S: 451 4.7.1 Greylisted, try again in {said}
        """,
        around(callbacks(message=lambda envelope: None), Greylist(Clock(), delay_seconds=seconds)),
        connection=HERE,
    )


def test_a_greylist_that_has_stopped_has_let_go_of_its_file(tmp_path: Path) -> None:
    """Whoever moves it away then moves all of it."""
    policy: Any = Greylist(Clock(), file=tmp_path / "greylist")
    policy.startService()
    store = policy._store
    policy.stopService()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store.passes("192.0.2.0/24", "a@example.com", "b@example.org", 0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["greylist"]
