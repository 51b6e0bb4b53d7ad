"""allow, deny: clients of these networks only, or all but those."""

from __future__ import annotations

from zope.interface import implementer

from smtpcb._words import one_of, read_words
from smtpcb.engine._connection import Connection
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._client_policy import AT, NetworkPolicy
from smtpcb.policies._clients import network_text, of_everybody
from smtpcb.smtp._reply import Reply

__all__ = ["NOT_WELCOME", "Allow", "AllowPlugin", "Deny", "DenyPlugin"]

NOT_WELCOME = Reply(554, "5.7.1", "Your network may not send mail here")
"""What a client of the wrong network hears."""


class Allow(NetworkPolicy):
    """
    An allow list (whitelist): nobody but clients of some networks is served.

    :param networks: ``192.0.2.0/24``, ``2001:db8::/32``, an address, or ``unix`` for UNIX sockets.
    :param at: ``connected``: the others are refused at once; ``rcpt``: they reach the postmaster,
        and may log in, after which they are served.
    :raises ValueError: one of them is none; the text is one line.
    """

    @property
    def warnings(self) -> list[str]:
        """See `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        return of_everybody("", self._networks, "they are all served")

    def _judge(self, connection: Connection) -> Verdict:
        return None if connection.peer_address in self._networks else NOT_WELCOME


class Deny(NetworkPolicy):
    """
    A block list of our own: clients of some networks are not served; see `Allow`.
    """

    def _judge(self, connection: Connection) -> Verdict:
        return NOT_WELCOME if connection.peer_address in self._networks else None


def _read(argument: str, name: str) -> tuple[list[str], str]:
    words, said = read_words(argument, {"at": one_of("connect", "rcpt")})
    if not words:
        raise ValueError(f"a network is wanted, such as {name}:192.0.2.0/24")
    return [network_text(word) for word in words], AT[said.get("at", "connect")]


@implementer(ISmtpPolicyPlugin)
class AllowPlugin:
    """``--policy allow:NETWORK,…[,at=rcpt]``."""

    name = "allow"
    usage = "allow:NETWORK,..."
    help = "Serves clients of these networks only; at=rcpt: refuses the others not before RCPT."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Allow:
        """Return an `Allow`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        networks, at = _read(argument, self.name)
        return Allow(networks, at=at)


@implementer(ISmtpPolicyPlugin)
class DenyPlugin:
    """``--policy deny:NETWORK,…[,at=rcpt]``."""

    name = "deny"
    usage = "deny:NETWORK,..."
    help = "Serves no clients of these networks; at=rcpt: refuses them not before RCPT."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Deny:
        """Return a `Deny`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        networks, at = _read(argument, self.name)
        return Deny(networks, at=at)


allow = AllowPlugin()
deny = DenyPlugin()
