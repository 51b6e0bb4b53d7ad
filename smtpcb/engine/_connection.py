"""Connection: what is known of one client, from its arrival on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from smtpcb.engine._budget import Budget


@dataclass(frozen=True, slots=True)
class TlsInformation:
    """
    What a handshake settled.

    :ivar version: such as ``"TLSv1.3"``.
    :ivar cipher: OpenSSL's name of the cipher suite.
    :ivar cipher_bits: strength of its secret key.
    :ivar server_name: the name the client asked for (RFC 6066 §3), or ``None``.
    :ivar client_certificate: the client's certificate in DER, verified against the configured
        authorities, or ``None``: none was asked for, or none was given.
    """

    version: str
    cipher: str
    cipher_bits: int
    server_name: str | None = None
    client_certificate: bytes | None = None


@dataclass(slots=True, eq=False)
class Connection:
    """
    One client's connection; the same object for as long as it lasts.

    The server writes it, handlers read it.

    :ivar id: unique name of the connection, also that of its transcript; made of time,
        process, counter and random digits, never of anything the client said.
    :ivar peer_address: the client's IP address as text, or ``""`` (a UNIX socket).
    :ivar peer_port: the client's port, or 0.
    :ivar host_address: our own end's IP address or socket path.
    :ivar host_port: our own port, or 0.
    :ivar started: when the client was accepted, in UTC.
    :ivar tls: set once the connection is secured.
    :ivar lmtp: whether LMTP is spoken: ``message`` is answered for each recipient (RFC 2033).
    :ivar hello: the argument of the last accepted HELO, EHLO or LHLO; ``None`` before it, and
        again after STARTTLS (RFC 3207 §4.2).
    :ivar extended: whether that was EHLO or LHLO.
    :ivar identity: what the authenticator vouched for, by default the user's name; ``None``
        while nobody has authenticated.
    :ivar budget: what this connection has used and may still use.
    :ivar worker: number of the process that serves it, from 1; 0 where there is only one.
    """

    id: str
    peer_address: str = ""
    peer_port: int = 0
    host_address: str = ""
    host_port: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    tls: TlsInformation | None = None
    lmtp: bool = False
    hello: str | None = None
    extended: bool = False
    identity: object | None = None
    budget: Budget = field(default_factory=Budget)
    worker: int = 0
