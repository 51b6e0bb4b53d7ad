"""A process that is killed has every message it said it had, whole, and no part of another."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from .killed_delivery import PEOPLE
from .killed_store import is_whole
from .layers import ORDER, files

ROOT = Path(__file__).parents[2]


COPY = re.compile(
    rb"Return-Path: <a@example\.net>\r\nDelivered-To: ([a-z]+)@example\.org\r\n"
    rb"Received: from .*\r\n(?:\t.*\r\n)*(?P<text>[0-9a-f]{64}\r\n)"
)


def before_kill(
    program: str, folder: Path, rounds: int, *words: str
) -> list[tuple[Path, list[str]]]:
    """Run one that kills its children; their folders and what each said it had stored."""
    seed = secrets.token_hex(4)
    print("seed", seed)
    result = subprocess.run(
        [sys.executable, "-m", f"tests.handlers.{program}", *words, folder, seed, str(rounds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return [(Path(maildir), names) for maildir, names in json.loads(result.stdout)]


def assert_nothing_lost(maildir: Path, names: list[str]) -> int:
    """Everything said to be stored is there once, whole; one more may be, whole too."""
    new = files(maildir, "new")
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in new}
    assert all(is_whole(path.read_bytes()) for path in new)
    assert len(digests) == len(new)
    assert set(names) <= {path.name for path in new}
    assert len(names) <= len(new) <= len(names) + 1
    envelopes = {path.name.removesuffix(".json") for path in files(maildir, "envelopes")}
    assert {path.name for path in new} <= envelopes
    return len(new)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A server killed without warning has every message it said it had, no part of one (P45)."""
    rounds = before_kill("killed_store", tmp_path, 60, "at_random")
    assert len(rounds) == 60
    assert sum(assert_nothing_lost(maildir, names) for maildir, names in rounds) > 0


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Between whatever two steps a server dies: what it said it had is there, whole, once (P44)."""
    rounds = before_kill("killed_store", tmp_path, 2, "at_every_step")
    stored = [assert_nothing_lost(maildir, names) for maildir, names in rounds]
    assert len(rounds) > 2 * len(ORDER)
    assert sorted(set(stored)) == [0, 1, 2]
    assert sorted(stored) == stored
    assert stored[-1] == len(rounds[-1][1]) == 2


def copies(folder: Path) -> Counter[tuple[str, str]]:
    """Return which messages are there for whom, and how often; each of them is whole."""
    found: Counter[tuple[str, str]] = Counter()
    for path in folder.rglob("new/*"):
        octets = path.read_bytes()
        head = COPY.match(octets)
        assert head is not None, octets[:300]
        assert is_whole(octets[head.start("text") :])
        whose = head[1].decode("ascii")
        assert path.parent.parent in (folder, folder / f"{whose}@example.org")
        found[head["text"][:64].decode("ascii"), whose] += 1
    return found


def assert_all_copies(folder: Path, said: list[str]) -> int:
    """
    Every message that was said to be delivered is there for all; how many copies others have.

    Of one message more there may be any of its copies, and of each no second one.
    """
    found = copies(folder)
    assert set(found.values()) <= {1}
    assert {(one, whose) for one in said for whose in PEOPLE} <= found.keys()
    others = {(one, whose) for one, whose in found if one not in said}
    assert len({one for one, _ in others}) <= 1
    return len(others)


@pytest.mark.parametrize("per", ["recipient", "mailbox"])
def test_killed_between_copies_at_any_moment(tmp_path: Path, per: str) -> None:
    """Who read 250 has every copy delivered, however the server ends after it (P45)."""
    rounds = before_kill("killed_delivery", tmp_path, 30, "at_random", per)
    assert len(rounds) == 30
    for folder, said in rounds:
        assert_all_copies(folder, said)
    assert any(said for _, said in rounds)


@pytest.mark.parametrize("per", ["recipient", "mailbox"])
def test_killed_between_copies_at_every_step(tmp_path: Path, per: str) -> None:
    """
    Before the 250 there may be none of the copies, some or all, each of them whole (P44).

    There is no step at which a file system puts several files in place at once; so the client, who
    has read nothing, sends it again, and some have it twice.
    """
    rounds = before_kill("killed_delivery", tmp_path, 2, "at_every_step", per)
    others = [assert_all_copies(folder, said) for folder, said in rounds]
    assert {len(said) for _, said in rounds} == {0, 1, 2}
    assert set(others) == {0, 1, 2, 3}
    assert others[-1] == 0
    assert len(rounds[-1][1]) == 2
