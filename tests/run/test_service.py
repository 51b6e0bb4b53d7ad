"""Settings become a running service, and back."""

from __future__ import annotations

import base64
import importlib
import importlib.machinery
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerSetting
from smtpcb.run._passwords import PasswordFile
from smtpcb.run._server import ServerService
from smtpcb.run._start import StartError
from smtpcb.run.build import _handler as handler_module
from smtpcb.run.build import _plugins as plugins_module
from smtpcb.run.build import make_service
from smtpcb.run.build._python import import_handler
from smtpcb.run.options import BY_NAME, ConfigurationError, read_value, resolve
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._port import DirectPort
from smtpcb.server._service import SmtpService
from smtpcb.smtp.sasl import Credentials
from tests.certificates import Issued, make_authority, make_identity, write_pem, write_pkcs12
from tests.running import ANY_PORT

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
Start = Callable[..., ServerService]


class Mine:
    """A handler of a user's own."""

    def message(self, envelope: object) -> None:
        pass


def made(folder: Path, **said: object) -> ServerService:
    """Make the service of some settings, named as Python identifiers, and given as texts."""
    values: dict[str, Any] = {"listen": (ANY_PORT,), "state": folder / "state"}
    for key, value in said.items():
        option = BY_NAME[key.replace("_", "-")]
        if option.many:
            assert isinstance(value, tuple)
            values[key] = value
        else:
            values[key] = value if option.kind is bool else read_value(option, str(value), key)
    return make_service(resolve(values, {}))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services; they are stopped at the end of the test."""
    started: list[ServerService] = []

    def start_one(**said: object) -> ServerService:
        service = made(tmp_path, **said)
        service.privilegedStartService()
        service.startService()
        started.append(service)
        return service

    yield start_one
    for service in started:
        if service.running:
            pytest_twisted.blockon(service.stopService())


def port_of(service: ServerService, number: int = 0) -> int:
    """Return the real number of a port."""
    return service.smtp.ports[number].getHost().port


def in_thread(work: Callable[[], Any]) -> Awaitable[Any]:
    """Run a blocking client beside the server."""
    return deferToThread(work)


def trusting(issued: Issued) -> ssl.SSLContext:
    """Trust whoever issued this certificate, if not itself."""
    root = issued
    while root.issuer is not None:
        root = root.issuer
    return ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(root.der))


def session(port: int, context: ssl.SSLContext, *login: str) -> tuple[bytes, int]:
    """Use STARTTLS, log in, leave; return the server's certificate and the code of the login."""
    with smtplib.SMTP("localhost", port, timeout=10) as client:
        client.starttls(context=context)
        client.ehlo()
        certificate = client.sock.getpeercert(binary_form=True)
        code = 0
        if login:
            response = base64.b64encode("\0".join(["", *login]).encode()).decode()
            code, _ = client.docmd("AUTH", f"PLAIN {response}")
        return certificate, code


def texts(events: Any) -> list[str]:
    """Return what log events say."""
    return [formatEvent(event) for event in events]


class TestRunning:
    """Start, work, stop."""

    @pytest_twisted.ensureDeferred
    async def test_mail_is_kept_and_the_log_says_where(self, start: Start, tmp_path: Path) -> None:
        """Ports, a first message, the Maildir, transcripts and the certificate are told."""
        with capturedLogs() as events:
            service = start(smtps=(ANY_PORT,))
        clear, implicit = port_of(service), port_of(service, 1)
        state = tmp_path / "state"
        said = texts(event for event in events if event["log_namespace"] == "smtpcb")
        assert said[0] == (
            f"mail is taken on 127.0.0.1:{clear} (STARTTLS), 127.0.0.1:{implicit} (implicit TLS)"
        )
        assert said[2:] == [
            f"messages: {state / 'Maildir/new'}",
            f"transcripts: {state / 'transcripts'}",
            f"certificate: {state / 'identity.pem'}",
        ]
        # The command of the log works as it is printed.
        command = said[1].partition(": ")[2].replace("python3", sys.executable, 1)
        await in_thread(lambda: subprocess.run(["sh", "-c", command], check=True))
        [kept] = (state / "Maildir/new").iterdir()
        assert kept.read_bytes() == b"Subject: hello\r\n\r\nIt works.\r\n"
        await service.stopService()
        [transcript] = (state / "transcripts").rglob("*.txt")
        assert "It works." in transcript.read_text()
        for folder in (state, state / "Maildir", state / "transcripts"):
            assert folder.stat().st_mode & 0o777 == 0o700

    @pytest_twisted.ensureDeferred
    async def test_addresses_a_client_can_use(self, start: Start, tmp_path: Path) -> None:
        """For a port on all addresses the first message goes to loopback; sockets have paths."""
        listen = ("tcp:0", f"unix:{tmp_path / 'socket'}")
        with capturedLogs() as events:
            service = start(listen=listen, no_tls=True)
        said = texts(event for event in events if event["log_namespace"] == "smtpcb")
        number = port_of(service)
        assert f"smtplib.SMTP('127.0.0.1', {number})" in said[1]
        assert f"0.0.0.0:{number} (no TLS), unix:{tmp_path}/socket (no TLS)" in said[0]
        assert not any(line.startswith("certificate") for line in said)

    @pytest_twisted.ensureDeferred
    async def test_ipv6(self, start: Start) -> None:
        """An IPv6 address is written in brackets, and without them for smtplib."""
        if not socket.has_ipv6:
            pytest.skip("no IPv6")
        with capturedLogs() as events:
            service = start(listen=(r"tcp6:0:interface=\:\:1",), no_tls=True)
        said = texts(event for event in events if event["log_namespace"] == "smtpcb")
        assert said[0] == f"mail is taken on [::1]:{port_of(service)} (no TLS)"
        assert f"smtplib.SMTP('::1', {port_of(service)})" in said[1]

    @pytest_twisted.ensureDeferred
    async def test_only_implicit_tls(self, start: Start) -> None:
        """Nobody is told to send a first message in the clear where that is not possible."""
        with capturedLogs() as events:
            start(listen=(), smtps=(ANY_PORT,))
        said = texts(event for event in events if event["log_namespace"] == "smtpcb")
        assert not any(line.startswith("a first message") for line in said)

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({}, "a first message: python3"),
            (
                {"handler": "python:tests.run.test_service.Mine"},
                "a first message (with a recipient that your handler takes): python3",
            ),
            ({"require_tls": True}, "messages: "),
            ({"require_auth": True}, "messages: "),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_first_message_that_gets_in(
        self, start: Start, values: dict[str, Any], said: str
    ) -> None:
        """A handler of one's own may not know our recipient; some servers take no such message."""
        with capturedLogs() as events:
            start(**values)
        lines = texts(event for event in events if event["log_namespace"] == "smtpcb")
        assert lines[1].startswith(said)

    @pytest_twisted.ensureDeferred
    async def test_no_word_of_ours(self, start: Start) -> None:
        """What Twisted logs of a port is in words that a user knows."""
        with capturedLogs() as events:
            service = start(smtps=(ANY_PORT,))
        said = texts(events)
        assert f"SMTP starting on {port_of(service)}" in said
        assert f"SMTP (TLS) starting on {port_of(service, 1)}" in said

    @pytest_twisted.ensureDeferred
    async def test_starting_and_stopping_twice(self, start: Start) -> None:
        """It does no harm, and a stopped service starts again."""
        service = start()
        service.privilegedStartService()
        service.startService()
        assert len(service.smtp.ports) == 1
        await service.stopService()
        await service.stopService()
        assert service.smtp.ports == []
        service.startService()
        assert len(service.smtp.ports) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_handler_that_is_a_service(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is started before the ports are open to clients, and stopped after the last one."""
        happened = []

        class Handler(Service):
            def startService(self) -> None:
                super().startService()
                happened.append("started")

            def stopService(self) -> Deferred[None]:
                happened.append("stopped")
                super().stopService()
                return succeed(None)

            def message(self, envelope: object) -> None:
                happened.append("message")

        monkeypatch.setattr(plugins_module, "import_handler", lambda path, where: Handler())
        service = start(handler="python:a.b", no_tls=True)

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", port_of(service)) as client:
                client.sendmail("a@example.org", "b@example.org", MESSAGE)

        await in_thread(send)
        await service.stopService()
        assert happened == ["started", "message", "stopped"]

    def test_a_busy_port(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """One line on standard error, an exception that twistd sees, and no traceback."""
        shown: list[object] = []
        monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: shown.append(kind))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            service = made(tmp_path, listen=(f"tcp:{number}:interface=127.0.0.1",), no_tls=True)
            with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{number}: Address"):
                service.privilegedStartService()
        line = (
            f"smtpcb: cannot listen on 127.0.0.1:{number}: Address already in use "
            "(stop what listens there, or name another port with --listen)\n"
        )
        assert capfd.readouterr().err == line
        sys.excepthook(StartError, StartError("x"), None)
        sys.excepthook(KeyError, KeyError("x"), None)
        assert shown == [KeyError]

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (CannotListenError("", "/run/x", OSError("in the way")), "on /run/x: in the way"),
            (CannotListenError("", 25, OSError(13, "Permission denied")), r"on \*:25: Permission"),
            (ValueError("odd\nthing"), "cannot listen: odd thing"),
            (IndexError(), "cannot listen: IndexError"),
        ],
    )
    def test_other_ports_that_cannot_be_bound(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
    ) -> None:
        """Whatever an endpoint fails with, the line is one."""
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        service = made(tmp_path, no_tls=True)

        def refuse() -> None:
            raise error

        monkeypatch.setattr(service.smtp, "privilegedStartService", refuse)
        with pytest.raises(StartError, match=says):
            service.privilegedStartService()


class TestComposition:
    """Beside other services of the same process."""

    @pytest_twisted.ensureDeferred
    async def test_beside_a_web_site(self, tmp_path: Path) -> None:
        """One MultiService starts both and stops both; a mail arrives and a page shows it."""
        from twisted.application.internet import StreamServerEndpointService
        from twisted.application.service import MultiService
        from twisted.internet import reactor
        from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString

        received: list[bytes] = []

        class Inbox:
            def message(self, envelope: Any) -> None:
                received.append(envelope.content.bytes())

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: object) -> bytes:
                return b"".join(received)

        both = MultiService()
        smtp = SmtpService(serverFromString(reactor, ANY_PORT), SmtpServerFactory(Inbox))
        smtp.setServiceParent(both)
        web = serverFromString(reactor, ANY_PORT)
        ports = []
        listen = web.listen
        web.listen = lambda factory: listen(factory).addCallback(
            lambda port: ports.append(port) or port
        )
        assert isinstance(web, TCP4ServerEndpoint)
        StreamServerEndpointService(web, Site(Page())).setServiceParent(both)
        both.privilegedStartService()
        both.startService()
        smtp_port = smtp.ports[0].getHost().port
        web_port = ports[0].getHost().port

        def use() -> bytes:
            with smtplib.SMTP("127.0.0.1", smtp_port, timeout=10) as client:
                client.sendmail("a@example.org", "b@example.org", MESSAGE)
            with socket.create_connection(("127.0.0.1", web_port), 10) as browser:
                browser.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: browser.recv(65536), b""))

        assert (await in_thread(use)).endswith(b"\r\n\r\n" + MESSAGE)
        await both.stopService()
        assert smtp.ports == []


class TestIdentities:
    """Keys and certificates."""

    @pytest_twisted.ensureDeferred
    async def test_a_pem_pair(self, start: Start, tmp_path: Path) -> None:
        """Certificate and chain in one file, the key in another, which may be locked."""
        authority = make_authority()
        issued = make_identity(["localhost"], make_authority("Intermediate", authority))
        service = start(
            tls_certificate=(write_pem(tmp_path / "cert.pem", *issued.chain),),
            tls_key=(write_pem(tmp_path / "key.pem", issued.private_key, passphrase=b"opens"),),
            tls_passphrase_file=write(tmp_path / "passphrase", b"opens\r\nnot this\n"),
        )
        found, _ = await in_thread(lambda: session(port_of(service), trusting(issued)))
        assert found == issued.der
        assert not (tmp_path / "state/identity.pem").exists()

    @pytest_twisted.ensureDeferred
    async def test_a_pkcs12_file(self, start: Start, tmp_path: Path) -> None:
        """It has all in one, and a passphrase."""
        issued = make_identity(["localhost"], make_authority())
        archive = write_pkcs12(
            tmp_path / "id.p12", issued.private_key, issued.certificate, passphrase=b"opens"
        )
        service = start(
            smtps=(ANY_PORT,),
            listen=(ANY_PORT,),
            tls_pkcs12=archive,
            tls_passphrase_file=write(tmp_path / "passphrase", b"opens"),
        )

        def implicit() -> bytes | None:
            number, context = port_of(service, 1), trusting(issued)
            with smtplib.SMTP_SSL("localhost", number, context=context, timeout=10) as client:
                return client.sock.getpeercert(binary_form=True)

        assert await in_thread(implicit) == issued.der

    @pytest_twisted.ensureDeferred
    async def test_client_certificates(self, start: Start, tmp_path: Path) -> None:
        """They are asked for, and shown to the handler only if an authority vouches for them."""
        authority, issued = make_authority("Clients"), make_identity(["localhost"])
        own = make_identity(["anne"], authority, client=True)
        foreign = make_identity(["eve"], make_authority("Others"), client=True)
        seen = []

        class Handler:
            discards_content = True

            def secured(self, tls: Any, connection: object) -> None:
                seen.append(tls.client_certificate)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plugins_module, "import_handler", lambda path, where: Handler)
            service = start(
                handler="python:a.b",
                tls_certificate=(
                    write_pem(tmp_path / "id.pem", issued.certificate, issued.private_key),
                ),
                tls_client_authorities=write_pem(tmp_path / "ca.pem", authority.certificate),
            )

        def context_of(client: Issued | None) -> ssl.SSLContext:
            context = trusting(issued)
            if client is not None:
                path = tmp_path / "client.pem"
                context.load_cert_chain(write_pem(path, client.certificate, client.private_key))
            return context

        await in_thread(lambda: session(port_of(service), context_of(None)))
        await in_thread(lambda: session(port_of(service), context_of(own)))
        assert seen == [None, own.der]
        with pytest.raises((ssl.SSLError, OSError, smtplib.SMTPException)):
            await in_thread(lambda: session(port_of(service), context_of(foreign)))
        assert len(seen) == 2

    @pytest_twisted.ensureDeferred
    async def test_no_tls(self, start: Start, tmp_path: Path) -> None:
        """Nothing is offered, and no certificate is made."""
        service = start(no_tls=True, allow_insecure_auth=True)
        keywords = await in_thread(lambda: offered(port_of(service)))
        assert "starttls" not in keywords
        assert "auth" in keywords
        assert not (tmp_path / "state/identity.pem").exists()

    @pytest_twisted.ensureDeferred
    async def test_sighup_reloads_it(self, start: Start, tmp_path: Path) -> None:
        """New handshakes see the new certificate, open sessions go on, a broken one is not used."""
        from twisted.internet import reactor

        old, new = make_identity(["localhost"]), make_identity(["localhost"])
        path = write_pem(tmp_path / "id.pem", old.certificate, old.private_key)
        before = signal.getsignal(signal.SIGHUP)
        service = start(tls_certificate=(path,))

        def open_session() -> smtplib.SMTP:
            client = smtplib.SMTP("localhost", port_of(service), timeout=10)
            client.starttls(context=trusting(old))
            return client

        client = await in_thread(open_session)
        with capturedLogs() as events:
            path.write_text("broken")
            os.kill(os.getpid(), signal.SIGHUP)
            while not events:
                await deferLater(reactor, 0.01)
        assert texts(events) == [f"certificates not reloaded: {path}: no private key in PEM format"]
        found, _ = await in_thread(lambda: session(port_of(service), trusting(old)))
        assert found == old.der

        write_pem(path, new.certificate, new.private_key)
        with capturedLogs() as events:
            os.kill(os.getpid(), signal.SIGHUP)
            while not events:
                await deferLater(reactor, 0.01)
        assert texts(events) == ["certificates reloaded"]
        found, _ = await in_thread(lambda: session(port_of(service), trusting(new)))
        assert found == new.der

        await in_thread(lambda: client.sendmail("a@example.org", "b@example.org", MESSAGE))
        await in_thread(client.quit)
        await service.stopService()
        assert signal.getsignal(signal.SIGHUP) == before
        assert len(list((tmp_path / "state/Maildir/new").iterdir())) == 1

    @pytest_twisted.ensureDeferred
    async def test_sighup_without_tls(self, start: Start) -> None:
        """There is nothing to reload, and the process goes on."""
        from twisted.internet import reactor

        service = start(no_tls=True)
        os.kill(os.getpid(), signal.SIGHUP)
        await deferLater(reactor, 0.01)
        assert "starttls" not in await in_thread(lambda: offered(port_of(service)))


class TestLogins:
    """Who may log in."""

    @pytest_twisted.ensureDeferred
    async def test_auth(self, start: Start, tmp_path: Path) -> None:
        """Every --auth is asked; whom none of them knows may not, whatever the handler says."""
        passwords = write(tmp_path / "passwd", b"anne:right\nc\xc3\xa9cile:pass w\xc3\xb6rd\n")
        service = start(auth=(f"file:{passwords}", "memory:bob:hidden:dora:secret"))
        trusted = ssl.create_default_context(cafile=tmp_path / "state/identity.pem")
        logins = {
            ("anne", "right"): 235,
            ("anne", "wrong"): 535,
            ("anne", "hidden"): 535,
            ("c\u00e9cile", "pass w\u00f6rd"): 235,
            ("bob", "hidden"): 235,
            ("bob", "right"): 535,
            ("dora", "secret"): 235,
            ("nobody", ""): 535,
        }

        def log_in(name: str, password: str) -> int:
            return session(port_of(service), trusted, name, password)[1]

        # Together, since a wrong password is answered a second later.
        codes = await gatherResults([deferToThread(log_in, *login) for login in logins])
        assert dict(zip(logins, codes, strict=True)) == logins

    @pytest_twisted.ensureDeferred
    async def test_when_it_is_offered(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a handler of one's own AUTH is offered if that can, or --auth says so."""

        class Plain:
            def message(self, envelope: object) -> None:
                pass

        class Knowing(Plain):
            def authenticate(self, credentials: Credentials, connection: object) -> bool:
                return True

        for handler, auth, expected in [
            (Plain, (), False),
            (Plain, ("memory:a:b",), True),
            (Knowing, (), True),
        ]:
            monkeypatch.setattr(
                plugins_module, "import_handler", lambda path, where, handler=handler: handler
            )
            service = start(handler="python:a.b", auth=auth, no_tls=True, allow_insecure_auth=True)
            keywords = await in_thread(lambda service=service: offered(port_of(service)))
            assert ("auth" in keywords) == expected

    @pytest_twisted.ensureDeferred
    async def test_a_checker_that_fails(
        self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fault is no refusal: it can be tried again, and is logged without the password."""
        monkeypatch.setattr(
            PasswordFile,
            "authenticate",
            lambda self, asked, connection: fail(KeyError(f"broken {asked.password}")),
        )
        path = write(tmp_path / "passwd", b"anne:right\n")
        service = start(auth=(f"file:{path}", "memory:bob:hidden"))
        trusted = ssl.create_default_context(cafile=tmp_path / "state/identity.pem")
        with capturedLogs() as events:
            _, code = await in_thread(lambda: session(port_of(service), trusted, "bob", "hidden"))
        assert 400 <= code < 500
        [said] = [text for text in texts(events) if "authenticate of" in text]
        assert "KeyError" in said
        assert "hidden" not in "".join(texts(events))


class TestSettings:
    """What is made of them."""

    def test_our_name_is_the_machine_s(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unless that is no domain; then it is localhost."""
        for name, expected in [("mx.example.org", "mx.example.org"), ("a b", "localhost")]:
            monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
            service = made(tmp_path, no_tls=True)
            assert service.smtp.factory.settings.hostname == expected

    def test_what_is_said_reaches_the_server(self, tmp_path: Path) -> None:
        """Those that are no limits."""
        service = made(
            tmp_path,
            no_tls=True,
            hostname="[192.0.2.1]",
            banner="hello",
            bare_newline="normalize",
            lenient_addresses=True,
            allow_insecure_auth=True,
            message_octets="1k",
        )
        settings = service.smtp.factory.settings
        assert settings.hostname == "[192.0.2.1]"
        assert settings.banner == "hello"
        assert settings.bare_newline == "normalize"
        assert settings.lenient_addresses
        assert settings.allow_insecure_auth
        assert settings.limits.message_octets == 1024

    def test_a_burst_of_clients_may_wait(self, tmp_path: Path) -> None:
        """More than Twisted's 50, unless the endpoint says how many."""
        for listen, backlog in [("tcp:0", 511), ("tcp6:0", 511), ("tcp:0:backlog=5", 5)]:
            [endpoint] = made(tmp_path, listen=(listen,), no_tls=True).smtp._endpoints
            assert endpoint._backlog == backlog

    def test_transcripts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Capture has them unasked; a handler of one's own only when asked."""
        monkeypatch.setattr(plugins_module, "import_handler", lambda path, where: _Nothing)
        wanted = {"transcripts": tmp_path / "t"}
        own = {"handler": "python:a.b"}
        for said, expected in [
            ({}, tmp_path / "state/transcripts"),
            ({"no_transcripts": True}, None),
            (wanted, tmp_path / "t"),
            (own, None),
            ({**own, **wanted}, tmp_path / "t"),
        ]:
            service = made(tmp_path, no_tls=True, **said)
            transcripts = service.smtp.factory.transcripts
            settings = None if transcripts is None else transcripts.settings
            assert (None if settings is None else settings.folder) == expected
        service = made(
            tmp_path,
            no_tls=True,
            transcript_content="head",
            transcript_days="2",
            transcript_sessions="all",
            transcript_octets="3k",
            transcript_files="none",
        )
        assert service.smtp.factory.transcripts is not None
        settings = service.smtp.factory.transcripts.settings
        assert (settings.content, settings.keep_days, settings.sessions) == ("head", 2.0, "all")
        assert (settings.keep_octets, settings.keep_files) == (3072, None)

    def test_the_folder_of_the_capture(self, start: Start, tmp_path: Path) -> None:
        """`capture:FOLDER` puts the Maildir there, and nothing else; a colon may be in its name."""
        place = tmp_path / "mail/a:b"
        service = made(tmp_path, no_tls=True, no_transcripts=True, handler=f"capture:{place}")
        assert service.announcement is not None
        assert service.announcement.report == [f"messages: {place}/new"]
        assert not (tmp_path / "mail").exists()
        start(no_tls=True, no_transcripts=True, handler=f"capture:{place}:keep-days=3")
        assert sorted(path.name for path in place.iterdir()) == [
            ".smtpcb-maildir",
            "cur",
            "envelopes",
            "new",
            "tmp",
        ]
        assert not (tmp_path / "state").exists()

    def test_a_plug_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its argument is what stands behind the first colon; its errors are told in a line."""
        asked = []

        class Plugin:
            name = "mine"
            help = "Mine."

            def make(self, argument: str, setting: object) -> object:
                asked.append(argument)
                if not argument:
                    raise ValueError("two\nlines")
                return _Nothing

        monkeypatch.setattr(plugins_module, "getPlugins", lambda interface: [Plugin()])
        made(tmp_path, no_tls=True, handler="mine:a:b")
        with pytest.raises(ConfigurationError, match="--handler mine: two lines"):
            made(tmp_path, no_tls=True, handler="mine")
        known = "capture, discard, maildir, mine, print, python, relay"
        with pytest.raises(ConfigurationError, match=f"there are {known}"):
            made(tmp_path, no_tls=True, handler="yours")
        assert asked == ["a:b", ""]


class TestReadyMade:
    """What a handler says of itself, whoever has made it."""

    @pytest.fixture
    def handler(self, monkeypatch: pytest.MonkeyPatch) -> Demanding:
        """A plug-in's handler."""
        handler = Demanding()

        class Plugin:
            name = "mine"
            help = "Mine."

            def make(self, argument: str, setting: Any) -> object:
                verifyObject(ISmtpHandlerSetting, setting)
                handler.setting = setting
                return handler

        monkeypatch.setattr(plugins_module, "getPlugins", lambda interface: [Plugin()])
        return handler

    def test_the_server_fits_it(self, tmp_path: Path, handler: Demanding) -> None:
        """As for capture, of which the server knows no more than of anybody's."""
        service = made(tmp_path, handler="mine")
        settings = service.smtp.factory.settings
        assert settings.lenient_addresses
        assert settings.bare_newline == "normalize"
        assert settings.allow_insecure_auth
        assert service.announcement is not None
        lines = ["my line", f"transcripts: {tmp_path}/state/transcripts"]
        assert service.announcement.report[:2] == lines
        assert not (tmp_path / "state").exists()
        handler.setting.make_state()
        assert (tmp_path / "state").stat().st_mode & 0o7777 == 0o700

    def test_what_the_user_says_stands_before(self, tmp_path: Path, handler: Demanding) -> None:
        """A switch can be turned off in a file."""
        values: dict[str, Any] = {"listen": (ANY_PORT,), "state": tmp_path, "handler": "mine"}
        off = {"lenient_addresses": False, "bare_newline": "refuse", "allow_insecure_auth": False}
        settings = make_service(resolve(values, off)).smtp.factory.settings
        assert not settings.lenient_addresses
        assert settings.bare_newline == "refuse"
        assert not settings.allow_insecure_auth

    @pytest.mark.parametrize(
        ("listen", "alone"),
        [
            (("tcp:0:interface=127.0.0.1", r"tcp6:0:interface=\:\:1", "unix:/tmp/x"), True),
            (("tcp:0:interface=127.9.9.9",), True),
            (("tcp:0",), False),
            (("tcp6:0",), False),
            ((ANY_PORT, "tcp:0:interface=192.0.2.1"), False),
            (("tcp:0:interface=localhost.example.org",), False),
        ],
    )
    def test_passwords_in_the_clear(
        self, tmp_path: Path, handler: Demanding, listen: tuple[str, ...], alone: bool
    ) -> None:
        """Only where any login will do, and nobody but this machine can listen to it."""
        service = made(tmp_path, handler="mine", listen=listen)
        assert service.smtp.factory.settings.allow_insecure_auth == alone
        service = made(tmp_path, handler="mine", listen=listen, auth=("memory:a:b",))
        assert not service.smtp.factory.settings.allow_insecure_auth
        handler.takes_any_login = False
        service = made(tmp_path, handler="mine", listen=listen)
        assert not service.smtp.factory.settings.allow_insecure_auth

    def test_its_warnings_are_logged(self, tmp_path: Path, handler: Demanding) -> None:
        """Each is one line."""
        handler.found = ["be\ncareful"]
        with capturedLogs() as events:
            made(tmp_path, handler="mine", no_tls=True)
        assert texts(events) == ["be careful"]

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ValueError("no\ngood"), "--handler mine: no good"),
            (OSError(5, "Input/output error", "/x"), "--handler mine: /x: Input/output error"),
        ],
    )
    def test_what_stops_it(
        self, tmp_path: Path, handler: Demanding, error: Exception, line: str
    ) -> None:
        """It is known before anything is bound."""
        handler.found = error
        with pytest.raises(ConfigurationError, match=line):
            made(tmp_path, handler="mine")

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ValueError("no\ngood"), "--handler: no good"),
            (OSError(5, "Input/output error", "/x"), "--handler: /x: Input/output error"),
        ],
    )
    def test_what_stops_it_when_it_starts(
        self,
        tmp_path: Path,
        handler: Demanding,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        error: Exception,
        line: str,
    ) -> None:
        """One line, and the ports are closed again."""
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        handler.failure = error
        service = made(tmp_path, handler="mine", no_tls=True)
        service.privilegedStartService()
        with pytest.raises(StartError, match=line):
            service.startService()
        assert capfd.readouterr().err == f"smtpcb: {line}\n"
        assert service.smtp.ports == []
        service.announcement = None  # a worker's
        with pytest.raises(ConfigurationError, match=line):
            service.startService()

    def test_an_object_of_one_s_own_that_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It need not be a plug-in's; a service that says nothing keeps its traceback."""
        monkeypatch.setattr(plugins_module, "import_handler", lambda path, where: Demanding())
        service = made(tmp_path, handler="python:a.b", no_tls=True)
        assert service.smtp.factory.settings.lenient_addresses

        class Broken(Service):
            def startService(self) -> None:
                raise ValueError("where?")

            def message(self, envelope: object) -> None:
                pass

        monkeypatch.setattr(plugins_module, "import_handler", lambda path, where: Broken())
        with pytest.raises(ValueError, match="where"):
            made(tmp_path, handler="python:a.b", no_tls=True).startService()

    def test_one_that_lacks_what_it_says_it_has(
        self, tmp_path: Path, handler: Demanding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The line names it."""
        monkeypatch.delattr(Demanding, "bare_newline")
        with pytest.raises(ConfigurationError, match=r"--handler: .*bare_newline"):
            made(tmp_path, handler="mine")

    def test_a_plug_in_that_is_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One of another edition takes other arguments: that is one line, too."""

        class Plugin:
            name = "mine"
            help = "Mine."

            def make(self, argument: str) -> object:
                return _Nothing

        monkeypatch.setattr(plugins_module, "getPlugins", lambda interface: [Plugin()])
        with pytest.raises(ConfigurationError, match=r"--handler mine: TypeError: .*arguments? bu"):
            made(tmp_path, handler="mine")

    def test_everything_that_is_asked_for_is_declared(self) -> None:
        """What a handler that says nothing is taken for is a provider of the interface too."""
        verifyObject(IReadyMadeHandler, handler_module.Undemanding())
        verifyObject(IReadyMadeHandler, Demanding())
        settings = handler_module.wishes_of(object())
        assert not settings.takes_any_login
        assert list(settings.check()) == []


@implementer(IReadyMadeHandler)
class Demanding(Service):
    """It wants all that can be wanted."""

    lenient_addresses = True
    bare_newline = "normalize"
    transcripts = True
    takes_any_login = True
    folders = ()
    report = ("my line",)
    setting: Any = None
    found: Any = ()
    failure: Exception | None = None

    def check(self) -> list[str]:
        if isinstance(self.found, Exception):
            raise self.found
        return list(self.found)

    def startService(self) -> None:
        if self.failure is not None:
            raise self.failure

    def authenticate(self, credentials: object, connection: object) -> bool:
        return True

    def message(self, envelope: object) -> None:
        pass


class TestOwnModules:
    """What ``python:`` imports, from where."""

    @pytest.fixture
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", os.getcwd())])
        return tmp_path

    def test_a_file_that_is_called_as_one_of_python_s(self, here: Path) -> None:
        """It hides nothing that somebody else imports, now or later."""
        standard = ["email", "json", "colorsys"]
        for name in standard:
            (here / f"{name}.py").write_text("raise RuntimeError('shadowed')")
        (here / "own_inbox.py").write_text(
            "import email, json\nclass Inbox:\n    def message(self, envelope): pass\n"
        )
        try:
            import_handler("own_inbox.Inbox", "--handler python:own_inbox.Inbox")
            importlib.invalidate_caches()
            for name in standard:
                spec = importlib.machinery.PathFinder.find_spec(name)
                assert spec is not None
                assert not str(spec.origin).startswith(str(here)), name
        finally:
            sys.modules.pop("own_inbox", None)

    def test_a_file_that_is_called_as_an_installed_one(self, here: Path) -> None:
        """The user's stands before that, as it would in a script."""
        (here / "pytest_twisted.py").write_text("")
        with pytest.raises(ConfigurationError, match=r"MODULE\.NAME is wanted"):
            import_handler("x", "--handler python:x")
        with pytest.raises(ConfigurationError, match="cannot import no_such_module"):
            import_handler("no_such_module.X", "--handler python:no_such_module.X")
        importlib.invalidate_caches()
        spec = importlib.machinery.PathFinder.find_spec("pytest_twisted")
        assert spec is not None
        assert str(spec.origin).startswith(str(here))

    def test_a_python_that_has_no_standard_library_in_files(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then it comes last."""
        monkeypatch.setattr(sys, "path", ["/frozen.zip"])
        with pytest.raises(ConfigurationError):
            import_handler("no_such_module.X", "--handler python:no_such_module.X")
        assert sys.path == ["/frozen.zip", str(here)]


class _Nothing:
    def message(self, envelope: object) -> None:
        pass


def write(path: Path, octets: bytes) -> Path:
    """Write a file that only we may read."""
    path.write_bytes(octets)
    path.chmod(0o600)
    return path


def offered(port: int) -> dict[str, str]:
    """Return the extensions that EHLO offers in the clear."""
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.ehlo()
        return dict(client.esmtp_features)


def test_replies_leave_at_once_unless_told_otherwise(start: Start) -> None:
    """The transport is a matter of speed, and can be turned off."""
    ports = [start().smtp.ports[0], start(no_direct_writes=True).smtp.ports[0]]
    assert [isinstance(port, DirectPort) for port in ports] == [True, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Extension('SIZE')", "--extension: SIZE is a keyword already"),
        ("Extension('XTAG', lambda now: 1 / 0)", "--extension: the offer of XTAG fails: Zero"),
    ],
)
def test_an_extension_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str
) -> None:
    """It is blamed on the option, and not on the handler."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_words.py").write_text(f"from smtpcb import Extension\nTAGS = {text}\n")
    monkeypatch.delitem(sys.modules, "own_words", raising=False)
    with pytest.raises(ConfigurationError, match=complaint):
        made(tmp_path, extension=("python:own_words.TAGS",))


def test_whom_a_server_believes(tmp_path: Path) -> None:
    """Balancers and proxies that are named; their clients' passwords are not safe in the clear."""
    nobody = made(tmp_path)
    assert not nobody.smtp.balancers
    assert nobody.smtp.factory.settings.xclient_from == ()
    assert nobody.smtp.factory.settings.allow_insecure_auth
    balanced = made(tmp_path, proxy_from=("10.0.0.0/8", "unix"), xforward_from=("::1",))
    assert balanced.smtp.balancers.texts == ("10.0.0.0/8", "unix")
    assert balanced.smtp.factory.settings.xforward_from == ("::1",)
    assert not balanced.smtp.factory.settings.allow_insecure_auth
    proxied = made(tmp_path, xclient_from=("127.0.0.1",))
    assert proxied.smtp.factory.settings.xclient_from == ("127.0.0.1",)
    assert not proxied.smtp.factory.settings.allow_insecure_auth


def test_extensions_are_offered_and_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command line names is what the dialogues have; without needs no capitals."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_words.py").write_text("from smtpcb import Extension\nTAGS = Extension('XT')\n")
    monkeypatch.delitem(sys.modules, "own_words", raising=False)
    service = made(
        tmp_path,
        extension=("python:own_words.TAGS",),
        without=("chunking", "VRFY"),
        hold_seconds=60,
        priority_profile="MIXER",
    )
    settings = service.smtp.factory.settings
    assert [own.keyword for own in settings.extensions] == ["XT"]
    assert settings.without == {"CHUNKING", "VRFY"}
    assert settings.limits.hold_seconds == 60
    assert settings.priority_profile == "MIXER"


def test_ports_with_tls_may_do_without_starttls(tmp_path: Path) -> None:
    """There is TLS from the beginning."""
    service = made(tmp_path, listen=(), smtps=(ANY_PORT,), without=("STARTTLS",), require_tls=True)
    assert service.smtp.factory.settings.require_tls
