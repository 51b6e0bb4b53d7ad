"""Take every message, and keep none."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerPlugin, ISmtpHandlerSetting

__all__ = ["Discard", "DiscardPlugin"]


@implementer(IReadyMadeHandler)
class Discard:
    """A handler that answers every message with 250 and throws it away."""

    discards_content = True
    lenient_addresses = False
    bare_newline = "refuse"
    transcripts = False
    takes_any_login = False
    folders = ()
    report = ("messages: every one is accepted and thrown away",)

    def check(self) -> Sequence[str]:
        """Nothing can be wrong."""
        return ()


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
