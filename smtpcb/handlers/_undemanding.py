"""What is taken for granted of a handler that says nothing of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zope.interface import implementer

from smtpcb.interfaces import IReadyMadeHandler


@implementer(IReadyMadeHandler)
class Undemanding:
    """The least that `smtpcb.interfaces.IReadyMadeHandler` may say; who is more says what."""

    lenient_addresses = False
    bare_newline = "refuse"
    transcripts = False
    takes_any_login = False
    folders: Sequence[Path] = ()
    report: Sequence[str] = ()

    def check(self) -> Sequence[str]:
        """Nothing can be wrong, as far as is known."""
        return ()
