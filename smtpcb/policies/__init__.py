"""Ready-made policies; they are handlers like your own, and plug-ins like anybody's."""

from smtpcb.interfaces import ISmtpPolicyPlugin
from smtpcb.policies import helo, local_domains, networks, rate, recipients, sender_login

__all__ = ["READY_MADE"]

READY_MADE: tuple[ISmtpPolicyPlugin, ...] = (
    local_domains.plugin,
    networks.allow,
    networks.deny,
    recipients.plugin,
    rate.plugin,
    helo.plugin,
    sender_login.plugin,
)
"""Those that come with smtpcb; a new one is a row here."""
