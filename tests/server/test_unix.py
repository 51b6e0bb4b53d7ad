"""UNIX sockets: what lies at their path when a server starts, and when it has stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from smtpcb.engine import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import SmtpService
from smtpcb.server._unix import tidy
from smtpcb.smtp import Limits


class Inbox:
    """Notes who has come."""

    def __init__(self) -> None:
        self.came: list[Any] = []

    def connected(self, connection: Any) -> None:
        self.came.append(connection)

    def message(self, envelope: Any) -> None: ...


@pytest.fixture
def folder(root: Path) -> Path:
    """Where sockets are: the name of one must be short."""
    return root


def service_at(path: Path, handler: object = None, **limits: Any) -> SmtpService:
    """Return a service that has not been started."""
    settings = Settings(lmtp=True, limits=Limits(**limits))
    factory = SmtpServerFactory(handler or Inbox(), settings, log_messages=False)
    return SmtpService(f"unix:{path}:mode=660", factory)


@pytest.fixture
def services() -> Iterator[list[SmtpService]]:
    """Those that are stopped at the end."""
    them: list[SmtpService] = []
    yield them
    for service in them:
        pytest_twisted.blockon(service.stopService())


def left_by_somebody(path: Path) -> None:
    """Leave a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def names_in(folder: Path) -> list[str]:
    """Return what is there."""
    return sorted(path.name for path in folder.iterdir())


@pytest_twisted.ensureDeferred
async def test_a_socket_is_there_while_a_server_is(folder: Path) -> None:
    """With the mode that was said; afterwards nothing is left, and it may start again."""
    service = service_at(folder / "lmtp")
    for _ in range(2):
        service.startService()
        assert (folder / "lmtp").stat().st_mode & 0o777 == 0o660
        assert names_in(folder) == ["lmtp", "lmtp.lock"]
        await service.stopService()
        assert names_in(folder) == []


@pytest_twisted.ensureDeferred
async def test_a_client_has_no_address(folder: Path, services: list[SmtpService]) -> None:
    """So limits for an address do not count it, however many there are."""
    handler = Inbox()
    service = service_at(folder / "lmtp", handler, connections_per_address=1)
    services.append(service)
    service.startService()

    def come() -> list[bytes]:
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        try:
            for client in clients:
                client.settimeout(10)
                client.connect(str(folder / "lmtp"))
            return [client.recv(1000) for client in clients]
        finally:
            for client in clients:
                client.close()

    said = await deferToThread(come)
    assert all(line.startswith(b"220 localhost LMTP") for line in said)
    assert [(one.peer_address, one.peer_port, one.lmtp) for one in handler.came] == [
        ("", 0, True)
    ] * 3
    assert handler.came[0].host_address == str(folder / "lmtp")


@pytest.mark.parametrize("lock", [None, "dead", "ours", "nonsense"])
def test_a_socket_that_was_left_behind_is_removed(
    folder: Path, services: list[SmtpService], lock: str | None
) -> None:
    """Who was killed has left it, and its lock, whose number may be ours by now."""
    left_by_somebody(folder / "lmtp")
    if lock == "dead":
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        os.symlink(str(gone.pid), folder / "lmtp.lock")
    elif lock is not None:
        os.symlink(str(os.getpid()) if lock == "ours" else "x", folder / "lmtp.lock")
    if lock == "nonsense":
        with pytest.raises((CannotListenError, ValueError, OSError)):
            service_at(folder / "lmtp").startService()
        return
    service = service_at(folder / "lmtp")
    services.append(service)
    service.startService()
    assert names_in(folder) == ["lmtp", "lmtp.lock"]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_what_is_no_socket_stays(folder: Path, kind: str) -> None:
    """A path that was said amiss costs nobody a file."""
    path = folder / "lmtp"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        left_by_somebody(folder / "other")
        path.symlink_to("other")
    else:
        os.mkfifo(path)
    before = names_in(folder)
    with pytest.raises(CannotListenError, match="no socket"):
        service_at(path).startService()
    assert names_in(folder) == before


def test_a_server_that_is_there_stays_there(folder: Path, services: list[SmtpService]) -> None:
    """Another one is told, whether or not it is one of ours."""
    path = folder / "lmtp"
    services.append(service_at(path))
    services[0].startService()
    with pytest.raises(CannotListenError, match="another server listens there"):
        service_at(path).startService()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "foreign"))
        other.listen(0)
        for _ in range(2):  # the second time its queue is full
            with pytest.raises(CannotListenError, match="another server listens there"):
                service_at(folder / "foreign").startService()
    assert names_in(folder) == ["foreign", "lmtp", "lmtp.lock"]


def test_a_lock_of_another_process_is_not_taken(folder: Path) -> None:
    """It may be about to listen; the line says which process it is."""
    for number in (os.getppid(), 1):
        os.symlink(str(number), folder / "lmtp.lock")
        with pytest.raises(CannotListenError, match=f"process {number} holds .*lmtp.lock; remove"):
            service_at(folder / "lmtp").startService()
        (folder / "lmtp.lock").unlink()


@pytest.mark.skipif(os.getuid() == 0, reason="root may do all")
def test_a_process_of_somebody_else_holds_it_too(folder: Path) -> None:
    """That it may not be asked is no sign that it is gone."""
    os.symlink("1", folder / "lmtp.lock")
    with pytest.raises(CannotListenError, match="process 1 holds"):
        service_at(folder / "lmtp").startService()


def test_a_start_that_fails_leaves_no_lock(folder: Path) -> None:
    """Neither of a name that is too long, nor of a folder that is not there."""
    long = folder / ("x" * 120)
    with pytest.raises(CannotListenError):
        service_at(long).startService()
    with pytest.raises(FileNotFoundError):
        service_at(folder / "none" / "lmtp").startService()
    assert names_in(folder) == []


@pytest_twisted.ensureDeferred
async def test_the_socket_of_somebody_else_is_left_alone(folder: Path) -> None:
    """Who has taken the path over meanwhile keeps it."""
    service = service_at(folder / "lmtp")
    service.startService()
    (folder / "lmtp").unlink()
    left_by_somebody(folder / "lmtp")
    await service.stopService()
    assert names_in(folder) == ["lmtp"]


@pytest_twisted.ensureDeferred
async def test_a_socket_that_cannot_be_removed_is_a_line_in_the_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is another user's: the server stops all the same."""
    service = service_at(folder / "lmtp")
    service.startService()

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    with capturedLogs() as events:
        await service.stopService()
    monkeypatch.undo()
    said = [formatEvent(event) for event in events if event["log_namespace"] == "smtpcb.server"]
    assert said == [f"{folder}/lmtp stays: Permission denied"]
    assert (folder / "lmtp").exists()


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_no_path(services: list[SmtpService]) -> None:
    """Linux has names for sockets that no file stands for."""
    from twisted.internet import reactor

    name = f"\0smtpcb-{os.getpid()}"
    factory = SmtpServerFactory(Inbox(), Settings(lmtp=True), log_messages=False)
    service = SmtpService(UNIXServerEndpoint(reactor, name), factory)
    services.append(service)
    service.startService()

    def come() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(name)
            return client.recv(1000)

    assert (await deferToThread(come)).startswith(b"220")


def test_other_endpoints_are_as_they_were() -> None:
    """Only those of UNIX sockets of Twisted's own reactors have a path that we look at."""
    from twisted.internet import reactor

    class Foreign:
        """No reactor of Twisted's."""

    for endpoint in (
        TCP4ServerEndpoint(reactor, 0),
        UNIXServerEndpoint(Foreign(), "/nowhere"),
    ):
        assert tidy(endpoint) is endpoint
    tidied = tidy(UNIXServerEndpoint(reactor, "/nowhere"))
    assert tidy(tidied) is tidied
