"""``--handler relay:…``: what stands behind the colon."""

from __future__ import annotations

from zope.interface import implementer

from smtpcb.client import Server
from smtpcb.handlers.relay._relay import Relay
from smtpcb.interfaces import ISmtpHandlerPlugin, ISmtpHandlerSetting


@implementer(ISmtpHandlerPlugin)
class RelayPlugin:
    """``--handler relay:HOST[:PORT]``."""

    name = "relay"
    usage = "relay:HOST[:PORT]"
    help = "Passes every message on to a server while the client waits, and keeps none."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Relay:
        """
        Return a `Relay`.

        :raises ValueError: it is not said where to.
        """
        host, port = argument, "25"
        if argument.count(":") == 1:  # more are those of an IPv6 address
            host, _, port = argument.partition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("relay:HOST[:PORT] is wanted, such as relay:mail.example.org:25")
        return Relay(Server(host, int(port)), reactor=setting.reactor)
