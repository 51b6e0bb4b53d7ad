"""Who we are under TLS: keys and certificates, chosen by server name, exchanged while running."""

from smtpcb.tls._tls import (
    Identity,
    IdentityError,
    PrivateKey,
    ServerTls,
    describe,
    from_pem,
    load_pem,
    load_pkcs12,
    self_signed,
)

__all__ = [
    "Identity",
    "IdentityError",
    "PrivateKey",
    "ServerTls",
    "describe",
    "from_pem",
    "load_pem",
    "load_pkcs12",
    "self_signed",
]
