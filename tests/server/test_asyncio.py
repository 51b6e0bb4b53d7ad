"""Handlers that are programs of asyncio's, under its reactor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXPECTED = """\
MAIL 250 2.1.0 A future
at_once 250 2.1.5 Recipient ok
sleep 250 2.1.5 Recipient ok
timeout 450 4.2.0 Timed out
deferred 251 2.1.5 Forwarded
failed_deferred 550 5.1.1 Looked up
deferred_in_time 451 4.3.0 Cancelled
together 250 2.1.5 Recipient ok
group 250 2.1.5 Recipient ok
refused 553 5.1.3 No
fault 451 4.3.0 Local error
odd 451 4.3.0 Local error
late 451 4.3.0 Local error
leaving 451 4.3.0 Local error
leaving_when_cancelled 450 4.2.0 Cancelled
DATA 250 2.0.0 6 octets
cancelled twice
"""


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    """A server and its client, in a process of their own: there can be one reactor in each."""
    return subprocess.run(
        [sys.executable, "-m", "tests.server.asyncio_handlers"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("expected", EXPECTED.splitlines(), ids=lambda line: line.split()[0])
def test_a_coroutine_is_a_task(expected: str, run: subprocess.CompletedProcess[str]) -> None:
    """
    Sleeping, time limits, groups, threads and futures of asyncio, and Deferreds as well.

    What waits too long, or for a client that has gone, is cancelled as a task is.
    """
    name = expected.split()[0]
    lines = [line for line in run.stdout.splitlines() if line.split()[0] == name]
    assert len(lines) == 1, run.stdout + run.stderr
    start, _, _ = lines[0].partition(" in processing")
    got, want = start.split(), expected.split()
    assert got[1] == want[1]
    assert got[3:] == want[3:]


def test_nothing_is_left_behind(run: subprocess.CompletedProcess[str]) -> None:
    """No task that nobody has looked at, and no fault but those that were meant."""
    assert run.returncode == 0, run.stderr
    for complaint in ("never retrieved", "was destroyed", "never awaited", "Unhandled"):
        assert complaint not in run.stderr, run.stderr
    assert "ArithmeticError" in run.stderr
    assert "--reactor=asyncio" not in run.stderr
