"""Who sees what happens on a connection: its transcript, the log, or several of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from smtpcb.engine import Connection, Envelope, Observer, Reason, Recipient, replies
from smtpcb.engine._guarded import Guarded
from smtpcb.engine._handler import name_of
from smtpcb.engine._intake import NEWLINES_REPAIRED
from smtpcb.engine._lmtp import ReplyToEach
from smtpcb.engine._pending import Platform
from smtpcb.handling._calls import accepts, function_of
from smtpcb.smtp import Leniency, Reply, XForward, printable
from smtpcb.smtp.sasl import Credentials
from smtpcb.transcript import Transcript, TranscriptFolder

MOST_SHOWN = 3
"""How many recipients a log line names."""

GATHER_SECONDS = 0.05
"""How long the moment is whose log lines are written together."""

MOST_REFUSALS = 100
"""How many refusals of a connection have a line, before it has sent a message."""

# What is said of a command that another one had to precede, which may have been refused.
_CONSEQUENCES = frozenset({503, 530})
_WITHIN = frozenset({b"RCPT", b"DATA", b"BDAT"})
# What has to do with mail getting in.
_OF_MAIL = frozenset({b"MAIL", b"RCPT", b"DATA", b"BDAT", b"AUTH", b"STARTTLS"})
# A transaction that ends for these does so because of us.
_OURS = frozenset(
    {
        Reason.LIMIT,
        Reason.TIMEOUT,
        Reason.SHUTDOWN,
        Reason.FAILED,
        Reason.INJECTED,
        Reason.CLOSED,
    }
)

# What a strict server would not have taken.
_LENIENCIES = frozenset({NEWLINES_REPAIRED, *(leniency.value for leniency in Leniency)})

ObserverFactory = Callable[[Connection], Observer | None]

_log = Logger(namespace="smtpcb.mail")


class _Seeing(Observer):
    """Those of several who see octets."""

    __slots__ = ("_all",)

    def __init__(self, them: Sequence[Observer]) -> None:
        self._all = them

    def client(self, octets: bytes) -> None:
        """See `Observer.client`."""
        for one in self._all:
            one.client(octets)

    def server(self, octets: bytes) -> None:
        """See `Observer.server`."""
        for one in self._all:
            one.server(octets)

    def content(self, octets: bytes) -> None:
        """See `Observer.content`."""
        for one in self._all:
            one.content(octets)

    def end_of_content(self) -> None:
        """See `Observer.end_of_content`."""
        for one in self._all:
            one.end_of_content()


class Several(Observer):
    """Several observers of one connection."""

    __slots__ = (
        "_all",
        "client",
        "content",
        "end_of_content",
        "sees_octets",
        "sees_plain_answers",
        "server",
    )

    def __init__(self, them: Sequence[Observer]) -> None:
        self._all = them
        with_octets = [one for one in them if one.sees_octets]
        self.sees_octets = bool(with_octets)
        self.sees_plain_answers = any(one.sees_plain_answers for one in them)
        # Nearly always it is one who sees octets, and then nobody stands before it.
        seeing = with_octets[0] if len(with_octets) == 1 else _Seeing(with_octets)
        # And its methods in the place of ours, which is one call less.
        self.client = seeing.client  # type: ignore[method-assign]
        self.server = seeing.server  # type: ignore[method-assign]
        self.content = seeing.content  # type: ignore[method-assign]
        self.end_of_content = seeing.end_of_content  # type: ignore[method-assign]

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """See `Observer.decided`."""
        for one in self._all:
            one.decided(method, subject, reply, seconds)

    def refused(self, line: bytes, reply: Reply) -> None:
        """See `Observer.refused`."""
        for one in self._all:
            one.refused(line, reply)

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


class Watch:
    """
    Makes a user's observer of each connection, and keeps its faults from everybody else.

    :param make: the user's; called with the connection.
    :param platform: where faults are reported.
    :raises TypeError: it cannot be called with a connection.
    """

    def __init__(self, make: Callable[[Connection], object], platform: Platform) -> None:
        name = getattr(make, "__qualname__", "") or name_of(make)
        if inspect.iscoroutinefunction(function_of(make)):
            raise TypeError(f"{name} makes an observer at once: it cannot be async def")
        try:
            signature = inspect.signature(make)
        except (ValueError, TypeError):  # a class written in C says nothing of its arguments
            signature = inspect.signature(lambda connection: None)
        if not accepts(signature, ("connection",)):
            raise TypeError(f"{name} is called with the connection, to make its observer")
        self._name = name
        self._make = make
        self._platform = platform

    def __call__(self, connection: Connection) -> Observer | None:
        """Return what observes a connection, if anything does."""
        platform = self._platform
        try:
            made = self._make(connection)
            return None if made is None else Guarded(made, platform, connection.id)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() in a constructor is a fault, no more
            platform.incidents.report("the observer factory", self._name, error, connection.id)
            return None


class Observers:
    """
    All who see a server's connections: transcripts first, then the users' own, then the log.

    :param users: called with each connection.
    :param lines: where the log's lines go, if it has any.
    :raises TypeError: one of the users' cannot be called with a connection.
    :ivar transcripts: where connections that come from now on are recorded, if they are.
    :ivar folders: where connections have been recorded, that one included; the others may still
        have some that are not over.
    """

    def __init__(
        self,
        transcripts: TranscriptFolder | None,
        users: Sequence[ObserverFactory],
        lines: Lines | None,
        platform: Platform,
    ) -> None:
        self._lines = lines
        self._others: tuple[ObserverFactory, ...] = (
            *[Watch(one, platform) for one in users],
            *([MessageLog(lines)] if lines is not None else []),
        )
        self.folders: list[TranscriptFolder] = []
        self.record(transcripts)

    def record(self, transcripts: TranscriptFolder | None) -> None:
        """Record the connections that come from now on there, or nowhere."""
        self.transcripts = transcripts
        if transcripts is None:
            self._makers = self._others
            return
        self._makers = (Recording(transcripts), *self._others)
        if transcripts not in self.folders:
            self.folders.append(transcripts)

    def of(self, connection: Connection) -> Observer | None:
        """Return who sees a connection."""
        seen_by = [made for maker in self._makers if (made := maker(connection)) is not None]
        if not seen_by:
            return None
        return seen_by[0] if len(seen_by) == 1 else Several(seen_by)

    def rest(self) -> None:
        """Write what is waiting: nobody is connected any more."""
        if self._lines is not None:
            self._lines.close()


class Recorded(Observer):
    """A connection's transcript."""

    __slots__ = ("_transcript", "client", "content", "end_of_content", "note", "server")
    sees_plain_answers = False

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        # One call less for each line: the transcript's own methods in the place of ours.
        self.client = transcript.client  # type: ignore[method-assign]
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


class Lines:
    """
    Lines for the log.

    To write one into Twisted's log costs as much as to take a message.  So what comes within a
    moment of the last one is written together: one entry, a line of it each, as Twisted writes
    texts of several lines.

    :param reactor: for the moment.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._gathered: list[str] = []
        self._timer: Any = None

    def write(self, line: str) -> None:
        """Write a line, now or in a moment."""
        self._gathered.append(line)
        if self._timer is None:
            self._write_out()
            self._timer = self._reactor.callLater(GATHER_SECONDS, self._moment_over)

    def close(self) -> None:
        """Write what is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_out()

    def _moment_over(self) -> None:
        self._timer = None
        if self._gathered:
            self.write(self._gathered.pop())

    def _write_out(self) -> None:
        if self._gathered:
            _log.info("{lines}", lines="\n".join(self._gathered))
            self._gathered.clear()


class MessageLog:
    """
    Makes what writes one line for each message, each refusal and each login of a connection.

    :param lines: where they go.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __call__(self, connection: Connection) -> Observer:
        """Return what observes a connection."""
        return Logged(connection, self._lines)


class Logged(Observer):
    """
    The log lines of one connection.

    :param connection: what they are about.
    """

    __slots__ = ("_connection", "_lines", "_notes", "_refusals", "_refused")
    sees_octets = False
    sees_plain_answers = False

    def __init__(self, connection: Connection, lines: Lines) -> None:
        self._connection = connection
        self._lines = lines
        self._notes: list[str] | None = None
        # How many lines refusals of our own have had since the last message; and whether what goes
        # wrong now may only be what follows from one.
        self._refusals = 0
        self._refused = False

    def decided(self, method: str, subject: object, reply: Reply, seconds: float) -> None:
        """Write what has been decided about mail."""
        if method == "message":
            assert isinstance(subject, Envelope)
            if reply.code < 400:
                self._refusals = 0
            accepted = reply is replies.MESSAGE_OK
            self._message(subject, _ACCEPTED if accepted else _said(reply), seconds)
            if isinstance(reply, ReplyToEach):
                for recipient, said in reply.refused:
                    path = printable(str(recipient), 256)
                    self._lines.write(f"{subject.id}: recipient <{path}> not taken: {_said(said)}")
        elif method == "authenticate":
            credentials = getattr(subject, "credentials", None)
            if isinstance(credentials, Credentials):
                # Not with the words of the reply: they may quote the password.
                name = printable(credentials.username, 256)
                self._line(f"login of {name}: {reply.code}")
        elif not reply.positive and isinstance(subject, Recipient):
            self._refused = True
            path = printable(str(subject), 256)
            self._line(f"recipient <{path}> refused: {_said(reply)}")
        elif not reply.positive and isinstance(subject, Envelope):
            self._refused = True
            path = printable(str(subject.reverse_path), 256)
            self._line(f"mail from <{path}> refused: {_said(reply)}")

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """Write why there will be no message, where that is our doing."""
        if reply is not None:
            self._message(envelope, _said(reply), 0.0)
        elif reason in _OURS:
            self._message(envelope, f"no message: {reason.value}", 0.0)
        self._notes = None
        self._refused = False

    def refused(self, line: bytes, reply: Reply) -> None:
        """Write what mail was refused for before anybody was asked, and logins too."""
        verb = line[:16].upper().partition(b" ")[0].rstrip(b"\t")
        follows = self._refused and verb in _WITHIN and reply.code in _CONSEQUENCES
        if follows or verb not in _OF_MAIL:
            return
        self._refused = True
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            last = self._refusals == MOST_REFUSALS
            more = "; what else is refused here is not logged" if last else ""
            said = printable(line.decode("utf-8", "backslashreplace"), 256)
            self._line(f"{said} refused: {_said(reply)}{more}")

    def ended(self, reason: Reason) -> None:
        """Write which limit has ended the connection: what its client sends next is not heard."""
        budget = self._connection.budget
        if reason is Reason.LIMIT and (self._refusals or budget.messages):
            what = budget.exhausted or Reason.LIMIT.value
            self._line(f"closed: {what[0].lower()}{what[1:]}")

    def note(self, text: str) -> None:
        """Remember what a strict server would not have taken; the message's line says it."""
        if text in _LENIENCIES and text not in (self._notes or ()):
            self._notes = [*(self._notes or ()), text]

    def _line(self, text: str) -> None:
        connection = self._connection
        self._lines.write(f"{connection.id}: {text} (client {connection.peer_address or '-'})")

    def _message(self, envelope: Envelope, outcome: str, seconds: float) -> None:
        self._refused = False
        recipients = envelope.recipients
        if len(recipients) == 1:
            shown = f"<{recipients[0].forward_path}>"
        else:
            shown = ", ".join([f"<{one.forward_path}>" for one in recipients[:MOST_SHOWN]])
            if len(recipients) > MOST_SHOWN:
                shown += f" and {len(recipients) - MOST_SHOWN} more"
        text = f"from <{envelope.reverse_path}> to {shown or 'nobody'}"
        if not text.isprintable():
            text = printable(text, 2000)
        also = ""
        if self._notes is not None:
            notes, self._notes = self._notes, None
            also = f"; {printable('; '.join(notes), 500)}"
        connection = self._connection
        client = f"client {connection.peer_address or '-'}"
        if envelope.forwarded is not None:
            client += _forwarded(envelope.forwarded)
        self._lines.write(
            f"{connection.id}-{envelope.number}: {text}, {envelope.size_octets} octets: {outcome} "
            f"({seconds:.3f} s, {client}){also}"
        )


def _forwarded(said: XForward) -> str:
    """Say from whom a trusted server has a message."""
    text = f", for {said.address or said.name or '-'}"
    return text + (f" as {printable(said.identifier, 256)}" if said.identifier else "")


_ACCEPTED = replies.MESSAGE_OK.text


def _said(reply: Reply) -> str:
    text = reply.text
    return text if text.isprintable() and len(text) < 256 else printable(text, 256)
