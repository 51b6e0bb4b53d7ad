"""A process that is killed has every message it said it had, whole, and no part of another."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import sys
from pathlib import Path

from .killed_store import is_whole
from .layers import ORDER, files

ROOT = Path(__file__).parents[2]


def stored_before_kill(way: str, folder: Path, rounds: int) -> list[tuple[Path, list[str]]]:
    """Run `killed_store`; the Maildirs of its children and what each said it had stored."""
    seed = secrets.token_hex(4)
    print("seed", seed)
    result = subprocess.run(
        [sys.executable, "-m", "tests.handlers.killed_store", way, folder, seed, str(rounds)],
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
    rounds = stored_before_kill("at_random", tmp_path, 60)
    assert len(rounds) == 60
    assert sum(assert_nothing_lost(maildir, names) for maildir, names in rounds) > 0


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Between whatever two steps a server dies: what it said it had is there, whole, once (P44)."""
    rounds = stored_before_kill("at_every_step", tmp_path, 2)
    stored = [assert_nothing_lost(maildir, names) for maildir, names in rounds]
    assert len(rounds) > 2 * len(ORDER)
    assert sorted(set(stored)) == [0, 1, 2]
    assert sorted(stored) == stored
    assert stored[-1] == len(rounds[-1][1]) == 2
