"""Server: where a session goes, and how the connection is made."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS

from smtpcb.client._named import Named
from smtpcb.engine import Cause, ClientFailure, Stage

SUBMISSION_PORT = 587
"""Where messages are submitted (RFC 6409 §3.1)."""


class Server:
    """
    One server.

    :param host: its name or address; or an endpoint of Twisted's, or the description of one, such
        as ``"unix:/run/lmtp.sock"``.
    :param port: of a host.
    :param implicit_tls: the connection begins with TLS (RFC 8314 §3.3).
    :param hostname: the name that its certificate must have; by default the host's.
    :param trust: whose certificates are trusted: Twisted's ``trustRootFromCertificates(...)``; by
        default those that the platform does.
    :param certificate: that of the client, a ``PrivateCertificate`` of Twisted's.
    :param creator: makes TLS in place of all that: an ``IOpenSSLClientConnectionCreator``.
    :raises ValueError: a description means nothing.
    :ivar name: where it is, for errors.
    """

    def __init__(
        self,
        host: str | IStreamClientEndpoint,
        port: int = SUBMISSION_PORT,
        *,
        implicit_tls: bool = False,
        hostname: str | None = None,
        trust: Any = None,
        certificate: Any = None,
        creator: Any = None,
    ) -> None:
        if isinstance(host, str) and re.fullmatch(r"[^:\[\]]+:[0-9]+", host):
            name, _, number = host.partition(":")
            raise ValueError(f"{host}: say Server({name!r}, {number})")
        self._host = host
        self._port = port
        self._implicit_tls = implicit_tls
        described = not isinstance(host, str) or (":" in host.partition("/")[0] and "[" not in host)
        described = described and not _is_address(host)
        self._described = described
        self.name = str(host) if described else f"{host}:{port}"
        known = hostname or ("" if described else str(host))
        if creator is None and known:
            made = optionsForClientTLS(known, trustRoot=trust, clientCertificate=certificate)
            creator = Named(made, known)
        if creator is None and implicit_tls:
            raise ValueError(f"{self.name}: TLS needs the hostname that the certificate must have")
        self.creator = creator

    async def connect(self, protocol: Any, reactor: Any, seconds: float) -> None:
        """
        Connect a protocol.

        :raises ClientFailure: nobody is there.
        """
        endpoint = self._endpoint(reactor, seconds)
        if self._implicit_tls:
            endpoint = wrapClientTLS(self.creator, endpoint)
        factory = Factory.forProtocol(lambda: protocol)
        factory.noisy = False
        connecting: Deferred[Any] = endpoint.connect(factory)
        connecting.addTimeout(seconds, reactor)
        try:
            await connecting
        except Exception as error:
            text = str(error).rstrip(".") or type(error).__name__
            raise ClientFailure(Stage.GREETING, Cause.LOST, text) from error

    def _endpoint(self, reactor: Any, seconds: float) -> Any:
        if not self._described:
            # It tries every address, two at a time (RFC 8305).
            return HostnameEndpoint(reactor, str(self._host).strip("[]"), self._port, seconds)
        return clientFromString(reactor, self._host) if isinstance(self._host, str) else self._host


def _is_address(host: object) -> bool:
    """Whether a text with colons is an IPv6 address."""
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True
