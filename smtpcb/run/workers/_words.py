"""
What supervisor and worker say to each other, in both directions.

The supervisor's words go down the worker's standard input: first the task, once, and then lines,
each `STOP`, `CUT` or `RELOAD`.  When that pipe ends the supervisor has gone, which is a `STOP` too.
Words and not signals: a service manager sends signals of its own to everybody at once, and a worker
could not tell whose they are.

What comes back on standard output is lines: log events in JSON, `READY`, or `FAILED` and why.  Each
line of standard error is what nobody else caught.
"""

from __future__ import annotations

# Finish what is under way, and end.
STOP = b"stop"
# The same, but wait for nobody any longer.
CUT = b"cut"
# Read the certificates again.
RELOAD = b"reload"

READY = b"ready"
FAILED = b"failed "
