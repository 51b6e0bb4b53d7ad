"""Early talkers, and honest clients, over real sockets: in the clear, inside TLS, behind PROXY."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..running import Server, running

REFUSED = b"554 You spoke before the greeting\r\n"
PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 25\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that holds its greeting back for half a second, on a port of each kind."""
    options = ("--smtps", "tcp:0:interface=127.0.0.1", "--greeting-seconds", "0.5")
    with running(tmp_path_factory.mktemp("early"), *options) as started:
        yield started


def connect(server: Server, how: str) -> socket.socket:
    port = server.smtps_ports[0] if how == "smtps" else server.port
    opened = socket.create_connection(("127.0.0.1", port), 20)
    if how == "clear":
        return opened
    context = ssl.create_default_context(cafile=server.identity)
    context.check_hostname = False
    return context.wrap_socket(opened)


def heard(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    found = b""
    while octets := client.recv(4096):
        found += octets
    return found


@pytest.mark.parametrize("how", ["clear", "smtps"])
def test_who_cannot_wait_is_refused(how: str, server: Server) -> None:
    """The refusal arrives, and nothing that was sent has any effect."""
    before = len(server.transcripts())
    with connect(server, how) as client:
        client.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n")
        assert heard(client) == REFUSED
    assert len(server.transcripts()) == before
    assert server.messages() == []


@pytest.mark.parametrize("how", ["clear", "smtps"])
def test_who_waits_is_served(how: str, server: Server) -> None:
    """A client of the standard library does not even notice."""
    kind = smtplib.SMTP_SSL if how == "smtps" else smtplib.SMTP
    port = server.smtps_ports[0] if how == "smtps" else server.port
    options = {}
    if how == "smtps":
        context = ssl.create_default_context(cafile=server.identity)
        context.check_hostname = False
        options = {"context": context}
    with kind("127.0.0.1", port, timeout=20, **options) as client:
        assert client.noop()[0] == 250


def test_behind_a_balancer_its_header_is_no_early_talk(tmp_path: Path) -> None:
    """But what the client has sent behind it is."""
    options = ("--proxy-from", "127.0.0.1", "--greeting-seconds", "0.5")
    with running(tmp_path, *options) as server:
        with connect(server, "clear") as client:
            client.sendall(PROXY)
            assert client.recv(4096).startswith(b"220 ")
        for early in (b"EHLO x\r\n", b"E"):
            with connect(server, "clear") as client:
                client.sendall(PROXY + early)
                assert heard(client) == REFUSED
