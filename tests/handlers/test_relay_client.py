"""Who the client is, towards a server that trusts us."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted

from smtpcb import Connection, Envelope, Settings, SmtpServerFactory, SmtpService
from smtpcb.client import Server
from smtpcb.engine import ClientSettings
from smtpcb.handlers.relay import Relay
from smtpcb.handlers.relay._client import as_xforward, proxy_header
from smtpcb.server._proxy import read_header
from smtpcb.smtp import Credentials, ReversePath, XForward

from ..client.servers import ScriptedServer
from .relaying import conversation, gateway

Serve = Callable[..., int]
TEXT = b"Subject: x\r\n\r\nHi\r\n"


class Sees:
    """The next server: whom it takes the client for."""

    def __init__(self) -> None:
        self.saw: list[Envelope] = []

    def message(self, envelope: Envelope) -> None:
        self.saw.append(envelope)


def send(client: smtplib.SMTP) -> Any:
    said = []
    for _ in range(2):
        said.append(client.mail("a@example.org"))
        if said[-1][0] == 250:
            client.rcpt("b@example.org")
            said[-1] = client.data(TEXT)
    assert client.sock is not None
    return said, client.sock.getsockname()[1]


@pytest_twisted.ensureDeferred
async def test_xclient(serve: Serve) -> None:
    """There it is as if the client were connected, with its name, its address and its port."""
    behind = Sees()
    upstream = serve(behind, Settings(xclient_from=["127.0.0.1"]))
    port = serve(gateway(upstream, pass_on="xclient"))
    (first, second), own_port = await conversation(port, send)
    assert (first[0], second[0]) == (250, 250)
    for envelope in behind.saw:
        connection = envelope.connection
        assert connection.xclient is not None
        assert (connection.peer_address, connection.peer_port) == ("127.0.0.1", own_port)
        assert (connection.hello, connection.host_port) == ("client.example.org", port)
        assert connection.xclient.hello == "client.example.org"
        assert connection.identity is None


@pytest_twisted.ensureDeferred
async def test_xforward(serve: Serve) -> None:
    """Each message says from whom it is, over sessions that all clients share."""
    behind = Sees()
    upstream = serve(behind, Settings(xforward_from=["127.0.0.1"]))
    port = serve(gateway(upstream, pass_on="xforward"))
    own_ports = [(await conversation(port, send))[1] for _ in range(2)]
    forwarded = [one.forwarded for one in behind.saw]
    assert [one and one.port for one in forwarded] == [own_ports[0]] * 2 + [own_ports[1]] * 2
    assert len({one.connection.id for one in behind.saw}) == 1
    said = forwarded[0]
    assert said is not None
    assert said == replace(
        XForward("", "127.0.0.1", own_ports[0], "ESMTP", "client.example.org", None, "REMOTE"),
        identifier=said.identifier,
    )
    assert said.identifier


@pytest.mark.parametrize("how", ["proxy", "proxy-v1"])
@pytest_twisted.ensureDeferred
async def test_a_proxy_header(how: str) -> None:
    """As HAProxy says it, in both versions."""
    behind = Sees()
    service = SmtpService(
        "tcp:0:interface=127.0.0.1", SmtpServerFactory(behind), proxy_from=["127.0.0.1"]
    )
    service.startService()
    relay = gateway(service.ports[0].getHost().port, pass_on=how)
    front = SmtpService("tcp:0:interface=127.0.0.1", SmtpServerFactory(relay))
    front.startService()
    try:
        said, own_port = await conversation(front.ports[0].getHost().port, send)
        assert [code for code, _ in said] == [250, 250]
        connection = behind.saw[0].connection
        assert connection.proxy is not None
        assert (connection.peer_address, connection.peer_port) == ("127.0.0.1", own_port)
        assert connection.proxy.version == (1 if how == "proxy-v1" else 2)
    finally:
        await front.stopService()
        await service.stopService()


@pytest.mark.parametrize(
    ("how", "reply"),
    [
        ("xclient", b"4.4.1 The next server cannot be reached now, try again later"),
        ("xforward", b"4.3.5 The next server is not set up for us, try again later"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_trust_us_gets_nothing(
    serve: Serve, how: str, reply: bytes
) -> None:
    """It would take every client for us, and let everybody in: 451, until that is set up."""
    behind = Sees()
    port = serve(gateway(serve(behind), pass_on=how))
    (first, second), _ = await conversation(port, send)
    assert first == second == (451, reply)
    assert behind.saw == []


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("192.0.2.7", "198.51.100.25"),
        ("2001:db8::7", "2001:db8::25"),
        ("192.0.2.7", "2001:db8::25"),
        ("", "/run/smtp"),
        ("unknown", "198.51.100.25"),
    ],
)
def test_headers_can_be_read(version: int, peer: str, host: str) -> None:
    """Whoever the client is, what our own server reads is what was meant, or that nobody knows."""
    connection = Connection("x", peer, 4711, host, 25)
    octets = proxy_header(connection, version)
    header = read_header(octets + b"EHLO")
    assert header is not None
    assert (header.octets, header.version) == (len(octets), version)
    if ("." in peer) == ("." in host) and peer:
        assert header.source is not None
        assert (header.source.address, header.source.port) == (peer, 4711)
    else:
        assert header.source is None


def test_the_client_before_our_client_is_the_one() -> None:
    """What a trusted server has told us by XFORWARD goes on."""
    connection = Connection("x", "192.0.2.7", 4711, "198.51.100.25", 25)
    envelope = Envelope(connection, ReversePath.NULL)
    assert as_xforward(envelope).address == "192.0.2.7"
    envelope.forwarded = XForward(address="203.0.113.9", source="LOCAL")
    said = as_xforward(envelope)
    assert (said.address, said.port, said.source, said.identifier) == (
        *("203.0.113.9", None, "LOCAL"),
        envelope.id,
    )


@pytest_twisted.ensureDeferred
async def test_xforward_is_said_behind_the_reset(serve: Serve) -> None:
    """A server forgets by RSET who the client is: one that was given up is reset before that."""
    offers = b"250-here\r\n250 XFORWARD ADDR HELO\r\n"
    server = ScriptedServer(b"220 here\r\n", offers, *[b"250 ok\r\n"] * 9)
    port = serve(gateway(server.listen(), pass_on="xforward"))

    def talk(client: smtplib.SMTP) -> Any:
        return client.mail("a@example.org"), client.rset(), client.mail("c@example.org")

    try:
        assert {code for code, _ in await conversation(port, talk)} == {250}
        verbs = [line.split()[0] for line in server.got.splitlines()]
        assert verbs[:6] == [b"EHLO", b"XFORWARD", b"MAIL", b"RSET", b"XFORWARD", b"MAIL"]
    finally:
        await server.stop()


def test_who_logs_in_is_never_said_in_vain() -> None:
    """Whoever says it has a login, inside TLS; settings without one contradict it at once."""

    def anne(mechanism: str) -> Credentials:
        return Credentials(mechanism, "anne", "tim")

    settings = Relay(Server("mail.example.org", 25), give=anne).settings
    assert (settings.login, settings.starttls) == ("required", "required")
    with pytest.raises(ValueError, match="login='required'"):
        Relay(Server("mail.example.org", 25), ClientSettings(), give=anne)
