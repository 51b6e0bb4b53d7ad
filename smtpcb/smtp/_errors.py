"""Whose fault it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpcb.smtp._reply import Reply


class SMTPError(Exception):
    """Everything smtpcb raises on purpose."""


class Refusal(SMTPError):  # noqa: N818 - a verdict, not a fault
    """
    Your object says no; the client gets exactly this reply.

    Raising it from a handler is the same as returning its reply, from however deep.

    :param reply: a 4yz or 5yz `Reply`, or whatever else a handler may return as a verdict.
    """

    def __init__(self, reply: object) -> None:
        super().__init__(reply)
        self.reply = reply


class PeerProtocolError(SMTPError):
    """
    The other side broke a rule; the reply says which.

    :param reply: what the client is told.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class LocalProtocolError(SMTPError):
    """The calling code did something that is never right: a bug, not mail."""
