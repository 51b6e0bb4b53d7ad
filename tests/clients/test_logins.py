"""The programs that people send mail with log in, by each mechanism that they know."""

from __future__ import annotations

import base64
import json
import re
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from ..certificates import make_authority, make_identity, write_pem
from ..running import ANY_PORT, Server, running
from .conftest import missing, program, run
from .doorman import PASSWORD, TOKEN, USER
from .messages import message

ROOT = Path(__file__).parents[2]
NODE = Path(__file__).with_name("node")
HANDLER = "python:tests.clients.doorman.Doorman"
TO = "bob@example.net"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose handler knows everything; what it says and writes has no secret (P14)."""
    folder = tmp_path_factory.mktemp("logins")
    authority = make_authority()
    named = x509.SubjectAlternativeName([x509.RFC822Name(USER)])
    anne = make_identity(["anne"], authority, client=True, alternatives=named)
    write_pem(folder / "authority.pem", authority.certificate)
    write_pem(folder / "anne.pem", anne.certificate, anne.private_key)
    options = (
        *("--handler", HANDLER, "--hostname", "localhost"),
        *("--listen", ANY_PORT, "--smtps", ANY_PORT),
        *("--tls-client-authorities", str(folder / "authority.pem")),
        *("--transcripts", str(folder / "state" / "transcripts")),
    )
    with running(folder, *options, environment={"PYTHONPATH": str(ROOT)}) as server:
        yield server
        server.stop()
        transcripts = [path.read_text() for path in server.transcripts()]
        assert transcripts
        hidden = [
            base64.b64encode(b"x" * shift + secret.encode())[4:-4].decode()
            for secret in (PASSWORD, TOKEN)
            for shift in range(3)
        ]
        for text in [server.log, *transcripts]:
            assert not [secret for secret in (PASSWORD, TOKEN, *hidden) if secret in text]


class TestSmtplib:
    """Python's own."""

    @pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
    def test_it_logs_in(self, server: Server, mechanism: str) -> None:
        """With each that it knows; and with a wrong password it does not."""
        context = ssl.create_default_context(cafile=str(server.identity))
        for password, code in ((PASSWORD, 235), ("wrong", 535)):
            with smtplib.SMTP("localhost", server.port, timeout=20) as client:
                client.starttls(context=context)
                client.ehlo()
                assert mechanism in client.esmtp_features["auth"].split()
                client.user, client.password = USER, password
                method = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
                if code == 235:
                    assert client.auth(mechanism, method)[0] == code
                    client.sendmail(USER, [TO], message())
                else:
                    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                        client.auth(mechanism, method)
                    assert caught.value.smtp_code == code


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
def test_swaks(server: Server, mechanism: str) -> None:
    """swaks, the Swiss army knife."""
    swaks = program("swaks")
    if not re.search("^=== TLS supported", run(swaks, "--support"), re.MULTILINE):
        missing("swaks lacks Net::SSLeay: libnet-ssleay-perl")
    said = run(
        swaks,
        *("--server", "127.0.0.1", "--port", str(server.port), "--tls"),
        *("--from", USER, "--to", TO, "--auth", mechanism),
        *("--auth-user", USER, "--auth-password", PASSWORD),
    )
    assert f"250 2.0.0 taken from {USER}" in said


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER"])
def test_curl(server: Server, mechanism: str) -> None:
    """curl, with a password or with --oauth2-bearer."""
    path = server.folder / "message"
    path.write_bytes(message())
    secret = (
        ("--user", USER, "--oauth2-bearer", TOKEN)
        if "OAUTH" in mechanism
        else ("--user", f"{USER}:{PASSWORD}")
    )
    said = run(
        program("curl"),
        *("--silent", "--show-error", "--verbose", "--cacert", server.identity, "--ssl-reqd"),
        *("--mail-from", USER, "--mail-rcpt", TO, "--upload-file", path, *secret),
        *("--login-options", f"AUTH={mechanism}"),
        f"smtp://localhost:{server.port}/x.org",
    )
    assert f"> AUTH {mechanism}" in said
    assert f"250 2.0.0 taken from {USER}" in said


def test_curl_with_a_token_that_is_refused(server: Server) -> None:
    """It answers the explanation in JSON, and then hears 535."""
    path = server.folder / "message"
    path.write_bytes(message())
    said = run(
        *("sh", "-c", '"$@" 2>&1 || true', "sh", program("curl")),
        *("--silent", "--show-error", "--verbose", "--cacert", server.identity, "--ssl-reqd"),
        *("--mail-from", USER, "--mail-rcpt", TO, "--upload-file", path),
        *("--user", USER, "--oauth2-bearer", "wrong", "--login-options", "AUTH=OAUTHBEARER"),
        f"smtp://localhost:{server.port}/x.org",
    )
    assert "< 535 5.7.8 Authentication credentials invalid" in said


@pytest.mark.parametrize(
    "mechanism",
    ["plain", "login", "cram-md5", "scram-sha-256", "oauthbearer", "xoauth2", "external"],
)
def test_msmtp(server: Server, mechanism: str) -> None:
    """msmtp, by all that it knows of ours; EXTERNAL with a certificate."""
    configuration = server.folder / "msmtprc"
    settings = {
        "host": "localhost",
        "port": server.port,
        "tls": "on",
        "tls_trust_file": server.identity,
        "auth": mechanism,
        "user": USER,
        "password": TOKEN if "oauth" in mechanism else PASSWORD,
    }
    if mechanism == "external":
        pem = server.folder / "anne.pem"
        settings |= {"tls_cert_file": pem, "tls_key_file": pem}
        del settings["password"]
    lines = [f"{key} {value}" for key, value in settings.items()]
    configuration.write_text("\n".join(["account default", *lines, ""]))
    configuration.chmod(0o600)
    said = run(
        program("msmtp"), f"--file={configuration}", "--debug", "-f", USER, TO, given=message()
    )
    assert f"250 2.0.0 taken from {USER}" in said


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("SCRAM-SHA-256-PLUS", ()),
        ("SCRAM-SHA-256", ("--no-cb",)),
        ("CRAM-MD5", ()),
        ("PLAIN", ()),
        ("LOGIN", ()),
    ],
)
def test_gsasl(server: Server, mechanism: str, options: tuple[str, ...]) -> None:
    """GNU SASL, which binds to the TLS connection, and checks that the server knows it too."""
    said = run(
        program("gsasl"),
        *("--smtp", f"--connect=localhost:{server.port}", f"--mechanism={mechanism}"),
        *(f"--authentication-id={USER}", f"--password={PASSWORD}"),
        *(f"--x509-ca-file={server.identity}", "--verbose", *options),
    )
    assert "Client authentication finished (server trusted)" in said


def test_gsasl_that_was_lied_to(server: Server) -> None:
    """It could bind and says that we cannot, although we have offered it (RFC 5802 §6)."""
    said = run(
        *("sh", "-c", '"$@" 2>&1 || true', "sh", program("gsasl")),
        *("--smtp", f"--connect=localhost:{server.port}", "--mechanism=SCRAM-SHA-256"),
        *(f"--authentication-id={USER}", f"--password={PASSWORD}"),
        f"--x509-ca-file={server.identity}",
    )
    assert "server trusted" not in said


@pytest.mark.parametrize(
    "auth",
    [
        {"user": USER, "pass": PASSWORD},
        {"type": "OAuth2", "user": USER, "accessToken": TOKEN},
    ],
    ids=["password", "XOAUTH2"],
)
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_nodemailer(server: Server, auth: dict[str, str], method: str) -> None:
    """nodemailer, with a password by each mechanism it knows, and with a token."""
    if "accessToken" in auth and method != "PLAIN":
        pytest.skip("a token has one way")
    node = program("node")
    if not (NODE / "node_modules/nodemailer").is_dir():
        missing("nodemailer is not installed: run npm ci in tests/clients/node")
    settings = {
        "host": "127.0.0.1",
        "port": server.port,
        "requireTLS": True,
        "auth": auth,
        "tls": {"ca": server.identity.read_text()},
    }
    if "pass" in auth:
        settings["authMethod"] = method
    said = run(node, NODE / "send.js", json.dumps(settings), USER, TO, given=message())
    assert said.startswith(f"250 2.0.0 taken from {USER}")
