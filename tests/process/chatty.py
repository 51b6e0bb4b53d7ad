"""A handler that has much to say."""

from __future__ import annotations

from twisted.logger import Logger

from smtpcb import Envelope

_log = Logger()


class Inbox:
    def message(self, envelope: Envelope) -> None:
        _log.info("x" * 50_000)
