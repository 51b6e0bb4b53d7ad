"""Ready-made policies; they are handlers like your own, and plug-ins like anybody's."""

from smtpcb.interfaces import ISmtpPolicyPlugin
from smtpcb.policies import (
    bounces,
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
    size,
)

__all__ = ["POLICIES"]

POLICIES: tuple[ISmtpPolicyPlugin, ...] = (
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
    size.plugin,
    bounces.plugin,
)
"""Those that come with smtpcb; a new one is a row here."""
