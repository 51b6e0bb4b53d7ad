"""The server on Twisted: protocol, factory, service."""

from smtpcb.server._counters import Counters
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._serve import serve
from smtpcb.server._service import SmtpService

__all__ = ["Counters", "SmtpServerFactory", "SmtpService", "serve"]
