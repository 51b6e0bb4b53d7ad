"""Where mail is taken."""

from __future__ import annotations

from smtpcb.run.options._option import Option
from smtpcb.run.options._values import endpoint, network

ROWS: tuple[Option, ...] = (
    Option(
        "listen",
        endpoint,
        ("tcp:10025:interface=127.0.0.1", "tcp:10587:interface=127.0.0.1"),
        "Twisted endpoint to take mail on, with STARTTLS; may be repeated.",
        "ENDPOINT",
        many=True,
        commas=True,
    ),
    Option(
        "smtps",
        endpoint,
        (),
        "The same with implicit TLS.",
        "ENDPOINT",
        many=True,
        commas=True,
    ),
    Option(
        "lmtp",
        endpoint,
        (),
        "The same where LMTP is spoken (RFC 2033), such as unix:/run/smtpcb/lmtp:mode=660.  Ports "
        "named by any of the three replace the default ones.",
        "ENDPOINT",
        many=True,
        commas=True,
    ),
    Option(
        "proxy-from",
        network,
        (),
        "A balancer that speaks the PROXY protocol on all ports; a network, an address, or unix.  "
        "Nobody else is let in.  May be repeated.",
        "NETWORK",
        many=True,
        commas=True,
    ),
)
