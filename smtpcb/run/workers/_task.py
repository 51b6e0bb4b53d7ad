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
    identities = [(pem.decode("ascii"), source) for pem, source in share.identities]
    told = json.dumps(
        {
            "path": sys.path,
            "reactor": type(reactor).__module__,
            "configuration": configuration.as_json(),
            "seconds": configuration.limits.grace_seconds + STOP_SECONDS + _ORPHAN_SECONDS,
            "share": [share.number, share.workers, share.sockets, identities],
        }
    ).encode()
    return len(told).to_bytes(4, "big") + told


def understood(told: Mapping[str, Any]) -> tuple[Configuration, Share]:
    """Return what `task` was made of."""
    number, workers, sockets, identities = told["share"]
    share = Share(
        number,
        workers,
        tuple((descriptor, family) for descriptor, family in sockets),
        tuple((pem.encode("ascii"), source) for pem, source in identities),
    )
    return Configuration.from_json(told["configuration"]), share
