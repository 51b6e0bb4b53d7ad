"""Who we are under TLS: keys and certificates, chosen by server name, exchanged while running."""

from smtpcb.tls._self_signed import look_at_self_signed, make_self_signed, self_signed
from smtpcb.tls._tls import (
    Identity,
    IdentityError,
    PrivateKey,
    ServerTls,
    describe,
    from_pem,
    load_pem,
    load_pkcs12,
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
    "look_at_self_signed",
    "make_self_signed",
    "self_signed",
]
