"""Server: one host, its port and its TLS; a session goes to whichever of its addresses has one."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator, Sequence
from copy import copy
from typing import Any

from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from smtpcb.client._addresses import (
    addresses_of,
    ascii_name,
    endpoint_of,
    is_address,
    shown_place,
)
from smtpcb.client._checks import CertificateChecks, Decide, Trust
from smtpcb.client._place import Candidate
from smtpcb.client._preface import Prefaced
from smtpcb.engine import ClientSettings
from smtpcb.tls import Identity

SUBMISSION_PORT = 587
"""Where messages are submitted (RFC 6409 §3.1)."""


class Server:
    """
    One server.  A host that has several addresses is as many servers that take the same mail.

    :param host: its name or address, ``""`` is this machine; or an endpoint of Twisted's, or the
        description of one, such as ``"unix:/run/lmtp.sock"``.
    :param port: of a host: a number, or the name of a service, such as ``"submission"``.
    :param implicit_tls: the connection begins with TLS (RFC 8314 §3.3).
    :param hostname: the name that its certificate must have; by default the host's.
    :param trust: whom certificates may be issued by; this and the next three are those of
        `CertificateChecks`.
    :param certificate: who we are.
    :param decide: what is forgiven.
    :param insecure_unverified: any certificate will do.
    :param creator: makes TLS in place of all that: an ``IOpenSSLClientConnectionCreator``.
    :raises ValueError: a description means nothing, or a file cannot be used.
    :ivar name: where it is, for errors.
    :ivar place: its host and its port; ``None``: an endpoint knows it.
    """

    def __init__(
        self,
        host: str | IStreamClientEndpoint,
        port: int | str = SUBMISSION_PORT,
        *,
        implicit_tls: bool = False,
        hostname: str | None = None,
        trust: Trust | None = None,
        certificate: Identity | None = None,
        decide: Decide | None = None,
        insecure_unverified: bool = False,
        creator: Any = None,
    ) -> None:
        if isinstance(host, str) and re.fullmatch(r"[^:\[\]]+:[0-9]+", host):
            name, _, number = host.partition(":")
            raise ValueError(f"{host}: say Server({name!r}, {number})")
        described = not isinstance(host, str) or (":" in host.partition("/")[0] and "[" not in host)
        self._described = described and not is_address(host)
        self._host = host if self._described else str(host).strip("[]") or "localhost"
        known = self._described or is_address(self._host)
        self._asked = "" if known else ascii_name(str(self._host))
        self._port = _port(port)
        self._implicit_tls = implicit_tls
        self.name = str(host) if self._described else shown_place(str(self._host), self._port)
        self.place = None if self._described else (str(self._host), self._port)
        wanted = hostname or ("" if self._described else str(self._host))
        if creator is None and wanted:
            creator = CertificateChecks(
                wanted,
                trust=trust,
                certificate=certificate,
                decide=decide,
                insecure_unverified=insecure_unverified,
            )
        if creator is None and implicit_tls:
            raise ValueError(f"{self.name}: TLS needs the hostname that the certificate must have")
        self.creator = creator
        self._preface = b""

    def behind(self, preface: bytes) -> Server:
        """Return the same, whose connections begin with some octets of ours, ahead of TLS."""
        other = copy(self)
        other._preface = preface
        return other

    async def candidates(
        self, settings: ClientSettings, seconds: float, reactor: Any
    ) -> AsyncGenerator[Sequence[Candidate], None]:
        """
        Tell its addresses; see `Place`.

        :raises ClientFailure: it has none, or they cannot be told.
        """
        host = self._host
        if not isinstance(host, str):
            yield [self._candidate(self.name, host)]
        elif self._described:
            yield [self._candidate(self.name, clientFromString(reactor, host))]
        else:
            yield [
                self._candidate(
                    shown_place(host, self._port, one),
                    endpoint_of(one, self._port, seconds, reactor),
                )
                for one in await addresses_of(self._asked or host, seconds, reactor)
            ]

    def _candidate(self, name: str, endpoint: Any) -> Candidate:
        creator = self.creator
        if isinstance(creator, CertificateChecks):
            creator = creator.anew()
        if self._preface:
            endpoint = Prefaced(endpoint, self._preface)
        if self._implicit_tls:
            endpoint = wrapClientTLS(creator, endpoint)
        return Candidate(name, endpoint, creator)


def _port(port: int | str) -> int:
    if isinstance(port, str) and not (port.isascii() and port.isdecimal()):
        try:
            return socket.getservbyname(port, "tcp")
        except OSError:
            raise ValueError(f"no such service: {port!r:.40}") from None
    if not 0 < int(port) < 65536:
        raise ValueError(f"a port is a number from 1 to 65535, not {port}")
    return int(port)
