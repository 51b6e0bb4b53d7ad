"""Whoever waits for a process waits longer than all that the process itself waits for."""

from __future__ import annotations

from smtpcb import _ending


def test_a_worker_can_wait_for_all_that_is_slow() -> None:
    """It is not killed while it finishes mail, ends threads, or says what it has lost."""
    waits = {name: value for name, value in vars(_ending).items() if name.endswith("_SECONDS")}
    whole = waits.pop("STOP_SECONDS")
    assert len(waits) == 5
    assert sum(waits.values()) == whole
    assert sum(waits.values()) - waits["SPARE_SECONDS"] < whole
