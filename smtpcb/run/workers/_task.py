"""A worker's task: what it is to do, on its way through a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from smtpcb._ending import STOP_SECONDS
from smtpcb.run.build import Share
from smtpcb.run.options import Configuration

# The supervisor kills a worker that takes too long, and says so; this is for where there is none.
_ORPHAN_SECONDS = 1.0


def task(configuration: Configuration, share: Share, reactor: Any) -> bytes:
    """
    Return what a worker is told first: a length, and what `read_task` reads.

    It goes through a pipe, since everybody on the machine can see command lines, and settings
    may hold passwords.
    """
    identity = None
    if share.identity is not None:
        pem, source = share.identity
        identity = [pem.decode("ascii"), source]
    told = json.dumps(
        {
            "path": sys.path,
            "reactor": type(reactor).__module__,
            "configuration": configuration.as_json(),
            "seconds": configuration.limits.grace_seconds + STOP_SECONDS + _ORPHAN_SECONDS,
            "share": [share.number, share.workers, share.sockets, identity],
        }
    ).encode()
    return len(told).to_bytes(4, "big") + told


def understood(told: Mapping[str, Any]) -> tuple[Configuration, Share]:
    """Return what `task` was made of."""
    number, workers, sockets, identity = told["share"]
    share = Share(
        number,
        workers,
        tuple((descriptor, family) for descriptor, family in sockets),
        (identity[0].encode("ascii"), identity[1]) if identity is not None else None,
    )
    return Configuration.from_json(told["configuration"]), share
