"""Networks: who is meant by a list of addresses, networks, and ``unix``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

UNIX = "unix"
"""The word for clients of UNIX sockets, which have no address."""

# Whoever has a line with IPv6 has at least all the addresses of one such network.
LINE_BITS = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """
    Some networks; ``address in networks`` asks whether an address is in one of them.

    :param texts: such as ``"192.0.2.0/24"``, ``"2001:db8::/32"``, ``"127.0.0.1"`` and ``"unix"``.
    :raises ValueError: one of them is none; the text names it.
    :raises TypeError: or no text at all.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            raise TypeError(f"networks are a list of texts, not {texts!r:.80}")
        self.texts = tuple(texts)
        self._unix = False
        self._networks: list[_Network] = []
        for text in self.texts:
            if text == UNIX:
                self._unix = True
            else:
                self._networks.append(read_network(text))

    @property
    def whole(self) -> tuple[str, ...]:
        """
        All of IPv4, all of IPv6, where they are meant: ``0.0.0.0/0`` and ``::/0``.

        Two halves are the whole as well.  A network that is merely wide is none.
        """
        four = [one for one in self._networks if isinstance(one, ipaddress.IPv4Network)]
        six = [one for one in self._networks if isinstance(one, ipaddress.IPv6Network)]
        together: list[_Network] = [*ipaddress.collapse_addresses(four)]
        together += ipaddress.collapse_addresses(six)
        return tuple(str(one) for one in together if not one.prefixlen)

    def __bool__(self) -> bool:
        """Whether anybody is meant."""
        return bool(self.texts)

    def __contains__(self, address: str) -> bool:
        """Whether an address is meant; ``""`` is that of a client of a UNIX socket."""
        if not address:
            return self._unix
        parsed = read_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)


@lru_cache(maxsize=1024)
def read_address(text: str) -> Address | None:
    """Return an address, that of an IPv4 client as such; None: it has none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_around(address: Address, bits: int) -> str:
    """Return the network of so many bits that an address is in, as text."""
    return str(ipaddress.ip_network((address, bits), strict=False))


def read_network(text: str) -> _Network:
    """
    Read one network, or an address as the network of that one.

    :raises ValueError: it is none; the text says what was meant, if that can be known.
    """
    if not isinstance(text, str):
        raise TypeError(f"a network is a text such as '192.0.2.0/24', not {text!r:.80}")
    if "%" in text:
        raise ValueError(f"{text} has a zone, and networks have none: leave it out from % on")
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r:.80} is no network such as 192.0.2.0/24 or 2001:db8::/32"
        ) from None
    raise ValueError(f"{text!r:.80} is an address in a network; did you mean {meant}?")


@lru_cache(maxsize=64)
def networks_of(texts: tuple[str, ...]) -> Networks:
    """Return the same `Networks` for the same texts, read once; raises as that does."""
    return Networks(texts)
