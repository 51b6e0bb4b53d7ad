"""single-bounce: mail from nobody (``<>``) has one recipient."""

from __future__ import annotations

from zope.interface import implementer

from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.smtp._address import ReversePath
from smtpcb.smtp._reply import Reply

__all__ = ["ONE_ONLY", "SingleBounce", "SingleBouncePlugin"]

ONE_ONLY = Reply(452, "4.5.3", "A bounce has one recipient; send the others theirs")
"""What a client hears of a further recipient; it may name that one in its next transaction."""


class SingleBounce:
    """
    Takes one recipient for a message from ``<>``.

    A bounce goes to who sent the message (RFC 5321 §6.1), and that is one; many at once are spam
    that looks like one.  The answer is a 4yz, so that nothing is lost.
    """

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        is_bounce = envelope.reverse_path == ReversePath.NULL
        return ONE_ONLY if is_bounce and envelope.recipients else None


@implementer(ISmtpPolicyPlugin)
class SingleBouncePlugin:
    """``--policy single-bounce``."""

    name = "single-bounce"
    usage = "single-bounce"
    help = "Takes one recipient for mail from <>, as a bounce has."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> SingleBounce:
        """Return a `SingleBounce`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        if argument:
            raise ValueError(f"it takes no argument, not {argument!r}")
        return SingleBounce()


plugin = SingleBouncePlugin()
