"""One server for all clients, and the clients if they are there."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..running import ANY_PORT, Server, running, wait_until

USER = "anne@example.org"
PASSWORD = "correct-horse-battery-314159"
FROM = "anne@example.org"
TO = "bob@example.net"
# smtp-source lives where the administrator's programs do.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def program(name: str) -> str:
    """Return where a client is; without it the test is skipped, or fails where it must be there."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        missing(f"{name} is not installed")
    assert found is not None
    return found


def missing(what: str) -> None:
    """End a test that lacks something."""
    if os.environ.get("SMTPCB_REQUIRE_CLIENTS") == "1":
        pytest.fail(what)
    pytest.skip(what)


def run(*command: str | Path, given: bytes = b"") -> str:
    """Run a client; return what it said."""
    ended = subprocess.run(
        command,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    said = ended.stdout.decode("utf-8", "replace")
    assert ended.returncode == 0, said
    return said


@dataclass
class Mailbox:
    """
    A server that one test sends to.

    :ivar server: is there for other tests too.
    :ivar before: what it had before the test.
    """

    server: Server
    before: list[bytes] = field(default_factory=list)
    transcripts_before: list[Path] = field(default_factory=list)

    def new(self) -> list[bytes]:
        """Return the messages that have come since."""
        messages = self.server.messages()
        for message in self.before:
            messages.remove(message)
        return messages

    def connections(self, number: int) -> list[Path]:
        """Return the transcripts of all connections since, which were so many; each is closed."""

        def new() -> list[Path]:
            return [
                path
                for path in self.server.transcripts()
                if path not in self.transcripts_before and " *: closed: " in path.read_text()
            ]

        wait_until(lambda: len(new()) >= number)
        assert len(new()) == number
        return new()

    def expect(self, *messages: bytes) -> None:
        """Exactly these have come, byte for byte."""
        assert sorted(self.new()) == sorted(messages)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without options but for its ports; what it says and writes has no secret."""
    folder = tmp_path_factory.mktemp("clients")
    options = ("--smtps", ANY_PORT, "--hostname", "mx.example.org")
    with running(folder, *options) as server:
        yield server
        server.stop()
        # Each message is in the transcripts as it is in the Maildir.
        assert sorted(server.said_on_the_wire()) == sorted(server.messages())
        for path in server.transcripts():
            text = path.read_text()
            assert " C: " in text, path
            assert " S: 220" in text, path
        hidden = [PASSWORD, base64.b64encode(PASSWORD.encode()).decode()]
        # PLAIN (RFC 4616): whatever stands before it, and wherever the base64 begins.
        for start in (f"\0{USER}\0", f"{USER}\0{USER}\0"):
            hidden.append(base64.b64encode(f"{start}{PASSWORD}".encode()).decode())
        said = [server.log, *(path.read_text() for path in server.transcripts())]
        assert not [secret for secret in hidden for text in said if secret in text]


@pytest.fixture
def mailbox(server: Server) -> Mailbox:
    """Where a test sends to; what others have sent is in its transcripts."""
    # They are written in the order in which connections end, and this one is the last.
    mark = f"EHLO mark-{secrets.token_hex(8)}.example"
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(f"{mark}\r\nQUIT\r\n".encode())
        while client.recv(4096):
            pass
    wait_until(lambda: any(mark in path.read_text() for path in server.transcripts()))
    return Mailbox(server, server.messages(), server.transcripts())
