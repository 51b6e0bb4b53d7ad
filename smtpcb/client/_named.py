"""Whose certificate it is: one whose names cannot be read is nobody's."""

from __future__ import annotations

from typing import Any
from weakref import ref

from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IOpenSSLClientConnectionCreator)
class Named:
    """
    TLS whose certificate has a name.

    Twisted's ``optionsForClientTLS`` compares names as well; but a certificate without
    subjectAltName, or with one that `service_identity` cannot read, it lets pass and only logs
    that (in Twisted 26.10), so whoever has a certificate of any trusted authority could be
    anybody.

    :param creator: makes the connections.
    :param hostname: the name or address that the certificate must have.
    """

    def __init__(self, creator: Any, hostname: str) -> None:
        self._creator = creator
        hostname = hostname.strip("[]")
        address = isIPAddress(hostname) or isIPv6Address(hostname)
        self._wanted: Any = (IPAddress_ID if address else DNS_ID)(hostname)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:  # noqa: N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection = self._creator.clientConnectionForTLS(tlsProtocol)
        protocol = ref(tlsProtocol)  # which has the connection, which has this

        def check(_: object, certificate: Any, fault: int, depth: int, ok: int) -> bool:
            if depth or not ok:  # at depth 0 it is the server's own
                return bool(ok)
            try:
                verify_service_identity(extract_patterns(certificate), [self._wanted], [])
            except Exception as error:  # nothing can be raised through OpenSSL
                known = isinstance(error, VerificationError)
                told = error if known else VerificationError([f"{error}"])  # type: ignore[list-item]
                if (there := protocol()) is not None:
                    there.failVerification(Failure(told))
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
        return connection
