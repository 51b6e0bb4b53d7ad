"""Clients that send as fast as they may, and remember what they were told."""

from __future__ import annotations

import argparse
import hashlib
import random
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..running import ANY_PORT, Client, Server, wait_until

CLIENTS = 4
DOORS = {
    "smtp": ["--listen", ANY_PORT],
    "lmtp": ["--lmtp", ANY_PORT],
    "policies": [
        *("--listen", ANY_PORT, "--policy", "local-domains:example.org,relay-logins=no"),
        *("--policy", "rate:messages=1000000,recipients=1000000,by=sender"),
        *("--policy", "greylist:trusted=127.0.0.0/8"),
    ],
}
"""Through which the clients of a trial may come, and what a server is told for it."""
MOST_OCTETS = 40_000
_MARK = b"Digest: "


def make_message(source: random.Random) -> bytes:
    """Return mail data that says of itself what it should be."""
    body = source.randbytes(source.randrange(MOST_OCTETS // 2)).hex().encode()
    # Lines, since a client sends lines.
    body = b"".join(body[at : at + 76] + b"\r\n" for at in range(0, len(body), 76))
    return _MARK + hashlib.sha256(body).hexdigest().encode() + b"\r\n\r\n" + body


def digest_of(octets: bytes) -> bytes:
    """
    Return what tells a message from all others; what a handler has put before it may be anything.

    :raises ValueError: it is not whole.
    """
    _, _, own = octets.partition(_MARK)
    digest, _, body = own.partition(b"\r\n\r\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise ValueError(f"{len(octets)} octets of a message are not all of it")
    return digest


class Sender(threading.Thread):
    """
    One client after another.

    :param pause_seconds: between two pieces of a message.
    :param door: one of `DOORS`.
    :ivar accepted: digests of the messages that got a 250.
    :ivar cut: what it heard instead of the reply that was due within a transaction.
    :ivar inside: it is within a transaction.
    """

    def __init__(
        self, port: int, seed: str, *, pause_seconds: float = 0.0, door: str = "smtp"
    ) -> None:
        super().__init__()
        # In LMTP each recipient has a reply of its own at the end.
        self._hello, self._recipients = ("LHLO", 3) if door == "lmtp" else ("EHLO", 1)
        self._port = port
        self._random = random.Random(seed)
        self._pause_seconds = pause_seconds
        self._done = threading.Event()
        self.accepted: list[bytes] = []
        self.cut: list[str] = []
        self.inside = False

    def run(self) -> None:
        """Send until told to end, with a new connection when one breaks."""
        while not self._done.is_set():
            try:
                with Client(self._port, hello=self._hello) as client:
                    while not self._done.is_set() and self._transaction(client):
                        pass
            except (OSError, AssertionError):
                pass  # it is being killed or stopped, and has not been greeted well
            self._done.wait(0.01)

    def end(self) -> None:
        """Send no more."""
        self._done.set()

    def _transaction(self, client: Client) -> bool:
        """Send one message; return whether another may follow."""
        if not client.say("MAIL FROM:<a@example.org>").startswith(b"250"):
            return False
        self.inside = True
        message = make_message(self._random)
        try:
            return self._rest(client, message)
        except OSError as error:
            self.cut.append(repr(error))
            return False
        finally:
            self.inside = False

    def _rest(self, client: Client, message: bytes) -> bool:
        chunked = self._random.random() < 0.5
        steps = [(b"RCPT TO:<b@example.org>\r\n", b"250")] * self._recipients
        if chunked:
            steps += [(b"BDAT %d LAST\r\n" % len(message) + message, b"250")]
        else:
            steps += [(b"DATA\r\n", b"354"), (message + b".\r\n", b"250")]
        for octets, code in steps:
            third = len(octets) // 3 + 1
            for at in range(0, len(octets), third):
                client.socket.sendall(octets[at : at + third])
                if self._pause_seconds:
                    time.sleep(self._random.uniform(0, self._pause_seconds))
            reply = client.reply()
            if not reply.startswith(code):
                self.cut.append(repr(reply))
                return False
        # Whoever has read the first of them may count on it.
        self.accepted.append(digest_of(message))
        for _ in range(self._recipients - 1):
            reply = client.reply()
            if not reply.startswith(b"250"):
                self.cut.append(repr(reply))
                return False
        return True


class Kept:
    """
    What has been stored so far, each message read once.

    :param maildir: where to look.
    """

    def __init__(self, maildir: Path) -> None:
        self._new = maildir / "new"
        self._digests: dict[str, bytes] = {}

    def check(self, accepted: set[bytes]) -> int:
        """
        See that all of these are there, each message once and whole.

        :return: how many messages there are.
        """
        names = {path.name for path in self._new.iterdir()} if self._new.exists() else set()
        gone = self._digests.keys() - names
        assert not gone, f"{len(gone)} files have gone"
        for name in names - self._digests.keys():
            self._digests[name] = digest_of((self._new / name).read_bytes())
        kept = set(self._digests.values())
        assert len(kept) == len(names), "a message is there twice"
        lost = accepted - kept
        assert not lost, f"{len(lost)} of {len(accepted)} messages that got a 250 are lost"
        return len(names)


@contextmanager
def under_load(
    server: Server, seed: str, *, pause_seconds: float = 0.0, door: str = "smtp"
) -> Iterator[list[Sender]]:
    """Have clients send to a server."""
    senders = [
        Sender(server.port, f"{seed} {number}", pause_seconds=pause_seconds, door=door)
        for number in range(CLIENTS)
    ]
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.end()
        for sender in senders:
            sender.join()


def workers_of(server: Server) -> list[int]:
    """Return the processes that a server has started."""
    process = server.process.pid
    try:
        return [
            int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def wait_for_the_end_of(processes: list[int]) -> None:
    """Wait until none of them is there."""
    wait_until(lambda: not [one for one in processes if Path(f"/proc/{one}").exists()])


class Trial(Protocol):
    """Does something to a server under load so many times, and counts two things."""

    def __call__(
        self, folder: Path, times: int, *, seed: str, workers: int, door: str
    ) -> tuple[int, int]:
        """Return how many messages got a 250, and something else."""


def command(name: str, description: str | None, trial: Trial, said: str) -> int:
    """
    Be the command of a trial; return its exit status.

    :param said: in the end, of ``{times}``, ``{accepted}`` messages and ``{other}``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.process.{name}", description=description
    )
    parser.add_argument("--times", type=int, default=20, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--door", default="smtp", choices=DOORS)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    told = parser.parse_args()
    print(f"seed {told.seed}, {CLIENTS} clients", flush=True)
    with tempfile.TemporaryDirectory(prefix=f"smtpcb-{name}-") as folder:
        accepted, other = trial(
            Path(folder), told.times, seed=told.seed, workers=told.workers, door=told.door
        )
    print(said.format(times=told.times, accepted=accepted, other=other))
    return 0
