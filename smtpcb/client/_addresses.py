"""The addresses of a host, as the reactor's resolver knows them, in the order of the attempts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Any

import idna
from twisted.internet import defer
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from smtpcb.engine import Cause, ClientFailure, Stage

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?", re.IGNORECASE)
"""A name that may be asked for: more than RFC 1123 §2.1 has, as ``_`` is found everywhere."""


def is_address(host: object) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ip_address(str(host))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by any account: nobody is on the way."""
    return host.lower() == "localhost" or (is_address(host) and ip_address(host).is_loopback)


def ascii_name(host: str) -> str:
    """
    Return a host's name as the DNS and certificates have it: in A-labels (RFC 5890 §2.3.2.1).

    :raises ValueError: it is none.
    """
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"{host!r:.80} is no name: {error}") from None
    # Nobody else would say so: where a resolver is asked for it, it logs an error and never ends.
    if not HOST_NAME.fullmatch(name):
        raise ValueError(f"{host!r:.80} is no name")
    return name


def shown_place(host: str, port: int, address: str | None = None) -> str:
    """Return a host, perhaps one of its addresses, and its port in one text."""
    if address is not None and address != host:
        return f"{host}[{address}]:{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def endpoint_of(address: str, port: int, seconds: float, reactor: Any) -> Any:
    """Return what connects to an address."""
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    return kind(reactor, address, port, seconds)


async def addresses_of(host: str, seconds: float, reactor: Any) -> list[str]:
    """
    Return the addresses of a host.

    :param host: a name in A-labels, or an address.
    :param seconds: how long that may take.
    :raises ClientFailure: it has none, or they cannot be told.
    """
    if is_address(host):
        return [host]
    receiver = _Receiver()
    receiver.complete.addTimeout(seconds, reactor)
    reactor.nameResolver.resolveHostName(receiver, host)
    try:
        await receiver.complete
    except defer.TimeoutError:
        text = f"there are no addresses of {host} within {seconds:g} s"
        raise ClientFailure(Stage.GREETING, Cause.TIMEOUT, text) from None
    if not receiver.found:
        raise ClientFailure(Stage.GREETING, Cause.LOST, f"no address of {host} is known")
    return interleaved(receiver.found)


def interleaved(addresses: Iterable[str]) -> list[str]:
    """
    Return each address once, both families in turn, the one that was first as the first.

    Where one family leads nowhere, half of the attempts lead elsewhere (RFC 8305 §4).
    """
    found = list(dict.fromkeys(addresses))
    first = [one for one in found if (":" in one) is (":" in found[0])]
    others = [one for one in found if one not in first]
    both: Iterable[Sequence[str | None]] = zip_longest(first, others)
    return [one for one in chain.from_iterable(both) if one is not None]


@implementer(IResolutionReceiver)
class _Receiver:
    """
    Gathers what a resolver finds.

    :ivar complete: fires when that is all.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:  # noqa: N803
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: Any) -> None:
        """See `IResolutionReceiver`."""
        scope = address.scopeID if isinstance(address, IPv6Address) else 0
        scoped = scope and "%" not in address.host
        self.found.append(f"{address.host}%{scope}" if scoped else address.host)

    def resolutionComplete(self) -> None:
        """See `IResolutionReceiver`."""
        with suppress(defer.AlreadyCalledError):  # it took too long, or nobody wants it any more
            self.complete.callback(None)
