"""SmtpServerProtocol: the octets, the time and the TLS of one connection; no rule of SMTP."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL.SSL import Error as SslError
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
    ITLSTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpcb import tls
from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._questions import Decision, Reason, StartTls
from smtpcb.engine._server import ServerDialogue, Wants
from smtpcb.engine._settings import Abilities
from smtpcb.handling._factories import Method
from smtpcb.server import _decisions as decisions
from smtpcb.server._conversation import Conversation
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.server._factory import SmtpServerFactory
    from smtpcb.transcript import Transcript

# How much input may wait while a decision is open; past it the client is not read any more.
# Up to it it is read, since only a reader learns that a client has left.  With what one read
# brings, that makes 96 KiB at most.
MOST_WAITING_OCTETS = 32_768
# Replies that are gathered for one write: some commands get fifty times their octets back.
MOST_REPLIES = 64
# A line that goes on for longer is no mistake (P24).
MOST_LINE_OCTETS = 1_048_576
# How long one connection may keep all others waiting (P30).
SLICE_SECONDS = 0.01
# The pace of mail data is looked at this often.
PACE_SECONDS = 60.0
# How long a client that has been told to go may take to go; and in a hurry.
LINGER_SECONDS = 5.0
CUT_SECONDS = 1.0
# How long the answer to one error too many, or to a wrong password, is held back.
PENALTY_SECONDS = 1.0

# What is said, without asking the dialogue, when it is us who are broken.
BROKEN = Reply(421)

_log = Logger(namespace="smtpcb.server")


class Phase(enum.Enum):
    """What the one timer of a connection is about."""

    HANDSHAKE = enum.auto()
    COMMAND = enum.auto()
    CONTENT = enum.auto()
    DECISION = enum.auto()
    LINGER = enum.auto()


@implementer(IHandshakeListener, IHalfCloseableProtocol, IPushProducer)
class SmtpServerProtocol(LineReceiver):
    """
    One client, from its arrival to its end; `SmtpServerFactory` makes it.

    It cuts lines and hands them to a `ServerDialogue`, lets a `Conversation` ask the handler what
    that wants to know, and writes what it says.
    """

    delimiter = b"\r\n"
    transport: Any

    # What most connections never change stands here and not in each of them: it is less work for
    # each, and thirty attributes are as many as instances can share the names of.
    _dialogue: ServerDialogue | None = None
    _conversation: Conversation | None = None
    _transcript: Transcript | None = None
    # An overlong line is being thrown away.
    _skipping = False
    _skipped_start = b""
    _skipped_octets = 0
    _skipped_cr = False
    # Why we do not read, each for itself.
    _choked = False
    _yielded: IDelayedCall | None = None
    _penalty: IDelayedCall | None = None
    _reading = True
    # Mail data so far, at the start of the minute that is being looked at, and what is left of
    # that minute; it stands still while the client waits for the handler.
    _octets = 0
    _octets_before = 0
    _pace_left = PACE_SECONDS
    _timer: IDelayedCall | None = None
    _timer_due = float("inf")
    _phase = Phase.COMMAND
    _deadline = 0.0
    _session_end = float("inf")
    # The client has closed its side.
    _at_end = False
    # We take no more from the client.
    _hung_up = False
    _lost = False

    def __init__(self, factory: SmtpServerFactory, connection: Connection) -> None:
        self._factory = factory
        self._clock: Any = factory.reactor
        self.connection = connection
        limits = self._limits = factory.settings.limits
        # MAX_LENGTH does not count the CRLF.  The dialogue knows which lines may be so long.
        self.MAX_LENGTH = max(limits.command_octets, limits.auth_octets) - 2
        self._turn_began = 0.0

    # Twisted's hooks.

    def connectionMade(self) -> None:
        """Begin, or wait for TLS if the port has it."""
        transport, connection = self.transport, self.connection
        host = transport.getHost()
        connection.host_address = getattr(host, "host", "")
        connection.host_port = getattr(host, "port", 0)
        now = self._clock.seconds()
        if self._limits.session_seconds is not None:
            self._session_end = now + self._limits.session_seconds
        transport.registerProducer(self, True)
        if ISSLTransport.providedBy(transport):
            self._expect(Phase.HANDSHAKE, now + self._limits.handshake_seconds)
        else:
            self._turn(self._begin)

    def handshakeCompleted(self) -> None:
        """Go on inside TLS."""
        if not self._hung_up:
            self._turn(self._secured)

    def dataReceived(self, data: bytes) -> None:
        """Take what the client sends."""
        if self._hung_up:
            return
        self._turn_began = self._clock.seconds()
        try:
            super().dataReceived(data)
            self._read_on()
        except Exception:
            self._break()

    def lineReceived(self, line: bytes) -> None:
        """Take a command, or a response of AUTH."""
        dialogue = self._dialogue
        assert dialogue is not None
        conversation = self._conversation
        assert conversation is not None
        if self._transcript is not None:
            self._transcript.client(dialogue.shown(line) + b"\r\n")
        dialogue.receive_line(line)
        conversation.run()
        if (
            self.paused
            or dialogue.penalized
            or conversation.calls
            or self._phase is not Phase.COMMAND
            or dialogue.wants is not Wants.LINE
        ):
            self._follow()
        else:
            # One more command and nothing else: the timer looks at the deadline when it fires.
            self._deadline = self._turn_began + self._limits.idle_seconds
        if self._buffer and not self.paused:
            if dialogue.replies_due > MOST_REPLIES:
                self._flush()  # the transport says if that is enough
            if self._clock.seconds() - self._turn_began > SLICE_SECONDS:
                # Let the reactor serve the others before the next line.
                self.paused = True
                self._yielded = self._clock.callLater(0, self._take_turn)

    def rawDataReceived(self, data: bytes) -> None:
        """Take mail data, or more of a line that is too long."""
        if self._skipping:
            self._skip(data)
            return
        dialogue = self._dialogue
        assert dialogue is not None
        rest = dialogue.receive_content(data)
        taken = len(data) - len(rest)
        self._octets += taken
        if self._transcript is not None:
            self._transcript.content(data[:taken])
            if dialogue.wants is not Wants.CONTENT:
                self._transcript.end_of_content()
        # LineReceiver has emptied its buffer for us, and goes on with what it finds there.
        self._buffer = rest
        self._run()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Throw away a line without taking it for commands (RFC 5321 §4.5.3.1.9)."""
        self._skipping = True
        self._skipped_start = line[:16]
        self._skipped_octets = 0
        self._skipped_cr = False
        self.setRawMode()
        self._skip(line)

    def pauseProducing(self) -> None:
        """Stop reading: the client does not take our replies.  The transport calls it."""
        if not self._choked:
            self._choked = True
            self._follow()
            self._set_flow()

    def resumeProducing(self) -> None:
        """Read on: the client has taken them.  The transport calls it."""
        if self._choked:
            self._choked = False
            self._advance()

    def stopProducing(self) -> None:
        """Do nothing: the transport calls it when the connection is lost, and says so itself."""

    def readConnectionLost(self) -> None:
        """
        Treat a client that will say nothing more as gone, once what it has sent is answered.

        Whether it still reads cannot be known.  So no answer of the handler's is waited for,
        except on a message that has been read to its end: its client should hear that it is safe.
        """
        if self._hung_up or self._conversation is None:
            self.transport.loseConnection()
        else:
            self._at_end = self._conversation.leaving = True
            self._advance()

    def writeConnectionLost(self) -> None:
        """Do nothing: it was us who closed that side."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cancel what nobody waits for any more, and tell the handler."""
        self._hung_up = self._lost = self.paused = True
        self._stop_waiting()
        self._stop_timer()
        if self._dialogue is None:
            self._factory.concluded(self)
        elif self._phase is Phase.HANDSHAKE or reason.check(SslError) is not None:
            self._turn(self._say_farewell, Reason.TLS_FAILED)
        else:
            self._turn(self._say_farewell, Reason.DISCONNECTED)

    # What the factory calls.

    def shut_down(self) -> None:
        """End as soon as no mail transaction is under way (RFC 5321 §3.8)."""
        if self._phase is Phase.HANDSHAKE:
            self._abort()
        elif self._dialogue is not None:
            self._dialogue.shut_down()
            self._advance()

    def cut_short(self) -> None:
        """End now, whatever is under way; a complete message is not waited for either."""
        dialogue, conversation = self._dialogue, self._conversation
        if self._phase is Phase.HANDSHAKE or (self._hung_up and not self._lost):
            self._abort()
        if dialogue is not None and conversation is not None:
            dialogue.close(replies.SHUTTING_DOWN, Reason.SHUTDOWN)
            conversation.cut()
            self._advance()
            if not self._lost and self._phase is Phase.LINGER:
                # Long enough to send the reply, which an abort at once would throw away.
                self._expect(Phase.LINGER, self._clock.seconds() + CUT_SECONDS)

    # Beginning and end.

    def _begin(self) -> None:
        factory, connection = self._factory, self.connection
        if factory.transcripts is not None:
            self._transcript = factory.transcripts.open(connection)
        if connection.tls is not None:
            self._note_tls(connection.tls)
        methods: dict[str, Method] = {}
        abilities = Abilities()
        failure: Failure | None = None
        try:
            methods, abilities = factory.understand(
                factory.handler_factory(connection),
                tls=factory.tls is not None and ITLSTransport.providedBy(self.transport),
            )
        except KeyboardInterrupt:
            raise
        except BaseException:
            failure = Failure()
            methods = {}
        dialogue = self._dialogue = ServerDialogue(connection, factory.settings, abilities)
        self._conversation = Conversation(
            dialogue,
            methods,
            self._clock,
            start_tls=self._start_tls,
            changed=self._advance,
            make_content=factory.make_content,
        )
        dialogue.greet()
        if failure is not None:
            event = dialogue.next_event()
            assert isinstance(event, Decision)
            dialogue.answer(
                event, decisions.incident(event, "the handler factory", failure, connection.id)
            )
        self._run()

    def _hang_up(self) -> None:
        """Close, but so that the client can still read why."""
        dialogue, transport = self._dialogue, self.transport
        assert dialogue is not None
        self._stop_waiting()
        self._flush()
        self._hung_up = self.paused = True
        self.clearLineBuffer()
        self._expect(Phase.LINGER, self._clock.seconds() + LINGER_SECONDS)
        transport.unregisterProducer()
        if not self._reading:
            self._reading = True
            transport.resumeProducing()
        half_close = getattr(transport, "loseWriteConnection", None)
        if (
            half_close is None
            or self.connection.tls is not None
            or dialogue.ended in (Reason.QUIT, Reason.DISCONNECTED)
        ):
            transport.loseConnection()
        else:
            # Closing at once with input unread resets the connection, and the reply that says
            # why may never be seen.  What still comes is read and thrown away.
            half_close()

    def _say_farewell(self, reason: Reason) -> None:
        dialogue, conversation = self._dialogue, self._conversation
        assert dialogue is not None
        assert conversation is not None
        dialogue.disconnect(reason)
        assert dialogue.ended is not None
        conversation.farewell(dialogue.ended)
        self._run()

    def _abort(self) -> None:
        """Close without a word; what is waiting to be sent is thrown away."""
        self._hung_up = self.paused = True
        self.transport.abortConnection()

    def _conclude(self) -> None:
        """Nothing more will happen."""
        self._stop_timer()
        if self._transcript is not None:
            assert self._dialogue is not None
            assert self._dialogue.ended is not None
            self._transcript.close(self._dialogue.ended.value)
        # They know us and we know them; apart, they are freed at once, for the next connection.
        self._dialogue = self._conversation = None
        self._factory.concluded(self)

    # Each turn.

    def _turn(self, step: Callable[..., object], *arguments: object) -> None:
        """Do one thing, then write what is due and read what has been waiting."""
        self._turn_began = self._clock.seconds()
        try:
            step(*arguments)
            self._read_on()
        except Exception:
            self._break()

    def _advance(self) -> None:
        """Go on from outside `dataReceived`: the handler has answered, or we may read again."""
        self._turn(self._run)

    def _run(self) -> None:
        """Run what has happened, and see what comes next."""
        assert self._conversation is not None
        self._conversation.run()
        self._follow()

    def _break(self) -> None:
        """End a connection on which we have failed: no handler has, those are caught (P59)."""
        _log.failure("a fault of smtpcb on {id}", id=self.connection.id)
        self._stop_waiting()
        if self._lost:
            self._stop_timer()
            self._factory.concluded(self)
        else:
            self.transport.write(BROKEN.wire)
            self._hung_up = self.paused = True
            self._expect(Phase.LINGER, self._clock.seconds() + LINGER_SECONDS)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _follow(self) -> None:
        """Set mode, pause and timer by what the dialogue wants next."""
        dialogue, conversation = self._dialogue, self._conversation
        if dialogue is None or conversation is None:
            return
        deadline = conversation.deadline if conversation.calls else None
        if self._lost:
            if conversation.over:
                self._conclude()
            elif deadline is not None:
                self._expect(Phase.DECISION, deadline)
            return
        if dialogue.penalized:
            dialogue.penalized = False
            if dialogue.ended is None and self._penalty is None:
                self._penalty = self._clock.callLater(PENALTY_SECONDS, self._penalty_over)
        wants = dialogue.wants
        if not self._hung_up:
            now = self._clock.seconds()
            if deadline is not None:
                if self._phase is Phase.CONTENT:
                    self._pace_left = self._deadline - now
                self._expect(Phase.DECISION, deadline)
            elif wants is Wants.LINE:
                self._expect(Phase.COMMAND, now + self._limits.idle_seconds)
            elif wants is Wants.CONTENT:
                if self.line_mode:
                    self._octets_before = self._octets
                    self._expect(Phase.CONTENT, now + PACE_SECONDS)
                elif self._phase is not Phase.CONTENT:
                    self._expect(Phase.CONTENT, now + self._pace_left)
        if not self._skipping:
            self.line_mode = 0 if wants is Wants.CONTENT else 1
        self.paused = (
            conversation.blocked
            or self._choked
            or self._hung_up
            or self._penalty is not None
            or self._yielded is not None
            or (wants is not Wants.LINE and wants is not Wants.CONTENT)
        )

    def _read_on(self) -> None:
        """Write what is due, and read what has been waiting; the end of each turn."""
        dialogue = self._dialogue
        if dialogue is None or self._hung_up or self._busyReceiving:
            return
        while self._buffer and not self.paused:
            waiting = len(self._buffer)
            super().dataReceived(b"")
            if len(self._buffer) == waiting:
                break  # the beginning of a line
        self._flush()
        if self._hung_up:
            return  # a transport may resume us while it writes
        if self._at_end and not self._worth_waiting():
            dialogue.disconnect()
            self._run()
        if dialogue.ended is not None:
            self._hang_up()
        elif self.paused or not self._reading:
            self._set_flow()

    def _worth_waiting(self) -> bool:
        """Tell whether a client that has closed its side may yet hear something."""
        dialogue, conversation = self._dialogue, self._conversation
        assert dialogue is not None
        assert conversation is not None
        return (
            conversation.completing
            or dialogue.message_follows
            or self._penalty is not None
            or self._yielded is not None
            or self._choked
        )

    def _flush(self) -> None:
        """Write the replies of one turn together."""
        dialogue = self._dialogue
        if self._penalty is not None or dialogue is None or self._lost:
            return
        octets = dialogue.take_output()
        if octets:
            if self._transcript is not None:
                self._transcript.server(octets)
            self.transport.write(octets)

    def _set_flow(self) -> None:
        if self._at_end:
            return  # there is nothing more to read
        reading = not self._choked and (not self.paused or len(self._buffer) < MOST_WAITING_OCTETS)
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _take_turn(self) -> None:
        self._yielded = None
        self._advance()

    def _penalty_over(self) -> None:
        self._penalty = None
        self._advance()

    def _stop_waiting(self) -> None:
        for call in (self._yielded, self._penalty):
            if call is not None:
                call.cancel()
        self._yielded = self._penalty = None

    def _skip(self, data: bytes) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        if self._skipped_cr and data.startswith(b"\n"):
            line, found, rest = b"", True, data[1:]
        else:
            line, crlf, rest = data.partition(b"\r\n")
            found = bool(crlf)
        self._skipped_octets += len(line)
        self._skipped_cr = data.endswith(b"\r")
        if found:
            self._skipping = False
            if self._transcript is not None:
                self._transcript.note(f"too long a line: {self._skipped_octets} octets")
            dialogue.line_too_long(self._skipped_start)
            self._buffer = rest
            self._run()
        elif self._skipped_octets > MOST_LINE_OCTETS:
            self._skipping = False
            dialogue.close(replies.LINE_ENDLESS, Reason.LIMIT)
            self._run()

    # TLS.

    def _start_tls(self, event: StartTls) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        if self._buffer:
            # Whoever sends before the handshake may be anybody on the path (RFC 3207 §4.2).
            self.clearLineBuffer()
            dialogue.answer(event, replies.DATA_BEHIND_STARTTLS)
            return
        dialogue.answer(event, True)
        self._flush()
        self._expect(Phase.HANDSHAKE, self._clock.seconds() + self._limits.handshake_seconds)
        self.transport.startTLS(self._factory.tls)
        # If the client has been slow to take our replies, nobody else will say that it has.
        self._choked = False

    def _secured(self) -> None:
        information = tls.describe(self.transport.getHandle())
        dialogue = self._dialogue
        if dialogue is None:
            self.connection.tls = information
            self._begin()
        elif dialogue.wants is Wants.HANDSHAKE:
            assert self._conversation is not None
            self._conversation.release_login()
            self._note_tls(information)
            dialogue.tls_established(information)
            self._run()

    def _note_tls(self, information: TlsInformation) -> None:
        if self._transcript is not None:
            self._transcript.note(f"TLS {information.version} {information.cipher}")

    # Time: one timer, set for the first thing that could be late.

    def _expect(self, phase: Phase, deadline: float) -> None:
        self._phase = phase
        self._deadline = deadline
        due = deadline if self._hung_up else min(deadline, self._session_end)
        if due >= self._timer_due:
            return  # when the timer fires it will look again
        self._timer_due = due
        seconds = max(0.0, due - self._clock.seconds())
        if self._timer is not None:
            # Not reset: to move a call forward, Twisted looks at all calls there are.
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._forget_timer()

    def _forget_timer(self) -> None:
        self._timer = None
        self._timer_due = float("inf")

    def _tick(self) -> None:
        self._forget_timer()
        now = self._clock.seconds()
        if now >= self._session_end and not self._hung_up:
            self._turn(self._session_over)
        elif now < self._deadline:
            self._expect(self._phase, self._deadline)
        else:
            self._turn(self._late, now)

    def _session_over(self) -> None:
        conversation = self._conversation
        if self._phase is Phase.HANDSHAKE or conversation is None:
            self._abort()
        elif conversation.completing:
            # Its sender is about to hear that the message is safe.
            self._session_end = self._clock.seconds() + PACE_SECONDS
            self._follow()
        else:
            self._close(replies.SESSION_TOO_LONG)

    def _late(self, now: float) -> None:
        phase = self._phase
        if phase is Phase.DECISION:
            assert self._conversation is not None
            self._conversation.expire(now)
            self._run()
        elif phase is Phase.CONTENT:
            pace = self._limits.content_octets_per_second
            if pace is not None and self._octets - self._octets_before < pace * PACE_SECONDS:
                self._close(replies.TOO_SLOW)
            else:
                self._octets_before = self._octets
                self._expect(Phase.CONTENT, now + PACE_SECONDS)
        elif phase is Phase.COMMAND:
            self._close(replies.TIMED_OUT)
            if self._choked:  # it does not read that either
                self._abort()
        else:
            self._abort()  # it does not shake hands, or does not go

    def _close(self, reply: Reply) -> None:
        assert self._dialogue is not None
        self._dialogue.close(reply, Reason.TIMEOUT)
        self._run()
