"""Ready-made handlers; they are handlers like your own, and plug-ins like anybody's."""

from smtpcb.handlers import capture, discard, maildir, printing, relay
from smtpcb.interfaces import ISmtpHandlerPlugin

__all__ = ["READY_MADE"]

READY_MADE: tuple[ISmtpHandlerPlugin, ...] = (
    capture.plugin,
    discard.plugin,
    maildir.plugin,
    printing.plugin,
    relay.plugin,
)
"""Those that come with smtpcb; a new one is a row here."""
