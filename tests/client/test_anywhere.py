"""Who may await what the client brings: Twisted's coroutines, and asyncio's tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXPECTED = {
    "bytes": "250 2.0.0 142 octets by nobody",
    "pieces": "250 2.0.0 141 octets by nobody",
    "task": "250 2.0.0 141 octets by nobody",
    "login": "250 2.0.0 141 octets by anne",
    "source": "NotDelivered",
    "timeout": "TimeoutError",
    "cancelled": "CancelledError",
    "refused": "ContentError",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own: there can be one reactor in each."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def program() -> subprocess.CompletedProcess[str]:
    return run("-m", "tests.client.asyncio_program")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_task_sends(name: str, program: subprocess.CompletedProcess[str]) -> None:
    """
    Under asyncio's reactor a task awaits it, and its sources and credentials wait for asyncio.

    What it raises arrives in the task; a task that is cancelled has its own error, and leaves the
    server.
    """
    lines = dict(line.split(" ", 1) for line in program.stdout.splitlines())
    assert lines.get(name) == EXPECTED[name], program.stdout + program.stderr


def test_nothing_is_left_behind_in_the_log(program: subprocess.CompletedProcess[str]) -> None:
    assert program.stderr == ""
    assert program.returncode == 0


@pytest.mark.parametrize(
    ("first", "cure"),
    [
        ("", "asyncioreactor.install(loop)"),
        (
            "from twisted.internet import asyncioreactor; asyncioreactor.install(loop);",
            "reactor.startRunning(installSignalHandlers=False)",
        ),
    ],
)
def test_where_nobody_would_ever_bring_it_that_is_said(first: str, cure: str) -> None:
    """Not waited for without end: a program of asyncio's that knows nothing of reactors."""
    sends = (
        "smtpcb.client.send(b'', host='127.0.0.1', sender='a@example.org', to=['b@example.org'])"
    )
    code = (
        f"import asyncio; loop = asyncio.new_event_loop(); {first} import smtpcb.client;"
        f"loop.run_until_complete({sends})"
    )
    outcome = run("-c", code)
    assert outcome.returncode == 1
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: ")
    assert cure in last
