"""
A process that delivers messages to several until it is killed, again and again.

Run as ``python -m tests.handlers.killed_delivery WAY PER FOLDER SEED ROUNDS``, like `killed_store`.
It prints of every child its folder and what it said it had delivered: the digest of each message.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from smtpcb.engine._connection import Connection
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._keeping import MailData
from smtpcb.handlers.maildir import Deliver
from smtpcb.smtp._address import ForwardPath, ReversePath

from .killed_store import KillingLayer, message, run
from .layers import HandReactor

PEOPLE = ("anne", "bob", "eve")


def deliver_messages(
    folder: Path, per: str, source: random.Random, messages: int, os_layer: Any, output: int
) -> None:
    """Deliver messages, and write the digest of each as soon as a client would read its 250."""
    reactor = HandReactor()
    handler = Deliver(folder, reactor, per=per, os_layer=os_layer)
    handler.startService()
    for _ in range(messages):
        octets = message(source, 100_000)
        envelope = Envelope(Connection("x"), ReversePath("a", "example.net"))
        envelope.recipients = [Recipient(ForwardPath(one, "example.org")) for one in PEOPLE]
        envelope.kept = MailData()
        envelope.kept.write(octets)
        reply = reactor.wait(handler.message(envelope))
        if reply.code != 250:
            raise RuntimeError(str(reply))
        os.write(output, octets[:64] + b"\n")


def prepared(folder: Path, per: str) -> Path:
    """Make the mailboxes, where each has one."""
    for one in PEOPLE if per == "mailbox" else ():
        (folder / f"{one}@example.org").mkdir(parents=True, mode=0o700)
    return folder


def at_random(
    per: str, folder: Path, source: random.Random, rounds: int
) -> Iterator[tuple[str, list[str]]]:
    """Kill at random moments."""
    for number in range(rounds):
        place = prepared(folder / str(number), per)
        content = random.Random(source.random())
        child = partial(deliver_messages, place, per, content, 1_000_000, os)
        said, _ = run(child, source.uniform(0, 0.12))
        yield str(place), said


def at_every_step(
    per: str, folder: Path, source: random.Random, rounds: int
) -> Iterator[tuple[str, list[str]]]:
    """Kill before the first call, the second, and so on, until all messages are delivered."""
    seed = source.random()
    for number in itertools.count():
        place = prepared(folder / str(number), per)
        layer = KillingLayer(number)
        child = partial(deliver_messages, place, per, random.Random(seed), rounds, layer)
        said, killed = run(child, None)
        yield str(place), said
        if not killed:
            return


if __name__ == "__main__":
    way, per, place, seed, rounds = sys.argv[1:]
    ways = {"at_random": at_random, "at_every_step": at_every_step}
    json.dump(list(ways[way](per, Path(place), random.Random(seed), int(rounds))), sys.stdout)
