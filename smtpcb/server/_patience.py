"""How long one connection is waited for: for a command, mail data, an answer, a handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.engine import Conversation, Wants, replies
from smtpcb.server._pace import SECONDS, Pace

if TYPE_CHECKING:
    from smtpcb.server._connections import Doorway
    from smtpcb.server._factory import SmtpServerFactory
    from smtpcb.smtp import Reply

_NEVER = float("inf")

# A member of an enum is looked up in its class for the price of three calls before Python 3.12.
_LINE = Wants.LINE
_CONTENT = Wants.CONTENT
_ANSWER = Wants.ANSWER
_HANDSHAKE = Wants.HANDSHAKE
_NOTHING = Wants.NOTHING


class Patience:
    """
    What one connection is waited for, and until when.

    :ivar deadline: when that is late; the factory looks at all of them together.
    :ivar waits_for: each has its own deadline.
    :ivar since: when the client's time for its next command began to run.
    :ivar lines: how many had come by then.
    :ivar octets: of the mail data that is coming in.
    :ivar pace: how fast it comes; there is none before that is looked at.
    """

    __slots__ = (
        "_doorway",
        "_factory",
        "_session_end",
        "deadline",
        "lines",
        "octets",
        "pace",
        "since",
        "waits_for",
    )

    def __init__(self, server: SmtpServerFactory, doorway: Doorway) -> None:
        self._factory = server
        self._doorway = doorway
        self._session_end = _NEVER
        self.deadline = _NEVER
        self.waits_for = _NOTHING
        self.since = _NEVER
        self.lines = -1
        self.octets = 0
        self.pace: Pace | None = None

    def begin(self) -> None:
        """Let the time of the session run."""
        most = self._doorway.settings.limits.session_seconds
        if most is not None:
            self._session_end = self._factory.seconds() + most

    def await_line(self, lines: int) -> None:
        """
        Wait for a command.

        :param lines: how many have come: single octets of a line do not make it come in time.
        """
        self.lines = lines
        factory = self._factory
        now = self.since = factory.seconds()
        # The same as `expect`, without its two calls: this is done for every command.
        self.waits_for = _LINE
        deadline, end = now + self._doorway.idle_seconds, self._session_end
        self.deadline = deadline = deadline if deadline < end else end
        if deadline < factory.deadlines.due:
            factory.deadlines.by(deadline)

    def look(self, wants: Wants, conversation: Conversation, lines: int) -> None:
        """See what would be late, and when: an answer, mail data, or a command behind them."""
        if conversation.calls:
            if self.waits_for is _CONTENT:
                now = self._factory.seconds()
                self._pace_of(now).stop(now)
            self.expect(_ANSWER, conversation.deadline)
        elif wants is _CONTENT:
            if self.pace is not None:
                self.expect(_CONTENT, self.pace.go_on(self._factory.seconds()))
            elif self.waits_for is not _CONTENT:
                self.octets = 0
                self.expect(_CONTENT, self._factory.seconds() + SECONDS)
        elif wants is not _HANDSHAKE:
            self.pace = None
            self.await_line(lines)

    def shake_hands(self) -> None:
        """Wait for a TLS handshake."""
        seconds = self._doorway.settings.limits.handshake_seconds
        self.expect(_HANDSHAKE, self._factory.seconds() + seconds)

    def expect(self, what: Wants, deadline: float) -> None:
        """Wait for something, but not past the end of the session."""
        end = self._session_end
        self.wait(what, deadline if deadline < end else end)

    def wait(self, what: Wants, deadline: float) -> None:
        """Wait for something."""
        self.waits_for = what
        self.deadline = deadline
        deadlines = self._factory.deadlines
        if deadline < deadlines.due:
            deadlines.by(deadline)

    def linger(self, seconds: float) -> None:
        """Wait for the client to go, or for its handler to have heard so."""
        self.wait(_NOTHING, self._factory.seconds() + seconds)

    def stop(self) -> None:
        """Nothing more will happen."""
        self.deadline = _NEVER
        self.pace = None

    def judge(self, now: float, conversation: Conversation, *, lone_newline: bool) -> Reply | None:
        """
        See to what is late.

        :param lone_newline: the client has sent one where a CRLF is waited for.
        :return: what the client is told before it is left; ``None``: it may go on.
        """
        if now >= self._session_end:
            if not conversation.completing:
                return replies.SESSION_TOO_LONG
            # Its sender is about to hear that the message is safe.
            self._session_end = now + SECONDS
            self.look(_ANSWER, conversation, self.lines)
        elif self.waits_for is _ANSWER:
            conversation.expire(now)
        elif self.waits_for is not _CONTENT:
            return replies.timed_out(lone_newline=lone_newline)
        elif self._pace_of(now).is_too_slow(self.octets):
            intake = conversation.dialogue.intake
            return replies.too_slow(lone_lf=intake is not None and intake.lone_newlines)
        return None

    def _pace_of(self, now: float) -> Pace:
        if self.pace is None:
            rate = self._doorway.settings.limits.content_octets_per_second
            self.pace = Pace(rate, self.deadline)
        return self.pace
