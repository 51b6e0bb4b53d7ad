"""Sockets that systemd has opened (socket activation)."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import TWISTD, Client, wait_until

# What systemd does between fork and exec: descriptors from 3 on, and whose they are.
LAUNCHER = """
import os, sys
names, program = sys.argv[1], sys.argv[2:]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names.split(":"))))
os.environ.update(LISTEN_FDNAMES=names)
os.execv(program[0], program)
"""


@contextmanager
def activated(
    folder: Path, names: str, sockets: Sequence[socket.socket], *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server that is handed sockets, by these names."""
    # A child gets descriptors under the numbers that they have here.
    numbers = [one.fileno() for one in sockets]
    moves = "".join(f"os.dup2({number}, {at + 60}); " for at, number in enumerate(numbers))
    moves += "".join(f"os.dup2({at + 60}, {at + 3}); " for at, _ in enumerate(numbers))
    launched = (sys.executable, "-c", f"import os; {moves}\n{LAUNCHER}", names, TWISTD)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*launched, *("-n", "--pidfile=", "smtpcb", "--state", "state"), *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=numbers,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def said(folder: Path) -> str:
    """Return what the server has said."""
    return (folder / "log").read_text()


@pytest.fixture
def opened() -> Iterator[socket.socket]:
    """A socket that listens already."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def test_it_takes_mail_on_what_it_is_handed(tmp_path: Path, opened: socket.socket) -> None:
    """By the name that FileDescriptorName= gives; a client that came before it is served too."""
    port = opened.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as other:
        warning = "systemd hands over other, which no endpoint names: clients would wait there"
        only = ("--check", "--listen", "systemd:domain=INET:name=smtp")
        with activated(tmp_path, "other:smtp", [other, opened], *only) as process:
            assert process.wait(30) == 0
            assert f"smtpcb: warning: {warning}\n" in said(tmp_path)
        endpoints = ("systemd:domain=INET:name=smtp", "systemd:INET:name=other")
        options = [word for one in endpoints for word in ("--listen", one)]
        with activated(tmp_path, "other:smtp", [other, opened], *options), Client(port) as client:
            assert client.say("MAIL FROM:<a@example.org>").startswith(b"250")
            wait_until(lambda: "mail is taken on" in said(tmp_path))
            assert f"mail is taken on 127.0.0.1:{port} (STARTTLS), 127.0.0.1:" in said(tmp_path)
            assert "which no endpoint names" not in said(tmp_path)


NOT_THAT_ONE = "systemd hands over no such socket; there are smtp"


@pytest.mark.parametrize(
    ("names", "endpoint", "says"),
    [
        (
            "smtp",
            "systemd:domain=INET:name=smtps",
            "systemd hands over no such socket; there are smtp",
        ),
        (
            "smtp",
            "systemd:domain=INET:index=7",
            "systemd hands over no such socket; there are smtp",
        ),
        (
            "smtp",
            "systemd:domain=NOPE:name=smtp",
            "no endpoint: module 'socket' has no attribute 'AF_NOPE'; did you mean "
            "systemd:domain=INET:name=NAME?",
        ),
        (
            "smtp",
            "systemd:domain=INET",
            "no endpoint: Specify exactly one of descriptor index or name; did you mean "
            "systemd:domain=INET:name=NAME?",
        ),
        (
            "smtp:smtp",
            "systemd:domain=INET:name=smtp",
            "systemd hands over 2 sockets of that name; each wants a .socket unit of its own",
        ),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, opened: socket.socket, names: str, endpoint: str, says: str
) -> None:
    """It says what there is."""
    sockets = [opened] * len(names.split(":"))
    with activated(tmp_path, names, sockets, "--listen", endpoint) as process:
        assert process.wait(30) == 1
        assert said(tmp_path) == f"smtpcb: --listen {endpoint}: {says}\n"


def test_outside_of_systemd(tmp_path: Path) -> None:
    """A start says that there is no socket; a check of the same settings goes on."""
    arguments = [str(TWISTD), "-n", "--pidfile=", "smtpcb"]
    arguments += ["--listen", "systemd:domain=INET:name=smtp"]
    says = "--listen systemd:domain=INET:name=smtp: systemd hands over no such socket, and none "
    says += "that has a name"
    started = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (started.returncode, started.stderr) == (1, f"smtpcb: {says}\n")
    checked = subprocess.run(
        [*arguments, "--check"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert f"smtpcb: warning: {says}; it is not tried\n" in checked.stderr


def test_a_check_by_systemd_finds_what_is_wrong(tmp_path: Path, opened: socket.socket) -> None:
    """Where sockets are handed over, the one that is named must be among them."""
    options = ("--check", "--listen", "systemd:domain=INET:name=smtps")
    with activated(tmp_path, "smtp", [opened], *options) as process:
        assert process.wait(30) == 1
        assert said(tmp_path).endswith(f": {NOT_THAT_ONE}\n")
