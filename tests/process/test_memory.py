"""What one connection adds to the memory of the process (P23)."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

from ..running import Client, Server, running

MESSAGE_OCTETS = 200_000_000
MIB = 1_048_576
_LINE = b"x" * 76 + b"\r\n"
PIECE = _LINE * (262_144 // len(_LINE))


@pytest.fixture(autouse=True)
def _finds_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def memory_of(server: Server, field: str) -> int:
    """Read a field of /proc/PID/status, in octets."""
    try:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
    except FileNotFoundError:
        pytest.skip("there is no /proc here")
    match = re.search(rf"^{field}:\s+([0-9]+) kB$", status, re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


def send_large(client: Client) -> int:
    """Send one message of 200 MB as fast as it goes; return its length."""
    client.begin()
    pieces = MESSAGE_OCTETS // len(PIECE)
    for _ in range(pieces):
        client.socket.sendall(PIECE)
    client.socket.sendall(b".\r\n")
    assert client.reply().startswith(b"250 ")
    return pieces * len(PIECE)


def growth(tmp_path: Path, handler: str) -> int:
    """Return what a large message adds at most, beside a small one, in octets."""
    options = ("--handler", f"python:tests.process.handlers.{handler}", "--message-octets", "300M")
    with running(tmp_path, *options) as server, Client(server.port) as client:
        for _ in range(3):
            assert client.send(_LINE).startswith(b"250 ")
        before = memory_of(server, "VmRSS")
        size = send_large(client)
        added = memory_of(server, "VmHWM") - before
        assert f"message {size}\n" in (tmp_path / "notes").read_text()
    print(f"{handler}: {added / MIB:.2f} MiB for {size} octets")
    return added


def test_a_message_that_is_streamed(tmp_path: Path) -> None:
    """One that a handler takes piece by piece and drops is never in memory."""
    assert growth(tmp_path, "Dropping") < 3 * MIB


def test_a_message_that_is_taken_whole(tmp_path: Path) -> None:
    """One that is taken whole goes into a file past 1 MiB."""
    assert growth(tmp_path, "Whole") < 5 * MIB


def test_a_client_that_never_reads(tmp_path: Path) -> None:
    """Who takes no replies is not read any more, and costs next to nothing."""
    options = ("--errors", "none", "--idle-commands", "none", "--free-errors", "none")
    handler = ("--handler", "python:tests.process.handlers.Dropping")
    with running(tmp_path, *options, *handler) as server, Client(server.port) as client:
        assert client.send(_LINE).startswith(b"250 ")
        assert client.say("NOOP").startswith(b"250")
        before = memory_of(server, "VmRSS")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.settimeout(0.5)
        sent = send_until_stuck(client.socket)
        added = memory_of(server, "VmHWM") - before
        print(f"never reads: {added / MIB:.2f} MiB after {sent} octets")
        assert added < MIB
        # It costs no time either.
        ticks = cpu_ticks(server)
        time.sleep(0.2)
        assert cpu_ticks(server) - ticks <= 2
        with Client(server.port) as other:
            assert other.send(_LINE).startswith(b"250 ")


def send_until_stuck(sending: socket.socket) -> int:
    """Send commands until half a second passes without any being read; return how much went."""
    sending.settimeout(0.5)
    sent = 0
    try:
        while sent < 100_000_000:
            sent += sending.send(b"HELP\r\n" * 10_000)
    except TimeoutError:
        return sent
    pytest.fail("it reads on and on")


def cpu_ticks(server: Server) -> int:
    """Return the processor time used, in hundredths of a second."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
