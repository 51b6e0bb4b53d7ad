"""
As many open files as the connections that are allowed need.

Systems start a process with room for 1024 files, and let it ask for more by itself: the soft limit
may be raised up to the hard one.  A server that runs out of them takes connections and cannot keep
what they send.
"""

from __future__ import annotations

import resource

from twisted.logger import Logger

from smtpcb.run.options import Configuration

# Its socket, its transcript, and the file of a message that is too big for memory or on its way
# into a folder.
PER_CONNECTION = 3
# Ports, logs, modules, pipes of workers, connections that are just being turned away, and what a
# handler keeps open.
RESERVE = 256
# For as many connections as there come: it costs nothing, but a system may offer 2^63.
PLENTY = 1_048_576

_log = Logger(namespace="smtpcb")


def provide(configuration: Configuration) -> None:
    """Raise the limit of this process, which workers inherit, and warn if even that is too low."""
    connections = configuration.limits.connections
    if connections is not None:
        connections = -(-connections // (configuration["workers"] or 1))  # each takes its share
    wanted = PLENTY if connections is None else RESERVE + PER_CONNECTION * connections
    allowed = raise_limit(wanted)
    if connections is not None and allowed < wanted:
        _log.warn(
            "a process can have {allowed} files open, and {connections} connections may need "
            "{wanted}: raise the limit (LimitNOFILE of systemd, ulimit -n), or lower --connections",
            allowed=allowed,
            connections=connections,
            wanted=wanted,
        )


def raise_limit(wanted: int) -> int:
    """Raise the soft limit of open files, if it is below what is wanted; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted if soft == unlimited else soft
    allowed = wanted if hard == unlimited else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a limit below the one it names
        return soft
    return allowed
