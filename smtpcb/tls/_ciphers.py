"""Cipher suites that an operator names are known, and are some."""

from __future__ import annotations

from OpenSSL import SSL

# TLS 1.3 has suites of its own, which OpenSSL is told in another call (RFC 8446 §B.4).
_OF_TLS_1_3 = "TLS_"
# How OpenSSL's list says what it does with a suite, and what is no suite at all.
_SIGNS = "!+-"
_NO_SUITES = ("@STRENGTH", "@SECLEVEL=")
# Parts of names of suites that do not encrypt, or do so for nobody knows whom (RFC 9325 §4.1).
_USELESS = ("NULL", "ADH-", "AECDH-")


def check_ciphers(ciphers: str) -> None:
    """
    Find out whether OpenSSL understands each word of such a list, which it does not tell itself.

    :param ciphers: as in `ServerTls`.
    :raises ValueError: a word means nothing, no suite is left, or one protects nothing.
    """
    for word in _split(ciphers):
        if not word.startswith(_NO_SUITES):
            set_ciphers(SSL.Context(SSL.TLS_SERVER_METHOD), word.lstrip(_SIGNS), ciphers=word)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    set_ciphers(context, ciphers)
    for name in SSL.Connection(context, None).get_cipher_list():
        if any(part in name for part in _USELESS):
            raise ValueError(f"{name} in {ciphers!r} protects nothing")


def set_ciphers(context: SSL.Context, suites: str, ciphers: str = "") -> None:
    """
    Have a context use them.

    :param ciphers: what the error names.
    :raises ValueError: OpenSSL knows none of them.
    """
    words = _split(suites)
    newer = [word for word in words if word.startswith(_OF_TLS_1_3)]
    older = [word for word in words if not word.startswith(_OF_TLS_1_3)]
    try:
        if newer:
            context.set_tls13_ciphersuites(":".join(newer).encode())
        if older:
            context.set_cipher_list(":".join(older).encode())
    except (SSL.Error, UnicodeError):
        raise ValueError(f"OpenSSL knows no cipher suite {ciphers or suites!r}") from None
    if not words:
        raise ValueError("no cipher suite is named")


def _split(ciphers: str) -> list[str]:
    return [word for word in ciphers.replace(",", ":").replace(" ", ":").split(":") if word]
