"""What a login is bound to; and what nobody could log in to does not start."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from OpenSSL import SSL
from twisted.internet.task import Clock

from smtpcb import Credentials, Settings, SmtpServerFactory, tls
from smtpcb.tls._server import describe

from ..certificates import Issued, make_identity


class Inbox:
    """A handler that nobody can log in to."""

    discards_content = True

    def authenticate(self, credentials: Credentials, connection: object = None) -> bool:
        return False


def handshake(identity: Issued, *, most: int = SSL.TLS1_3_VERSION) -> tuple[SSL.Connection, ...]:
    """Return both ends of a connection."""
    server = tls.ServerTls(lambda: [identity.identity]).serverConnectionForTLS(None)
    server.set_accept_state()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(most)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    for _ in range(8):
        for one, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return client, server


def test_both_ends_have_the_same_exporter() -> None:
    """RFC 9266; another connection has another."""
    identity = make_identity(["localhost"])
    client, server = handshake(identity)
    bind = describe(server).bind
    assert bind is not None
    exported = bind("tls-exporter")
    assert exported == client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    others = handshake(identity)
    other = describe(others[1]).bind
    assert other is not None
    assert other("tls-exporter") not in (None, exported)
    assert bind("tls-unique") is None


def test_before_tls_1_3_there_is_the_certificate() -> None:
    """The exporter is not as good there (RFC 9266 §3); both ends mean that of the server."""
    identity = make_identity(["localhost"])
    client, server = handshake(identity, most=SSL.TLS1_2_VERSION)
    for bind in (describe(server).bind, describe(client, of_client=True).bind):
        assert bind is not None
        assert bind("tls-exporter") is None
        assert bind("tls-server-end-point") == identity.certificate.fingerprint(hashes.SHA256())


def test_a_certificate_without_a_hash_binds_nothing() -> None:
    """RFC 5929 §4.1 does not say how, for Ed25519."""
    identity = make_identity(["localhost"], private_key=ed25519.Ed25519PrivateKey.generate())
    _, server = handshake(identity)
    bind = describe(server).bind
    assert bind is not None
    assert bind("tls-server-end-point") is None
    assert bind("tls-exporter") is not None


def test_what_is_known_keeps_nothing_of_openssl() -> None:
    """A handler may keep a connection as long as it likes."""
    client, server = handshake(make_identity(["localhost"]))
    known = describe(server)
    del client, server
    gc.collect()
    assert known.bind is not None
    assert known.bind("tls-exporter") is None
    assert "bind" not in repr(known)


def test_require_tls_needs_tls() -> None:
    """A server that could take no mail from anybody does not start, nor does a door of one."""
    with pytest.raises(ValueError, match="require_tls needs tls"):
        SmtpServerFactory(Inbox, Settings(require_tls=True), reactor=Clock())
    factory = SmtpServerFactory(Inbox, reactor=Clock())
    with pytest.raises(ValueError, match="require_tls needs tls"):
        factory.doorway(Settings(require_tls=True))


def test_a_mechanism_that_nobody_can_decide_on_stops_the_start() -> None:
    """Asked for by name, it would never be offered; one line says what there could be."""
    settings = Settings(mechanisms=("PLAIN", "CRAM-MD5"))
    complaint = "names CRAM-MD5, on which Inbox cannot decide; it can on: PLAIN, LOGIN"
    with pytest.raises(ValueError, match=complaint):
        SmtpServerFactory(Inbox, settings, reactor=Clock())
    with pytest.raises(ValueError, match="on which the authenticator cannot decide"):
        SmtpServerFactory(Inbox, settings, reactor=Clock(), authenticator=Inbox())
    nobody = type("Nobody", (), {"discards_content": True})
    with pytest.raises(ValueError, match="on which Nobody cannot decide; it can on: none"):
        SmtpServerFactory(nobody, Settings(mechanisms=("PLAIN",)), reactor=Clock())
    SmtpServerFactory(Inbox, Settings(mechanisms=("LOGIN",)), reactor=Clock())
