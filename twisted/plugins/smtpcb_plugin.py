"""Shows ``smtpcb`` to twistd; imports nothing of ours, since every twistd run may execute it."""

from typing import Any

from twisted.application.service import ServiceMaker


class _Maker(ServiceMaker):
    @property
    def options(self) -> Any:
        """Return what reads the command line; it is us whom twistd runs, so SIGHUP ends nobody."""
        from smtpcb._hangup import remember

        # Before the rest is imported, which takes longer than all that Python and twistd do.
        remember()
        return super().options


smtpcb = _Maker("smtpcb", "smtpcb.run.tap", "SMTP server that calls you back.", "smtpcb")
