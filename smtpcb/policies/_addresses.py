"""Addresses as they stand in files of policies, and how they are compared."""

from __future__ import annotations

from collections.abc import Iterable

from smtpcb.policies._domains import plain, postmaster_of
from smtpcb.smtp._address import ForwardPath, ReversePath, read_mailbox

_Path = ForwardPath | ReversePath


def address_of(path: _Path) -> str:
    """Return an address to compare: in lower case, unquoted, the domain in A-labels."""
    return f"{path.local_part.lower()}@{plain(path.domain)}"


class AddressSet:
    """
    A set of addresses, and of domains of which it has all.

    :param lines: numbers and texts: ``anne@example.org``, or ``@example.net``.
    :raises ValueError: one is neither; the text names the line.
    """

    __slots__ = ("_addresses", "_domains", "_whole")

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        self._addresses: set[str] = set()
        self._whole: set[str] = set()
        for number, text in lines:
            try:
                path = read_mailbox(f"all{text}" if text.startswith("@") else text)
            except ValueError:
                raise ValueError(
                    f"line {number}: an address or @DOMAIN is wanted, not {text!r:.80}"
                ) from None
            if text.startswith("@"):
                self._whole.add(plain(path.domain))
            else:
                self._addresses.add(address_of(path))
        self._domains = {one.rpartition("@")[2] for one in self._addresses} | self._whole

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._domains)

    def has(self, path: _Path, delimiter: str = "") -> bool:
        """Whether an address is in it, as it is or up to the delimiter."""
        domain = plain(path.domain)
        if domain in self._whole or address_of(path) in self._addresses:
            return True
        if not delimiter or delimiter not in path.local_part[1:]:
            return False
        name = path.local_part[:1] + path.local_part[1:].partition(delimiter)[0]
        return f"{name.lower()}@{domain}" in self._addresses

    def has_domain(self, path: _Path) -> bool:
        """Whether anybody of that domain is in it."""
        return plain(path.domain) in self._domains

    def is_postmaster(self, path: _Path) -> bool:
        """Whether it is the postmaster of one of its domains."""
        return postmaster_of(path.local_part) and self.has_domain(path)
