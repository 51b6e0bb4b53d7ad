"""What an argument of ``--handler relay:`` leads to, over the wire: TLS, a login, a socket."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString, wrapServerTLS

from smtpcb import Envelope, Settings, SmtpServerFactory, SmtpService
from smtpcb.handlers.relay import RelayPlugin
from smtpcb.smtp.sasl import Credentials
from smtpcb.tls import ServerTls

from ..certificates import Issued, make_authority, make_identity
from .relaying import conversation

Serve = Callable[..., int]
TEXT = b"Subject: x\r\n\r\nHi\r\n"


class Behind:
    """The next server, and who has logged in there, and how."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, bool]] = []

    def authenticate(self, credentials: Credentials, connection: Any) -> bool:
        return (credentials.username, credentials.password) == ("gateway", "p\u00e4ss")

    def message(self, envelope: Envelope) -> None:
        connection = envelope.connection
        self.got.append((connection.identity, connection.tls is not None))


@pytest.fixture(scope="module")
def issued() -> Issued:
    """A certificate of this machine's."""
    return make_identity(["127.0.0.1"], make_authority())


def relay(argument: str) -> Any:
    setting: Any = SimpleNamespace(reactor=reactor)
    return RelayPlugin().make(argument, setting)


def send(client: smtplib.SMTP) -> Any:
    said = client.mail("a@example.org")
    if said[0] != 250:
        return said
    client.rcpt("b@example.org")
    return client.data(TEXT)


def files(folder: Path, issued: Issued, password: str) -> str:
    assert issued.issuer is not None
    (folder / "ca.pem").write_bytes(issued.issuer.certificate.public_bytes(Encoding.PEM))
    (folder / "password").write_text(f"{password}\n")
    (folder / "password").chmod(0o600)
    return f"ca={folder}/ca.pem,user=gateway,password-file={folder}/password"


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
@pytest_twisted.ensureDeferred
async def test_a_login_inside_tls(serve: Serve, tmp_path: Path, issued: Issued, mode: str) -> None:
    """The certificate is checked against the file, and the password is said inside TLS alone."""
    behind = Behind()
    tls = ServerTls(lambda: [issued.identity])
    factory = SmtpServerFactory(behind, Settings(require_auth=True), tls=tls)
    endpoint: Any = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    if mode == "implicit":
        endpoint = wrapServerTLS(factory.tls, endpoint, reactor)
    service = SmtpService(endpoint, factory)
    service.startService()
    try:
        at = f"127.0.0.1:{service.ports[0].getHost().port},tls={mode}"
        login = files(tmp_path, issued, "p\u00e4ss")
        port = serve(relay(f"{at},{login}"))
        assert (await conversation(port, send))[0] == 250
        assert behind.got == [("gateway", True)]
        files(tmp_path, issued, "wrong")
        for wrong in (at, f"{at},{login}"):
            port = serve(relay(wrong))
            said = await conversation(port, send)
            assert said == (451, b"4.4.1 The next server cannot be reached now, try again later")
        assert len(behind.got) == 1
    finally:
        await service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_socket_of_a_delivery_agent(serve: Serve, tmp_path: Path) -> None:
    """By LMTP, as Dovecot takes it; a path may have what an endpoint's description must escape."""
    behind = Behind()
    path = tmp_path / "lm:tp"
    at = f"unix:{path}".replace("lm:tp", r"lm\:tp")
    service = SmtpService(at, SmtpServerFactory(behind, Settings(lmtp=True)))
    service.startService()
    try:
        port = serve(relay(f"unix:{path},lmtp=yes"))
        assert (await conversation(port, send))[0] == 250
        assert behind.got == [(None, False)]
    finally:
        await service.stopService()
    port = serve(relay(f"unix:{path},lmtp=yes"))
    assert (await conversation(port, send))[0] == 451
