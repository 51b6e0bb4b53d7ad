"""SIGTERM: what is under way is finished, and nothing that got a 250 is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from smtpcb.run._signals import ONE_STOP_SECONDS

from ..running import Client, Server, running, wait_until

CONTENT = b"Subject: x\r\n\r\nhello\r\n"
SLOW = ("--handler", "python:tests.process.handlers.Slow")


def notes(server: Server) -> list[str]:
    """What the handler has noted."""
    path = server.folder / "notes"
    return path.read_text().splitlines() if path.exists() else []


def is_closed(port: int) -> bool:
    """Tell whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True  # reset: it was waiting to be accepted when the port was closed
    return False


def test_transactions_are_finished_and_other_sessions_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listening stops at once; who is within a transaction gets the 250, all others 421."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with running(tmp_path, *SLOW) as server:
        idle, mail, data, deciding = (Client(server.port) for _ in range(4))
        with idle, mail, data, deciding:
            assert mail.say("MAIL FROM:<>").startswith(b"250")
            data.begin()
            data.socket.sendall(CONTENT[:15])
            deciding.begin()
            deciding.socket.sendall(CONTENT + b".\r\n")
            time.sleep(0.1)
            server.signal()
            assert idle.reply().startswith(b"421 4.3.2 ")
            assert idle.reply() == b""
            wait_until(lambda: is_closed(server.port))

            assert deciding.reply().startswith(b"250 ")
            assert deciding.reply().startswith(b"421 4.3.2 ")
            assert mail.say("RCPT TO:<b@example.org>").startswith(b"250")
            assert mail.say("DATA").startswith(b"354")
            for client, rest in ((mail, CONTENT), (data, CONTENT[15:])):
                client.socket.sendall(rest + b".\r\n")
            for client in (mail, data):
                assert client.reply().startswith(b"250 ")
                assert client.reply().startswith(b"421 4.3.2 ")
                assert client.reply() == b""
        assert server.wait() == -signal.SIGTERM
        assert notes(server).count(f"message {len(CONTENT)}") == 3
        assert notes(server).count("disconnected SHUTDOWN") == 4
        assert not [note for note in notes(server) if note.startswith("aborted")]
        assert "Traceback" not in server.log


def test_text_that_is_cut_is_not_stored(tmp_path: Path) -> None:
    """When the grace is over an unfinished message is aborted; the finished ones are all there."""
    with running(tmp_path, "--grace-seconds", "0.3") as server:
        with Client(server.port) as client, Client(server.port) as stuck:
            assert client.send(CONTENT).startswith(b"250 ")
            stuck.begin()
            stuck.socket.sendall(b"Subject: half a message\r\n\r\n")
            time.sleep(0.05)
            began = time.monotonic()
            server.signal()
            assert client.reply().startswith(b"421 4.3.2 ")
            assert stuck.reply().startswith(b"421 4.3.2 ")
            assert time.monotonic() - began > 0.2
        assert server.wait() == -signal.SIGTERM
        assert server.messages() == [CONTENT]
        assert not list((server.state / "Maildir/tmp").iterdir())
        assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_asks_twice_is_not_kept_waiting(tmp_path: Path, number: signal.Signals) -> None:
    """A second signal, later, ends transactions at once, and is no error (P50)."""
    with running(tmp_path, "--grace-seconds", "3600") as server:
        with Client(server.port) as client, Client(server.port) as idle:
            client.begin()
            server.signal()
            assert idle.reply().startswith(b"421 4.3.2 ")
            # Half of it would be the same wish, which somebody passes on.
            time.sleep(1.5 * ONE_STOP_SECONDS)
            server.signal(number)
            assert client.reply().startswith(b"421 4.3.2 ")
        assert server.wait() == -signal.SIGTERM
        assert "Traceback" not in server.log


def test_one_wish_to_stop_may_come_as_several_signals(tmp_path: Path) -> None:
    """A terminal sends SIGINT to all of a group, and what started us passes on one of its own."""
    with running(tmp_path) as server:
        with Client(server.port) as client, Client(server.port) as idle:
            client.begin()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                server.signal(number)
            assert idle.reply().startswith(b"421 4.3.2 ")
            client.socket.sendall(CONTENT + b".\r\n")
            assert client.reply().startswith(b"250 ")
            assert client.reply().startswith(b"421 4.3.2 ")
        assert server.wait() in (-signal.SIGTERM, -signal.SIGINT)
        assert "Traceback" not in server.log


# One fault of this kind showed in every second or third stop.
@pytest.mark.parametrize(
    ("workers", "stop"),
    [*((("--workers", "2"), stop) for stop in range(14)), *(((), stop) for stop in range(6))],
)
def test_a_stop_of_the_whole_group_cuts_nobody(
    tmp_path: Path, workers: tuple[str, ...], stop: int
) -> None:
    """A service manager sends SIGTERM to all processes at once: whoever sends may finish."""
    with running(tmp_path, *workers) as server:
        stop_under_load(server, workers_first=bool(stop % 2))
        assert server.wait() == -signal.SIGTERM
        assert "started again" not in server.log
        assert "Traceback" not in server.log


def stop_under_load(server: Server, *, workers_first: bool) -> None:
    """Send SIGTERM to everybody while clients are in mid-message; each of them gets its 250."""
    named = re.search(r" by [0-9]+ workers \(process ([0-9, ]+)\)", server.log)
    group = [int(process) for process in named[1].split(", ")] if named is not None else []
    group.insert(len(group) if workers_first else 0, server.process.pid)
    clients = [Client(server.port) for _ in range(8)]
    idle = [Client(server.port) for _ in range(8)]
    sending = Thread(target=send_until_the_end, args=(Client(server.port),))
    sending.start()
    for client in clients:
        client.begin()
        client.socket.sendall(CONTENT[:15])
    for process in group:
        os.kill(process, signal.SIGTERM)
    for client in idle:
        assert client.reply().startswith(b"421 4.3.2 ")
        client.close()
    for client in clients:
        client.socket.sendall(CONTENT[15:] + b".\r\n")
        assert client.reply().startswith(b"250 ")
        assert client.reply().startswith(b"421 4.3.2 ")
        client.close()
    sending.join()


def send_until_the_end(client: Client) -> None:
    """Send messages on one connection until the server ends it, after a transaction or before."""
    with client, suppress(AssertionError, OSError):
        while True:
            client.send(CONTENT)


def test_sighup_while_it_starts_and_while_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads certificates again as soon as there are some, and ends nothing."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for workers in ((), ("--workers", "1")):
        options = ("--handler", "python:tests.process.hangup.Inbox", *workers)
        with running(tmp_path / str(len(workers)), *options) as server:
            wait_until(lambda server=server: "certificates reloaded" in server.log)
            with Client(server.port) as client:
                client.begin()
                server.signal()
                wait_until(lambda server=server: is_closed(server.port))
                server.signal(signal.SIGHUP)
                client.socket.sendall(CONTENT + b".\r\n")
                assert client.reply().startswith(b"250 ")
                assert client.reply().startswith(b"421 4.3.2 ")
            assert server.wait() == -signal.SIGTERM
            assert "Traceback" not in server.log


EARLY = """
import os, signal, sys
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

class Hangup:
    def find_spec(self, name, *rest):
        if name == "smtpcb.run.tap":
            os.kill(os.getpid(), signal.SIGHUP)

[maker] = [one for one in getPlugins(IServiceMaker) if one.tapname == "smtpcb"]
sys.meta_path.insert(0, Hangup())
print(maker.options.__name__)
"""


def test_sighup_while_it_is_imported() -> None:
    """Most of a start is the import of our code, and by then SIGHUP ends nobody."""
    ended = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, b"Options\n"), ended.stderr


def test_a_handler_hears_that_text_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aborted` and `disconnected` say that it was the server that stopped."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with running(tmp_path, *SLOW, "--grace-seconds", "0.2") as server:
        with Client(server.port) as client:
            client.begin()
            client.socket.sendall(b"Subject: half a message\r\n\r\n")
            time.sleep(0.05)
            server.signal()
            assert client.reply().startswith(b"421 4.3.2 ")
        assert server.wait() == -signal.SIGTERM
        assert notes(server) == ["aborted SHUTDOWN", "disconnected SHUTDOWN"]


def test_nothing_with_a_250_is_lost(tmp_path: Path) -> None:
    """Clients that send as fast as they can lose nothing when the server stops under them."""
    with running(tmp_path) as server:
        accepted = []
        clients = [Client(server.port) for _ in range(5)]
        for round_ in range(4):
            for number, client in enumerate(clients):
                sent = f"Subject: {number} {round_}\r\n\r\n".encode()
                client.begin()
                client.socket.sendall(sent + b".\r\n")
                accepted.append((client, sent))
            if round_ == 3:
                server.signal()
            for client in clients:
                assert client.reply().startswith(b"250 ")
        for client in clients:
            assert client.reply().startswith(b"421 4.3.2 ")
            client.close()
        assert server.wait() == -signal.SIGTERM
        assert sorted(server.messages()) == sorted(sent for _, sent in accepted)
