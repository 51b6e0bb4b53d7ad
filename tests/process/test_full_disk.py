"""A full disk: the sender is asked to try again, and no half message stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from ..running import Client, running

SMALL = b"Subject: small\r\n\r\nx\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no room at all; return the file that takes it."""
    path = folder / "filling"
    with path.open("wb", 0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return path


def wait_for(client: Client, code: bytes) -> None:
    """Begin transactions until that is the answer."""
    for _ in range(200):
        said = client.say("MAIL FROM:<a@example.org>")
        assert client.say("RSET").startswith(b"250 ")
        if said.startswith(code):
            return
        sleep(0.1)
    raise AssertionError(said)


def test_no_room_for_a_message(tmp_path: Path, small_disk: Path) -> None:
    """It gets 452 4.3.1 and leaves nothing; the next one is kept, once there is room (P48)."""
    options = ("--handler", f"capture:{small_disk / 'Maildir'}", "--min-free", "none")
    with running(tmp_path / "server", *options) as server, Client(server.port) as client:
        new, tmp = (small_disk / "Maildir" / name for name in ("new", "tmp"))
        assert client.send(LARGE).startswith(b"452 4.3.1 ")
        assert not [*new.iterdir(), *tmp.iterdir()]
        assert client.send(SMALL).startswith(b"250 ")
        filling = fill(small_disk)
        assert client.send(SMALL).startswith(b"452 4.3.1 ")
        assert not list(tmp.iterdir())
        filling.unlink()
        assert client.send(SMALL).startswith(b"250 ")
        assert [path.read_bytes() for path in new.iterdir()] == [SMALL, SMALL]


def test_a_disk_that_is_nearly_full(tmp_path: Path, small_disk: Path) -> None:
    """Mail is refused before it is sent, and taken as soon as there is room again (P48)."""
    options = ("--handler", f"capture:{small_disk / 'Maildir'}", "--min-free", "500k")
    with running(tmp_path / "server", *options) as server, Client(server.port) as client:
        assert client.send(SMALL).startswith(b"250 ")
        filling = small_disk / "filling"
        filling.write_bytes(b"x" * 700_000)
        wait_for(client, b"452 4.3.1 ")
        filling.unlink()
        wait_for(client, b"250 ")
        assert client.send(SMALL).startswith(b"250 ")
    assert "less than 512000 octets are free in " in server.log
    assert server.log.count("mail is refused until there are") == 1
    assert server.log.count("there is room for mail again") == 1


def test_no_room_for_a_transcript(tmp_path: Path, small_disk: Path) -> None:
    """Mail goes on as if nothing had happened, and the log says it once."""
    options = ("--transcripts", str(small_disk))
    with running(tmp_path / "server", *options) as server:
        for number in range(3):
            with Client(server.port) as client:
                for _ in range(2):
                    assert client.send(LARGE).startswith(b"250 "), number
                assert client.say("QUIT").startswith(b"221 ")
        assert server.messages() == [LARGE] * 6
        assert server.log.count("A transcript is cut or lost") == 1
