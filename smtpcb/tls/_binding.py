"""What both ends of a TLS connection know, and a login can be bound to."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

# RFC 9266 §4.2, RFC 5705 §4.
_LABEL, _OCTETS = b"EXPORTER-Channel-Binding", 32


def channel_binding(
    connection: SSL.Connection | None, kind: str, *, of_client: bool = False
) -> bytes | None:
    """
    Return what both ends of a TLS connection know, and nobody who stands between two.

    :param connection: whose handshake is complete; ``None``: it is over.
    :param kind: ``"tls-exporter"`` (RFC 9266) or ``"tls-server-end-point"`` (RFC 5929 §4).
    :param of_client: this is the client's end, and the server's certificate is the other one's.
    :return: ``None``: there is none of that type.
    """
    if connection is None:
        return None
    if kind == "tls-exporter":
        # Before TLS 1.3 it is as good only with an extension of which nobody tells us (§3).
        if connection.get_protocol_version_name() != "TLSv1.3":
            return None
        return bytes(connection.export_keying_material(_LABEL, _OCTETS, b""))
    of_server = connection.get_peer_certificate if of_client else connection.get_certificate
    certificate = of_server(as_cryptography=True)
    if kind != "tls-server-end-point" or certificate is None:
        return None
    used = certificate.signature_hash_algorithm
    if used is None:
        return None  # such as Ed25519, for which it is not defined
    weak = isinstance(used, (hashes.MD5, hashes.SHA1))
    return certificate.fingerprint(hashes.SHA256() if weak else used)
