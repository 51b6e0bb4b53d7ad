"""The programs that people send mail with."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from .conftest import FROM, PASSWORD, TO, USER, Mailbox, missing, program, run
from .messages import message

NODE = Path(__file__).with_name("node")


class TestSwaks:
    """swaks, the Swiss army knife."""

    def send(self, mailbox: Mailbox, *options: str, port: int | None = None) -> None:
        sent = message()
        path = mailbox.server.folder / "message"
        path.write_bytes(sent)
        swaks = program("swaks")
        if any(option.startswith("--tls") for option in options):
            support = run(swaks, "--support")
            if not re.search("^=== TLS supported", support, re.MULTILINE):
                missing("swaks lacks Net::SSLeay: libnet-ssleay-perl")
        run(
            swaks,
            *("--server", "127.0.0.1", "--port", str(port or mailbox.server.port)),
            *("--from", FROM, "--to", TO, "--data", f"@{path}"),
            *options,
        )
        # It ends what it reads from a file with one more empty line.
        mailbox.expect(sent + b"\r\n")
        mailbox.connections(1)

    def test_plain(self, mailbox: Mailbox) -> None:
        """In the clear."""
        self.send(mailbox)

    def test_starttls(self, mailbox: Mailbox) -> None:
        """With STARTTLS."""
        self.send(mailbox, "--tls")

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_a_login_inside_tls(self, mailbox: Mailbox, mechanism: str) -> None:
        """With each of the mechanisms."""
        self.send(
            mailbox, "--tls", "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD
        )

    def test_implicit_tls(self, mailbox: Mailbox) -> None:
        """On a port of --smtps."""
        [port] = mailbox.server.smtps_ports
        self.send(mailbox, "--tlsc", port=port)

    def test_pipelining(self, mailbox: Mailbox) -> None:
        """With all commands of a transaction in one packet."""
        self.send(mailbox, "--pipeline")


class TestCurl:
    """curl, which trusts the kept certificate by its file."""

    def send(self, mailbox: Mailbox, url: str, *options: str) -> None:
        sent = message()
        path = mailbox.server.folder / "message"
        path.write_bytes(sent)
        run(
            program("curl"),
            *("--silent", "--show-error", "--cacert", mailbox.server.identity),
            *("--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", path),
            *options,
            url,
        )
        mailbox.expect(sent)
        mailbox.connections(1)

    def test_starttls(self, mailbox: Mailbox) -> None:
        """smtp:// with --ssl-reqd."""
        self.send(mailbox, f"smtp://127.0.0.1:{mailbox.server.port}/x.org", "--ssl-reqd")

    def test_starttls_and_a_login(self, mailbox: Mailbox) -> None:
        """The same with -u."""
        url = f"smtp://localhost:{mailbox.server.port}/x.org"
        self.send(mailbox, url, "--ssl-reqd", "-u", f"{USER}:{PASSWORD}")

    def test_implicit_tls_and_a_login(self, mailbox: Mailbox) -> None:
        """smtps:// with -u, PLAIN and LOGIN."""
        [port] = mailbox.server.smtps_ports
        url = f"smtps://127.0.0.1:{port}/x.org"
        self.send(mailbox, url, "-u", f"{USER}:{PASSWORD}", "--login-options", "AUTH=LOGIN")


class TestMsmtp:
    """msmtp, which stands in for sendmail."""

    def send(self, mailbox: Mailbox, *settings: str) -> None:
        configuration = mailbox.server.folder / "msmtprc"
        configuration.write_text(
            "\n".join(
                [
                    "account default",
                    "host 127.0.0.1",
                    f"tls_trust_file {mailbox.server.identity}",
                    *settings,
                    "",
                ]
            )
        )
        configuration.chmod(0o600)
        sent = message()
        run(
            program("msmtp"),
            *(f"--file={configuration}", "-f", FROM, TO),
            given=sent.replace(b"\r\n", b"\n"),
        )
        mailbox.expect(sent)
        mailbox.connections(1)

    @pytest.mark.parametrize("mechanism", ["plain", "login"])
    def test_starttls_and_a_login(self, mailbox: Mailbox, mechanism: str) -> None:
        """With tls_starttls on."""
        self.send(
            mailbox,
            f"port {mailbox.server.port}",
            "tls on",
            "tls_starttls on",
            f"auth {mechanism}",
            f"user {USER}",
            f"password {PASSWORD}",
        )

    def test_implicit_tls(self, mailbox: Mailbox) -> None:
        """With tls_starttls off."""
        [port] = mailbox.server.smtps_ports
        self.send(mailbox, f"port {port}", "tls on", "tls_starttls off")


class TestSmtpSource:
    """smtp-source, Postfix's load generator."""

    @pytest.mark.parametrize("options", [(), ("-d",)], ids=["one each", "many each"])
    def test_a_burst(self, mailbox: Mailbox, options: tuple[str, ...]) -> None:
        """Fifty messages over five connections at once, with -d several on each."""
        run(
            program("smtp-source"),
            *("-s", "5", "-m", "50", "-l", "1000", *options),
            *("-f", FROM, "-t", TO, f"127.0.0.1:{mailbox.server.port}"),
        )
        kept = mailbox.new()
        assert len(kept) == 50
        assert all(one.startswith(b"From: <anne@example.org>\r\n") for one in kept)
        assert all(one.endswith(b"X\r\n") for one in kept)
        mailbox.connections(5 if options else 50)


class TestNodemailer:
    """nodemailer, with its own settings as it has them."""

    def send(self, mailbox: Mailbox, **settings: object) -> None:
        node = program("node")
        if not (NODE / "node_modules/nodemailer").is_dir():
            missing("nodemailer is not installed: run npm ci in tests/clients/node")
        settings = {"host": "127.0.0.1", "port": mailbox.server.port, **settings}
        settings["tls"] = {"ca": mailbox.server.identity.read_text()}
        sent = message()
        said = run(node, NODE / "send.js", json.dumps(settings), FROM, TO, given=sent)
        assert said.startswith("250 2.0.0 ")
        mailbox.expect(sent)
        mailbox.connections(1)

    def test_starttls(self, mailbox: Mailbox) -> None:
        """It uses STARTTLS unasked."""
        self.send(mailbox)
        [transcript] = mailbox.connections(1)
        assert "C: STARTTLS\n" in transcript.read_text()

    def test_a_login(self, mailbox: Mailbox) -> None:
        """With requireTLS and a login."""
        self.send(mailbox, requireTLS=True, auth={"user": USER, "pass": PASSWORD})

    def test_implicit_tls(self, mailbox: Mailbox) -> None:
        """With secure."""
        [port] = mailbox.server.smtps_ports
        self.send(mailbox, port=port, secure=True, auth={"user": USER, "pass": PASSWORD})


def test_a_missing_client_is_a_failure_where_it_must_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A test that could not be made says so; in CI that is not enough."""
    monkeypatch.delitem(os.environ, "SMTPCB_REQUIRE_CLIENTS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-client is not installed"):
        program("no-such-client")
    monkeypatch.setenv("SMTPCB_REQUIRE_CLIENTS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-client is not installed"):
        program("no-such-client")
