"""Observer: what may be seen of a connection as it goes; transcripts and log lines are some."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpcb.engine._envelope import Envelope
    from smtpcb.engine._reason import Reason
    from smtpcb.smtp._reply import Reply


class Observer:
    """
    Sees everything and changes nothing; override what you want to see.

    It is called in the order of what happens, between octets and answers, so it must not block,
    and nothing in it can be awaited.  What it raises is an incident in the log; it is not called
    again on that connection, and all else goes on.

    :cvar sees_octets: whether `client`, `server`, `content` and `end_of_content` are called.
    :cvar sees_plain_answers: whether `decided` has to be called for a plain yes at once, which most
        answers are, to anything but a message.  It is called all the same where another observer of
        the connection wants it.
    """

    __slots__ = ()
    sees_octets = True
    sees_plain_answers = True

    def client(self, octets: bytes) -> None:
        """A line has come, CRLF included; no octet of a secret is in it."""

    def server(self, octets: bytes) -> None:
        """Replies leave."""

    def content(self, octets: bytes) -> None:
        """Some mail data has come, as on the wire."""

    def end_of_content(self) -> None:
        """The mail data is complete, or the chunk."""

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """
        A question has been answered.

        :param method: of the handler, whether or not it has it.
        :param subject: what was asked about: an `Envelope`, a `Recipient`, …
        :param reply: the answer.  To a message in LMTP it is a `ReplyToEach`: one reply for each
            recipient, in its ``each``.
        :param seconds: how long the answer took.
        """

    def refused(self, line: bytes, reply: Reply) -> None:
        """
        A command was refused without a question to anybody: its form, its moment or a limit.

        :param line: without its CRLF; no octet of a secret is in it.
        """

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """
        A transaction is over without a message.

        :param reply: what the client hears of it, if it hears of it.
        """

    def note(self, text: str) -> None:
        """Something else is worth knowing: a handshake, a leniency, a line that was too long."""

    def ended(self, reason: Reason) -> None:
        """The connection is over."""
