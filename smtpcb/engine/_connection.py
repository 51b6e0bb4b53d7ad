"""Connection: what is known of one client, from its arrival on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from smtpcb.engine._budget import Budget
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._xclient import XClient

CLOSING = Reply(421, "Closing the connection")


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
    :ivar client_subject: whose it is, such as ``"CN=anne,O=Example"`` (RFC 4514).
    :ivar client_names: the host names and mail addresses in it.
    :ivar bind: returns the channel binding of a type such as ``"tls-exporter"`` (RFC 9266), or
        ``None``: there is none of that type.  It is ``None`` where nobody can tell.
    """

    version: str
    cipher: str
    cipher_bits: int
    server_name: str | None = None
    client_certificate: bytes | None = None
    client_subject: str | None = None
    client_names: tuple[str, ...] = ()
    bind: Callable[[str], bytes | None] | None = field(default=None, repr=False, compare=False)

    @property
    def client_name(self) -> str | None:
        """
        Whose the client's certificate is: its first mail address, else its first host name, else
        its subject; ``None`` without a certificate.
        """
        if self.client_certificate is None:
            return None
        mail = next((name for name in self.client_names if "@" in name), None)
        return mail or next(iter(self.client_names), None) or self.client_subject or None


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """
    What a balancer says of the TLS that its client speaks to it (PROXY protocol v2).

    :ivar version: such as ``"TLSv1.3"``, ``""`` if it does not say so.
    :ivar cipher: OpenSSL's name of the cipher suite, ``""`` if it does not say so.
    :ivar common_name: that of the client's certificate, or ``None``: there was none.
    :ivar verified: whether the balancer has verified that certificate.
    """

    version: str = ""
    cipher: str = ""
    common_name: str | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True)
class ProxyInformation:
    """
    What a trusted balancer says of a connection by its PROXY header; it has connected to us.

    :ivar address: the balancer's IP address as text, or ``""`` (a UNIX socket).
    :ivar port: the balancer's port, or 0.
    :ivar version: of the header: 1 or 2.
    :ivar client_known: whether it names a client; if not (``LOCAL`` is the balancer's own health
        check, ``UNKNOWN`` a client without an address), ``peer_address`` is the balancer's.
    :ivar server_name: the name the client asked for (RFC 6066 §3), or ``None``.
    :ivar unique_id: the balancer's name of the connection, or nothing.
    :ivar tls: of its client's TLS; ``None``: it says nothing of that, or there is none.
    :ivar values: type and value of all that version 2 can say, in order, those above included.
    """

    address: str
    port: int = 0
    version: int = 2
    client_known: bool = True
    server_name: str | None = None
    unique_id: bytes = b""
    tls: ProxyTls | None = None
    values: tuple[tuple[int, bytes], ...] = ()


class Bearer(Protocol):
    """Who leads the dialogue of a connection, while it lasts."""

    @property
    def handler_object(self) -> object:
        """The handler, as it was made."""

    def exchange(self, handler: object) -> None:
        """See `Connection.handler`."""

    def close(self, reply: Reply | None) -> None:
        """End it with a last word, or without one."""


@dataclass(slots=True, eq=False)
class Connection:
    """
    One client's connection; the same object for as long as it lasts.

    The server writes it, handlers read it.  Its methods are for the thread of the reactor.

    :ivar id: unique name of the connection, also that of its transcript; made of time,
        process, counter and random digits, never of anything the client said.
    :ivar peer_address: the client's IP address as text, or ``""`` (a UNIX socket), or
        ``"unknown"`` (a client behind a proxy that says by XCLIENT that it does not know it).
    :ivar peer_port: the client's port, or 0.
    :ivar host_address: our own end's IP address or socket path; behind a proxy, what the client
        has connected to.
    :ivar host_port: our own port, or 0.
    :ivar hostname: the name by which the client knows us, of greeting and EHLO.
    :ivar started: when the client was accepted, in UTC.
    :ivar tls: set once the connection is secured.
    :ivar lmtp: whether LMTP is spoken: ``message`` is answered for each recipient (RFC 2033).
    :ivar hello: the argument of the last accepted HELO, EHLO or LHLO; ``None`` before it, and
        again after STARTTLS (RFC 3207 §4.2).
    :ivar extended: whether that was EHLO or LHLO.
    :ivar identity: what the authenticator vouched for, by default the user's name; ``None``
        while nobody has authenticated.
    :ivar budget: what this connection has used and may still use.
    :ivar octets_in: what the client has sent, as far as it has been read; TLS is not counted.
    :ivar octets_out: what it has been told.
    :ivar worker: number of the process that serves it, from 1; 0 where there is only one.
    :ivar proxy: what the balancer before us says of the client by its PROXY header; ``None``: none
        is expected.
    :ivar xclient: what a trusted proxy says of the client by XCLIENT, or ``None``.
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
    octets_in: int = 0
    octets_out: int = 0
    worker: int = 0
    proxy: ProxyInformation | None = None
    xclient: XClient | None = None
    hostname: str = "localhost"
    bearer: Bearer | None = field(default=None, init=False, repr=False)

    @property
    def handler(self) -> object:
        """
        The handler of this connection; ``None`` while it is being made, and after the end.

        Another one can be put in its place, of any kind that a server takes: from then on it hears
        all that the old one would have heard, ``disconnected`` included, but not ``connected``.
        What the server offers is what the new one can do, as of the next command.

        :raises LocalProtocolError: mail data are coming in, which one handler takes as a whole; or
            the connection is over.
        :raises TypeError: a server would not start with it.
        :raises ValueError: likewise.
        """
        return None if self.bearer is None else self.bearer.handler_object

    @handler.setter
    def handler(self, handler: object) -> None:
        if self.bearer is None:
            raise LocalProtocolError("the connection has no dialogue that a handler could take on")
        self.bearer.exchange(handler)

    def close(self, reply: Reply = CLOSING) -> None:
        """
        End the connection from our side, as soon as the event under way is over.

        A message whose content is complete gets its answer first: whoever sent it must not send it
        again.  Where the dialogue is over, nothing happens.

        :param reply: what the client is told (RFC 5321 §3.8): 421, or another that refuses.
        :raises TypeError: it is something else.
        :raises ValueError: it refuses nothing.
        """
        if not isinstance(reply, Reply):
            raise TypeError(f"a Reply is wanted, such as Reply(421, 'Bye'), not {reply!r:.80}")
        if reply.code < 400:
            raise ValueError(f"the last word of a connection that is closed is no yes: {reply}")
        if self.bearer is not None:
            self.bearer.close(reply)

    def abort(self) -> None:
        """
        End it without a word, and throw away what is still to be sent.

        What the handler is still doing about a complete message goes on; its sender will send it
        again.  Where the connection is over, nothing happens.
        """
        if self.bearer is not None:
            self.bearer.close(None)
