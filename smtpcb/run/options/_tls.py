"""Keys, certificates, and who must use them."""

from __future__ import annotations

from smtpcb.run.options._option import Option
from smtpcb.run.options._values import path

ROWS: tuple[Option, ...] = (
    Option("tls-certificate", path, None, "PEM file: certificate, then its chain.", "FILE"),
    Option("tls-key", path, None, "PEM file: private key, if it is another file.", "FILE"),
    Option("tls-pkcs12", path, None, "PKCS#12 file instead of PEM files.", "FILE"),
    Option("tls-passphrase-file", path, None, "File whose first line opens the key.", "FILE"),
    Option(
        "tls-client-authorities",
        path,
        None,
        "PEM file of authorities: ask clients for a certificate of theirs.",
        "FILE",
    ),
    Option("no-tls", bool, False, "Offer no STARTTLS."),
    Option("require-tls", bool, False, "Take nothing outside TLS but what leads to it."),
)
