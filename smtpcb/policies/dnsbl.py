"""dnsbl: clients that a DNS block list names are refused (RFC 5782)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from zope.interface import implementer

from smtpcb._words import read_words
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin
from smtpcb.policies._dns_policy import KINDS, MANY, DnsPolicy, settings_of
from smtpcb.policies._domains import Domains
from smtpcb.smtp._reply import Reply

__all__ = ["DnsBlockList", "DnsBlockListPlugin"]

_ANY = ipaddress.IPv4Network("127.0.0.0/8")
# Spamhaus says so when it does not like who asks, and others have followed: it lists nobody.
_ERRORS = ipaddress.IPv4Network("127.255.255.0/24")


class DnsBlockList(DnsPolicy):
    """
    Refuses clients that a block list names.

    An answer outside 127.0.0.0/8 lists nobody: so answer zones that were given up, and resolvers
    that send everybody to a page with advertisements.  Nor does 127.255.255.x, by which lists
    complain about who asks.  While the DNS does not answer, mail passes, unless it is said
    otherwise.

    :param reactor: for time and sockets.
    :param zones: of the lists, each with the answers that count there: ``{"zen.example": ()}`` is
        all, ``{"zen.example": ("127.0.0.2", "127.0.0.4/30")}`` these.
    :param options: ``at``, ``exempt``, ``unanswered`` (``pass`` or ``defer``), ``servers``.
    :raises ValueError: one of these is none; the text is one line.
    """

    def __init__(self, reactor: Any, zones: Mapping[str, Iterable[str]], **options: Any) -> None:
        super().__init__(reactor, **options)
        self._zones = {zone: [_code(one) for one in codes] for zone, codes in zones.items()}
        Domains(zones)

    async def _look_up(self, address: str) -> Reply | None:
        labels = ipaddress.ip_address(address).reverse_pointer.rsplit(".", 2)[0]
        unanswered: Exception | None = None
        for zone, codes in self._zones.items():
            try:
                answers = await self._names.listed(f"{labels}.{zone}")
            except Exception as error:
                unanswered = error  # another list may know it
                continue
            if any(_counts(ipaddress.ip_address(one), codes) for one in answers):
                return Reply(550, "5.7.1", f"Your address {address} is listed by {zone}")
        if unanswered is not None:
            raise unanswered
        return None


def _code(text: str) -> ipaddress.IPv4Network:
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError:
        found = None
    if found is None or not found.subnet_of(_ANY):
        raise ValueError(f"an answer such as 127.0.0.2 or 127.0.0.4/30 is wanted, not {text!r}")
    return found


def _counts(answer: Any, codes: list[ipaddress.IPv4Network]) -> bool:
    if answer not in _ANY or answer in _ERRORS:
        return False
    return not codes or any(answer in code for code in codes)


@implementer(ISmtpPolicyPlugin)
class DnsBlockListPlugin:
    """``--policy dnsbl:ZONE[=CODE],…[,at=connect][,unanswered=defer][,resolver=ADDRESS]``."""

    name = "dnsbl"
    usage = "dnsbl:ZONE[,code=127.0.0.2]"
    help = (
        "Refuses clients that a DNS block list names, with any answer or code=CODE; at=connect, "
        "exempt=NETWORK, unanswered=defer, resolver=ADDRESS."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> DnsBlockList:
        """Return a `DnsBlockList`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        zones, said = read_words(argument, {**KINDS, "code": str}, MANY | {"code"})
        if not zones:
            raise ValueError("a list is wanted, such as dnsbl:zen.example.org")
        codes = said.pop("code", ())
        return DnsBlockList(setting.reactor, dict.fromkeys(zones, codes), **settings_of(said))


plugin = DnsBlockListPlugin()
