"""Who may come in: limits over all connections, a ticket for each."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from twisted.logger import Logger

from smtpcb.engine import replies
from smtpcb.smtp import Limits, Reply
from smtpcb.smtp._networks import LINE_BITS, network_around, read_address

# How seldom it is said that clients are turned away.
SILENCE_SECONDS = 60.0

_log = Logger(namespace="smtpcb.server")


class Ticket:
    """
    The place of one connection; give it back once.

    :ivar shares: what it counts for, beside the whole: its address, its network.
    """

    __slots__ = ("_admission", "shares")

    def __init__(self, admission: Admission, shares: tuple[str, ...]) -> None:
        self._admission: Admission | None = admission
        self.shares = shares

    def give_back(self) -> None:
        """Leave; a second time does nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.returned(self.shares)


class Admission:
    """
    How many clients there are, in all and from where.

    :param limits: how many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Clients that have a ticket.
        self.count = 0
        self._by_share: Counter[str] = Counter()
        self._turned_away = 0
        self._silent_until = float("-inf")

    def admit(self, address: str) -> Ticket | Reply:
        """
        Ask for a place.

        :param address: the client's, as text; ``""`` for a UNIX socket.
        :return: a ticket, or what the client is told.
        """
        if self.is_full() or self.has_its_share(address):
            return replies.TOO_MANY_CONNECTIONS
        shares = shares_of(address)
        self.count += 1
        for share in shares:
            self._by_share[share] += 1
        return Ticket(self, shares)

    def turn_away(self, address: str, now: float) -> None:
        """Log that somebody finds no place, once a minute: anybody can come a thousand times."""
        self._turned_away += 1
        if now >= self._silent_until:
            self._silent_until = now + SILENCE_SECONDS
            _log.warn(
                "too many connections: {count} turned away, the last one from {address}",
                count=self._turned_away,
                address=address or "-",
            )
            self._turned_away = 0

    def is_full(self) -> bool:
        """Whether there is no place for anybody."""
        most = self._limits.connections
        return most is not None and self.count >= most

    def has_its_share(self, address: str) -> bool:
        """Whether an address, or its network, has all the places that it may have."""
        limits = self._limits
        most = (limits.connections_per_address, limits.connections_per_network)
        return any(
            most_of is not None and self._by_share[share] >= most_of
            for share, most_of in zip(shares_of(address), most, strict=False)
        )

    def returned(self, shares: tuple[str, ...]) -> None:
        """Take a place back; its ticket says so."""
        self.count -= 1
        for share in shares:
            self._by_share[share] -= 1
            if not self._by_share[share]:
                del self._by_share[share]


@lru_cache(maxsize=1024)
def shares_of(address: str) -> tuple[str, ...]:
    """
    Return what counts as one address and as one network; nothing for loopback and UNIX sockets.

    Whoever has one IPv6 address has a /64, and easily a /48 of 65,536 of them.
    """
    parsed = read_address(address)
    if parsed is None or parsed.is_loopback:
        return ()
    if parsed.version == 6:
        return network_around(parsed, LINE_BITS), network_around(parsed, 48)
    return (str(parsed),)


def share_of(address: str) -> str | None:
    """Return what counts as one address; None for those that are not counted."""
    shares = shares_of(address)
    return shares[0] if shares else None


def normal(host: str) -> str:
    """Return a client's address: an IPv4 client of an IPv6 socket is an IPv4 client."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host
