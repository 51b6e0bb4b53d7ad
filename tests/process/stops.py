"""
Stops a server under load, again and again: ``python -m tests.process.stops --times 20``.

Each of its processes gets a SIGTERM, as service managers send it to all that a service has
started.  Whoever is within a transaction must be let finish it, within the grace time.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from ..running import running
from .load import DOORS, Kept, command, under_load, wait_for_the_end_of, workers_of

# A message takes its sender some of these, so that most clients are within one at any time.
PAUSE_SECONDS = 0.1


def stop_under_load(
    folder: Path, times: int, *, seed: str, workers: int = 1, door: str = "smtp"
) -> tuple[int, int]:
    """
    Stop a server so many times.

    :param door: through which the clients come, one of `DOORS`.
    :return: how many messages got a 250, and how many clients were within a transaction when the
        signals came.
    :raises AssertionError: one of those was cut, a message was lost, or the end was no good one.
    """
    source = random.Random(seed)
    accepted: set[bytes] = set()
    kept = Kept(folder / "state" / "Maildir")
    inside = 0
    for number in range(times):
        options = ["--no-tls", "--no-transcripts", "--hostname", "mx.example.org"]
        options += DOORS[door]
        if workers > 1:
            options += ["--workers", str(workers)]
        with running(folder, *options, listen=None) as server:
            children = workers_of(server)
            with under_load(
                server, f"{seed} {number}", pause_seconds=PAUSE_SECONDS, door=door
            ) as senders:
                time.sleep(source.uniform(0.2, 0.6))
                processes = [server.process.pid, *children]
                source.shuffle(processes)
                inside += sum(sender.inside for sender in senders)
                # At once; or so far apart as a busy machine may get to it.
                gap_seconds = source.choice((0.0, 0.02))
                for process in processes:
                    # One that has ended already has done so in time.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGTERM)
                    time.sleep(source.uniform(0, gap_seconds))
                status = server.wait()
            wait_for_the_end_of(children)
            cut = [what for sender in senders for what in sender.cut]
            assert not cut, f"cut in mid-message at stop {number + 1}: {', '.join(cut)}"
            assert status == -signal.SIGTERM, server.log
            assert "Traceback" not in server.log, server.log
            for sender in senders:
                accepted.update(sender.accepted)
        (folder / "log").unlink()
        kept.check(accepted)
    return len(accepted), inside


def main() -> int:
    """Run the command; return its exit status."""
    return command(
        "stops",
        __doc__,
        stop_under_load,
        "{times} stops, {other} clients in mid-message, none cut; "
        "{accepted} messages got a 250, all are there",
    )


if __name__ == "__main__":
    sys.exit(main())
