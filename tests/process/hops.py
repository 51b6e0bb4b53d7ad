"""
Kills two hops under load, again and again: ``python -m tests.process.hops --times 200``.

The clients talk to a relay, which passes everything on to a server with a Maildir.  One of them is
killed, or both, at any time, and started again.  Whatever a client was told 250 for must be in the
Maildir afterwards, once and whole: the relay keeps nothing, so it may promise nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..running import Server, wait_until
from .load import CLIENTS, Kept, Sender


def kill_hops(folder: Path, times: int, *, seed: str) -> tuple[int, int, int]:
    """
    Kill either hop, or both, so many times; what a kill leaves may hurt the next.

    :return: how many messages got a 250, how many are in the Maildir, and how many transactions
        were cut off.
    :raises AssertionError: some were lost, or are there twice or in part.
    """
    source = random.Random(seed)
    folder.mkdir()
    places = [_free_port(), _free_port()]
    kept = Kept(folder / "last" / "state" / "Maildir")
    with ExitStack() as stack:
        hops = [_Hop(folder, "relay", *places), _Hop(folder, "last", places[1], None)]
        for hop in reversed(hops):
            stack.callback(hop.end)
            hop.start()
        senders = stack.enter_context(_load(places[0], seed))
        for _ in range(times):
            before = sum(len(sender.accepted) for sender in senders)
            wait_until(lambda before=before: _accepted(senders) > before)
            time.sleep(source.uniform(0.0, 0.2))
            victims = source.choice([hops[:1], hops[1:], hops[1:], hops, hops[::-1]])
            for hop in victims:
                hop.kill()
                if len(victims) > 1:
                    time.sleep(source.uniform(0.0, 0.02))
            # What is down for a while is a refusal to the clients, and no loss.
            time.sleep(source.uniform(0.0, 0.1))
            for hop in reversed(victims):
                hop.start()
        wait_until(lambda: all(sender.accepted for sender in senders))
    accepted = {one for sender in senders for one in sender.accepted}
    return len(accepted), kept.check(accepted), sum(len(sender.cut) for sender in senders)


def _accepted(senders: list[Sender]) -> int:
    return sum(len(sender.accepted) for sender in senders)


@contextmanager
def _load(port: int, seed: str) -> Iterator[list[Sender]]:
    senders = [Sender(port, f"{seed} {number}") for number in range(CLIENTS)]
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.end()
        for sender in senders:
            sender.join()


class _Hop:
    """One server, which is always on the same port."""

    def __init__(self, folder: Path, name: str, port: int, onward: int | None) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._options = ["--listen", f"tcp:{port}:interface=127.0.0.1", "--no-tls"]
        self._options += ["--no-transcripts", "--hostname", f"{name}.example.org"]
        if onward is not None:
            self._options += ["--handler", f"relay:127.0.0.1:{onward}"]
        self._server: Server | None = None

    def start(self) -> None:
        """Start it, and wait until it takes mail."""
        (self._folder / "log").unlink(missing_ok=True)
        self._server = Server(self._folder, *self._options)

    def kill(self) -> None:
        """End it without a word."""
        assert self._server is not None
        with contextlib.suppress(ProcessLookupError):
            self._server.signal(signal.SIGKILL)
        self._server.process.wait()
        # What went wrong before that was not the kill's doing.
        assert "Traceback" not in self._server.log, self._server.log
        assert "Unhandled" not in self._server.log, self._server.log

    def end(self) -> None:
        """Stop it, well if it still is there."""
        if self._server is not None:
            try:
                if self._server.process.poll() is None:
                    self._server.stop()
            finally:
                self._server.abandon()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.process.hops", description=__doc__)
    parser.add_argument("--times", type=int, default=20, metavar="N")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    told = parser.parse_args()
    print(f"seed {told.seed}, {CLIENTS} clients", flush=True)
    with tempfile.TemporaryDirectory(prefix="smtpcb-hops-") as folder:
        accepted, stored, cut = kill_hops(Path(folder) / "hops", told.times, seed=told.seed)
    print(
        f"{told.times} kills, {accepted} messages got a 250, {stored} are there, {cut} "
        "transactions were cut off: none lost, none twice, none in part"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
