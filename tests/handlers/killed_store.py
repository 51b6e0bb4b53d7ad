"""
A process that stores messages until it is killed, again and again.

Run as ``python -m tests.handlers.killed_store WAY FOLDER SEED ROUNDS``.  It forks a child for each
round, which is quicker than a new interpreter, and prints what every child said it had stored, as
a list of ``[maildir, names]`` in JSON.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from smtpcb.handlers._maildir import opened, prepare, store, unique_name


def message(source: random.Random, largest: int) -> bytes:
    """Return mail data that says of itself what it should be."""
    body = source.randbytes(source.randrange(largest))
    return hashlib.sha256(body).hexdigest().encode() + b"\r\n" + body


def is_whole(octets: bytes) -> bool:
    """Tell whether these octets are what `message` returned."""
    digest, _, body = octets.partition(b"\r\n")
    return digest == hashlib.sha256(body).hexdigest().encode()


class KillingLayer:
    """Does what `os` does, each write in two halves, and dies before one of the calls."""

    def __init__(self, dies_at: int) -> None:
        self._left = dies_at

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
            if name == "write":
                descriptor, octets = arguments
                return os.write(descriptor, octets[: (len(octets) + 1) // 2])
            return getattr(os, name)(*arguments, **named)

        return call


def store_messages(
    maildir: Path, source: random.Random, messages: int, os_layer: Any, output: int
) -> None:
    """Store messages and write the name of each as soon as it is on disk."""
    for _ in range(messages):
        octets = message(source, 100_000)
        pieces = [octets[:50_000], octets[50_000:]]
        name = unique_name(len(octets))
        with opened(maildir) as box:
            path = store(box, pieces, name=name, envelope=lambda: b"{}", os_layer=os_layer)
        os.write(output, path.name.encode() + b"\n")


def run(child: Callable[[int], None], seconds: float | None) -> tuple[list[str], bool]:
    """Run a child, kill it after so many seconds; what it said, and whether it was killed."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            child(writing)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    said = b""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if until is None else max(until - time.monotonic(), 0)
        if not select.select([reading], [], [], left)[0]:
            os.kill(process, signal.SIGKILL)
            until = None
        elif octets := os.read(reading, 65536):
            said += octets
        else:
            break
    os.close(reading)
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
        raise RuntimeError("a child failed, see above")
    return said.decode().splitlines(), os.WIFSIGNALED(status)


def at_random(folder: Path, source: random.Random, rounds: int) -> Iterator[tuple[str, list[str]]]:
    """Kill at random moments."""
    for number in range(rounds):
        maildir = folder / str(number)
        prepare(maildir)
        content = random.Random(source.random())
        child = partial(store_messages, maildir, content, 1_000_000, os)
        names, _ = run(child, source.uniform(0, 0.06))
        yield str(maildir), names


def at_every_step(
    folder: Path, source: random.Random, rounds: int
) -> Iterator[tuple[str, list[str]]]:
    """Kill before the first call, the second, and so on, until all messages are stored."""
    seed = source.random()  # the same messages each time, so that each takes as many calls
    for number in itertools.count():
        maildir = folder / str(number)
        prepare(maildir)
        layer = KillingLayer(number)
        child = partial(store_messages, maildir, random.Random(seed), rounds, layer)
        names, killed = run(child, None)
        yield str(maildir), names
        if not killed:
            return


if __name__ == "__main__":
    way, folder, seed, rounds = sys.argv[1:]
    ways = {"at_random": at_random, "at_every_step": at_every_step}
    json.dump(list(ways[way](Path(folder), random.Random(seed), int(rounds))), sys.stdout)
