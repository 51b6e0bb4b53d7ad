"""SIGTERM to all processes of a service: nobody is cut in mid-message."""

from __future__ import annotations

from pathlib import Path

import pytest

from .stops import stop_under_load


@pytest.mark.parametrize(
    ("workers", "door"),
    [(1, "smtp"), (2, "smtp"), (1, "lmtp"), (1, "policies")],
    ids=["alone", "workers", "lmtp", "policies"],
)
def test_nobody_is_cut_in_mid_message(tmp_path: Path, workers: int, door: str) -> None:
    """
    A service manager sends its SIGTERM to each process of the service; that is one stop.

    Transactions go on within the grace time, and what got a 250 is there.
    """
    accepted, inside = stop_under_load(tmp_path / "stops", 3, seed="50", workers=workers, door=door)
    assert inside
    assert accepted
