"""Who we are under TLS: keys and certificates, chosen by server name, exchanged while running."""

from smtpcb.tls._choice import serves
from smtpcb.tls._files import IdentityFiles
from smtpcb.tls._identity import Identity, IdentityError, PrivateKey, from_pem
from smtpcb.tls._reading import load_pem, load_pkcs12
from smtpcb.tls._self_signed import look_at_self_signed, make_self_signed, self_signed
from smtpcb.tls._server import ServerTls, describe

__all__ = [
    "Identity",
    "IdentityError",
    "IdentityFiles",
    "PrivateKey",
    "ServerTls",
    "describe",
    "from_pem",
    "load_pem",
    "load_pkcs12",
    "look_at_self_signed",
    "make_self_signed",
    "self_signed",
    "serves",
]
