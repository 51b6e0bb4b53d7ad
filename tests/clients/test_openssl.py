"""TLS as ``openssl s_client`` and swaks see it: which certificate, which version, who is let in."""

from __future__ import annotations

import hashlib
import re
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..certificates import Issued, make_authority, make_identity, unchecked, write_pem
from ..running import ANY_PORT, Server, running, wait_until
from .conftest import FROM, TO, missing, program, run

MAIL, LISTS = make_identity(["mail.example.org"]), make_identity(["*.lists.example.org"])
AUTHORITY = make_authority("Clients")
CLIENT = make_identity(["client.example.org"], AUTHORITY, client=True)
STRANGER = make_identity(["client.example.org"], make_authority("Others"), client=True)


@dataclass
class Said:
    """
    What s_client has said.

    :ivar text: all of it.
    :ivar certificate: that it was shown, in DER.
    """

    text: str

    @property
    def certificate(self) -> bytes:
        found = re.search("-----BEGIN.*?END CERTIFICATE-----", self.text, re.DOTALL)
        assert found, self.text
        return ssl.PEM_cert_to_DER_cert(found[0])


def s_client(port: int, *options: str | Path, say: str = "QUIT\n") -> Said:
    """Connect, say something, and read until the server closes."""
    ended = subprocess.run(
        [
            *(program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}"),
            *("-crlf", "-ign_eof", "-nocommands", *options),
        ],
        input=say.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return Said(ended.stdout.decode("utf-8", "replace"))


def pair(folder: Path, issued: Issued) -> None:
    """Write what certbot has in a folder of its own for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    write_pem(folder / "fullchain.pem", issued.certificate)
    write_pem(folder / "privkey.pem", issued.private_key)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two workers with certbot's folder."""
    folder = tmp_path_factory.mktemp("certbot")
    pair(folder / "live/mail", MAIL)
    pair(folder / "live/lists", LISTS)
    options = ("--workers", "2", "--smtps", ANY_PORT, "--listen", ANY_PORT)
    named = ("--tls-folder", str(folder), "--hostname", "mail.example.org")
    with running(folder, *options, *named) as server:
        yield server


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.lists.example.org", LISTS), ("mail.example.org", MAIL), ("unknown.example", MAIL)],
)
def test_the_server_name_chooses(
    server: Server, name: str, expected: Issued, version: str, *, implicit: bool
) -> None:
    """With STARTTLS as on a port of its own."""
    [port] = server.smtps_ports if implicit else server.ports
    starttls = () if implicit else ("-starttls", "smtp")
    said = s_client(port, "-servername", name, version, *starttls)
    assert said.certificate == expected.der
    assert "221 2.0.0" in said.text


@pytest.mark.parametrize("protocols", ["smtp", "h2,http/1.1", "x"])
def test_alpn_ends_no_handshake(server: Server, protocols: str) -> None:
    """Whatever protocols a client offers; no name, the first certificate."""
    said = s_client(server.smtps_ports[0], "-noservername", "-alpn", protocols)
    assert said.certificate == MAIL.der
    assert "No ALPN negotiated" in said.text


def test_a_client_that_comes_back(server: Server) -> None:
    """Each handshake is a whole one, so it does not matter which worker it comes back to."""
    said = s_client(server.smtps_ports[0], "-tls1_2", "-reconnect").text
    assert said.count("New, TLSv1.2") == 6
    assert "Reused" not in said
    assert "221 2.0.0" in said


def test_swaks_asks_for_a_name(server: Server) -> None:
    """Its --tls-sni is what other programs call servername."""
    swaks = program("swaks")
    if not re.search("^=== TLS supported", run(swaks, "--support"), re.MULTILINE):
        missing("swaks lacks Net::SSLeay: libnet-ssleay-perl")
    digest = hashlib.sha256(LISTS.der).hexdigest()
    copy = server.folder / "peer.pem"
    said = run(
        swaks,
        *("--server", "127.0.0.1", "--port", str(server.port), "--from", FROM, "--to", TO),
        *("--tls", "--tls-sni", "b.lists.example.org", "--tls-get-peer-cert", str(copy)),
    )
    assert "250 2.0.0" in said
    shown = ssl.PEM_cert_to_DER_cert(copy.read_text())
    assert hashlib.sha256(shown).hexdigest() == digest


def test_a_renewal(tmp_path: Path) -> None:
    """SIGHUP, as certbot's deploy hook sends it: new clients see the new one, others go on."""
    old, new, broken = (make_identity(["mail.example.org"]) for _ in range(3))
    pair(tmp_path / "live/mail", old)
    with running(tmp_path, "--smtps", ANY_PORT, "--tls-folder", str(tmp_path)) as server:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
            client.starttls(context=unchecked())
            pair(tmp_path / "live/mail", new)
            server.signal(signal.SIGHUP)
            wait_until(lambda: "certificates reloaded" in server.log)
            write_pem(tmp_path / "live/mail/privkey.pem", broken.private_key)
            server.signal(signal.SIGHUP)
            wait_until(lambda: "certificates not reloaded" in server.log)
            assert client.noop()[0] == 250
        assert s_client(server.smtps_ports[0]).certificate == new.der
        assert "fullchain.pem: the private key does not match the certificate" in server.log


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_certificates_are_required(tmp_path: Path, version: str) -> None:
    """Without one 554, in place of the greeting or after STARTTLS; with a stranger's, an alert."""
    own = write_pem(tmp_path / "own.pem", CLIENT.certificate, CLIENT.private_key)
    stranger = write_pem(tmp_path / "other.pem", STRANGER.certificate, STRANGER.private_key)
    authorities = write_pem(tmp_path / "ca.pem", AUTHORITY.certificate)
    options = ("--tls-client-authorities", str(authorities), "--require-client-certificate")
    with running(tmp_path, "--smtps", ANY_PORT, *options) as server:
        implicit, starttls = server.smtps_ports[0], ("-starttls", "smtp", version)
        mail = "EHLO me\nMAIL FROM:<>\nQUIT\n"
        assert "554 5.7.0 A client certificate is required" in s_client(implicit, version).text
        refused = s_client(server.port, *starttls, say=mail).text
        assert refused.count("554 5.7.0 A client certificate is required") == 2
        assert "250 2.1.0" in s_client(implicit, version, "-cert", own, say=mail).text
        assert "250 2.1.0" in s_client(server.port, *starttls, "-cert", own, say=mail).text
        said = s_client(implicit, version, "-cert", stranger, say=mail).text
        assert "alert" in said
        assert "250" not in said


def test_the_lowest_version(tmp_path: Path) -> None:
    """--tls-minimum 1.3 lets nobody in with 1.2; --tls-ciphers says by which suites."""
    suite = "TLS_CHACHA20_POLY1305_SHA256"
    options = ("--tls-minimum", "1.3", "--tls-ciphers", suite, "--smtps", ANY_PORT)
    with running(tmp_path, *options) as server:
        [port] = server.smtps_ports
        assert "alert protocol version" in s_client(port, "-tls1_2").text
        assert f"Cipher is {suite}" in s_client(port, "-tls1_3").text
