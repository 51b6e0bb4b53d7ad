"""MailExchangers: the servers that take mail for a domain, by its MX records (RFC 5321 §5.1)."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.names import client, dns
from zope.interface import implementer

from smtpcb.client._addresses import HOST_NAME, ascii_name, endpoint_of, interleaved, shown_place
from smtpcb.client._checks import CertificateChecks, Decide, Trust
from smtpcb.client._dns import NoSuchName, Unanswered, look_up, text_of
from smtpcb.client._ends import own_name
from smtpcb.client._place import Candidate
from smtpcb.engine import Cause, ClientFailure, ClientSettings, Stage
from smtpcb.smtp import Reply, printable
from smtpcb.tls import Identity

MOST_HOSTS = 10
"""So many exchangers are tried, and no more (RFC 5321 §5.1 wants two at least)."""
MOST_ADDRESSES = 10
"""So many addresses of each are."""

_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]", re.IGNORECASE)
_PORT = 25


class MailExchangers:
    """
    The servers that take mail for a domain: a place for a session, like `Server`.

    They are tried in the order of their preference, equal ones in any; each with all its addresses.
    A domain without MX records is its own exchanger.

    A login has no place here, and TLS has no name that could be trusted: whoever answers for the
    DNS says who the exchangers are.  ``starttls="opportunistic"`` of `ClientSettings` therefore
    takes any certificate, as RFC 7435 has it: nobody can listen, but whoever is on the way could be
    the server.  With ``starttls="required"`` the certificate must have the exchanger's name, and be
    issued by somebody who is trusted; many have not.

    :param domain: what stands behind the @ of a recipient; also in Unicode.
    :param port: theirs.
    :param own_names: who we are, beside the name that is said with EHLO: an exchanger of that name
        is left out, and all that are not preferred to it, or mail would go in circles.
    :param own_addresses: addresses of ours: nobody is connected to there.
    :param allow_literals: an address in brackets may be a domain, such as ``[192.0.2.1]``.
    :param allow_local: connect to addresses of this machine and this link as well, which strangers
        may have put into the DNS.
    :param resolver: an ``IResolver`` of twisted.names; by default its ``client.getResolver()``.
    :param trust: this and the next two are those of `CertificateChecks`.
    :param certificate: who we are.
    :param decide: what is forgiven.
    :raises ValueError: the domain cannot be one.
    """

    def __init__(
        self,
        domain: str,
        port: int = _PORT,
        *,
        own_names: Iterable[str] = (),
        own_addresses: Iterable[str] = (),
        allow_literals: bool = False,
        allow_local: bool = False,
        resolver: Any = None,
        trust: Trust | None = None,
        certificate: Identity | None = None,
        decide: Decide | None = None,
    ) -> None:
        literal = _LITERAL.fullmatch(domain)
        self._literal = "" if literal is None else str(ip_address(literal[1]))
        self._domain = self._literal or ascii_name(domain).rstrip(".").lower()
        self._port = port
        self._own_names = frozenset(ascii_name(one).rstrip(".").lower() for one in own_names)
        self._own_addresses = frozenset(map(ip_address, own_addresses))
        self._allow_literals = allow_literals
        self._allow_local = allow_local
        self._resolver = resolver
        self._checks = CertificateChecks(
            self._domain, trust=trust, certificate=certificate, decide=decide
        )
        self.name = f"mx:{domain}"

    async def candidates(
        self, settings: ClientSettings, seconds: float, reactor: Any
    ) -> AsyncGenerator[Sequence[Candidate], None]:
        """
        Tell the exchangers and their addresses; see `Place`.

        :raises ClientFailure: there are none, or they cannot be told now.
        :raises ValueError: somebody is to log in, and it would not be known where.
        """
        if settings.login != "off":
            raise ValueError("nobody logs in at the exchangers of a domain: name a Server")
        if self._literal:
            yield self._of(self._literal, self._literally(), settings, seconds, reactor)
            return
        for host in await self._hosts(settings, seconds, reactor):
            try:
                found = await self._addresses(host, seconds, reactor)
            except ClientFailure as failure:
                where = f"{printable(host, 100)}:{self._port}"
                yield [Candidate(where, _Nowhere(failure))]
            else:
                yield self._of(host, found, settings, seconds, reactor)

    def _literally(self) -> list[str]:
        """Return the address that the domain is."""
        if not self._allow_literals:
            raise _refused("5.1.2", "an address is no domain that mail is sent to")
        if not self._allows(ip_address(self._literal)):
            raise _refused("5.1.2", f"{self._literal} is no address that mail is sent to")
        return [self._literal]

    async def _hosts(self, settings: ClientSettings, seconds: float, reactor: Any) -> list[str]:
        """Return the exchangers that may be tried, in the order in which they are."""
        domain = self._domain
        try:
            answer = await look_up(self._asked, domain, dns.MX, seconds, reactor)
        except NoSuchName:
            raise _refused("5.1.2", f"there is no domain {domain}") from None
        except Unanswered as error:
            raise _unknown(str(error)) from error
        preferences: dict[str, int] = {}
        for one in answer.payloads:
            host = text_of(one.name)
            preferences[host] = min(one.preference, preferences.get(host, one.preference))
        if "" in preferences:
            del preferences[""]
            if not preferences:
                raise _refused("5.1.10", f"the domain {domain} takes no mail", 556)
        if not preferences:
            preferences[domain] = 0
        own = self._own_names | {(settings.hostname or own_name(None)).lower()}
        ours = min((rank for host, rank in preferences.items() if host in own), default=None)
        hosts = [host for host, rank in preferences.items() if ours is None or rank < ours]
        if not hosts:
            text = f"the best exchanger of {domain} is this one, and it does not keep its mail"
            raise _refused("5.4.6", text)
        random.shuffle(hosts)
        hosts.sort(key=preferences.__getitem__)
        return hosts[:MOST_HOSTS]

    async def _addresses(self, host: str, seconds: float, reactor: Any) -> list[str]:
        """
        Return the addresses of a host that may be connected to.

        :raises ClientFailure: there are none.
        """
        if not HOST_NAME.fullmatch(host):
            raise _refused("5.4.4", "this is no name of a host")
        wanted = [
            ensureDeferred(self._of_family(host, kind, seconds, reactor))
            for kind in (dns.AAAA, dns.A)
        ]
        found: list[IPv4Address | IPv6Address] = []
        failure: ClientFailure | None = None
        try:
            for one in wanted:
                try:
                    found += await one
                except ClientFailure as caught:
                    # That it is not known weighs more than that there is none.
                    failure = caught if failure is None or caught.temporary else failure
        finally:
            for one in wanted:
                one.addErrback(lambda _: None)
                one.cancel()
        allowed = [str(one) for one in found if self._allows(one)]
        if allowed:
            return interleaved(allowed)[:MOST_ADDRESSES]
        if found:
            raise _refused("5.4.4", f"{found[0]} is no address that mail is sent to")
        raise failure or _refused("5.4.4", "it has no address")

    async def _of_family(
        self, host: str, kind: int, seconds: float, reactor: Any
    ) -> list[IPv4Address | IPv6Address]:
        try:
            answer = await look_up(self._asked, host, kind, seconds, reactor)
        except NoSuchName:
            raise _refused("5.4.4", "there is no such host") from None
        except Unanswered as error:
            raise _unknown(str(error)) from error
        if answer.name != host and host != self._domain:  # RFC 2181 §10.3
            text = f"it is an alias of {answer.name}, which no exchanger may be"
            raise _refused("5.4.4", text)
        return [ip_address(one.address) for one in answer.payloads]

    def _allows(self, address: IPv4Address | IPv6Address) -> bool:
        inner = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
        if {address, inner} & self._own_addresses:
            return False
        local = inner.is_loopback or inner.is_unspecified or inner.is_link_local
        local = local or (isinstance(inner, IPv4Address) and inner.packed[0] == 0)
        return not inner.is_multicast and (self._allow_local or not local)

    def _of(
        self,
        host: str,
        addresses: Iterable[str],
        settings: ClientSettings,
        seconds: float,
        reactor: Any,
    ) -> list[Candidate]:
        """Return the candidates that a host is."""
        found = []
        for address in addresses:
            creator = None
            if settings.starttls != "off":
                creator = self._checks.anew(host)
                if settings.starttls == "opportunistic":
                    creator = creator.unverified()
            endpoint = endpoint_of(address, self._port, seconds, reactor)
            found.append(Candidate(shown_place(host, self._port, address), endpoint, creator))
        return found

    @property
    def _asked(self) -> Any:
        if self._resolver is None:
            self._resolver = client.getResolver()
        return self._resolver


@implementer(IStreamClientEndpoint)
class _Nowhere:
    """Where a host is that has no address."""

    def __init__(self, failure: ClientFailure) -> None:
        self._failure = failure

    def connect(self, factory: object) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        return fail(self._failure)


def _refused(status: str, text: str, code: int = 550) -> ClientFailure:
    reply = Reply(code, status, printable(text, 400))
    return ClientFailure(Stage.GREETING, Cause.REFUSED, "no server", reply)


def _unknown(text: str) -> ClientFailure:
    reply = Reply(451, "4.4.3", printable(text, 400))
    return ClientFailure(Stage.GREETING, Cause.LOST, "no server", reply)
