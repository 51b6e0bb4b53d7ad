"""
Kills a server under load, again and again: ``python -m tests.process.kills --times 200``.

With ``--workers 2`` it is one worker that is killed, or the process that looks after them, or all
at once.  Whatever a client was told 250 for must be there afterwards, once and whole.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from ..running import Server, running, wait_until
from .load import DOORS, Kept, command, under_load, wait_for_the_end_of, workers_of

# By one server, before all of it is killed: it waits longer each time before it starts a worker
# again that does not live long.
MOST_WORKERS_KILLED = 3


def kill_under_load(
    folder: Path, times: int, *, seed: str, workers: int = 1, door: str = "smtp"
) -> tuple[int, int]:
    """
    Kill a server so many times; one state for all, so that what one kill leaves may hurt the next.

    :param door: through which the clients come, one of `DOORS`.
    :return: how many messages got a 250, and how many were there in the end.
    :raises AssertionError: some were lost, or are there twice or in part.
    """
    source = random.Random(seed)
    accepted: set[bytes] = set()
    kept = Kept(folder / "state" / "Maildir")
    killed = stored = 0
    while killed < times:
        options = ["--no-tls", "--no-transcripts", "--hostname", "mx.example.org"]
        options += DOORS[door]
        if workers > 1:
            options += ["--workers", str(workers)]
        with running(folder, *options, listen=None) as server:
            with under_load(server, f"{seed} {killed}", door=door) as senders:
                wait_until(lambda senders=senders: any(sender.accepted for sender in senders))
                killed_before = killed
                while server.process.poll() is None:
                    time.sleep(source.uniform(0.02, 0.15 if workers == 1 else 0.4))
                    last = killed + 1 >= times or killed - killed_before >= MOST_WORKERS_KILLED
                    _kill(server, source, workers, last=last)
                    killed += 1
            for sender in senders:
                accepted.update(sender.accepted)
        (folder / "log").unlink()
        stored = kept.check(accepted)
    return len(accepted), stored


def _kill(server: Server, source: random.Random, workers: int, *, last: bool) -> None:
    """Kill one worker, the process that has started them, or all there are."""
    children = workers_of(server)
    if workers > 1 and not last and source.random() < 0.5:
        victim = source.choice(children)
        os.kill(victim, signal.SIGKILL)
        wait_for_the_end_of([victim])
        wait_until(lambda: len(workers_of(server)) == workers)
        return
    everybody = [server.process.pid, *children]
    victims = everybody[: 1 if source.random() < 0.5 else None]
    source.shuffle(victims)
    for process in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    server.process.wait()
    wait_for_the_end_of(children)  # a worker that is left finishes what it has begun


def main() -> int:
    """Run the command; return its exit status."""
    return command(
        "kills",
        __doc__,
        kill_under_load,
        "{times} kills, {accepted} messages got a 250, {other} are there: "
        "none lost, none twice, none in part",
    )


if __name__ == "__main__":
    sys.exit(main())
