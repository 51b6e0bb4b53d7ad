"""Whose certificate it is: what is checked, and which check has failed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

from smtpcb import tls
from smtpcb.smtp import printable
from smtpcb.tls._reading import read_certificates

# X509_V_ERR_… of OpenSSL's x509_vfy.h; the words are ours.
_FAULTS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed, and not among those that are trusted",
    19: "is issued by an authority that is not trusted",
    20: "is issued by an authority that is not trusted",
    21: "is issued by an authority that is not trusted",
    23: "was revoked",
    26: "is not for a server",
}


@implementer(IOpenSSLClientConnectionCreator)
class Checks:
    """
    TLS towards one server.

    :param hostname: the name or address that its certificate must have.
    :param trusted: a PEM file with those whom it may be issued by; ``None``: whom the platform
        trusts.
    :param identity: that of the client.
    :ivar failed: which check has failed; ``""``: none has.
    :raises ValueError: a file cannot be used, or there is no such name.
    """

    def __init__(
        self, hostname: str, trusted: Path | None = None, identity: tls.Identity | None = None
    ) -> None:
        self._hostname = hostname
        self._sent: bytes | None = None
        self._wanted: Any
        try:
            ip_address(hostname)
            self._wanted = IPAddress_ID(hostname)
        except ValueError:
            ascii_name = hostname if hostname.isascii() else hostname.encode("idna").decode()
            self._wanted = DNS_ID(ascii_name)
            self._sent = ascii_name.encode("ascii")
        given: dict[str, Any] = {}
        if identity is not None:
            certificate, *chain = map(crypto.X509.from_cryptography, identity.chain)
            key = crypto.PKey.from_cryptography_key(identity.private_key)
            given = {"privateKey": key, "certificate": certificate, "extraCertChain": chain}
        trust: Any = platformTrust()
        if trusted is not None:
            trust = trustRootFromCertificates(
                Certificate(crypto.X509.from_cryptography(one))
                for one in read_certificates(trusted)
            )
        self._context = CertificateOptions(trustRoot=trust, **given).getContext()
        self.failed = ""

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection = SSL.Connection(self._context, None)
        if self._sent is not None:
            connection.set_tlsext_host_name(self._sent)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._check)
        return connection

    def _check(self, _: object, certificate: Any, fault: int, depth: int, ok: int) -> bool:
        """Judge one certificate of the chain; at depth 0 it is the server's own."""
        try:
            whose = _named(certificate)
            if not ok:
                self._fail(
                    f"{whose} {_FAULTS.get(fault, f'is refused by OpenSSL (error {fault})')}"
                )
            elif depth == 0:
                self._check_name(certificate, whose)
        except Exception as error:  # nothing can be raised through OpenSSL
            self._fail(f"a certificate cannot be read: {type(error).__name__}")
        return not self.failed

    def _check_name(self, certificate: Any, whose: str) -> None:
        try:
            verify_service_identity(extract_patterns(certificate), [self._wanted], [])
        except VerificationError:
            self._fail(f"{whose} is not for {self._hostname} (--tls-hostname NAME says another)")

    def _fail(self, text: str) -> None:
        self.failed = self.failed or text


def _named(certificate: Any) -> str:
    subject = certificate.to_cryptography().subject.rfc4514_string()
    return f"the certificate '{printable(subject, 120)}'"
