"""Keys, certificates, and who must use them."""

from __future__ import annotations

from smtpcb.run.options._option import Option
from smtpcb.run.options._values import one_of, path

ROWS: tuple[Option, ...] = (
    Option(
        "tls-certificate",
        path,
        (),
        "PEM file: certificate, then its chain; may be repeated.  Clients are shown the one for "
        "the name that they ask for (SNI), or the first.",
        "FILE",
        many=True,
    ),
    Option(
        "tls-key",
        path,
        (),
        "PEM file: private key, if it is another file; then once for each certificate, in the same "
        "order.",
        "FILE",
        many=True,
    ),
    Option("tls-pkcs12", path, None, "PKCS#12 file instead of PEM files.", "FILE"),
    Option(
        "tls-folder",
        path,
        None,
        "Folder of certificates: as certbot keeps them (/etc/letsencrypt/live), or PEM files with "
        "key and chain each.",
        "FOLDER",
    ),
    Option("tls-passphrase-file", path, None, "File whose first line opens the keys.", "FILE"),
    Option(
        "tls-client-authorities",
        path,
        None,
        "PEM file of authorities: ask clients for a certificate of theirs.",
        "FILE",
    ),
    Option(
        "require-client-certificate",
        bool,
        False,
        "Take nothing but from clients that have one; it includes --require-tls.",
    ),
    Option("tls-minimum", one_of("1.2", "1.3"), "1.2", "Lowest version: 1.2 or 1.3.", "VERSION"),
    Option(
        "tls-ciphers",
        str,
        None,
        "Cipher suites as OpenSSL names them, with colons between them (default: OpenSSL's).",
        "SUITES",
    ),
    Option("no-tls", bool, False, "Offer no STARTTLS."),
    Option("require-tls", bool, False, "Take nothing outside TLS but what leads to it."),
)
