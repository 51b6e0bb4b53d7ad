"""DnsPolicy: what judges a client by the DNS, and passes or defers while that is silent."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smtpcb._words import Kind, one_of
from smtpcb.engine._connection import Connection
from smtpcb.interfaces import Verdict
from smtpcb.policies._client_policy import AT, ClientPolicy
from smtpcb.policies._clients import network_text
from smtpcb.policies._dns import Names, Unanswered, resolver
from smtpcb.smtp._networks import read_address
from smtpcb.smtp._reply import Reply

UNANSWERED = Reply(451, "4.4.3", "The DNS does not answer, try again later")
"""What a client hears if that was chosen, and nobody can tell what it is."""


class DnsPolicy(ClientPolicy):
    """
    A policy of the client that asks the DNS.

    Clients without a public address are not judged: the DNS knows nothing of them.

    :param unanswered: what becomes of mail while the DNS does not answer: ``pass``, or ``defer``,
        which is 451.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        at: str = "rcpt",
        exempt: Iterable[str] = (),
        unanswered: str = "pass",
        servers: Sequence[tuple[str, int]] | None = None,
        names: Names | None = None,
    ) -> None:
        super().__init__(at, exempt)
        if unanswered not in ("pass", "defer"):
            raise ValueError(f"unanswered is pass or defer, not {unanswered!r}")
        self._unanswered = UNANSWERED if unanswered == "defer" else None
        self._names = Names(reactor, servers) if names is None else names

    def _judge(self, connection: Connection) -> Verdict:
        address = public(connection.peer_address)
        return None if address is None else self._in_time(address)

    async def _in_time(self, address: str) -> Reply | None:
        try:
            return await self._look_up(address)
        except Unanswered:
            return self._unanswered

    async def _look_up(self, address: str) -> Reply | None:
        raise NotImplementedError


def public(address: str) -> str | None:
    """Return an address as text if the DNS may know it; None of private ones and of none."""
    found = read_address(address)
    if found is None or not is_public(found):
        return None
    return str(found)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is neither this machine's, nor a private network's, nor for documents only."""
    return address.is_global and not address.is_multicast


KINDS: Mapping[str, Kind] = {
    "at": one_of("connect", "hello", "rcpt"),
    "exempt": network_text,
    "unanswered": one_of("pass", "defer"),
    "resolver": resolver,
}
"""The settings that all of them have."""
MANY = frozenset({"exempt", "resolver"})


def settings_of(said: dict[str, Any]) -> dict[str, Any]:
    """Return them as arguments."""
    servers = said.pop("resolver", None)
    if "at" in said:
        said["at"] = AT[said["at"]]
    return {**said, "servers": servers}
