"""HAProxy, which speaks the PROXY protocol in all its forms and looks whether we are there."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from smtpcb.transcript._replay import TranscriptFile, load

from ..certificates import make_authority, make_identity, unchecked, write_pem
from ..clients.conftest import program, run
from ..running import ANY_PORT, DEADLINE_SECONDS, Server, running, wait_until
from .haproxy import CHECKS, HAProxy

ROOT = Path(__file__).parents[2]
# The client's own address, which is not the balancer's.
CLIENT = "127.0.0.5"
AUTHORITY = make_authority()
MINE = make_identity(["mx.example.org"], AUTHORITY)
ANNE = make_identity(["anne.example.org"], AUTHORITY, client=True)


@dataclass
class Balanced:
    """A server and the HAProxy before it."""

    server: Server
    haproxy: HAProxy
    folder: Path

    def connect(self, way: str) -> socket.socket:
        """Connect to a frontend, from an address that is not the balancer's."""
        address = ("127.0.0.1", self.haproxy.ports[way])
        return socket.create_connection(address, DEADLINE_SECONDS, (CLIENT, 0))

    def send(self, way: str, *, tls: bool = False) -> TranscriptFile:
        """Send a message through a frontend; return the transcript of it."""
        connection = self.connect(way)
        port = connection.getsockname()[1]
        if tls:
            connection = self._secured(connection)
        with connection, connection.makefile("rb") as file:
            for line in (
                None,
                f"EHLO {way}.example",
                "MAIL FROM:<a@example.org>",
                "RCPT TO:<b@example.org>",
                "DATA",
                "Subject: x\r\n\r\nA text\r\n.",
                "QUIT",
            ):
                if line is not None:
                    connection.sendall(line.encode() + b"\r\n")
                heard = file.readline()
                while heard[3:4] == b"-":
                    heard = file.readline()
                assert heard[:1] in (b"2", b"3"), heard
        transcript = self._transcript(f"EHLO {way}.example")
        assert transcript.fields["peer"] == f"{CLIENT}:{port}"
        assert transcript.fields["host"] == f"127.0.0.1:{self.haproxy.ports[way]}"
        return transcript

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        context = unchecked()
        context.load_cert_chain(self.folder / "client.pem")
        return context.wrap_socket(connection, server_hostname="imap.example.org")

    def _transcript(self, hello: str) -> TranscriptFile:
        """Return the transcript in which a client has said so, once it is closed."""

        def found() -> list[Path]:
            texts = {path: path.read_text() for path in self.server.transcripts()}
            return [path for path, text in texts.items() if hello in text and "closed: " in text]

        wait_until(found)
        (path,) = found()
        return load(path)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    """The two of them; HAProxy is the only one who is let in, and few connections may be there."""
    folder = tmp_path_factory.mktemp("balanced")
    write_pem(folder / "server.pem", MINE.certificate, MINE.private_key)
    write_pem(folder / "client.pem", ANNE.certificate, ANNE.private_key)
    write_pem(folder / "authority.pem", AUTHORITY.certificate)
    options = (
        *("--proxy-from", "127.0.0.1", "--smtps", ANY_PORT),
        *("--connections", "40", "--connections-per-address", "2"),
    )
    with running(folder, *options) as server:
        haproxy = HAProxy(folder, server.port, server.smtps_ports[0])
        try:
            yield Balanced(server, haproxy, folder)
        finally:
            haproxy.stop()


@pytest.mark.parametrize(("way", "version"), [("v1", 1), ("v2", 2)])
def test_the_client_of_a_balancer(balanced: Balanced, way: str, version: int) -> None:
    """Its own address is recorded and logged, by both versions of the header (P33)."""
    transcript = balanced.send(way)
    assert re.fullmatch(rf"127\.0\.0\.1:\d+ by PROXY v{version}", transcript.fields["proxy"])
    identifier = transcript.fields["connection"]
    wait_until(lambda: f"{identifier}-1: from" in balanced.server.log)
    (line,) = [line for line in balanced.server.log.splitlines() if f"{identifier}-1:" in line]
    assert f"client {CLIENT})" in line


def test_tls_that_the_balancer_only_passes_on(balanced: Balanced) -> None:
    """The header comes first, in the clear, and the handshake is between the client and us."""
    transcript = balanced.send("through", tls=True)
    assert any(line.octets.startswith(b"TLS TLSv1.3") for line in transcript.lines)


def test_tls_that_ends_at_the_balancer(balanced: Balanced) -> None:
    """What it says of its client's TLS: version, cipher, name asked for, verified certificate."""
    transcript = balanced.send("ends-tls", tls=True)
    said = transcript.fields["proxy"].partition(" by ")[2]
    assert re.fullmatch(
        r"PROXY v2, for imap\.example\.org, TLSv1\.3 TLS_\w+, "
        r"certificate of anne\.example\.org \(verified\)",
        said,
    ), said


def test_a_balancer_that_sends_no_header(balanced: Balanced) -> None:
    """It is misconfigured: its clients are not let in, and the log says why (P33)."""
    with balanced.connect("none") as connection:
        connection.sendall(b"EHLO none.example\r\n")
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    wait_until(lambda: "127.0.0.1 sends no header that can be read" in balanced.server.log)


def test_health_checks_find_us_and_are_in_nobodys_way(balanced: Balanced) -> None:
    """Ten a second of each kind: all well, no limit reached, no complaint of who only looks."""

    def outcomes() -> dict[str, str]:
        rows = balanced.haproxy.checks()
        # With a star while the next check is under way.
        return {name: rows[name]["check_status"].removeprefix("* ") for name in CHECKS}

    speaking = {"smtpchk-v1", "smtpchk-v2", "greeting"}
    wait_until(lambda: set(outcomes().values()) == {"L4OK", "L7OK"})
    wait_until(lambda: _count_checks(balanced) > 30)
    assert {name for name, outcome in outcomes().items() if outcome == "L7OK"} == speaking
    rows = balanced.haproxy.checks()
    assert {rows[name]["chkfail"] for name in CHECKS} == {"0"}
    assert "too many connections" not in balanced.server.log
    assert "has sent no header" not in balanced.server.log


def _count_checks(balanced: Balanced) -> int:
    """Return how many health checks that speak have been recorded."""
    return sum(
        "EHLO check.example.org" in path.read_text() for path in balanced.server.transcripts()
    )


def test_the_configuration_that_is_shown_is_one(tmp_path: Path) -> None:
    """HAProxy takes the file of the documentation."""
    run(program("haproxy"), "-c", "-f", ROOT / "docs/examples/haproxy.cfg")
