"""
Names: what policies ask the DNS, with a limit of time, and answers kept for a while.

A name that does not exist is an answer.  A server that is down, slow or talks nonsense is none:
`Unanswered` is raised, and each policy says what becomes of the mail then; it is never lost.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.names import client, dns
from twisted.names.error import DNSNameError, DomainError

from smtpcb._steady import steady_seconds
from smtpcb._words import whole_number

TRIES_SECONDS = (1, 2, 4)
"""How long each of the tries for one question may take; together less than a client waits."""
MOST_ANSWERS = 10_000
"""So many answers are kept; then the one that was not asked for longest is forgotten."""
LONGEST_SECONDS = 3600.0
"""No answer is kept for longer, whatever its TTL."""
NOTHING_SECONDS = 300.0
"""How long it is kept that there is nothing (RFC 2308 has the SOA say it, which few agree on)."""
UNANSWERED_SECONDS = 30.0
"""How long a server that does not answer is not asked the same again."""

_log = Logger(namespace="smtpcb.policies")


class Unanswered(Exception):  # noqa: N818 - it is what became of a question
    """Nobody knows now: the server is down, too slow, or refuses."""


class Names:
    """
    A resolver with a bounded memory.

    :param reactor: for time and sockets.
    :param servers: address and port of each; by default those of ``/etc/resolv.conf``.
    :param tries: the seconds that each try may take.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[tuple[str, int]] | None = None,
        *,
        tries: Sequence[int] = TRIES_SECONDS,
        most: int = MOST_ANSWERS,
    ) -> None:
        self._reactor = reactor
        self._servers = None if servers is None else list(servers)
        self._tries = tuple(tries)
        self._most = most
        self._clock = steady_seconds(reactor)
        self._resolver: Any = None
        #: By name and type: until when, and the answer; None: it was none.
        self._kept: OrderedDict[tuple[str, int], tuple[float, list[Any] | None]] = OrderedDict()
        self._asked: dict[tuple[str, int], list[Deferred[list[Any]]]] = {}
        self._complained = float("-inf")

    def __len__(self) -> int:
        return len(self._kept)

    async def addresses(self, name: str) -> set[str]:
        """
        Return the addresses of a host, of both families.

        :raises Unanswered: they cannot be told now.
        """
        found: set[str] = set()
        for kind in (dns.A, dns.AAAA):
            for payload in await self._records(name, kind):
                found.add(_canonical(payload.dottedQuad() if kind == dns.A else payload._address))
        return found

    async def has_mail_host(self, domain: str) -> bool:
        """
        Whether mail can be sent to a domain: by MX, or else by its addresses (RFC 5321 §5.1).

        :raises Unanswered: it cannot be told now.
        """
        hosts = [str(payload.name) for payload in await self._records(domain, dns.MX)]
        if hosts:  # a single "." says that it takes no mail (RFC 7505)
            return any(host.strip(".") for host in hosts)
        return bool(await self.addresses(domain))

    async def names_of(self, address: str) -> list[str]:
        """
        Return the names of an address, as its reverse zone has them.

        :raises Unanswered: they cannot be told now.
        """
        name = ipaddress.ip_address(address).reverse_pointer
        return [str(payload.name).lower() for payload in await self._records(name, dns.PTR)]

    async def listed(self, name: str) -> set[str]:
        """
        Return the IPv4 addresses of a name, as block lists answer (RFC 5782 §2.1).

        :raises Unanswered: they cannot be told now.
        """
        return {payload.dottedQuad() for payload in await self._records(name, dns.A)}

    async def _records(self, name: str, kind: int) -> list[Any]:
        key = name.lower().rstrip("."), kind
        until, kept = self._kept.get(key, (float("-inf"), None))
        if self._clock() < until:
            self._kept.move_to_end(key)
            if kept is None:
                raise Unanswered(name)
            return kept
        waiting: Deferred[list[Any]] = Deferred()  # one that is cancelled takes no answer
        askers = self._asked.setdefault(key, [])
        askers.append(waiting)
        if len(askers) == 1:  # others that want to know the same wait for the same answer
            Deferred.fromCoroutine(self._ask(key)).addErrback(
                lambda failure: _log.failure("a question for the DNS failed", failure)
            )
        return await waiting

    async def _ask(self, key: tuple[str, int]) -> None:
        name, kind = key
        found: list[Any] | None = None
        seconds = UNANSWERED_SECONDS
        try:
            answers = [one for one in await self._lookup(name, kind) if one.type == kind]
        except Exception as error:
            self._complain(name, error)
        else:
            ttls = [float(one.ttl) for one in answers]
            seconds = min([*ttls, LONGEST_SECONDS]) if answers else NOTHING_SECONDS
            found = [one.payload for one in answers]
        self._kept[key] = self._clock() + max(seconds, 1.0), found
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        for waiting in self._asked.pop(key):
            if found is None:
                waiting.errback(Unanswered(name))
            else:
                waiting.callback(found)

    async def _lookup(self, name: str, kind: int) -> list[Any]:
        if self._resolver is None:
            resolv = "/etc/resolv.conf" if self._servers is None else None
            self._resolver = client.Resolver(resolv, self._servers, reactor=self._reactor)
        query = dns.Query(name.encode("ascii"), kind, dns.IN)
        try:
            answers, _, _ = await self._resolver.query(query, self._tries)
        except DNSNameError:
            return []
        return list(answers)

    def _complain(self, name: str, error: Exception) -> None:
        now = self._clock()
        if now - self._complained < 60:
            return
        self._complained = now
        told = isinstance(error, (TimeoutError, DomainError, ConnectionDone, ConnectionLost))
        _log.warn(
            "the DNS does not answer: {name}: {kind}",
            name=name,
            kind=type(error).__name__ if told else f"{type(error).__name__}: {error}",
        )


def _canonical(address: str | bytes) -> str:
    return str(ipaddress.ip_address(address))


def resolver(text: str) -> tuple[str, int]:
    """
    Read ``192.0.2.53`` or ``192.0.2.53:5353``.

    :raises ValueError: it is neither.
    """
    address, colon, port = text.partition(":") if text.count(":") < 2 else (text, "", "")
    try:
        found = ipaddress.ip_address(address)
        number = whole_number(port) if colon else dns.PORT
    except ValueError:
        raise ValueError("an address such as 192.0.2.53 or 192.0.2.53:5353 is wanted") from None
    return str(found), number
