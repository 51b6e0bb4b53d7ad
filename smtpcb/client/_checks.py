"""CertificateChecks: whether a server's certificate is what it has to be, and what is not so."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any
from weakref import ref

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from smtpcb import tls
from smtpcb.client._addresses import ascii_name, is_address
from smtpcb.smtp import SMTPError, printable
from smtpcb.tls._identity import alternatives
from smtpcb.tls._reading import read_certificates
from smtpcb.tls._server import show

_NAMES_SHOWN = 5
_log = Logger(namespace="smtpcb.client")


class Check(enum.Enum):
    """What is asked of a certificate."""

    VALID_YET = "its time has begun"
    NOT_EXPIRED = "its time is not over"
    TRUSTED = "it is trusted itself"
    ISSUER = "it was issued by an authority that is trusted"
    REVOCATION = "it was not revoked"
    PURPOSE = "it is for a server"
    NAME = "it has the name of the server"
    OTHER = "OpenSSL takes it"

    __hash__ = object.__hash__


# X509_V_ERR_… of OpenSSL's x509_vfy.h; the words are ours.
_FAULTS = {
    9: (Check.VALID_YET, "is not valid yet"),
    10: (Check.NOT_EXPIRED, "has expired"),
    18: (Check.TRUSTED, "is self-signed, and not among those that are trusted"),
    19: (Check.ISSUER, "is issued by an authority that is not trusted"),
    20: (Check.ISSUER, "is issued by an authority that is not trusted"),
    21: (Check.ISSUER, "is issued by an authority that is not trusted"),
    23: (Check.REVOCATION, "was revoked"),
    26: (Check.PURPOSE, "is not for a server"),
}


class FailedCheck(SMTPError):  # noqa: N818 - it may be forgiven
    """
    A server's certificate is not what it has to be; the text says in one line which, and why.

    :ivar check: what was asked of it.
    :ivar hostname: the name or address of whom a certificate was wanted.
    :ivar certificate: the server's own or, where an authority is the trouble, that one's; ``None``:
        it cannot be read.
    """

    def __init__(
        self, check: Check, hostname: str, certificate: x509.Certificate | None, text: str
    ) -> None:
        super().__init__(text)
        self.check = check
        self.hostname = hostname
        self.certificate = certificate


Decide = Callable[[FailedCheck], bool]
"""Called with a check that has failed; True goes on all the same, as if it had not."""

Trust = Path | str | Iterable[x509.Certificate]
"""Who may issue certificates: those in a PEM file, or these."""


@implementer(IOpenSSLClientConnectionCreator)
class CertificateChecks:
    """
    TLS towards one server: 1.2 or later, with its name sent (SNI) and its certificate checked.

    :param hostname: the name or address that the certificate must have (RFC 9525): the one that you
        have from your user, never one that came out of the DNS.
    :param trust: a PEM file with those whom it may be issued by, or such certificates; by default
        those whom the platform trusts.
    :param certificate: who we are, if the server asks: an `Identity`, of which the whole chain is
        shown.
    :param decide: is called with each `FailedCheck`, while the handshake waits; those for which it
        returns True are forgiven.  By default none is.
    :param insecure_unverified: any certificate will do: whoever is on the way can be the server.
    :ivar failed: the check that has ended the handshake of a connection; see `anew`.
    :raises ValueError: there is no such name, or a file cannot be used; nothing is trusted in its
        place.
    :raises TypeError: the certificate is no `Identity`.
    """

    def __init__(
        self,
        hostname: str,
        *,
        trust: Trust | None = None,
        certificate: tls.Identity | None = None,
        decide: Decide | None = None,
        insecure_unverified: bool = False,
    ) -> None:
        if insecure_unverified and (trust is not None or decide is not None):
            raise ValueError("insecure_unverified: trust and decide are of no use")
        if certificate is not None and not isinstance(certificate, tls.Identity):
            raise TypeError("certificate is an Identity: smtpcb.tls.load_pem(path) reads one")
        default = trust is None and certificate is None
        self._shared = _platform() if default else _Shared(_trust_root(trust), certificate)
        self._decide = decide
        self._unverified = insecure_unverified
        self.failed: FailedCheck | None = None
        self._connection: ref[SSL.Connection] | None = None
        self._named(hostname)

    @property
    def is_strict(self) -> bool:
        """Whether no check that fails is ever forgiven."""
        return not self._unverified and self._decide is None

    def checks(self, connection: SSL.Connection | None) -> bool:
        """Whether this is the TLS that was made here; another endpoint may have made its own."""
        made = None if self._connection is None else self._connection()
        return made is not None and made is connection

    def _named(self, hostname: str) -> None:
        self._hostname = hostname
        self._sent: bytes | None = None
        self._wanted: Any
        if is_address(hostname):
            self._wanted = IPAddress_ID(hostname)
        else:
            name = ascii_name(hostname).removesuffix(".")
            self._wanted = DNS_ID(name)
            self._sent = name.encode("ascii")

    def anew(self, hostname: str | None = None) -> CertificateChecks:
        """
        Return the same for another connection.

        :param hostname: of another server.
        :raises ValueError: there is no such name.
        """
        made = copy(self)
        made.failed = None
        made._connection = None
        if hostname is not None:
            made._named(hostname)
        return made

    def unverified(self) -> CertificateChecks:
        """Return the same for another connection, which takes any certificate."""
        made = self.anew()
        made._unverified = True
        return made

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection = SSL.Connection(self._shared.context(), None)
        self._connection = ref(connection)
        if self._sent is not None:
            connection.set_tlsext_host_name(self._sent)
        if self._unverified:
            connection.set_verify(SSL.VERIFY_NONE, None)
        else:
            handshake = _Handshake(self, self._hostname, self._wanted, self._decide)
            connection.set_verify(SSL.VERIFY_PEER, handshake.check)
        return connection


class _Handshake:
    """What is found out in one handshake, and told to whoever has asked for it."""

    def __init__(
        self, checks: CertificateChecks, hostname: str, wanted: Any, decide: Decide | None
    ) -> None:
        self._checks = checks
        self._hostname = hostname
        self._wanted = wanted
        self._decide = decide
        self._name_checked = False

    def check(self, _: object, certificate: Any, number: int, depth: int, ok: int) -> bool:
        """Judge one certificate of the chain; at depth 0 it is the server's own."""
        try:
            if not ok:
                other = (Check.OTHER, f"is refused by OpenSSL (error {number})")
                check, words = _FAULTS.get(number, other)
                if not self._forgives(check, certificate, words):
                    return False
            if depth == 0 and not self._name_checked:
                self._name_checked = True
                return self._has_name(certificate)
        except Exception as error:  # nothing can be raised through OpenSSL
            text = f"a certificate cannot be read: {type(error).__name__}"
            self._refuse(FailedCheck(Check.OTHER, self._hostname, None, text))
            return False
        return True

    def _has_name(self, certificate: Any) -> bool:
        try:
            verify_service_identity(extract_patterns(certificate), [self._wanted], [])
        except (VerificationError, CertificateError):
            words = f"is not for {self._hostname}{_others(certificate)}"
            return self._forgives(Check.NAME, certificate, words)
        return True

    def _forgives(self, check: Check, certificate: Any, words: str) -> bool:
        """Ask whether to go on."""
        text = f"{_whose(certificate)} {words}"
        fault = FailedCheck(check, self._hostname, certificate.to_cryptography(), text)
        try:
            if self._decide is not None and self._decide(fault) is True:
                return True
        except Exception:  # as above
            _log.failure("what decides about certificates has failed; it is refused")
        self._refuse(fault)
        return False

    def _refuse(self, fault: FailedCheck) -> None:
        self._checks.failed = self._checks.failed or fault


class _Shared:
    """The context of TLS, made when it is wanted: to read whom a platform trusts takes long."""

    def __init__(self, trust_root: Any, certificate: tls.Identity | None) -> None:
        self._trust_root = trust_root
        self._certificate = certificate
        self._context: SSL.Context | None = None
        if certificate is not None:
            self.context()  # which finds out whether it is of use

    def context(self) -> SSL.Context:
        """Return it."""
        if self._context is None:
            self._context = CertificateOptions(trustRoot=self._trust_root).getContext()
            if self._certificate is not None:
                show(self._context, self._certificate)
        return self._context


@cache
def _platform() -> _Shared:
    """Return what all have in common who say nothing."""
    return _Shared(platformTrust(), None)


def _trust_root(trust: Trust | None) -> Any:
    if trust is None:
        return platformTrust()
    found = list(read_certificates(Path(trust)) if isinstance(trust, (str, Path)) else trust)
    if not found:
        raise ValueError("nobody's certificate is trusted: trust has none")
    return trustRootFromCertificates(
        Certificate(crypto.X509.from_cryptography(one)) for one in found
    )


def _whose(certificate: Any) -> str:
    subject = certificate.to_cryptography().subject.rfc4514_string()
    return f"the certificate '{printable(subject, 120)}'"


def _others(certificate: Any) -> str:
    """Say whom a certificate is for."""
    found = alternatives(certificate.to_cryptography())
    if found is None:
        return ": it has no subjectAltName"
    names = [*found.get_values_for_type(x509.DNSName)]
    names += map(str, found.get_values_for_type(x509.IPAddress))
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return f", but for {printable(', '.join(names[:_NAMES_SHOWN]), 200)}{more}" if names else ""
