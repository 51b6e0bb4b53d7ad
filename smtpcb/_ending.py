"""
How long a process may take to end, when the grace for its sessions is over: one table.

The waits come one after the other, in this order, and each of them is longest when something has
gone wrong: a client that does not go, a disk that has stalled, a thread that does not come back.
Whoever waits for the whole process waits for the sum of them.  A process that is killed sooner can
neither finish what it still could, nor say what it has lost.
"""

from __future__ import annotations

CUT_SECONDS = 1.0
"""A client that is cut may take so long to take its last reply."""

DISK_SECONDS = 4.0
"""What is on its way to a disk: mail and transcripts, at the same time."""

THREADS_SECONDS = 5.0
"""Calls of a handler that blocks, in threads."""

LAST_WORDS_SECONDS = 1.0
"""The last lines of a worker's log, on their way to a supervisor that may not read."""

SPARE_SECONDS = 1.0
"""What all else takes that waits for nobody."""

STOP_SECONDS = CUT_SECONDS + DISK_SECONDS + THREADS_SECONDS + LAST_WORDS_SECONDS + SPARE_SECONDS
"""All of it: after so much more than the grace, a process is killed."""
