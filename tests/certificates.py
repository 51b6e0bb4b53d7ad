"""Authorities, certificates and key files, made for one test."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smtpcb.tls import Identity, PrivateKey

_CERTIFICATE_SIGNING = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Issued:
    """
    A certificate, its key, and who issued it.

    :ivar issuer: ``None`` when the certificate is self-signed.
    """

    certificate: x509.Certificate
    private_key: PrivateKey
    issuer: Issued | None = None

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The certificate and its issuers, without the root, unless it is the only one."""
        if self.issuer is None or self.issuer.issuer is None:
            return (self.certificate,)
        return (self.certificate, *self.issuer.chain)

    @property
    def identity(self) -> Identity:
        """The same as smtpcb wants it."""
        return Identity(self.chain, self.private_key)

    @property
    def der(self) -> bytes:
        """The certificate as it goes over the wire."""
        return self.certificate.public_bytes(Encoding.DER)


def make_authority(name: str = "Test Authority", parent: Issued | None = None) -> Issued:
    """Make a root, or with a parent an intermediate authority."""
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (_CERTIFICATE_SIGNING, True),
    ]
    return _issue(name, extensions, parent, None, 3650)


def make_identity(
    names: Sequence[str],
    authority: Issued | None = None,
    *,
    common_name: str | None = None,
    days: float = 90,
    private_key: PrivateKey | None = None,
    client: bool = False,
    alternatives: x509.ExtensionType | None = None,
    begins: float = -1,
) -> Issued:
    """
    Make a certificate for DNS names or IP addresses.

    :param names: of the subjectAltName; there is none when this is empty.
    :param authority: ``None`` makes it self-signed.
    :param common_name: the first of `names` if not given.
    :param days: until it expires; less than nothing if that is in the past.
    :param client: for a client rather than a server.
    :param begins: the days until it is valid.
    :param alternatives: instead of what `names` would make, such as a damaged one.
    """
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.ExtendedKeyUsage([purpose]), False),
    ]
    if names and alternatives is None:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    if alternatives is not None:
        extensions.append((alternatives, False))
    subject = names[0] if common_name is None else common_name
    return _issue(subject, extensions, authority, private_key, days, begins)


def write_pem(
    path: Path,
    *objects: x509.Certificate | PrivateKey,
    passphrase: bytes | None = None,
    form: PrivateFormat = PrivateFormat.PKCS8,
    mode: int = 0o600,
) -> Path:
    """Write certificates and keys in the order given; a passphrase encrypts the keys."""
    path.write_bytes(
        b"".join(
            one.public_bytes(Encoding.PEM)
            if isinstance(one, x509.Certificate)
            else one.private_bytes(Encoding.PEM, form, _encryption(passphrase))
            for one in objects
        )
    )
    path.chmod(mode)
    return path


def write_pkcs12(
    path: Path,
    private_key: PrivateKey | None,
    certificate: x509.Certificate | None,
    others: Sequence[x509.Certificate] = (),
    passphrase: bytes | None = None,
    mode: int = 0o600,
) -> Path:
    """Write a PKCS#12 file with what is given, encrypted if there is a passphrase."""
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"test", private_key, certificate, list(others), _encryption(passphrase)
        )
    )
    path.chmod(mode)
    return path


def unchecked() -> ssl.SSLContext:
    """Return the context of a client that looks at no certificate, whoever issued it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _issue(
    name: str,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    issuer: Issued | None,
    private_key: PrivateKey | None,
    days: float,
    begins: float = -1,
) -> Issued:
    key = private_key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key if issuer is None else issuer.private_key
    expires = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(expires, datetime.now(UTC)) + timedelta(days=begins))
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    unhashed = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return Issued(builder.sign(signer, None if unhashed else hashes.SHA256()), key, issuer)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _encryption(passphrase: bytes | None) -> KeySerializationEncryption:
    return NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
