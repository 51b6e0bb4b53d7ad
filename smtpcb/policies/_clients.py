"""Which clients a policy means: by network, and those that have logged in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from smtpcb.engine._connection import Connection

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOCAL = "local"
"""In place of a network: clients of UNIX sockets, which have no address."""


class Networks:
    """
    A set of networks, such as ``192.0.2.0/24``, ``2001:db8::/32``, ``192.0.2.7``, or ``local``.

    :raises ValueError: one of them is none; the text is one line.
    """

    __slots__ = ("_given", "_local", "_networks")

    def __init__(self, given: Iterable[str] = ()) -> None:
        if isinstance(given, str):
            raise TypeError("networks are a list of texts, not one")
        self._given = tuple(given)
        self._local = LOCAL in self._given
        self._networks = tuple(network(text) for text in self._given if text != LOCAL)

    def __bool__(self) -> bool:
        return bool(self._given)

    def __contains__(self, address: object) -> bool:
        if address == "":
            return self._local
        found = read_address(address) if isinstance(address, str) else None
        return found is not None and any(
            found.version == one.version and found in one for one in self._networks
        )

    def __repr__(self) -> str:
        return f"Networks({', '.join(self._given)})"


def network(text: str) -> _Network:
    """
    Read a network.

    :raises ValueError: it is none, or has bits behind its length.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        why = " (did you mean its network?)" if "host bits" in str(error) else ""
        raise ValueError(
            f"a network such as 192.0.2.0/24 or 2001:db8::/32 is wanted, not {text!r}{why}"
        ) from None


def network_text(text: str) -> str:
    """
    Return a network as it was said, once it has been found to be one.

    :raises ValueError: it is none.
    """
    if text != LOCAL:
        network(text)
    return text


@lru_cache(1024)
def read_address(text: str) -> _Address | None:
    """Return an address, that of an IPv4 client as such; None: it has none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


class Trusted:
    """
    Clients that may do more: those of some networks, and by default all that have logged in.

    :param networks: see `Networks`.
    :param logins: whether a login is enough.
    """

    __slots__ = ("_logins", "_networks")

    def __init__(self, networks: Iterable[str] = (), *, logins: bool = True) -> None:
        self._networks = Networks(networks)
        self._logins = logins

    def __contains__(self, connection: object) -> bool:
        assert isinstance(connection, Connection)
        if self._logins and connection.identity is not None:
            return True
        return bool(self._networks) and connection.peer_address in self._networks


def block_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, and of IPv6 the /64 of its line."""
    found = read_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address if found is None else str(found)
