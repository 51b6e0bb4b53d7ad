"""Kill -9 of a relay, or of the server behind it: a client's 250 means that the last one has it."""

from __future__ import annotations

from pathlib import Path

from .hops import kill_hops


def test_what_got_a_250_is_at_the_last_hop(tmp_path: Path) -> None:
    """
    P51, through two whole servers under load, each of them killed at any time.

    The relay keeps nothing and promises nothing: it says 250 once the last server has said it, and
    451 where that has not answered.
    """
    accepted, stored, _ = kill_hops(tmp_path / "hops", 2, seed="53")
    assert 2 < accepted <= stored
