"""Take every message, and keep none."""

from __future__ import annotations

from zope.interface import implementer

from smtpcb.handlers._undemanding import Undemanding
from smtpcb.interfaces import ISmtpHandlerPlugin, ISmtpHandlerSetting

__all__ = ["Discard", "DiscardPlugin"]


class Discard(Undemanding):
    """A handler that answers every message with 250 and throws it away."""

    discards_content = True
    report = ("messages: every one is accepted and thrown away",)


@implementer(ISmtpHandlerPlugin)
class DiscardPlugin:
    """``--handler discard``."""

    name = "discard"
    usage = "discard"
    help = "Accepts every message and throws it away."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> Discard:
        """
        Return a `Discard`.

        :raises ValueError: there is an argument.
        """
        if argument:
            raise ValueError("nothing stands behind discard: it keeps no message")
        return Discard()


plugin = DiscardPlugin()
