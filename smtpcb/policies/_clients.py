"""Which clients a policy means: by network, and those that have logged in."""

from __future__ import annotations

from collections.abc import Iterable

from smtpcb.engine._connection import Connection
from smtpcb.smtp._networks import (
    LINE_BITS,
    UNIX,
    Networks,
    network_around,
    read_address,
    read_network,
)

OPEN_RELAY = "this is an open relay"
"""What a server is that sends anybody's mail anywhere."""
JUDGES_NOBODY = "this judges nobody"
"""What a policy does from which everybody is exempt."""


def of_everybody(setting: str, networks: Networks, so: str) -> list[str]:
    """
    Return a warning if some networks are all of IPv4 or IPv6, and nothing otherwise.

    :param setting: by which they were named.
    :param so: what follows from that.
    """
    if not networks.whole:
        return []
    return [f"{setting}{' and '.join(networks.whole)} is everybody: {so}"]


def network_text(text: str) -> str:
    """
    Return a network as it was said, once it has been found to be one.

    :raises ValueError: it is none.
    """
    if text != UNIX:
        read_network(text)
    return text


class Trusted:
    """
    Clients that may do more: those of some networks, and by default all that have logged in.

    :param networks: see `Networks`.
    :param logins: whether a login is enough.
    :ivar networks: those networks.
    """

    __slots__ = ("_logins", "networks")

    def __init__(self, networks: Iterable[str] = (), *, logins: bool = True) -> None:
        self.networks = Networks(networks)
        self._logins = logins

    def __contains__(self, connection: object) -> bool:
        assert isinstance(connection, Connection)
        if self._logins and connection.identity is not None:
            return True
        return bool(self.networks) and connection.peer_address in self.networks


def block_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, and of IPv6 the /64 of its line."""
    found = read_address(address)
    if found is None:
        return address
    return str(found) if found.version == 4 else network_around(found, LINE_BITS)
