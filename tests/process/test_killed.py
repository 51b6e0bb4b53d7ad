"""Kill -9: whatever got a 250 is there, once and whole."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from .kills import kill_under_load
from .load import Kept, digest_of, make_message


@pytest.mark.parametrize(
    ("times", "workers", "door"),
    [(6, 1, "smtp"), (4, 2, "smtp"), (3, 1, "lmtp"), (3, 1, "policies")],
    ids=["alone", "workers", "lmtp", "policies"],
)
def test_what_got_a_250_survives_a_kill(
    tmp_path: Path, times: int, workers: int, door: str
) -> None:
    """P45, through the whole server: sockets, protocol, handler, threads, processes, disk."""
    accepted, stored = kill_under_load(
        tmp_path / "kills", times, seed="45", workers=workers, door=door
    )
    assert times < accepted <= stored


def test_what_is_lost_or_broken_is_seen(tmp_path: Path) -> None:
    """A message that is not there, or twice, or not whole, does not pass for one that is."""
    source = Random(45)
    messages = [make_message(source) for _ in range(3)]
    new = tmp_path / "new"
    new.mkdir()
    for number, message in enumerate(messages[:2]):
        (new / str(number)).write_bytes(b"Return-Path: <>\r\n" + message)
    kept = Kept(tmp_path)
    assert kept.check({digest_of(message) for message in messages[:2]}) == 2
    with pytest.raises(AssertionError, match="1 of 3 messages that got a 250 are lost"):
        kept.check({digest_of(message) for message in messages})
    (new / "2").write_bytes(messages[0])
    with pytest.raises(AssertionError, match="twice"):
        kept.check(set())
    (new / "2").write_bytes(messages[2][:-3])
    with pytest.raises(ValueError, match="not all of it"):
        Kept(tmp_path).check(set())
    (new / "2").unlink()
    with pytest.raises(AssertionError, match="gone"):
        kept.check(set())
