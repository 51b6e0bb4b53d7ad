"""Certificates over real sockets: what is refused, what is told of it, and who may forgive it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.hazmat import DNS_ID
from twisted.internet import reactor
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    serverFromString,
    wrapClientTLS,
    wrapServerTLS,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.protocols import portforward
from zope.interface import implementer

from smtpcb import Settings, SmtpServerFactory, SmtpService
from smtpcb.client import (
    CertificateChecks,
    Check,
    FailedCheck,
    MailExchangers,
    NoSession,
    Server,
    open_session,
)
from smtpcb.client._checks import _Handshake
from smtpcb.client._credentials import nobody
from smtpcb.engine import Cause, ClientSettings, Stage
from smtpcb.smtp.sasl import Credentials
from smtpcb.tls import ServerTls
from tests.certificates import Issued, make_authority, make_identity, write_pem
from tests.client.names import Zones
from tests.client.servers import Hosts, ScriptedServer, known

HOST = "mail.example.org"
AUTHORITY = make_authority()
INTERMEDIATE = make_authority("Intermediate", AUTHORITY)
TRUSTED = [AUTHORITY.certificate]
GOOD = make_identity([HOST, "*.example.net", "127.0.0.1", "::1"], INTERMEDIATE)


class Doorman:
    """Takes who has a certificate."""

    discards_content = True
    mechanisms = frozenset({"EXTERNAL"})

    def authenticate(self, credentials: Credentials, connection: Any) -> bool:
        return credentials.mechanism == "EXTERNAL"


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serve with a certificate, and TLS from the beginning or by STARTTLS; return the port."""
    services: list[SmtpService] = []

    def start(
        issued: Issued,
        *,
        implicit: bool = False,
        **options: Any,
    ) -> int:
        tls = ServerTls(lambda: [issued.identity], **options)
        factory = SmtpServerFactory(Doorman(), Settings(), tls=tls)
        endpoint: Any = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        if implicit:
            endpoint = wrapServerTLS(factory.tls, endpoint, reactor)
        service = SmtpService(endpoint, factory)
        service.startService()
        services.append(service)
        return int(service.ports[0].getHost().port)

    yield start
    for service in services:
        pytest_twisted.blockon(service.stopService())


async def opened(port: int, *, settings: ClientSettings | None = None, **options: Any) -> Any:
    options = {"hostname": HOST, "trust": TRUSTED, **options}
    give = options.pop("give", nobody)
    place = Server("127.0.0.1", port, **options)
    return await open_session([place], settings or ClientSettings(), give=give, reactor=reactor)


async def refused(port: int, **options: Any) -> tuple[str, FailedCheck]:
    with pytest.raises(NoSession) as told:
        await opened(port, **options)
    [(_, failure)] = told.value.failures
    assert (failure.stage, failure.cause) == (Stage.TLS, Cause.TLS)
    assert not failure.elsewhere
    assert isinstance(failure.__cause__, FailedCheck)
    assert str(failure.__cause__) in str(told.value)
    return str(failure), failure.__cause__


SELF_SIGNED = make_identity([HOST])
WRONG = [
    (SELF_SIGNED, Check.TRUSTED, f"the certificate 'CN={HOST}' is self-signed, and not among"),
    (
        make_identity([HOST], AUTHORITY, days=-1),
        Check.NOT_EXPIRED,
        f"the certificate 'CN={HOST}' has expired",
    ),
    (
        make_identity([HOST], AUTHORITY, begins=1),
        Check.VALID_YET,
        f"the certificate 'CN={HOST}' is not valid yet",
    ),
    (
        make_identity([HOST], make_authority("Stranger")),
        Check.ISSUER,
        "is issued by an authority that is not trusted",
    ),
    (
        make_identity([HOST], AUTHORITY, client=True),
        Check.PURPOSE,
        f"the certificate 'CN={HOST}' is not for a server",
    ),
    (
        make_identity(["other.example.org", "10.0.0.1"], AUTHORITY),
        Check.NAME,
        f"'CN=other.example.org' is not for {HOST}, but for other.example.org, 10.0.0.1",
    ),
    (
        make_identity([], AUTHORITY, common_name=HOST),
        Check.NAME,
        f"'CN={HOST}' is not for {HOST}: it has no subjectAltName",
    ),
]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(("issued", "check", "says"), WRONG, ids=[row[1].name for row in WRONG])
async def test_which_check_has_failed_is_told(
    serve: Callable[..., int], issued: Issued, check: Check, says: str, implicit: bool
) -> None:
    """By whatever fails for it, and for whom it was; nothing was sent (P54)."""
    text, fault = await refused(serve(issued, implicit=implicit), implicit_tls=implicit)
    assert says in text
    assert (fault.check, fault.hostname) == (check, HOST)
    assert fault.certificate is not None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("issued", "check", "says"), WRONG, ids=[row[1].name for row in WRONG])
async def test_a_failed_check_may_be_forgiven(
    serve: Callable[..., int], issued: Issued, check: Check, says: str
) -> None:
    """Whoever decides sees it and says True, and nothing else; another one is still refused."""
    seen: list[FailedCheck] = []

    def decide(fault: FailedCheck) -> bool:
        seen.append(fault)
        return fault.check is check

    port = serve(issued)
    protocol = await opened(port, decide=decide)
    assert {one.check for one in seen} == {check}
    assert says in str(seen[0])
    await protocol.quit()
    _, fault = await refused(port, decide=lambda fault: "yes")
    assert fault.check is check


@pytest.mark.parametrize("ok", [0, 1])
def test_a_certificate_that_cannot_be_read_is_refused(ok: int) -> None:
    """Whatever is in it, and nobody is asked whether that may be."""
    asked: list[FailedCheck] = []
    checks = CertificateChecks(HOST)
    handshake = _Handshake(checks, HOST, DNS_ID(HOST), lambda fault: asked.append(fault) or True)  # type: ignore[func-returns-value]
    junk = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"junk")
    damaged = make_identity([HOST], AUTHORITY, alternatives=junk).certificate
    assert not handshake.check(None, X509.from_cryptography(damaged), 10, 0, ok)
    assert str(checks.failed).startswith("a certificate cannot be read: ")
    assert len(asked) == 1 - ok  # of its time, which could be read


@pytest_twisted.ensureDeferred
async def test_an_issuer_that_is_no_authority_is_refused(serve: Callable[..., int]) -> None:
    """A reason that has no words of ours has its number."""
    text, fault = await refused(serve(make_identity([HOST], make_identity(["x"], AUTHORITY))))
    assert fault.check in (Check.OTHER, Check.ISSUER)
    assert re.search(r"the certificate 'CN=x' is (refused by OpenSSL \(error \d+\)|issued)", text)


@pytest_twisted.ensureDeferred
async def test_who_forgives_one_check_has_not_forgiven_the_other(
    serve: Callable[..., int],
) -> None:
    """A certificate that is trusted like that has to have the name all the same."""
    port = serve(make_identity(["other.example.org"]))
    _, fault = await refused(port, decide=lambda fault: fault.check is Check.TRUSTED)
    assert fault.check is Check.NAME


@pytest_twisted.ensureDeferred
async def test_what_decides_and_fails_refuses(
    serve: Callable[..., int], clean_reactor: list[Any]
) -> None:
    """It is logged, and the check stays failed."""
    _, fault = await refused(serve(SELF_SIGNED), decide=lambda fault: 1 / 0)
    assert fault.check is Check.TRUSTED
    [event] = clean_reactor
    assert event["log_failure"].check(ZeroDivisionError)
    clean_reactor.clear()


@pytest_twisted.ensureDeferred
async def test_no_check_at_all_has_to_be_said(serve: Callable[..., int]) -> None:
    """By an option whose name says what it is (P54)."""
    place = Server(
        "127.0.0.1",
        serve(make_identity(["other.example.org"], days=-1)),
        hostname=HOST,
        insecure_unverified=True,
    )
    protocol = await open_session([place], ClientSettings(), reactor=reactor)
    assert protocol.dialogue is not None
    assert protocol.dialogue.tls is not None
    await protocol.quit()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "hostname",
    [HOST, "MAIL.example.org", f"{HOST}.", "a.example.net", "127.0.0.1", "::1", None],
)
async def test_names_that_fit(serve: Callable[..., int], hostname: str | None) -> None:
    """In any case, by a wildcard, and addresses too; the chain up to the authority was sent."""
    protocol = await opened(serve(GOOD), hostname=hostname)
    await protocol.quit()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "hostname", ["example.net", "a.b.example.net", "127.0.0.2", "::2", "example.org"]
)
async def test_names_that_do_not_fit(serve: Callable[..., int], hostname: str) -> None:
    """A star is one label; an address is not another one (P54)."""
    text, fault = await refused(serve(GOOD), hostname=hostname)
    assert fault.check is Check.NAME
    assert f"is not for {hostname}, but for {HOST}, " in text


@pytest_twisted.ensureDeferred
async def test_the_name_that_is_sent_is_the_one_that_is_checked(
    serve: Callable[..., int],
) -> None:
    """A server with several certificates shows the right one; of an address none is sent."""
    port = serve(make_identity(["xn--bcher-kva.example"], AUTHORITY))
    protocol = await opened(port, hostname="b\u00fccher.example")
    await protocol.quit()
    checks = CertificateChecks("b\u00fccher.example")
    assert checks.clientConnectionForTLS(None).get_servername() == b"xn--bcher-kva.example"
    assert CertificateChecks("192.0.2.1").clientConnectionForTLS(None).get_servername() is None


@pytest_twisted.ensureDeferred
async def test_who_we_are_is_shown_with_its_whole_chain(
    serve: Callable[..., int], tmp_path: Path
) -> None:
    """A server that knows the root alone believes it, and we can log in by it."""
    ours = make_identity(["anne@example.org"], INTERMEDIATE, client=True)
    root = write_pem(tmp_path / "root.pem", AUTHORITY.certificate)
    port = serve(GOOD, client_authorities=root)
    settings = ClientSettings(login="required", mechanisms=("EXTERNAL",))
    protocol = await opened(
        port,
        certificate=ours.identity,
        settings=settings,
        give=lambda mechanism: Credentials(mechanism, "", "", authorization_id="anne@example.org"),
    )
    assert protocol.dialogue.mechanism == "EXTERNAL"
    await protocol.quit()
    with pytest.raises(NoSession, match="auth: "):
        await opened(port, settings=settings)


def test_a_file_of_authorities_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    """Nobody is trusted in its place."""
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "text.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----")
    for name in ("none.pem", "empty.pem", "text.pem", "."):
        with pytest.raises(ValueError, match=str(tmp_path / name)):
            Server(HOST, trust=tmp_path / name)
    with pytest.raises(ValueError, match="nobody's certificate is trusted"):
        Server(HOST, trust=[])
    write_pem(tmp_path / "ca.pem", AUTHORITY.certificate)
    Server(HOST, trust=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"hostname": "a b"}, ValueError, "'a b' is no name"),
        ({"hostname": "x" * 64 + "\u00fc.example"}, ValueError, "is no name: "),
        ({"insecure_unverified": True, "trust": TRUSTED}, ValueError, "are of no use"),
        ({"insecure_unverified": True, "decide": bool}, ValueError, "are of no use"),
        ({"certificate": "anne.pem"}, TypeError, "smtpcb.tls.load_pem"),
    ],
)
def test_checks_that_cannot_be(options: Any, kind: type[Exception], says: str) -> None:
    """They are told when they are made, in words that help."""
    with pytest.raises(kind, match=says):
        Server(HOST, **options)


@pytest_twisted.ensureDeferred
async def test_tls_that_cannot_be_begun_ends_the_session(serve: Callable[..., int]) -> None:
    """What makes it is your own, and fails; nobody waits for it."""

    @implementer(IOpenSSLClientConnectionCreator)
    class Failing:
        def clientConnectionForTLS(self, protocol: object) -> Any:
            raise OSError("no token in the slot")

    with pytest.raises(NoSession, match="tls: there can be none: no token in the slot") as told:
        await opened(serve(GOOD), creator=Failing())
    assert told.value.failures[0][1].cause is Cause.TLS


@pytest_twisted.ensureDeferred
async def test_any_certificate_will_do_for_an_exchanger_unless_tls_is_required(
    serve: Callable[..., int],
) -> None:
    """Without TLS it would go in the clear (RFC 7435); required, it is the exchanger's name."""
    port = serve(make_identity(["mx.example.org"], AUTHORITY))
    zones = Zones({"example.org": ["MX 1 mx.example.org"], "mx.example.org": ["A 127.0.0.1"]})
    options: dict[str, Any] = {"allow_local": True, "resolver": zones}
    stranger = MailExchangers("example.org", port, **options)
    trusting = MailExchangers("example.org", port, trust=TRUSTED, **options)
    opportunistic, required = ClientSettings(starttls="opportunistic"), ClientSettings()
    for place, settings in (
        (stranger, opportunistic),
        (trusting, required),
        (trusting, opportunistic),
    ):
        protocol = await open_session([place], settings, reactor=reactor)
        assert protocol.dialogue is not None
        assert protocol.dialogue.tls is not None
        await protocol.quit()
    with pytest.raises(NoSession, match="is issued by an authority that is not trusted"):
        await open_session([stranger], required, reactor=reactor)
    zones.zones["example.org"] = ["MX 1 other.example.org"]
    zones.zones["other.example.org"] = ["A 127.0.0.1"]
    with pytest.raises(NoSession, match=r"is not for other.example.org, but for mx.example.org"):
        await open_session([trusting], required, reactor=reactor)


@pytest_twisted.ensureDeferred
async def test_the_name_that_is_checked_is_the_one_that_was_said(serve: Callable[..., int]) -> None:
    """Whatever stands behind it in the DNS: a name that the DNS says is checked by nobody."""
    port = serve(make_identity(["canonical.example.net"], AUTHORITY))
    with (
        known(Hosts(mail_example_org=["127.0.0.1"], canonical_example_net=["127.0.0.1"])),
        pytest.raises(NoSession, match=r"is not for mail.example.org, but for canonical"),
    ):
        await open_session([Server(HOST, port, trust=TRUSTED)], ClientSettings(), reactor=reactor)


class Stripping(portforward.ProxyClient):
    """Passes on what a server says, but for its offer of STARTTLS."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data.replace(b"250-STARTTLS\r\n", b"250-XXXXXXXX\r\n"))


class Between(portforward.ProxyServer):
    """Keeps what a client says."""

    class clientProtocolFactory(portforward.ProxyClientFactory):  # noqa: N801
        noisy = False
        protocol = Stripping

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard += data  # type: ignore[union-attr]
        super().dataReceived(data)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("starttls", ["required", "opportunistic"])
async def test_whoever_takes_the_offer_away_hears_nothing(
    serve: Callable[..., int], starttls: Any
) -> None:
    """No login and no message goes in the clear because somebody on the way wants it so."""
    factory: Any = portforward.ProxyFactory("127.0.0.1", serve(GOOD))
    factory.protocol, factory.heard, factory.noisy = Between, b"", False
    port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    settings = ClientSettings(hostname="localhost", starttls=starttls, login="required")
    try:
        with pytest.raises(NoSession, match=r"tls: STARTTLS is not offered|auth: "):
            await opened(
                port.getHost().port,
                settings=settings,
                give=lambda mechanism: Credentials(mechanism, "anne", "tim"),
            )
    finally:
        await port.stopListening()
    assert factory.heard == b"EHLO localhost\r\nQUIT\r\n"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("refusal", [b"454 not now\r\n", b"502 what?\r\n", b"250 go\r\n"])
async def test_an_offer_that_is_not_kept_ends_it(refusal: bytes) -> None:
    """Even where TLS is not required."""
    server = ScriptedServer(b"220 here\r\n", b"250-here\r\n250 STARTTLS\r\n", refusal)
    port = server.listen()
    for starttls in ("required", "opportunistic"):
        settings: Any = ClientSettings(hostname="localhost", starttls=starttls)
        with pytest.raises(NoSession, match=f"tls: .*{refusal.decode().strip()}"):
            await opened(port, settings=settings)
    await server.stop()
    assert server.got.count(b"STARTTLS\r\n") == 2
    assert server.got.replace(b"QUIT\r\n", b"") == b"EHLO localhost\r\nSTARTTLS\r\n" * 2


@pytest.mark.parametrize("options", [{}, {"insecure_unverified": True}, {"trust": TRUSTED}])
def test_tls_is_1_2_or_later(options: Any) -> None:
    """Nothing else is offered (RFC 8996 §2), to anybody."""
    connection = CertificateChecks(HOST, **options).clientConnectionForTLS(None)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    hello = connection.bio_read(65536)
    assert b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03" in hello  # supported_versions: RFC 8446 §4.2.1
    assert HOST.encode() in hello


@implementer(IOpenSSLClientConnectionCreator)
class Anything:
    """Makes TLS that takes any certificate."""

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(CertificateOptions().getContext(), None)


@pytest_twisted.ensureDeferred
async def test_only_tls_that_was_checked_here_is_verified(serve: Callable[..., int]) -> None:
    """An endpoint may bring a TLS of its own, of which nobody here knows what it takes."""
    for implicit in (False, True):
        session = await opened(serve(GOOD, implicit=implicit), implicit_tls=implicit)
        assert session.is_verified
        await session.quit()
    anybody = wrapClientTLS(
        Anything(),
        TCP4ClientEndpoint(reactor, "127.0.0.1", serve(SELF_SIGNED, implicit=True)),
    )
    place = Server(anybody, hostname=HOST, trust=TRUSTED)
    session = await open_session([place], ClientSettings(), reactor=reactor)
    assert not session.is_verified
    await session.quit()
