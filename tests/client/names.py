"""A DNS server on loopback, and zones as a test wants them."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import client, dns, server
from twisted.names.common import ResolverBase
from twisted.names.error import DNSNameError


class Zones(ResolverBase):
    """
      What a DNS server knows: ``{"example.org": ["MX 10 mx.example.org", "A 192.0.2.1"]}``.

      A name that is not in there does not exist; ``"FAIL"`` is SERVFAIL, ``"SILENCE"`` no answer,
    ``"FAIL A"`` and ``"GONE A"`` are for one kind of question.  A question is answered with the
    aliases of the name and with what is behind them, as resolvers do.

    :ivar asked: each question.
    """

    def __init__(self, zones: dict[str, list[str]], *, recursive: bool = True) -> None:
        super().__init__()
        self.zones = zones
        self.recursive = recursive
        self.asked: list[tuple[str, int]] = []

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        asked = name.decode("ascii").lower()
        self.asked.append((asked, type))
        answers: list[Any] = []
        seen: set[str] = set()
        while asked not in seen:
            seen.add(asked)
            rows = self.zones.get(asked)
            kind = dns.QUERY_TYPES[type]
            if rows is None or f"GONE {kind}" in rows:
                return fail(DNSNameError())
            if "FAIL" in rows or f"FAIL {kind}" in rows:
                return fail(RuntimeError("SERVFAIL"))
            if "SILENCE" in rows:
                return Deferred()
            records = [record(row) for row in rows if row.partition(" ")[0] not in ("GONE", "FAIL")]
            found = [one for one in records if type == one.TYPE or dns.CNAME == one.TYPE]
            answers += [dns.RRHeader(asked.encode(), one.TYPE, cls, 60, one) for one in found]
            aliases = [str(one.name) for one in found if one.TYPE == dns.CNAME]
            if not (aliases and self.recursive):
                break
            asked = aliases[0]
        return succeed((answers, [], []))


def record(row: str) -> Any:
    """Return the record that a text means."""
    kind, _, value = row.partition(" ")
    if kind == "MX":
        rank, _, host = value.partition(" ")
        return dns.Record_MX(int(rank), host.encode(), 60)
    if kind == "CNAME":
        return dns.Record_CNAME(value.encode(), 60)
    return {"A": dns.Record_A, "AAAA": dns.Record_AAAA}[kind](value, 60)


class NameServer:
    """Serves zones by UDP."""

    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        factory = server.DNSServerFactory(clients=[zones])
        factory.noisy = False
        factory.resolver = zones  # there is nobody behind it who would be asked next
        protocol = dns.DNSDatagramProtocol(factory)
        protocol.noisy = False
        self._port: Any = reactor.listenUDP(0, protocol, interface="127.0.0.1")  # type: ignore[attr-defined]

    def resolver(self) -> client.Resolver:
        """Return what asks it."""
        where = ("127.0.0.1", self._port.getHost().port)
        return client.Resolver(servers=[where], timeout=(5,), reactor=reactor)

    async def stop(self) -> None:
        """Serve no more."""
        await self._port.stopListening()
