"""Identity: a private key, and the certificates that say whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | rsa.RSAPrivateKey
)
"""The kinds of key that TLS can sign with."""

_PEM = serialization.Encoding.PEM


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
        names = alternatives(self.chain[0])
        if names is not None:
            return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
        common = self.chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(attribute.value).lower() for attribute in common)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The IP addresses it may serve (RFC 5280 §4.2.1.6), in their shortest form."""
        names = alternatives(self.chain[0])
        if names is None:
            return ()
        return tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))

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

    @property
    def begins(self) -> datetime:
        """When that certificate starts being valid, in UTC."""
        return self.chain[0].not_valid_before_utc


def from_pem(pem: bytes, source: str) -> Identity:
    """Return the identity that `Identity.pem` is of."""
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, PrivateKey)
    return Identity(tuple(x509.load_pem_x509_certificates(pem)), key, source)


def put_together(source: object, key: object, certificates: Sequence[x509.Certificate]) -> Identity:
    """
    Return the identity of a key, with those of some certificates that belong to it.

    :param source: the file that the certificates are from.
    :param certificates: in any order.
    :raises IdentityError: the key is of no use for TLS or belongs to none of them.
    """
    if not isinstance(key, PrivateKey):
        raise IdentityError(f"{source}: a private key of this kind cannot be used for TLS")
    try:
        own = [one for one in certificates if one.public_key() == key.public_key()]
        for certificate in own:
            alternatives(certificate)  # a damaged one shows now, not in a handshake
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{source}: holds a certificate that cannot be understood") from error
    if not own:
        raise IdentityError(f"{source}: the private key does not match the certificate")
    return Identity(_in_order(own[0], certificates), key, str(source))


def alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """
    Return the names that a certificate has beside its subject's.

    :raises ValueError: they are damaged.
    """
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def normal_name(name: str) -> str:
    """
    Return how a host name or address is compared: in lower case and A-labels (RFC 5890 §2.3.2.1).

    :param name: an address literal of SMTP (RFC 5321 §4.1.3) is its address.
    """
    name = name.lower().rstrip(".")
    with suppress(ValueError):
        return str(ip_address(name.strip("[]").removeprefix("ipv6:")))
    with suppress(UnicodeError):
        return name.encode("idna").decode("ascii")
    return name


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
