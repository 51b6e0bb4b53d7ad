"""A real ``twistd smtpcb``, as a process of its own on ports that were free."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from smtpcb.transcript._replay import load

TWISTD = Path(sys.executable).with_name("twistd")
ANY_PORT = "tcp:0:interface=127.0.0.1"
DEADLINE_SECONDS = 20.0
_PLACE = re.compile(r"127\.0\.0\.1:([0-9]+)( \(implicit TLS\))?")


class Server:
    """
    One process.

    :ivar folder: it runs in; its log and the like are there too.
    :ivar state: where it keeps messages and transcripts.
    :ivar ports: those in clear.
    :ivar smtps_ports: those with implicit TLS.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._log = folder / "log"
        with self._log.open("ab") as output:
            self.process = run_twistd(
                folder,
                *("--state", str(self.state)),
                *options,
                environment=environment,
                output=output,
                through=through,
            )
        self.ports: list[int] = []
        self.smtps_ports: list[int] = []
        wait_until(lambda: "mail is taken on" in self.log or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        line = next(line for line in self.log.splitlines() if "mail is taken on" in line)
        for number, implicit in _PLACE.findall(line):
            (self.smtps_ports if implicit else self.ports).append(int(number))

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    @property
    def port(self) -> int:
        """The first port in clear."""
        return self.ports[0]

    @property
    def identity(self) -> Path:
        """Its self-signed certificate, for clients to trust."""
        return self.state / "identity.pem"

    def messages(self) -> list[bytes]:
        """Return what is in the Maildir, in no order."""
        return [path.read_bytes() for path in (self.state / "Maildir/new").iterdir()]

    def transcripts(self) -> list[Path]:
        """Return all transcripts."""
        return sorted((self.state / "transcripts").rglob("*.txt"))

    def said_on_the_wire(self) -> list[bytes]:
        """Return the mail data of all DATA commands, as transcripts have it, dots unstuffed."""
        found = []
        for path in self.transcripts():
            inside, lines = False, list[bytes]()
            for line in load(path).lines:
                if line.side == "S" and line.octets.startswith(b"354"):
                    inside, lines = True, []
                elif line.side == "C" and inside:
                    if line.octets == b".":
                        inside = False
                        found.append(b"".join(lines))
                    else:
                        lines.append(line.octets.removeprefix(b".") + b"\r\n")
        return found

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return its exit status, once it has ended."""
        return self.process.wait(DEADLINE_SECONDS)

    def stop(self) -> None:
        """End it, and see that it ends well."""
        self.signal()
        assert self.wait() == -signal.SIGTERM, self.log
        assert "Traceback" not in self.log, self.log
        assert "Unhandled" not in self.log, self.log

    def abandon(self) -> None:
        """End it if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    listen: str | None = ANY_PORT,
    through: Sequence[str] = (),
) -> Iterator[Server]:
    """
    Run a server on a free port unless the options say another; at the end it must end well.

    :param listen: ``None``: the ports are said elsewhere, in a file or in the environment.
    :param through: as for `run_twistd`.
    """
    folder.mkdir(exist_ok=True)
    if listen is not None and not any(option.startswith("--listen") for option in options):
        options = ("--listen", listen, *options)
    server = Server(folder, *options, environment=environment, through=through)
    try:
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        server.abandon()


def run_twistd(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    output: BinaryIO | int = subprocess.PIPE,
    errors: int | None = None,
    through: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """
    Start ``twistd smtpcb`` in a folder; without `errors` both outputs are one.

    :param through: a command that runs the one that is behind it.
    """
    return subprocess.Popen(
        [*through, TWISTD, "-n", "--pidfile=", "smtpcb", *options],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if errors is None else errors,
    )


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that happens soon."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Client:
    """
    A client that does exactly what the test says.

    :param port: on 127.0.0.1; the greeting and the reply to EHLO are read at once.
    :param hello: what is said in the place of EHLO.
    :ivar keywords: of the extensions that EHLO offered.
    """

    def __init__(self, port: int, *, hello: str = "EHLO") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        self.file = self.socket.makefile("rb")
        try:
            assert self.reply().startswith(b"220 ")
            self.say(f"{hello} client.example.org")
        except BaseException:
            self.close()
            raise
        self.keywords = [line[4:].split()[0].decode() for line in self._lines[1:]]

    def reply(self) -> bytes:
        """Return the last line of the next reply; empty at the end of the connection."""
        self._lines = [self.file.readline()]
        while self._lines[-1][3:4] == b"-":
            self._lines.append(self.file.readline())
        return self._lines[-1]

    def say(self, line: str) -> bytes:
        """Send a command; return the reply to it."""
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def begin(self) -> None:
        """Begin a mail transaction and ask to send its content."""
        for line, code in (
            ("MAIL FROM:<a@example.org>", b"250"),
            ("RCPT TO:<b@example.org>", b"250"),
            ("DATA", b"354"),
        ):
            assert self.say(line).startswith(code)

    def send(self, content: bytes) -> bytes:
        """Send a message; return the reply to its content."""
        self.begin()
        self.socket.sendall(content + b".\r\n")
        return self.reply()

    def close(self) -> None:
        """Leave without a word."""
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
