"""Who we are under TLS: keys and certificates, chosen by server name, exchanged while running."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from smtpcb._files import read_all
from smtpcb.engine._connection import TlsInformation
from smtpcb.tls._certified import channel_binding, name_in

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | rsa.RSAPrivateKey
)
"""The kinds of key that TLS can sign with."""

EXPIRY_WARNING = timedelta(days=14)

# RFC 7468 §11 and, for the traditional form, RFC 1421 §4.6.1.1.
_ENCRYPTED = re.compile(rb"^(-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED)", re.MULTILINE)
_PFX_VERSION = b"\x02\x01\x03"  # INTEGER 3, first thing in every PKCS#12 file: RFC 7292 §4

_DER, _PEM = serialization.Encoding.DER, serialization.Encoding.PEM

_log = Logger(namespace="smtpcb.tls")


class IdentityError(ValueError):
    """A key or certificate cannot be used; the text is one line naming the file and the fault."""


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A private key, and the certificates that say whose it is.

    :ivar chain: the certificate of the key first, then each one's issuer (RFC 5246 §7.4.2);
        the root may be missing.
    :ivar private_key: EC, RSA or EdDSA.
    :ivar source: what messages call this identity: the file it was read from.
    """

    chain: tuple[x509.Certificate, ...]
    private_key: PrivateKey = field(repr=False, compare=False)
    source: str = field(default="identity", compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """
        The DNS names it may serve, in lower case; ``*.`` stands for exactly one label.

        The common name counts only where there is no subjectAltName (RFC 6125 §6.4.4).
        """
        alternatives = _alternatives(self.chain[0])
        if alternatives is not None:
            return tuple(n.lower() for n in alternatives.get_values_for_type(x509.DNSName))
        common = self.chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(attribute.value).lower() for attribute in common)

    @property
    def pem(self) -> bytes:
        """The chain, and the private key without a passphrase, for `from_pem`."""
        key = self.private_key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + b"".join(certificate.public_bytes(_PEM) for certificate in self.chain)

    @property
    def expires(self) -> datetime:
        """When the first certificate of the chain stops being valid, in UTC."""
        return self.chain[0].not_valid_after_utc


def load_pem(
    certificates: Path, private_key: Path | None = None, passphrase: bytes | None = None
) -> Identity:
    """
    Read an identity from PEM files (RFC 7468).

    :param certificates: the certificate and its issuers, in any order.
    :param private_key: ``None`` where the key is in the same file.
    :param passphrase: of the private key; not looked at when the key is not encrypted.
    :raises IdentityError: a file is missing, unreadable or not PEM; the passphrase is missing or
        wrong; the key is of no use for TLS or belongs to no certificate of the file.
    """
    key_path = private_key or certificates
    data = _read(key_path, secret=True)
    key = _private_key(data, key_path, passphrase)
    return _identity(certificates, key, _read_certificates(certificates))


def read_pem(data: bytes, path: Path) -> Identity:
    """
    Return the identity in the content of a PEM file, as `load_pem` does.

    :param path: where it is from.
    :raises IdentityError: as `load_pem`.
    """
    return _identity(path, _private_key(data, path, None), _certificates(data, path))


def _private_key(data: bytes, key_path: Path, passphrase: bytes | None) -> object:
    encrypted = _ENCRYPTED.search(data) is not None
    if encrypted and not passphrase:
        raise IdentityError(f"{key_path}: the private key is encrypted, no passphrase was given")
    try:
        return serialization.load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, UnsupportedAlgorithm) as error:
        fault = "the passphrase is wrong" if encrypted else "no private key in PEM format"
        raise IdentityError(f"{key_path}: {fault}") from error


def from_pem(pem: bytes, source: str) -> Identity:
    """Return the identity that `Identity.pem` is of."""
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, PrivateKey)
    return Identity(tuple(x509.load_pem_x509_certificates(pem)), key, source)


def load_pkcs12(path: Path, passphrase: bytes | None) -> Identity:
    """
    Read an identity from a PKCS#12 file, often named ``.p12`` or ``.pfx`` (RFC 7292).

    :param passphrase: of the file; ``None`` where it is not encrypted.
    :raises IdentityError: the file is missing, unreadable or not PKCS#12; the passphrase is
        missing or wrong; the file lacks a key usable for TLS or its certificate.
    """
    data = _read(path, secret=True)
    if _PFX_VERSION not in data[:16]:
        raise IdentityError(f"{path}: not a PKCS#12 file")
    try:
        content = pkcs12.load_pkcs12(data, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        fault = "it needs a passphrase" if passphrase is None else "the passphrase is wrong"
        raise IdentityError(f"{path}: {fault}, or the file is damaged") from error
    if content.key is None:
        raise IdentityError(f"{path}: holds no private key")
    # Which of them belongs to the key is told by the key, not by the file's attributes.
    own = [] if content.cert is None else [content.cert]
    certificates = [entry.certificate for entry in (*own, *content.additional_certs)]
    if not certificates:
        raise IdentityError(f"{path}: holds no certificate")
    return _identity(path, content.key, certificates)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    TLS as our servers speak it; pass it to ``startTLS`` and to TLS endpoints.

    Never below TLS 1.2 unless told so, no compression, no renegotiation (RFC 9325 §3).  Where
    client and server share no ALPN protocol the handshake goes on as if neither knew ALPN: the
    alert of RFC 7301 §3.2 would cost mail from clients whose TLS library offers ``h2`` unasked.

    The cipher suites are OpenSSL's own choice.  A mail server that insists on better ones is
    sent the mail in the clear instead (RFC 7435 §3).

    :param load: reads the identities, at the start and at each `reload`.  The first is for
        clients that ask for no name or an unknown one.  Otherwise the name decides (SNI, RFC
        6066 §3): the first identity with exactly this name, else the first with a fitting
        wildcard.
    :param minimum: the oldest version accepted, such as ``SSL.TLS1_3_VERSION``.
    :param client_authorities: a PEM file.  Clients are asked for a certificate; one that has
        none is welcome, one whose certificate none of these authorities vouches for is not.
    :param alpn: protocols to agree on (RFC 7301), best first.
    :raises IdentityError: `load` raised it, or returned something OpenSSL refuses.
    :raises TypeError: `load` is no function: identities themselves, say.
    :ivar expires: when the first of all identities expires, in UTC.
    """

    expires: datetime
    _default: SSL.Context

    def __init__(
        self,
        load: Callable[[], Sequence[Identity]],
        *,
        minimum: int = SSL.TLS1_2_VERSION,
        client_authorities: Path | None = None,
        alpn: Sequence[bytes] = (),
    ) -> None:
        if not callable(load):
            kind = type(load).__name__
            raise TypeError(f"load is a function that returns the identities, not {kind}")
        self._load = load
        self._minimum = minimum
        self._client_authorities = client_authorities
        self._alpn = tuple(alpn)
        self.reload()

    def reload(self) -> None:
        """
        Read everything again; new handshakes use it, open sessions go on as they are.

        :raises IdentityError: and what was in force before stays so.
        """
        identities = self._load()
        if not identities:
            raise IdentityError("no identity: TLS needs a private key and a certificate")
        authorities: Sequence[x509.Certificate] = ()
        if self._client_authorities is not None:
            authorities = _read_certificates(self._client_authorities)
        by_name: dict[str, SSL.Context] = {}

        # Not a method: a session keeps, through its context and this function, all contexts it
        # may have been moved between, and with them the callbacks OpenSSL has only pointers to.
        def choose(connection: SSL.Connection) -> None:
            name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
            wildcard = "*." + name.partition(".")[2]
            connection.set_context(by_name.get(name) or by_name.get(wildcard) or contexts[0])

        # Where there is nothing to choose from, no handshake has to ask.
        chooser = choose if len(identities) > 1 else None
        contexts = [self._context(identity, authorities, chooser) for identity in identities]
        for identity, context in zip(identities, contexts, strict=True):
            for name in identity.names:
                by_name.setdefault(name, context)
            _warn_of_expiry(identity)
        self._default = contexts[0]
        self.expires = min(identity.expires for identity in identities)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Begin the server's side of one handshake."""
        return SSL.Connection(self._default, None)

    def _context(
        self,
        identity: Identity,
        authorities: Sequence[x509.Certificate],
        choose: Callable[[SSL.Connection], None] | None,
    ) -> SSL.Context:
        # A used context cannot be changed, so each reload makes new ones.
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(self._minimum)
        # Resumption saved no measurable time, and its keys would live as long as the process.
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
        context.set_options(getattr(SSL, "OP_NO_RENEGOTIATION", 0))  # LibreSSL has none
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle sessions are many
        try:
            context.use_certificate(identity.chain[0])
            context.use_privatekey(identity.private_key)
            for certificate in identity.chain[1:]:
                context.add_extra_chain_cert(certificate)
            context.check_privatekey()
        except SSL.Error as error:
            fault = "; ".join(reason for *_, reason in error.args[0]) or "OpenSSL refuses it"
            raise IdentityError(f"{identity.source}: {fault}") from error
        if choose is not None:
            context.set_tlsext_servername_callback(choose)
        if self._alpn:
            # Returning b"" instead would abort the handshake.
            context.set_alpn_select_callback(
                lambda connection, offered: next(
                    (mine for mine in self._alpn if mine in offered), SSL.NO_OVERLAPPING_PROTOCOLS
                )
            )
        if authorities:
            context.set_verify(SSL.VERIFY_PEER)
            store = context.get_cert_store()
            assert store is not None
            for authority in authorities:
                store.add_cert(crypto.X509.from_cryptography(authority))
                context.add_client_ca(authority)
        return context


def describe(connection: SSL.Connection) -> TlsInformation:
    """
    Tell what a completed handshake settled.

    The server name is escaped where it holds anything but printable ASCII: it is the client's.
    """
    name = connection.get_servername()
    asked = connection.get_verify_mode() != SSL.VERIFY_NONE
    certificate = connection.get_peer_certificate(as_cryptography=True) if asked else None
    # Not itself: whoever keeps what is known of a connection would keep all that OpenSSL has of it.
    bound = ref(connection)
    return TlsInformation(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        cipher_bits=connection.get_cipher_bits() or 0,
        server_name=None if name is None else _printable(name),
        client_certificate=None if certificate is None else certificate.public_bytes(_DER),
        client_name=None if certificate is None else name_in(certificate),
        bind=lambda kind: channel_binding(bound(), kind),
    )


def _printable(name: bytes) -> str:
    return name.decode("latin-1").encode("unicode_escape").decode("ascii")


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = read_all(file)
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from error
    if secret:
        warn_of_readers(path, mode)
    return data


def warn_of_readers(path: Path, mode: int) -> None:
    """Say so if others may read the file of a private key."""
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        _log.warn(
            "{path}: others may read this private key (mode {mode})",
            path=path,
            mode=f"{stat.S_IMODE(mode):04o}",
        )


def _read_certificates(path: Path) -> Sequence[x509.Certificate]:
    return _certificates(_read(path), path)


def _certificates(data: bytes, path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise IdentityError(f"{path}: no certificate in PEM format") from error


def _identity(path: Path, key: object, certificates: Sequence[x509.Certificate]) -> Identity:
    if not isinstance(key, PrivateKey):
        raise IdentityError(f"{path}: a private key of this kind cannot be used for TLS")
    try:
        own = [c for c in certificates if c.public_key() == key.public_key()]
        for certificate in own:
            _alternatives(certificate)  # a damaged one shows now, not in a handshake
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{path}: holds a certificate that cannot be understood") from error
    if not own:
        raise IdentityError(f"{path}: the private key does not match the certificate")
    return Identity(_in_order(own[0], certificates), key, str(path))


def _in_order(
    leaf: x509.Certificate, certificates: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    # What fits nowhere goes last: names that mean the same may be spelled differently.
    chain = [leaf]
    others = [certificate for certificate in certificates if certificate != leaf]
    while issuer := next((c for c in others if c.subject == chain[-1].issuer), None):
        chain.append(issuer)
        others.remove(issuer)
    return (*chain, *others)


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _warn_of_expiry(identity: Identity) -> None:
    now = datetime.now(UTC)
    if identity.expires < now + EXPIRY_WARNING:
        _log.warn(
            "{source}: the certificate {expires} on {date}",
            source=identity.source,
            expires="expires" if now < identity.expires else "expired",
            date=identity.expires.date(),
        )
