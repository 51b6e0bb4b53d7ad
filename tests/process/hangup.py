"""A handler whose process is sent SIGHUP while it starts."""

from __future__ import annotations

import os
import signal

from smtpcb import Envelope

os.kill(os.getpid(), signal.SIGHUP)


class Inbox:
    def message(self, envelope: Envelope) -> None:
        pass
