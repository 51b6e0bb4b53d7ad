"""Kill -9: whatever got a 250 is there, once and whole."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from pathlib import Path

from ..handlers.killed_store import is_whole
from ..running import Client, running

ROUNDS = 15
CLIENTS = 3


def send_until_killed(port: int, source: random.Random, accepted: list[bytes]) -> None:
    """Send messages one after the other, and remember those that were accepted."""
    try:
        with Client(port) as client:
            while True:
                body = source.randbytes(source.randrange(40_000)).hex().encode()
                # Lines, since a client sends lines.
                body = b"".join(body[at : at + 76] + b"\r\n" for at in range(0, len(body), 76))
                message = hashlib.sha256(body).hexdigest().encode() + b"\r\n" + body
                if not client.send(message).startswith(b"250 "):
                    return
                accepted.append(message)
    except (OSError, AssertionError):
        pass  # it has been killed in the midst of a transaction


def test_what_got_a_250_survives_a_kill(tmp_path: Path) -> None:
    """P45, through the whole server: sockets, protocol, handler, threads, disk."""
    source = random.Random(45)
    accepted: list[bytes] = []
    for number in range(ROUNDS):
        # One state for all rounds: what an earlier one left must not hurt a later one.
        with running(tmp_path / "kills", "--no-tls", "--no-transcripts") as server:
            lists: list[list[bytes]] = [[] for _ in range(CLIENTS)]
            threads = [
                threading.Thread(
                    target=send_until_killed,
                    args=(server.port, random.Random(f"{number} {at}"), lists[at]),
                )
                for at in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(source.uniform(0.02, 0.15))
            server.process.kill()
            server.process.wait()
            for thread in threads:
                thread.join()
            accepted += [message for one in lists for message in one]
            (server.folder / "log").unlink()
        kept = server.messages()
        assert all(is_whole(message) for message in kept)
        assert len(set(kept)) == len(kept)
        assert not set(accepted) - set(kept)
    assert len(accepted) > ROUNDS
