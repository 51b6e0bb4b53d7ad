"""Who sees what happens on a connection: its transcript, the log, or several of them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from smtpcb.engine import Connection, Envelope, Observer, Reason, Recipient
from smtpcb.engine._intake import NEWLINES_REPAIRED
from smtpcb.smtp import Reply, printable
from smtpcb.smtp._address import Leniency
from smtpcb.smtp.sasl import Credentials
from smtpcb.transcript import Transcript, TranscriptFolder

_MOST_SHOWN = 3
# What a strict server would not have taken.
_LENIENCIES = frozenset({NEWLINES_REPAIRED, *(leniency.value for leniency in Leniency)})

_log = Logger(namespace="smtpcb.mail")


class Several(Observer):
    """Several observers of one connection."""

    __slots__ = ("_all", "_with_octets", "sees_octets", "sees_plain_answers")

    def __init__(self, them: Sequence[Observer]) -> None:
        self._all = them
        self._with_octets = [one for one in them if one.sees_octets]
        self.sees_octets = bool(self._with_octets)
        self.sees_plain_answers = any(one.sees_plain_answers for one in them)

    def client(self, octets: bytes) -> None:
        """See `Observer.client`."""
        for one in self._with_octets:
            one.client(octets)

    def server(self, octets: bytes) -> None:
        """See `Observer.server`."""
        for one in self._with_octets:
            one.server(octets)

    def content(self, octets: bytes) -> None:
        """See `Observer.content`."""
        for one in self._with_octets:
            one.content(octets)

    def end_of_content(self) -> None:
        """See `Observer.end_of_content`."""
        for one in self._with_octets:
            one.end_of_content()

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """See `Observer.decided`."""
        for one in self._all:
            one.decided(method, subject, reply, seconds)

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """See `Observer.aborted`."""
        for one in self._all:
            one.aborted(reason, envelope, reply)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        for one in self._all:
            one.note(text)

    def ended(self, reason: Reason) -> None:
        """See `Observer.ended`."""
        for one in self._all:
            one.ended(reason)


class Recorded(Observer):
    """A connection's transcript."""

    __slots__ = ("_transcript", "client", "content", "end_of_content", "note", "server")
    sees_plain_answers = False

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self.client = transcript.client  # type: ignore[method-assign]  # one call less for each line
        self.server = transcript.server  # type: ignore[method-assign]
        self.content = transcript.content  # type: ignore[method-assign]
        self.end_of_content = transcript.end_of_content  # type: ignore[method-assign]
        self.note = transcript.note  # type: ignore[method-assign]

    def ended(self, reason: Reason) -> None:
        """Write the last line."""
        self._transcript.close(reason.value)


class Recording:
    """
    Makes the transcript of each connection.

    :param folder: where they are kept.
    """

    def __init__(self, folder: TranscriptFolder) -> None:
        self._folder = folder

    def __call__(self, connection: Connection) -> Observer:
        """Return what records a connection."""
        return Recorded(self._folder.open(connection))


class MessageLog(Observer):
    """
    One line in the log for each message, each recipient that is refused, and each login.

    :param connection: what it is about.
    """

    __slots__ = ("_connection", "_remarks")
    sees_octets = False
    sees_plain_answers = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._remarks: tuple[str, ...] = ()

    def note(self, text: str) -> None:
        """Keep what a strict server would not have taken for the line of the message."""
        if text in _LENIENCIES and text not in self._remarks:
            self._remarks = (*self._remarks, text)

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """Write what has been decided about mail."""
        if method == "message" and isinstance(subject, Envelope):
            self._message(subject, reply, seconds)
            self._remarks = ()
        elif reply.positive and method != "authenticate":
            return
        elif isinstance(subject, Recipient):
            self._line("recipient {subject} refused: {reply}", str(subject), reply.text)
        elif isinstance(subject, Envelope):
            sender = str(subject.reverse_path)
            self._line("mail from <{subject}> refused: {reply}", sender, reply.text)
        elif method == "authenticate":
            credentials = getattr(subject, "credentials", None)
            if isinstance(credentials, Credentials):
                # Not with the words of the reply: they may quote the password.
                self._line("login of {subject}: {reply}", credentials.username, reply.code)

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """Write why there will be no message, where content was on its way."""
        if reply is not None:
            self._message(envelope, reply, 0.0)
        self._remarks = ()

    def _line(self, text: str, subject: str, reply: str | int) -> None:
        _log.info(
            "{id}: " + text + " (client {peer})",
            id=self._connection.id,
            subject=printable(subject, 256),
            reply=printable(str(reply), 256),
            peer=printable(self._connection.peer_address, 64),
        )

    def _message(self, envelope: Envelope, reply: Reply, seconds: float) -> None:
        recipients = envelope.recipients
        shown = ", ".join(f"<{one}>" for one in recipients[:_MOST_SHOWN])
        more = len(recipients) - _MOST_SHOWN
        _log.info(
            "{id}: from <{sender}> to {recipients}, {octets} octets: {reply} ({seconds:.3f} s, "
            "client {peer}){remarks}",
            id=envelope.id,
            sender=printable(str(envelope.reverse_path), 256),
            recipients=printable(shown + (f" and {more} more" if more > 0 else ""), 1024),
            octets=envelope.size_octets,
            reply=printable(reply.text, 256),
            seconds=seconds,
            peer=printable(self._connection.peer_address, 64),
            remarks="".join(f"; {remark}" for remark in self._remarks),
        )
