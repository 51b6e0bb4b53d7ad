"""fcrdns: the client's address has a name that leads back to it (forward-confirmed reverse DNS)."""

from __future__ import annotations

from zope.interface import implementer

from smtpcb._words import no_words, read_words
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin
from smtpcb.policies._dns_policy import KINDS, MANY, DnsPolicy, settings_of
from smtpcb.smtp._reply import Reply

__all__ = ["NO_NAME", "ReverseDns", "ReverseDnsPlugin"]

NO_NAME = Reply(550, "5.7.25", "Your address has no name that leads back to it")
"""What a client hears whose reverse DNS is missing or wrong (RFC 7372 §3.3)."""

MOST_NAMES = 10
"""Of the names of one address so many are looked up: whoever has the zone may list thousands."""


class ReverseDns(DnsPolicy):
    """
    Refuses clients whose address has no name, or none that has this address.

    While the DNS does not answer, mail passes, unless it is said otherwise.

    :param reactor: for time and sockets.
    :param options: ``at``, ``exempt``, ``unanswered`` (``pass`` or ``defer``), ``servers``.
    """

    async def _look_up(self, address: str) -> Reply | None:
        names = await self._names.names_of(address)
        unanswered: Exception | None = None
        for name in names[:MOST_NAMES]:
            try:
                if address in await self._names.addresses(name):
                    return None
            except Exception as error:
                unanswered = error  # another one may lead back
        if unanswered is not None:
            raise unanswered
        return NO_NAME


@implementer(ISmtpPolicyPlugin)
class ReverseDnsPlugin:
    """``--policy fcrdns[:at=connect][,exempt=NETWORK][,unanswered=defer][,resolver=ADDRESS]``."""

    name = "fcrdns"
    usage = "fcrdns"
    help = (
        "Refuses clients whose address has no name that leads back to it; at=connect, "
        "exempt=NETWORK, unanswered=defer, resolver=ADDRESS."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> ReverseDns:
        """Return a `ReverseDns`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        words, said = read_words(argument, KINDS, MANY)
        no_words(words)
        return ReverseDns(setting.reactor, **settings_of(said))


plugin = ReverseDnsPlugin()
