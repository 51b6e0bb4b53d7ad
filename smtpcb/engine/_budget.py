"""Budget: what one connection has used and may still use, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from smtpcb.smtp._limits import Limits


class Circumstances:
    """
    What is so for all connections of a server at the moment; by default nothing is in the way.

    :ivar storage_full: there is no room for one more message.
    """

    __slots__ = ("storage_full",)

    def __init__(self) -> None:
        self.storage_full = False

    def may_log_in(self, address: str) -> bool:
        """Whether a client of that address may try."""
        return True

    def login_failed(self, address: str) -> None:
        """It has, and was refused."""


_USUAL = Circumstances()


@dataclass(slots=True, eq=False)
class Budget:
    """
    The account of one connection.  The server charges it, and a handler may read and charge it.

    When it is exhausted, the next negative reply becomes 421 and the connection is closed, whatever
    the reason was: there is one path.  A positive reply stays what it is: what has been accepted
    has been accepted.  A message that is accepted pays back errors, idle commands and refusals.

    :ivar limits: what the counts are measured against.
    :ivar circumstances: what it has in common with all others.
    :ivar commands: commands since the last message that have brought none nearer.
    :ivar errors: mistakes of the client since the last message.
    :ivar refusals: what was refused for other reasons since then: recipients, limits, incidents.
    :ivar messages: mail transactions begun.
    :ivar logins: AUTH commands.
    :ivar auth_failures: refused logins.
    :ivar authenticated: accepted ones.
    :ivar accepted: messages that were taken.
    :ivar refused: messages whose content came and was refused.
    :ivar aborted: transactions that ended without a message.
    :ivar recipients: of all transactions that are over.
    :ivar recipients_refused: those that were not taken.
    :ivar verbs: commands by verb, of those that have a limit of their own.
    :ivar handler_seconds: what its handler has taken for all answers; where several recipients are
        decided on at once, each counts.
    """

    limits: Limits = field(default_factory=Limits)
    commands: int = 0
    errors: int = 0
    refusals: int = 0
    messages: int = 0
    logins: int = 0
    auth_failures: int = 0
    authenticated: int = 0
    accepted: int = 0
    refused: int = 0
    aborted: int = 0
    recipients: int = 0
    recipients_refused: int = 0
    verbs: dict[str, int] | None = None
    handler_seconds: float = 0.0
    circumstances: Circumstances = _USUAL

    def charge_error(self, count: int = 1) -> None:
        """
        Count misbehaviour.

        :param count: how many errors it is worth; a handler may charge several for one act.
        """
        self.errors += count

    def forgive(self) -> None:
        """Pay back, since a message was accepted."""
        self.commands = self.errors = self.refusals = 0

    @property
    def exhausted(self) -> str | None:
        """Which limit has been reached, in words for the client; ``None`` while none has."""
        limits = self.limits
        if limits.errors is not None and self.errors >= limits.errors:
            return "Too many errors"
        if limits.auth_failures is not None and self.auth_failures >= limits.auth_failures:
            return "Too many failed logins"
        if limits.idle_commands is not None and self.commands > limits.idle_commands:
            return "Too many commands without a message"
        if limits.refusals is not None and self.refusals >= limits.refusals:
            return "Too many refusals"
        return None
