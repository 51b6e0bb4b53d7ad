"""Ready-made policies; they are handlers like your own, and plug-ins like anybody's."""

from smtpcb.interfaces import ISmtpPolicyPlugin
from smtpcb.policies import (
    dnsbl,
    greylist,
    helo,
    local_domains,
    networks,
    rate,
    recipients,
    reverse_dns,
    sender_domain,
    sender_login,
)

__all__ = ["READY_MADE"]

READY_MADE: tuple[ISmtpPolicyPlugin, ...] = (
    local_domains.plugin,
    networks.allow,
    networks.deny,
    recipients.plugin,
    rate.plugin,
    helo.plugin,
    sender_login.plugin,
    dnsbl.plugin,
    reverse_dns.plugin,
    sender_domain.plugin,
    greylist.plugin,
)
"""Those that come with smtpcb; a new one is a row here."""
