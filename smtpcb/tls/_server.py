"""ServerTls: TLS as our servers speak it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from smtpcb.engine._connection import TlsInformation
from smtpcb.tls._binding import channel_binding
from smtpcb.tls._choice import place_of, places_by_name
from smtpcb.tls._ciphers import check_ciphers, set_ciphers
from smtpcb.tls._identity import Identity, IdentityError, alternatives
from smtpcb.tls._reading import read_certificates
from smtpcb.tls._validity import warn_of_dates

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    TLS as our servers speak it; pass it to ``startTLS`` and to TLS endpoints.

    Never below TLS 1.2, no compression, no renegotiation (RFC 9325 §3).  Where client and server
    share no ALPN protocol the handshake goes on as if neither knew ALPN: the alert of RFC 7301
    §3.2 would cost mail from clients whose TLS library offers ``h2`` unasked.

    The cipher suites are OpenSSL's own choice unless you make another.  A mail server that
    insists on better ones is sent the mail in the clear instead (RFC 7435 §3).

    :param load: reads the identities, at the start and at each `reload`.  The first is for
        clients that ask for no name or an unknown one.  Otherwise the name decides (SNI, RFC
        6066 §3), an exact one before a wildcard.  One that has a method ``files``, as
        `IdentityFiles` has, says what `refresh` is to look at.
    :param minimum: the lowest version, one of the constants of `OpenSSL.SSL`.
    :param ciphers: suites as OpenSSL names them, with colons between them; those that begin with
        ``TLS_`` are of TLS 1.3.  A version of which none is named keeps OpenSSL's choice.
    :param client_authorities: a PEM file.  Clients are asked for a certificate; one that has
        none is welcome, one whose certificate none of these authorities vouches for is not.
    :param alpn: protocols to agree on (RFC 7301), best first.
    :raises IdentityError: `load` raised it, or returned something OpenSSL refuses.
    :raises TypeError: `load` is no function: identities themselves, say.
    :raises ValueError: OpenSSL does not know one of the suites, or one protects nothing.
    :ivar expires: when the first of all identities expires, in UTC.
    :ivar identities: those in force.
    """

    expires: datetime
    _default: SSL.Context

    def __init__(
        self,
        load: Callable[[], Sequence[Identity]],
        *,
        minimum: int = SSL.TLS1_2_VERSION,
        ciphers: str | None = None,
        client_authorities: Path | None = None,
        alpn: Sequence[bytes] = (),
    ) -> None:
        if not callable(load):
            kind = type(load).__name__
            raise TypeError(f"load is a function that returns the identities, not {kind}")
        if ciphers is not None:
            check_ciphers(ciphers)
        self._load = load
        self._minimum = minimum
        self._ciphers = ciphers
        self._client_authorities = client_authorities
        self._alpn = tuple(alpn)
        self.identities: Sequence[Identity] = ()
        # Whoever reads does it in a thread, and several may be asked to.
        self._lock = threading.Lock()
        self._read = self._seen = _NOTHING
        self.reload()

    def reload(self) -> None:
        """
        Read everything again; new handshakes use it, open sessions go on as they are.

        What is in force then is warned of if its dates are amiss.

        :raises IdentityError: and what was in force before stays so.
        """
        with self._lock:
            self._reload(self._marks())

    def refresh(self) -> bool:
        """
        Do it if a file has changed since it was done, whether or not that went well.

        A file that has changed is left alone until it is found as it was the time before.  So those
        of a pair may be exchanged one after the other, and none is read that is half written.

        :return: whether it was done.
        :raises IdentityError: as `reload`.
        """
        with self._lock:
            marks = self._marks()
            settled, self._seen = marks == self._seen, marks
            if marks == self._read or not settled:
                return False
            self._reload(marks)
            return True

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Begin the server's side of one handshake."""
        return SSL.Connection(self._default, None)

    def _marks(self) -> _Marks:
        files: Callable[[], Sequence[Path]] | None = getattr(self._load, "files", None)
        named = [] if files is None else [*files()]
        if self._client_authorities is not None:
            named.append(self._client_authorities)
        return tuple(_mark(file) for file in named)

    def _reload(self, marks: _Marks) -> None:
        # Those from before it is read: what changes meanwhile is another change.
        self._read = self._seen = marks
        try:
            self._exchange(self._load())
        finally:
            warn_of_dates(self.identities)

    def _exchange(self, identities: Sequence[Identity]) -> None:
        if not identities:
            raise IdentityError("no identity: TLS needs a private key and a certificate")
        authorities: Sequence[x509.Certificate] = ()
        if self._client_authorities is not None:
            authorities = read_certificates(self._client_authorities)
        places = places_by_name(identities, datetime.now(UTC))

        # Not a method: a session keeps, through its context and this function, all contexts it
        # may have been moved between, and with them the callbacks OpenSSL has only pointers to.
        def choose(connection: SSL.Connection) -> None:
            connection.set_context(contexts[place_of(connection.get_servername() or b"", places)])

        # Where there is nothing to choose from, no handshake has to ask.
        chooser = choose if len(identities) > 1 else None
        contexts = [self._context(identity, authorities, chooser) for identity in identities]
        self._default = contexts[0]
        self.identities = tuple(identities)
        self.expires = min(identity.expires for identity in identities)

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
        if self._ciphers is not None:
            set_ciphers(context, self._ciphers)
        show(context, identity)
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


_Marks = tuple[tuple[object, ...], ...]
_NOTHING: _Marks = ()


def _mark(file: Path) -> tuple[object, ...]:
    """Return what is another once a file, or where a link to it leads, has been exchanged."""
    try:
        found = file.stat()
    except OSError as error:
        return str(file), error.errno
    return str(file), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def show(context: SSL.Context, identity: Identity) -> None:
    """Have a context show an identity."""
    try:
        context.use_certificate(identity.chain[0])
        context.use_privatekey(identity.private_key)
        for certificate in identity.chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.check_privatekey()
    except SSL.Error as error:
        fault = "; ".join(reason for *_, reason in error.args[0]) or "OpenSSL refuses it"
        raise IdentityError(f"{identity.source}: {fault}") from error


def describe(connection: SSL.Connection, *, of_client: bool = False) -> TlsInformation:
    """
    Tell what a completed handshake settled.

    What the client has chosen is escaped: the server name where it holds anything but printable
    ASCII, and names in a certificate where they hold what cannot be printed.

    :param of_client: this is the client's end.
    """
    name = connection.get_servername()
    asked = connection.get_verify_mode() != SSL.VERIFY_NONE
    certificate = connection.get_peer_certificate(as_cryptography=True) if asked else None
    subject, names, der = None, tuple[str, ...](), None
    if certificate is not None:
        subject = _printable(certificate.subject.rfc4514_string())
        names = tuple(map(_printable, _names_of(certificate)))
        der = certificate.public_bytes(Encoding.DER)
    # Not itself: whoever keeps what is known of a connection would keep all that OpenSSL has of it.
    bound = ref(connection)
    return TlsInformation(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        cipher_bits=connection.get_cipher_bits() or 0,
        server_name=None if name is None else _escaped(name.decode("latin-1")),
        client_certificate=der,
        client_subject=subject,
        client_names=names,
        bind=lambda kind: channel_binding(bound(), kind, of_client=of_client),
    )


def _names_of(certificate: x509.Certificate) -> list[str]:
    """Return host names and mail addresses in a certificate."""
    try:
        names = alternatives(certificate)
    except ValueError:  # damaged; whoever has signed that vouches for nobody by name
        return []
    if names is None:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *names.get_values_for_type(x509.RFC822Name),
    ]


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def _printable(text: str) -> str:
    # Without controls, and what turns the direction of writing round.
    return "".join(one if one.isprintable() else _escaped(one) for one in text)
