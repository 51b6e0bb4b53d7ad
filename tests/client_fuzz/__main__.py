"""
Holds sessions with servers that say anything: ``python -m tests.client_fuzz --sessions 20000``.

It ends with status 1 at the first ten sessions that were not well, and says how to hold one again.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from twisted.logger import globalLogBeginner

from .run import sessions

MOST_SHOWN = 10


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.client_fuzz", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="the same seed, the same run")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin at this session")
    parser.add_argument("--relayed", action="store_true", help="behind a relay of ours")
    told = parser.parse_args()
    # Twisted would keep what is logged until somebody wants it.
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    print(f"seed {told.seed}", flush=True)
    began, failed, delivered = time.perf_counter(), 0, list[int]()
    for name, complaints in sessions(
        told.seed, told.first, told.sessions, delivered, relayed=told.relayed
    ):
        failed += 1
        seed, _, number = name.rpartition(":")
        print(f"python -m tests.client_fuzz --seed {seed} --first {number} --sessions 1")
        for complaint in complaints:
            print("   ", complaint.strip().replace("\n", "\n    "), flush=True)
        if failed == MOST_SHOWN:
            return 1
    seconds = time.perf_counter() - began
    print(
        f"{told.sessions} sessions, {failed} of them not well, {sum(delivered)} recipients reached,"
        f" {seconds:.1f} s, {told.sessions / seconds:.0f} sessions/s"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
