"""Identities are read, kept, chosen by name and exchanged; the handshakes are real."""

from __future__ import annotations

import gc
import os
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.x509.oid import ExtensionOID
from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smtpcb.engine._connection import TlsInformation
from smtpcb.tls import (
    Identity,
    IdentityError,
    ServerTls,
    describe,
    load_pem,
    load_pkcs12,
    self_signed,
)
from tests.certificates import (
    Issued,
    make_authority,
    make_identity,
    unchecked,
    write_pem,
    write_pkcs12,
)

PASSPHRASE = b"correct horse battery"
WRONG = b"Tr0ub4dor-and-3"
MAIL = "mail.example.org"

ROOT = make_authority("Root")
INTERMEDIATE = make_authority("Intermediate", ROOT)
STRANGER = make_authority("Stranger")
ISSUED = make_identity([MAIL], INTERMEDIATE)
SIMPLE = make_identity([MAIL])


def serve(*issued: Issued, **settings: Any) -> ServerTls:
    return ServerTls(lambda: [one.identity for one in issued], **settings)


def trusting(*authorities: Issued) -> ssl.SSLContext:
    pem = "".join(ssl.DER_cert_to_PEM_cert(one.der) for one in authorities)
    return ssl.create_default_context(cadata=pem)


class Session:
    """One client of the standard library and one server of ours, joined in memory."""

    def __init__(
        self,
        tls: ServerTls,
        context: ssl.SSLContext | None = None,
        name: str | None = MAIL,
        resuming: ssl.SSLSession | None = None,
    ) -> None:
        self._to_client, self._to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = (context or unchecked()).wrap_bio(
            self._to_client, self._to_server, server_hostname=name, session=resuming
        )
        nobody: Any = None  # the protocol is not looked at
        self.server = tls.serverConnectionForTLS(nobody)
        self.server.set_accept_state()
        for _ in range(5):  # more than any handshake has flights
            for step in (self.client.do_handshake, self.server.do_handshake):
                with suppress(ssl.SSLWantReadError, SSL.WantReadError):
                    step()
                self._carry()
        self.exchange()

    def _carry(self) -> None:
        if self._to_server.pending:
            self.server.bio_write(self._to_server.read())
        with suppress(SSL.WantReadError):
            while True:
                self._to_client.write(self.server.bio_read(65536))

    def exchange(self) -> None:
        """Say something in both directions."""
        self.client.write(b"EHLO me\r\n")
        self._carry()
        assert self.server.recv(100) == b"EHLO me\r\n"
        self.server.send(b"250 you\r\n")
        self._carry()
        assert self.client.read(100) == b"250 you\r\n"

    @property
    def certificate(self) -> bytes | None:
        """What the client was shown."""
        return self.client.getpeercert(binary_form=True)


def pump(client: SSL.Connection, server: SSL.Connection) -> None:
    """Let two pyOpenSSL ends talk until neither has more to say."""
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                end.do_handshake()
            with suppress(SSL.WantReadError):
                end.recv(1)
            with suppress(SSL.WantReadError):
                while True:
                    other.bio_write(end.bio_read(65536))


def pyopenssl_pair(
    tls: ServerTls, version: int, name: bytes | None = None
) -> tuple[SSL.Connection, SSL.Connection]:
    """Make a client that can do what the standard library's cannot, and a server for it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    client = SSL.Connection(context, None)
    if name is not None:
        client.set_tlsext_host_name(name)
    client.set_connect_state()
    nobody: Any = None
    server = tls.serverConnectionForTLS(nobody)
    server.set_accept_state()
    return client, server


@pytest.fixture
def logged() -> Iterator[Callable[[], list[str]]]:
    """What was logged, as the reader of the log sees it."""
    with capturedLogs() as events:
        yield lambda: [
            formatEvent(event) for event in events if event["log_namespace"] == "smtpcb.tls"
        ]


# Reading files


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_pem_in_two_files(tmp_path: Path, passphrase: bytes | None, form: PrivateFormat) -> None:
    """A certificate and its key may be two PEM files, the key encrypted or not."""
    certificates = write_pem(tmp_path / "chain.pem", *ISSUED.chain)
    key = write_pem(tmp_path / "key.pem", ISSUED.private_key, passphrase=passphrase, form=form)
    identity = load_pem(certificates, key, passphrase)
    assert identity.chain == (ISSUED.certificate, INTERMEDIATE.certificate)
    assert identity.private_key.private_numbers() == ISSUED.private_key.private_numbers()
    Session(ServerTls(lambda: [identity]), trusting(ROOT))


@pytest.mark.parametrize("key_first", [True, False])
def test_pem_in_one_file(tmp_path: Path, key_first: bool) -> None:
    """Key and certificates may share one PEM file, in any order."""
    parts = [ISSUED.private_key, *ISSUED.chain]
    identity = load_pem(write_pem(tmp_path / "all.pem", *(parts if key_first else parts[::-1])))
    assert identity == ISSUED.identity


def test_a_chain_is_put_in_order(tmp_path: Path) -> None:
    """Clients get the certificate of the key first and then each one's issuer, as TLS demands."""
    wanted = (ISSUED.certificate, INTERMEDIATE.certificate, ROOT.certificate)
    stranger = STRANGER.certificate
    path = write_pem(tmp_path / "all.pem", stranger, *reversed(wanted), ISSUED.private_key)
    assert load_pem(path).chain == (*wanted, stranger)


def test_a_passphrase_nobody_needs_is_ignored(tmp_path: Path) -> None:
    """One passphrase may be configured for all keys, even if some are not encrypted."""
    path = write_pem(tmp_path / "all.pem", SIMPLE.private_key, SIMPLE.certificate)
    assert load_pem(path, passphrase=PASSPHRASE) == SIMPLE.identity


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_pkcs12(tmp_path: Path, passphrase: bytes | None) -> None:
    """A PKCS#12 file holds everything, and is read with its passphrase."""
    others = [ROOT.certificate, INTERMEDIATE.certificate]
    path = tmp_path / "identity.p12"
    write_pkcs12(path, ISSUED.private_key, ISSUED.certificate, others, passphrase)
    identity = load_pkcs12(path, passphrase)
    assert identity.chain == (ISSUED.certificate, INTERMEDIATE.certificate, ROOT.certificate)
    Session(ServerTls(lambda: [identity]), trusting(ROOT))


def _missing(folder: Path) -> Identity:
    return load_pem(folder / "none.pem")


def _directory(folder: Path) -> Identity:
    return load_pem(folder)


def _missing_certificate(folder: Path) -> Identity:
    return load_pem(folder / "none.pem", write_pem(folder / "key.pem", SIMPLE.private_key))


def _no_key(folder: Path) -> Identity:
    return load_pem(write_pem(folder / "bad.pem", SIMPLE.certificate))


def _no_pem_key(folder: Path) -> Identity:
    (folder / "bad.pem").write_bytes(b"\xff\xfe not PEM")
    return load_pem(folder / "bad.pem")


def _no_certificate(folder: Path) -> Identity:
    return load_pem(write_pem(folder / "bad.pem", SIMPLE.private_key))


def _no_passphrase(folder: Path) -> Identity:
    path = folder / "bad.pem"
    return load_pem(write_pem(path, SIMPLE.certificate, SIMPLE.private_key, passphrase=PASSPHRASE))


def _wrong_passphrase(folder: Path) -> Identity:
    path = folder / "bad.pem"
    write_pem(path, SIMPLE.certificate, SIMPLE.private_key, passphrase=PASSPHRASE)
    return load_pem(path, passphrase=WRONG)


def _mismatch(folder: Path) -> Identity:
    return load_pem(write_pem(folder / "bad.pem", SIMPLE.certificate, ISSUED.private_key))


def _useless_key(folder: Path) -> Identity:
    key: Any = x25519.X25519PrivateKey.generate()
    return load_pem(write_pem(folder / "bad.pem", SIMPLE.certificate, key))


def _damaged_certificate(folder: Path) -> Identity:
    junk = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"junk")
    damaged = make_identity([MAIL], alternatives=junk)
    return load_pem(write_pem(folder / "bad.pem", damaged.certificate, damaged.private_key))


def _missing_pkcs12(folder: Path) -> Identity:
    return load_pkcs12(folder / "none.p12", None)


def _pem_as_pkcs12(folder: Path) -> Identity:
    return load_pkcs12(write_pem(folder / "bad.p12", SIMPLE.private_key), PASSPHRASE)


def _pkcs12(folder: Path, passphrase: bytes | None) -> Identity:
    path = folder / "bad.p12"
    write_pkcs12(path, SIMPLE.private_key, SIMPLE.certificate, passphrase=PASSPHRASE)
    return load_pkcs12(path, passphrase)


def _pkcs12_no_passphrase(folder: Path) -> Identity:
    return _pkcs12(folder, None)


def _pkcs12_wrong_passphrase(folder: Path) -> Identity:
    return _pkcs12(folder, WRONG)


def _pkcs12_no_key(folder: Path) -> Identity:
    return load_pkcs12(write_pkcs12(folder / "bad.p12", None, SIMPLE.certificate), None)


def _pkcs12_no_certificate(folder: Path) -> Identity:
    return load_pkcs12(write_pkcs12(folder / "bad.p12", SIMPLE.private_key, None), None)


def _pkcs12_mismatch(folder: Path) -> Identity:
    others = [ROOT.certificate]
    return load_pkcs12(write_pkcs12(folder / "bad.p12", SIMPLE.private_key, None, others), None)


FAULTS = {
    _missing: "none.pem: No such file or directory",
    _directory: ": Is a directory",
    _missing_certificate: "none.pem: No such file or directory",
    _no_key: "bad.pem: no private key in PEM format",
    _no_pem_key: "bad.pem: no private key in PEM format",
    _no_certificate: "bad.pem: no certificate in PEM format",
    _no_passphrase: "bad.pem: the private key is encrypted, no passphrase was given",
    _wrong_passphrase: "bad.pem: the passphrase is wrong",
    _mismatch: "bad.pem: the private key does not match the certificate",
    _useless_key: "bad.pem: a private key of this kind cannot be used for TLS",
    _damaged_certificate: "bad.pem: holds a certificate that cannot be understood",
    _missing_pkcs12: "none.p12: No such file or directory",
    _pem_as_pkcs12: "bad.p12: not a PKCS#12 file",
    _pkcs12_no_passphrase: "bad.p12: it needs a passphrase, or the file is damaged",
    _pkcs12_wrong_passphrase: "bad.p12: the passphrase is wrong, or the file is damaged",
    _pkcs12_no_key: "bad.p12: holds no private key",
    _pkcs12_no_certificate: "bad.p12: holds no certificate",
    _pkcs12_mismatch: "bad.p12: the private key does not match the certificate",
}


@pytest.mark.parametrize(
    ("load", "fault"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", "")
)
def test_a_bad_file_is_one_clear_line(
    tmp_path: Path, load: Callable[[Path], Identity], fault: str
) -> None:
    """Whatever is wrong with a file is told in one line that names it, and no passphrase."""
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    text = str(caught.value)
    assert text.startswith(str(tmp_path))
    assert text.endswith(fault)
    assert "\n" not in text
    whole = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for secret in (PASSPHRASE, WRONG):
        assert secret.decode() not in whole


def test_an_identity_prints_no_secret(tmp_path: Path) -> None:
    """An identity may be printed or logged: it shows its certificates, never its key."""
    path = tmp_path / "identity.p12"
    write_pkcs12(path, SIMPLE.private_key, SIMPLE.certificate, passphrase=PASSPHRASE)
    identity = load_pkcs12(path, PASSPHRASE)
    assert PASSPHRASE.decode() not in repr(identity)
    assert "private_key" not in repr(identity)
    assert f"CN={MAIL}" in repr(identity)


@pytest.mark.parametrize("mode", [0o640, 0o604])
@pytest.mark.parametrize("write", [write_pem, write_pkcs12])
def test_a_key_others_may_read_is_warned_of(
    tmp_path: Path,
    logged: Callable[[], list[str]],
    write: Callable[..., Path],
    mode: int,
) -> None:
    """A private key its group or everybody can read is used, but the log says so."""
    path = write(tmp_path / "identity", SIMPLE.private_key, SIMPLE.certificate, mode=mode)
    identity = load_pem(path) if write is write_pem else load_pkcs12(path, None)
    assert identity == SIMPLE.identity
    assert logged() == [f"{path}: others may read this private key (mode {mode:04o})"]


def test_a_public_certificate_beside_a_private_key_is_fine(
    tmp_path: Path, logged: Callable[[], list[str]]
) -> None:
    """Everybody may read a certificate; only its key is a secret."""
    certificate = write_pem(tmp_path / "certificate.pem", SIMPLE.certificate, mode=0o644)
    load_pem(certificate, write_pem(tmp_path / "key.pem", SIMPLE.private_key, mode=0o600))
    assert logged() == []


@pytest.mark.parametrize(
    ("names", "common_name", "expected"),
    [
        (["Mail.Example.ORG", "*.example.net"], "other.example", (MAIL, "*.example.net")),
        ([], "Mail.Example.ORG", (MAIL,)),
        (["192.0.2.1"], MAIL, ()),
    ],
)
def test_names(names: Sequence[str], common_name: str, expected: Sequence[str]) -> None:
    """A certificate serves its subjectAltNames, or its common name if it has none at all."""
    issued = make_identity(names, common_name=common_name)
    assert issued.identity.names == expected


# The self-signed identity


def test_a_self_signed_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    """Without any certificate a server makes itself one, and has the same after a restart."""
    folder = tmp_path / "state" / "tls"
    made = self_signed(folder, MAIL)
    assert self_signed(folder, MAIL) == made == load_pem(folder / "identity.pem")
    assert made.names == (MAIL, "localhost")
    validity = made.expires - made.chain[0].not_valid_before_utc
    assert validity.days // 365 == 10
    assert [entry.name for entry in folder.iterdir()] == ["identity.pem"]


@pytest.mark.parametrize("name", [MAIL, "localhost", "127.0.0.1", "::1"])
def test_clients_can_trust_the_kept_file(tmp_path: Path, name: str) -> None:
    """Clients that are given identity.pem accept the server by its name or as the local host."""
    tls = ServerTls(lambda: [self_signed(tmp_path, MAIL)])
    context = ssl.create_default_context(cafile=tmp_path / "identity.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    Session(tls, context, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Session(tls, context, "other.example.org")


def test_only_its_owner_may_read_the_kept_key(tmp_path: Path) -> None:
    """The folder has mode 0700 and the file 0600, whatever the umask is."""
    umask = os.umask(0)
    try:
        self_signed(tmp_path / "state", MAIL)
    finally:
        os.umask(umask)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "identity.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("hostname", "names"),
    [
        ("Mail.Example.ORG.", (MAIL, "localhost")),
        ("bücher.example", ("xn--bcher-kva.example", "localhost")),
        ("localhost", ("localhost",)),
        ("192.0.2.1", ("localhost",)),
        (f"{'a' * 60}.{'b' * 60}.example", (f"{'a' * 60}.{'b' * 60}.example", "localhost")),
    ],
)
def test_any_host_name_can_be_self_signed(
    tmp_path: Path, hostname: str, names: Sequence[str]
) -> None:
    """Names in capitals, international or very long ones and addresses are all fine, and kept."""
    made = self_signed(tmp_path, hostname)
    assert made.names == names
    assert self_signed(tmp_path, hostname) == made


@pytest.mark.parametrize("hostname", ["", ".", "a..example", "a" * 64])
def test_what_is_no_host_name_is_refused(tmp_path: Path, hostname: str) -> None:
    """A name no certificate can hold is told as such, and nothing is written."""
    with pytest.raises(IdentityError, match=r"identity\.pem: '.*' can stand in no certificate$"):
        self_signed(tmp_path / "state", hostname)
    assert not (tmp_path / "state").exists()


def test_a_kept_identity_for_another_host_is_replaced(tmp_path: Path) -> None:
    """A machine that got a new name gets a new certificate."""
    old = self_signed(tmp_path, "old.example.org")
    new = self_signed(tmp_path, MAIL)
    assert new != old
    assert MAIL in new.names
    assert load_pem(tmp_path / "identity.pem") == new


def test_an_expired_kept_identity_is_replaced(tmp_path: Path) -> None:
    """A certificate clients no longer accept is of no use to anybody."""
    expired = make_identity([MAIL], days=-1)
    write_pem(tmp_path / "identity.pem", expired.private_key, expired.certificate)
    assert self_signed(tmp_path, MAIL) != expired.identity


def test_a_kept_identity_without_names_is_replaced(tmp_path: Path) -> None:
    """Clients look at the subjectAltName only, so one without is for no host."""
    nameless = make_identity([], common_name=MAIL)
    write_pem(tmp_path / "identity.pem", nameless.private_key, nameless.certificate)
    assert self_signed(tmp_path, MAIL) != nameless.identity


def test_a_broken_kept_file_is_left_alone(tmp_path: Path) -> None:
    """We never write a broken file, so what is in one is somebody's, and is not overwritten."""
    (tmp_path / "identity.pem").write_text("my only copy")
    with pytest.raises(IdentityError, match=r"identity\.pem: no private key in PEM format"):
        self_signed(tmp_path, MAIL)
    assert (tmp_path / "identity.pem").read_text() == "my only copy"


def test_a_crash_while_writing_does_no_harm(tmp_path: Path) -> None:
    """What a crashed process has left half written is in nobody's way."""
    (tmp_path / "identity.new").write_text("-----BEGIN PRIV")
    assert self_signed(tmp_path, MAIL).names == (MAIL, "localhost")
    assert [entry.name for entry in tmp_path.iterdir()] == ["identity.pem"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """The key goes into the folder, never to where a link in it leads."""
    for name in ("identity.pem", "identity.new"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    self_signed(tmp_path, MAIL)
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "identity.pem").is_symlink()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Where the folder cannot be, the error says so in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(IdentityError, match=r"/file/state: Not a directory$"):
        self_signed(tmp_path / "file" / "state", MAIL)


def test_threads_that_start_at_once_share_one_identity(tmp_path: Path) -> None:
    """However many ask first at the same moment, all get the one identity that is kept."""
    start = threading.Barrier(8)

    def ask(_: int) -> Identity:
        start.wait()
        return self_signed(tmp_path, MAIL)

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(ask, range(8)))
    assert made == {load_pem(tmp_path / "identity.pem")}


def test_processes_that_start_at_once_share_one_identity(tmp_path: Path) -> None:
    """Several servers started together in one folder all use the one identity that is kept."""
    program = (
        "import sys; from pathlib import Path; from smtpcb.tls import self_signed;"
        "print(flush=True);"
        f"input(); print(self_signed(Path(sys.argv[1]), {MAIL!r}).chain[0].serial_number)"
    )
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for server in servers:
        assert server.stdout is not None
        server.stdout.readline()  # it is ready
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    made = {int(server.communicate()[0]) for server in servers}
    assert made == {load_pem(tmp_path / "identity.pem").chain[0].serial_number}


# Handshakes


@pytest.mark.parametrize(
    "private_key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["EC", "RSA", "Ed25519"],
)
def test_every_kind_of_key_serves(private_key: Any) -> None:
    """EC, RSA and Ed25519 keys all work."""
    issued = make_identity([MAIL], ROOT, private_key=private_key)
    assert Session(serve(issued), trusting(ROOT)).certificate == issued.der


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_versions_accepted(version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 are spoken, whichever the client wants, never compressed (P37)."""
    context = trusting(ROOT)
    context.minimum_version = context.maximum_version = version
    session = Session(serve(ISSUED), context)
    assert session.client.version() == version.name.replace("_", ".")
    assert session.client.compression() is None


def test_tls_1_1_is_refused() -> None:
    """Clients stuck at TLS 1.1 get an alert (RFC 8996, P37)."""
    with pytest.raises(SSL.Error, match="unsupported protocol"):
        pump(*pyopenssl_pair(serve(SIMPLE), SSL.TLS1_1_VERSION))


def test_the_minimum_can_be_raised() -> None:
    """A server told to speak TLS 1.3 refuses TLS 1.2."""
    context = unchecked()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(SSL.Error, match="unsupported protocol"):
        Session(serve(SIMPLE, minimum=SSL.TLS1_3_VERSION), context)


def test_renegotiation_is_refused() -> None:
    """A client of TLS 1.2 has one handshake, and an alert when it wants another (RFC 5746, P37)."""
    client, server = pyopenssl_pair(serve(SIMPLE), SSL.TLS1_2_VERSION)
    pump(client, server)
    client.send(b"EHLO me\r\n")
    server.bio_write(client.bio_read(65536))
    assert server.recv(100) == b"EHLO me\r\n"
    client.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        pump(client, server)
    assert server.set_options(0) & SSL.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_not_resumed(version: ssl.TLSVersion) -> None:
    """A client that comes again has a handshake of its own, and nothing to keep a key for."""
    context = unchecked()
    context.minimum_version = context.maximum_version = version
    tls = serve(SIMPLE)
    first = Session(tls, context)
    again = Session(tls, context, resuming=first.client.session)
    assert not again.client.session_reused


EXACT = make_identity(["mail.example.org"])
WILDCARD = make_identity(["*.example.org", "example.org"])
DEFAULT = make_identity(["default.example"])
SECOND = make_identity(["mail.example.org"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mail.example.org", EXACT),
        ("MAIL.example.ORG", EXACT),
        ("imap.example.org", WILDCARD),
        ("example.org", WILDCARD),
        ("a.b.example.org", DEFAULT),
        ("unknown.example", DEFAULT),
        ("default.example", DEFAULT),
        (None, DEFAULT),
    ],
)
def test_the_server_name_chooses_the_identity(name: str | None, expected: Issued) -> None:
    """An exact name wins over a wildcard, and the first identity over others of its name."""
    session = Session(serve(DEFAULT, WILDCARD, EXACT, SECOND), name=name)
    assert session.certificate == expected.der


@pytest.mark.parametrize(
    ("ours", "offered", "agreed"),
    [
        ((), ["h2", "smtp"], None),
        ((b"smtp",), ["h2"], None),
        ((b"smtp",), ["h2", "smtp"], "smtp"),
        ((b"smtp", b"h2"), ["h2", "smtp"], "smtp"),
        ((b"smtp",), None, None),
    ],
)
@pytest.mark.parametrize("name", [None, MAIL])
def test_alpn_never_ends_a_handshake(
    ours: Sequence[bytes], offered: list[str] | None, agreed: str | None, name: str | None
) -> None:
    """A protocol both know is agreed on, ours first; sharing none is no reason to part."""
    context = unchecked()
    if offered is not None:
        context.set_alpn_protocols(offered)
    session = Session(serve(DEFAULT, SIMPLE, alpn=ours), context, name)
    assert session.client.selected_alpn_protocol() == agreed


# Reload


def test_a_reload_is_for_new_sessions_only() -> None:
    """After a reload new clients see the new certificate, and nobody else notices anything."""
    current = [DEFAULT, EXACT]
    tls = ServerTls(lambda: [one.identity for one in current])
    default, named = Session(tls, name=None), Session(tls)
    current[:] = [WILDCARD]
    tls.reload()
    gc.collect()  # what the open sessions still need must be kept by them
    for session, expected in ((default, DEFAULT), (named, EXACT)):
        session.exchange()
        assert session.certificate == expected.der
    assert Session(tls, name=None).certificate == WILDCARD.der
    assert Session(tls).certificate == WILDCARD.der
    assert tls.expires == WILDCARD.identity.expires


def test_a_broken_reload_changes_nothing(tmp_path: Path) -> None:
    """A bad new file is reported and the old certificate stays in use, until a good one comes."""
    path = write_pem(tmp_path / "all.pem", EXACT.private_key, EXACT.certificate)
    tls = ServerTls(lambda: [DEFAULT.identity, load_pem(path)])
    expires = tls.expires
    path.write_text("half of a fi")
    with pytest.raises(IdentityError, match=r"all\.pem: no private key in PEM format"):
        tls.reload()
    assert Session(tls).certificate == EXACT.der
    assert tls.expires == expires
    write_pem(path, SECOND.private_key, SECOND.certificate)
    tls.reload()
    assert Session(tls).certificate == SECOND.der


def test_an_identity_openssl_refuses_changes_nothing(tmp_path: Path) -> None:
    """A key that is too weak for OpenSSL's security level is reported like a bad file."""
    current = [EXACT.identity]
    tls = ServerTls(lambda: current)
    weak = make_identity([MAIL], private_key=rsa.generate_private_key(65537, 1024))
    path = write_pem(tmp_path / "weak.pem", weak.private_key, weak.certificate)
    current[:] = [DEFAULT.identity, load_pem(path)]
    with pytest.raises(IdentityError, match=r"weak\.pem: ee key too small$"):
        tls.reload()
    assert Session(tls, name=None).certificate == EXACT.der


@pytest.mark.parametrize(
    "private_key",
    [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)],
    ids=["EC", "RSA"],
)
def test_an_identity_put_together_wrongly_is_refused(private_key: Any) -> None:
    """A program that pairs a certificate with another's key hears of it at the start."""
    identity = Identity((SIMPLE.certificate,), private_key, "my program")
    with pytest.raises(IdentityError, match=r"^my program: (key values mismatch|no certificate)"):
        ServerTls(lambda: [identity])


def test_a_server_without_identity_does_not_start() -> None:
    """TLS without any certificate is a mistake in the configuration."""
    with pytest.raises(IdentityError, match="needs a private key and a certificate"):
        serve()


# Expiry


def test_expires_is_that_of_the_first_to_go() -> None:
    """Whoever watches the expiry has one date to watch."""
    soon = make_identity(["soon.example"], days=20)
    tls = serve(make_identity([MAIL], days=30), soon, make_identity([MAIL], days=40))
    assert tls.expires == soon.certificate.not_valid_after_utc


@pytest.mark.parametrize(("days", "word"), [(-1, "expired"), (13, "expires"), (15, None)])
def test_an_expiry_is_announced_two_weeks_ahead(
    tmp_path: Path, logged: Callable[[], list[str]], days: int, word: str | None
) -> None:
    """A certificate that has expired, or will within 14 days, is used and warned of."""
    issued = make_identity([MAIL], days=days)
    path = write_pem(tmp_path / "all.pem", issued.private_key, issued.certificate)
    tls = ServerTls(lambda: [load_pem(path)])
    date = issued.certificate.not_valid_after_utc.date()
    assert logged() == ([] if word is None else [f"{path}: the certificate {word} on {date}"])
    assert Session(tls).certificate == issued.der


# Client certificates


def client_context(folder: Path, issued: Issued, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = unchecked()
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(write_pem(folder / "client.pem", issued.private_key, *issued.chain))
    return context


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    return write_pem(tmp_path / "authorities.pem", STRANGER.certificate, ROOT.certificate)


@pytest.mark.parametrize("name", [None, MAIL])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_seen(
    tmp_path: Path, authorities: Path, version: ssl.TLSVersion, name: str | None
) -> None:
    """A client known to one of the authorities shows its certificate to handlers."""
    client = make_identity(["client.example.org"], INTERMEDIATE, client=True)
    context = client_context(tmp_path, client, version)
    tls = serve(DEFAULT, SIMPLE, client_authorities=authorities)
    assert describe(Session(tls, context, name).server).client_certificate == client.der


def test_a_client_is_told_whose_certificates_count(authorities: Path) -> None:
    """A client with several certificates can pick one, for the authorities are named to it."""
    tls = serve(SIMPLE, client_authorities=authorities)
    client, server = pyopenssl_pair(tls, SSL.TLS1_2_VERSION)
    pump(client, server)
    named = client.get_client_ca_list(as_cryptography=True)
    assert named == [STRANGER.certificate.subject, ROOT.certificate.subject]


def test_a_client_without_certificate_is_welcome(authorities: Path) -> None:
    """Asking for a certificate is not demanding one."""
    session = Session(serve(SIMPLE, client_authorities=authorities))
    assert describe(session.server).client_certificate is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [None, MAIL])
def test_a_client_of_an_unknown_authority_is_refused(
    tmp_path: Path, authorities: Path, version: ssl.TLSVersion, name: str | None
) -> None:
    """A certificate nobody we trust vouches for ends the handshake."""
    client = make_identity(["client.example.org"], make_authority("Nobody"), client=True)
    context = client_context(tmp_path, client, version)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        Session(serve(DEFAULT, SIMPLE, client_authorities=authorities), context, name)


def test_nobody_is_asked_for_a_certificate_by_default(tmp_path: Path) -> None:
    """A server that knows no authorities does not ask, so clients keep what they have."""
    client = make_identity(["client.example.org"], ROOT, client=True)
    context = client_context(tmp_path, client, ssl.TLSVersion.TLSv1_3)
    assert describe(Session(serve(SIMPLE), context).server).client_certificate is None


def test_a_reload_reads_the_authorities_again(tmp_path: Path, authorities: Path) -> None:
    """An authority taken from the file vouches for nobody any more."""
    client = make_identity(["client.example.org"], ROOT, client=True)
    context = client_context(tmp_path, client, ssl.TLSVersion.TLSv1_3)
    tls = serve(SIMPLE, client_authorities=authorities)
    Session(tls, context)
    authorities.write_text("")
    with pytest.raises(IdentityError, match=r"authorities\.pem: no certificate in PEM format"):
        tls.reload()
    Session(tls, context)
    write_pem(authorities, STRANGER.certificate)
    tls.reload()
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        Session(tls, context)


# What handlers get to know


def test_a_handshake_is_described() -> None:
    """Version, cipher and the name the client asked for are there for handlers and logs."""
    session = Session(serve(SIMPLE))
    cipher = session.client.cipher()
    assert cipher is not None
    assert describe(session.server) == TlsInformation(
        version="TLSv1.3", cipher=cipher[0], cipher_bits=cipher[2], server_name=MAIL
    )


def test_a_client_may_ask_for_no_name() -> None:
    """Without SNI there is no server name, not an empty one."""
    assert describe(Session(serve(SIMPLE), name=None).server).server_name is None


def test_a_server_name_cannot_forge_a_log_line() -> None:
    """Whatever bytes a client puts in the name, they are shown escaped and the default serves."""
    client, server = pyopenssl_pair(serve(SIMPLE), SSL.TLS1_3_VERSION, b"a\r\nb\xfc")
    pump(client, server)
    assert describe(server).server_name == r"a\r\nb\xfc"


@implementer(IHandshakeListener)
class Describing(Protocol):
    """Keeps what is known when the handshake is over, and answers."""

    def handshakeCompleted(self) -> None:
        self.factory.described = describe(self.transport.getHandle())

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"250 " + data)


def test_it_is_what_twisted_takes_for_tls() -> None:
    """It is passed to startTLS, listenTLS and endpoints like Twisted's own options."""
    tls = serve(SIMPLE)
    verifyObject(IOpenSSLServerConnectionCreator, tls)
    factory = Factory.forProtocol(Describing)
    clock = Clock()
    protocol = TLSMemoryBIOFactory(tls, False, factory, clock).buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(SIMPLE).wrap_bio(to_client, to_server, server_hostname=MAIL)

    def turn() -> None:
        if to_server.pending:
            protocol.dataReceived(to_server.read())
        clock.advance(0)  # Twisted joins small writes until the reactor's next turn
        to_client.write(transport.value())
        transport.clear()

    for _ in range(5):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        turn()
    client.write(b"EHLO me\r\n")
    turn()
    assert client.read(100) == b"250 EHLO me\r\n"
    assert factory.described.server_name == MAIL
