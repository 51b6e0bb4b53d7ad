"""local-domains: mail for our own domains, and relaying for those who may."""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from smtpcb._words import read_words, switch
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._clients import OPEN_RELAY, Trusted, network_text, of_everybody
from smtpcb.policies._domains import Domains
from smtpcb.smtp._reply import Reply

__all__ = ["RELAYING_DENIED", "LocalDomains", "LocalDomainsPlugin"]

RELAYING_DENIED = Reply(550, "5.7.1", "Relaying denied")
"""What a client hears that may not send there."""


class LocalDomains:
    """
    Takes recipients of some domains from everybody, and others from clients that may relay.

    ``<Postmaster>`` without a domain is always taken (RFC 5321 §4.5.1).  So nobody who does not
    say so has an open relay.

    :param domains: ``example.org``; with a dot before it all domains below it as well; ``*`` is
        every domain there is: an open relay.
    :param relay_from: networks whose clients may send anywhere.
    :param relay_logins: whether whoever has logged in may.
    :raises ValueError: one of them is none; the text is one line.
    """

    concurrent_recipients = True

    def __init__(
        self,
        domains: Iterable[str],
        *,
        relay_from: Iterable[str] = (),
        relay_logins: bool = True,
    ) -> None:
        if isinstance(domains, str):
            raise TypeError("domains are a list of texts, not one")
        given = list(domains)
        self._all = "*" in given
        self._domains = Domains([one for one in given if one != "*"])
        self._may_relay = Trusted(relay_from, logins=relay_logins)

    @property
    def warnings(self) -> list[str]:
        """What everybody finds within hours; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        said = [f"* is every domain: {OPEN_RELAY}"] if self._all else []
        return said + of_everybody("relay-from=", self._may_relay.networks, OPEN_RELAY)

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        if self._all or recipient.is_postmaster or recipient.domain in self._domains:
            return None
        return None if envelope.connection in self._may_relay else RELAYING_DENIED


@implementer(ISmtpPolicyPlugin)
class LocalDomainsPlugin:
    """``--policy local-domains:DOMAIN,…[,relay-from=NETWORK][,relay-logins=no]``."""

    name = "local-domains"
    usage = "local-domains:DOMAIN,..."
    help = (
        "Takes mail for these domains (.example.org: and all below it; *: any), relays for logins "
        "and relay-from=NETWORK only."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> LocalDomains:
        """Return a `LocalDomains`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        kinds = {"relay-from": network_text, "relay-logins": switch}
        domains, said = read_words(argument, kinds, frozenset({"relay-from"}))
        if not domains:
            raise ValueError("a domain is wanted, such as local-domains:example.org")
        return LocalDomains(domains, **said)


plugin = LocalDomainsPlugin()
