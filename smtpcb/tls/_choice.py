"""Which identity a client is shown: the name that it asks for decides (SNI, RFC 6066 §3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from smtpcb.tls._identity import Identity, normal_name


def served(identity: Identity) -> tuple[str, ...]:
    """Return all names that it may serve, as `normal_name` writes them."""
    return (*(normal_name(name) for name in identity.names), *identity.addresses)


def serves(identity: Identity, name: str) -> bool:
    """Whether it is for this host; in its names ``*.`` stands for exactly one label."""
    return not frozenset(_as_named(name)).isdisjoint(served(identity))


def places_by_name(identities: Sequence[Identity], now: datetime) -> dict[str, int]:
    """
    Return whose each name is, as a place in the sequence.

    Of several of one name it is the first, unless that one is not valid and another is: certbot
    begins ``NAME-0001`` and lets ``NAME`` expire.
    """
    places: dict[str, int] = {}
    usable = [one.begins <= now < one.expires for one in identities]
    for place in sorted(range(len(identities)), key=lambda at: not usable[at]):
        for name in served(identities[place]):
            places.setdefault(name, place)
    return places


def place_of(name: bytes, places: dict[str, int]) -> int:
    """Return the place of the identity for the name that a client asks for; else the first."""
    named = _as_named(name.decode("ascii", "replace"))
    return next((places[one] for one in named if one in places), 0)


def _as_named(name: str) -> tuple[str, str]:
    """Return how a certificate may name a host: as it is, or by a wildcard (RFC 6125 §6.4.3)."""
    host = normal_name(name)
    return host, f"*.{host.partition('.')[2]}"
