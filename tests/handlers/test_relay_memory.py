"""What a large message that is passed on adds to the memory of the process."""

from __future__ import annotations

from pathlib import Path

from ..process.test_memory import MIB, memory_of, send_large
from ..running import Client, running

ROOT = str(Path(__file__).parents[2])


def test_a_large_message_streams_through(tmp_path: Path) -> None:
    """200 MB add less than 5 MB: the client sends no faster than the next server takes."""
    limit = ("--message-octets", "300M")
    dropping = ("--handler", "python:tests.process.handlers.Dropping")
    with (
        running(tmp_path / "b", *dropping, *limit, environment={"PYTHONPATH": ROOT}) as behind,
        running(tmp_path / "f", "--handler", f"relay:127.0.0.1:{behind.port}", *limit) as front,
        Client(front.port) as client,
    ):
        for _ in range(3):
            assert client.send(b"x" * 76 + b"\r\n").startswith(b"250 ")
        before = memory_of(front, "VmRSS")
        size = send_large(client)
        added = memory_of(front, "VmHWM") - before
        sizes = (tmp_path / "b/notes").read_text().split("message ")[1:]
        assert size < int(sizes[-1]) < size + 1000  # with a trace field
    print(f"relay: {added / MIB:.2f} MiB for {size} octets")
    assert added < 5_000_000
