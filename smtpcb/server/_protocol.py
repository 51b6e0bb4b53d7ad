"""SmtpServerProtocol: the octets and the TLS of one connection; no rule of SMTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL.SSL import Error as SslError
from twisted.internet.interfaces import (
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
from smtpcb._ending import CUT_SECONDS
from smtpcb.engine import Connection, Conversation, Reason, ServerDialogue, Wants, replies
from smtpcb.engine._lines import Discarded, has_lone_lf, has_lone_newline, most_line_octets
from smtpcb.server._farewell import LINGER_SECONDS, close_gently
from smtpcb.server._flow import Flow
from smtpcb.server._patience import Patience
from smtpcb.smtp import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpcb.engine import Handler, Observer, TlsInformation
    from smtpcb.server._connections import Doorway
    from smtpcb.server._factory import SmtpServerFactory
    from smtpcb.smtp import XClient

# How much input may wait while a question is open; past it the client is not read any more.
# Up to it it is read, since only a reader learns that a client has left.  With what one read
# brings, that makes 96 KiB at most.
MOST_WAITING_OCTETS = 32_768
# Replies that are gathered for one write: some commands get fifty times their octets back.
MOST_REPLIES = 64
# The clock is looked at after so many lines of one read.
LINES_A_LOOK = 32
# How long the answer to one error too many, or to a wrong password, is held back.
PENALTY_SECONDS = 1.0

# What is said, without asking the dialogue, when it is us who are broken.
BROKEN = Reply(421)

_log = Logger(namespace="smtpcb.server")


# A member of an enum is looked up in its class for the price of three calls before Python 3.12.
_LINE = Wants.LINE
_CONTENT = Wants.CONTENT
_ANSWER = Wants.ANSWER
_HANDSHAKE = Wants.HANDSHAKE
_NOTHING = Wants.NOTHING

# Cuts lines, and calls `lineReceived` or `rawDataReceived` for each piece.
_receive = LineReceiver.dataReceived


@implementer(IHandshakeListener, IHalfCloseableProtocol, IPushProducer)
class SmtpServerProtocol(LineReceiver):
    """
    One client, from its arrival to its end; `SmtpServerFactory` makes it.

    It cuts lines and hands them to a `ServerDialogue`, and writes what that says.

    :ivar patience: how long the client is waited for.
    :ivar flow: why it is not read.
    """

    delimiter = b"\r\n"
    transport: Any
    factory: Doorway

    # What most connections never change stands here and not in each of them.
    _discarded: Discarded | None = None
    _successor: XClient | None = None

    def __init__(self, server: SmtpServerFactory, doorway: Doorway, connection: Connection) -> None:
        self._factory = server
        self.factory = doorway
        self.connection = connection
        # The dialogue knows which lines may be so long.
        self.MAX_LENGTH = most_line_octets(doorway.settings.limits)
        # What each command looks at stands in the instance: there it is found sooner.
        self._conversation: Conversation | None = None
        self._dialogue: ServerDialogue | None = None
        self._recorder: Observer | None = None  # the observer, if it sees octets
        self.patience = Patience(server, doorway)
        self.flow = Flow()
        self._lines = 0
        # The client has closed its side; we take no more from it; it is gone.
        self._at_end = self._hung_up = self._lost = False

    # Twisted's hooks.

    def connectionMade(self) -> None:
        """Begin, or wait for TLS if the port has it."""
        transport, connection = self.transport, self.connection
        if not connection.host_address:  # a balancer may have said it
            host = transport.getHost()
            connection.host_address = getattr(host, "host", "") or _path_of(host)
            connection.host_port = getattr(host, "port", 0)
        self.patience.begin()
        transport.registerProducer(self, True)
        if ISSLTransport.providedBy(transport):
            self.patience.shake_hands()
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
        self.connection.octets_in += len(data)
        try:
            _receive(self, data)
            if self._buffer and not self.paused:
                self._read_on()
            elif not self._busyReceiving:
                self._end_of_turn()
        except KeyboardInterrupt:
            raise
        except BaseException:  # a fault of ours ends its connection, no more
            self._break()

    def lineReceived(self, line: bytes) -> None:
        """Take a command, or a response of AUTH."""
        dialogue = self._dialogue
        assert dialogue is not None
        if self._recorder is not None:
            self._recorder.client(dialogue.shown(line) + b"\r\n")
        dialogue.line(line)
        lines = self._lines = self._lines + 1
        if not lines % LINES_A_LOOK and self._buffer:
            self._let_others(dialogue)
        if dialogue.wants is not _LINE or dialogue.late is not None:
            self._look_ahead(dialogue)

    def rawDataReceived(self, data: bytes) -> None:
        """Take mail data, or more of a line that is thrown away."""
        if self._discarded is not None:
            self._discard(self._discarded, data)
            return
        dialogue = self._dialogue
        assert dialogue is not None
        rest = dialogue.content(data)
        self.patience.octets += len(data) - len(rest)
        if self._recorder is not None:
            self._recorder.content(data[: len(data) - len(rest)])
            if dialogue.wants is not _CONTENT:
                self._recorder.end_of_content()
        # LineReceiver has emptied its buffer for us, and goes on with what it finds there.
        self._buffer = rest
        self._look_ahead(dialogue)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Throw away a line without taking it for commands (RFC 5321 §4.5.3.1.9)."""
        # What is said of it does not depend on how the network has cut it.
        self._throw_away(line, lone_lf=b"\n" in line[: self.MAX_LENGTH])

    def pauseProducing(self) -> None:
        """Stop reading: the client does not take our replies.  The transport calls it."""
        if not self.flow.choked:
            self.flow.choked = self.paused = True
            self._set_flow()

    def resumeProducing(self) -> None:
        """Read on: the client has taken them.  The transport calls it."""
        if self.flow.choked:
            self.flow.choked = False
            self._turn()

    def stopProducing(self) -> None:
        """Do nothing: the transport calls it when the connection is lost, and says so itself."""

    def readConnectionLost(self) -> None:
        """
        The client has closed its side: answer what it has sent to its end, then close.

        It has sent everything it wants an answer to, and may well read on (RFC 9293 §3.6).
        """
        if self._hung_up or self._conversation is None:
            self.transport.loseConnection()
        else:
            self._at_end = True
            self._turn()

    def writeConnectionLost(self) -> None:
        """Do nothing: it was us who closed that side."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cancel what nobody waits for any more, and tell the handler."""
        handshaking = self.patience.waits_for is _HANDSHAKE
        self._factory.tally.handshakes_failed += handshaking
        self._hung_up = self._lost = self.paused = True
        self.flow.stop(self._factory.turns, self)
        if self._conversation is None:
            self._concluded()
        elif handshaking or isinstance(reason.value, SslError):
            self._turn(self._conversation.farewell, Reason.TLS_FAILED)
        else:
            self._turn(self._conversation.farewell, Reason.DISCONNECTED)

    # What the conversation calls.

    def changed(self) -> None:
        """A late answer has been taken: say what is due, and read on."""
        if not self._busyReceiving:
            self._turn()

    def start_tls(self) -> Reply:
        """
        Answer STARTTLS: whatever stands behind it in the clear may be anybody's (RFC 3207 §6).
        """
        return replies.DATA_BEHIND_STARTTLS if self._buffer else replies.READY_FOR_TLS

    def start_over(self, client: XClient) -> Reply | None:
        """Answer XCLIENT; the place of the client that it names may be taken already."""
        refusal = self._factory.succeed(self, client)
        if refusal is None:
            self._successor = client
        return refusal

    def adapt(self, handler: object) -> Handler:
        """Understand another handler, as the first one was."""
        assert self._conversation is not None
        tls_possible = self._conversation.handler.abilities.tls
        return self._factory.handlers.adapt(
            handler, self.connection, self.factory.known, tls=tls_possible
        )

    # What the factory calls.

    @property
    def deadline(self) -> float:
        """When something about this connection is late."""
        return self.patience.deadline

    def late(self, now: float) -> None:
        """Its deadline has passed."""
        self._turn(self._late, now)

    def take_turn(self) -> None:
        """Go on after having yielded."""
        self.flow.yielded = False
        self._turn()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way that somebody would miss."""
        dialogue = self._dialogue
        return (
            dialogue is not None
            and not self._hung_up
            and dialogue.wants is _LINE
            and not dialogue.in_transaction
            and dialogue.open is None
            and not self._buffer
        )

    def send_away(self, reply: Reply) -> None:
        """End an idle connection: its place is needed."""
        if self._dialogue is not None:
            self._dialogue.close(reply, Reason.LIMIT)
            self._turn()

    def admit_login(self) -> object:
        """Say whether the client may try to log in; see `smtpcb.engine.Owner`."""
        return self._factory.logins.admit(self.connection.peer_address)

    def logged_in(self, reply: Reply) -> None:
        """Remember a login that has failed; see `smtpcb.engine.Owner`."""
        self._factory.logins.decided(self.connection.peer_address, reply)

    def shut_down(self) -> None:
        """End as soon as no mail transaction is under way (RFC 5321 §3.8)."""
        if self.patience.waits_for is _HANDSHAKE:
            self._abort()
        elif self._is_held:
            self._dismiss(replies.SHUTTING_DOWN)
        elif self._dialogue is not None:
            self._dialogue.shut_down()
            self._turn()

    def cut_short(self) -> None:
        """End now, whatever is under way; a complete message is not waited for either."""
        if (
            self.patience.waits_for is _HANDSHAKE
            or (self._hung_up and not self._lost)
            or self._is_held
        ):
            self._abort()
        if self._conversation is not None:
            self._conversation.cut()
            self._turn()
            if not self._lost and self._hung_up:
                # Long enough to send the reply, which an abort at once would throw away.
                self.patience.linger(CUT_SECONDS)

    # Beginning and end.

    def _begin(self, *, waited: bool = False) -> None:
        """Greet; or hold the greeting back for a while, and see who speaks before it."""
        seconds = self.factory.settings.limits.greeting_seconds
        if seconds and not waited:
            self.patience.stop()
            self.flow.penalty = self._factory.reactor.callLater(seconds, self._turn, self._waited)
            self.dataReceived = self._early  # type: ignore[method-assign]  # for a while
            return
        connection = self.connection
        tls_possible = ITLSTransport.providedBy(self.transport)
        conversation, refusal = self._factory.converse(
            connection, self.factory, self, tls=tls_possible
        )
        self._conversation = conversation
        dialogue = self._dialogue = conversation.dialogue
        observer = conversation.observer
        self._recorder = observer if observer is not None and observer.sees_octets else None
        if connection.tls is not None:
            conversation.note(_described(connection.tls))
        if refusal is None:
            dialogue.greet()
        else:
            dialogue.send(refusal)

    def _start_over(self, conversation: Conversation) -> None:
        """Begin again with another client, once the handler has heard that this one has gone."""
        if not conversation.over:
            self.patience.wait(_ANSWER, conversation.deadline)
            self._set_flow()
            return
        client, self._successor = self._successor, None
        assert client is not None
        self._dialogue = self._conversation = self._recorder = None
        conversation.part()
        self.connection = self._factory.successor_of(self.connection, client)
        self._begin(waited=True)
        if self.factory.stopping:
            self.shut_down()
        # What stands behind XCLIENT, many of its kind perhaps, comes when others have had a turn.
        self._yield()

    def _waited(self) -> None:
        self.flow.penalty = None
        del self.dataReceived
        self._begin(waited=True)

    def _early(self, data: bytes) -> None:
        """Refuse who does not wait for the greeting; no handler hears of it."""
        self.connection.octets_in += len(data)
        self._factory.tally.turned_away["early"] += 1
        self._dismiss(replies.SPOKE_TOO_EARLY)

    def _dismiss(self, reply: Reply) -> None:
        """Close before the greeting."""
        del self.dataReceived
        wire = self.factory.settings.said(reply).wire
        self.connection.octets_out += len(wire)
        self.transport.write(wire)
        self._hang_up()
        self.flow.read(self.transport, wanted=True)
        close_gently(self.transport, unread=True, tls=self.connection.tls is not None)

    @property
    def _is_held(self) -> bool:
        return "dataReceived" in self.__dict__

    def _say_farewell(self, dialogue: ServerDialogue) -> None:
        """Close, but so that the client can still read why."""
        if dialogue.parting is not None and dialogue.parting.reply is None:
            self._abort()
            return
        unread = bool(self._buffer)
        self.clearLineBuffer()
        self._hang_up()
        self.flow.read(self.transport, wanted=True)
        if self._at_end or dialogue.finished in (Reason.QUIT, Reason.DISCONNECTED):
            self.transport.loseConnection()
        else:
            close_gently(self.transport, unread=unread, tls=self.connection.tls is not None)

    def _hang_up(self) -> None:
        """Take nothing more from the client, and give it time to go."""
        self._hung_up = self.paused = True
        self.flow.stop(self._factory.turns, self)
        self.patience.linger(LINGER_SECONDS)
        self.transport.unregisterProducer()

    def _abort(self) -> None:
        """Close without a word; what is waiting to be sent is thrown away."""
        self._hung_up = self.paused = True
        self.transport.abortConnection()

    def _concluded(self) -> None:
        """Nothing more will happen."""
        self.patience.stop()
        conversation = self._conversation
        self._dialogue = self._conversation = self._recorder = None
        self.__dict__.pop("dataReceived", None)  # which knows us
        try:
            if conversation is not None:
                conversation.part()
        finally:  # its place is given back, whatever fails
            self._factory.left(self)

    def _break(self) -> None:
        """End a connection on which we have failed: no handler has, those are caught."""
        _log.failure("a fault of smtpcb on {id}", id=self.connection.id)
        if self._lost:
            self.flow.stop(self._factory.turns, self)
            self._concluded()
        else:
            self.transport.write(self.factory.settings.said(BROKEN).wire)
            self._hang_up()
            self.transport.loseConnection()

    # Each turn.

    def _turn(self, step: Callable[..., object] | None = None, *arguments: object) -> None:
        """Do one thing, if there is one; read what has been waiting, and write what is due."""
        try:
            if step is not None:
                step(*arguments)
            self._read_on()
        except KeyboardInterrupt:
            raise
        except BaseException:  # a fault of ours ends its connection, no more
            self._break()

    def _read_on(self) -> None:
        """Read what has been waiting; then it is the end of a turn."""
        if self._busyReceiving:
            return
        dialogue = self._dialogue
        if dialogue is not None and not self._hung_up:
            self._look_ahead(dialogue)
            while self._buffer and not self.paused:
                waiting = len(self._buffer)
                _receive(self, b"")
                if len(self._buffer) == waiting:
                    break  # the beginning of a line
        self._end_of_turn()

    def _end_of_turn(self) -> None:
        """Write what is due, and see what comes next and until when."""
        if self._hung_up:
            self._follow()
            return
        dialogue, conversation = self._dialogue, self._conversation
        if dialogue is None or conversation is None:
            return
        self.flow.began = 0.0
        if self._buffer and self.line_mode and not self.paused and has_lone_lf(self._buffer):
            start, self._buffer = self._buffer, b""
            self._throw_away(start, lone_lf=True)
        out = dialogue.out
        if out:
            octets = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.connection.octets_out += len(octets)
            if self._recorder is not None:
                self._recorder.server(octets)
            self.transport.write(octets)
            if self._hung_up:
                return  # a transport may end us while it writes
        if self._at_end and not self.paused and not conversation.calls:
            # All that it has sent is answered, up to what is no whole line or message.
            dialogue.end()
        if dialogue.finished is not None:
            if dialogue.finished is Reason.XCLIENT:
                self._start_over(conversation)
            else:
                self._say_farewell(dialogue)
            return
        wants = dialogue.wants
        patience = self.patience
        if wants is not _LINE or conversation.calls or patience.pace is not None:
            if wants is _NOTHING and self._successor is not None:
                conversation.farewell(Reason.XCLIENT)
                self._start_over(conversation)
                return
            patience.look(wants, conversation, self._lines)
            if wants is _HANDSHAKE and patience.waits_for is not _HANDSHAKE:
                self._shake_hands()
        elif self._lines != patience.lines or patience.waits_for is not _LINE:
            patience.await_line(self._lines)
        if self.paused or not self.flow.reading:
            self._set_flow()

    def _follow(self) -> None:
        """Go on with a connection that is over for its client, until its handler has heard all."""
        conversation = self._conversation
        if self._lost and conversation is not None:
            if conversation.over:
                self._concluded()
            else:
                self.patience.wait(_ANSWER, conversation.deadline)

    def _look_ahead(self, dialogue: ServerDialogue) -> None:
        """Set mode and pause by what the dialogue wants next."""
        wants = dialogue.wants
        if self._discarded is None:
            self.line_mode = 0 if wants is _CONTENT else 1
        flow = self.flow
        if dialogue.late is not None and flow.penalty is None and dialogue.finished is None:
            flow.penalty = self._factory.reactor.callLater(PENALTY_SECONDS, self._absolve)
        self.paused = (
            (wants is not _LINE and wants is not _CONTENT)
            or self._hung_up
            or flow.choked
            or flow.yielded
            or flow.penalty is not None
        )

    def _flush(self, dialogue: ServerDialogue) -> None:
        """Write replies before the turn is at its end."""
        octets = dialogue.take_output()
        self.connection.octets_out += len(octets)
        if self._recorder is not None:
            self._recorder.server(octets)
        self.transport.write(octets)

    def _let_others(self, dialogue: ServerDialogue) -> None:
        """After some lines, send what is due; after some time, let others have their turn."""
        if len(dialogue.out) > MOST_REPLIES:
            self._flush(dialogue)  # the transport says if that is enough
        factory = self._factory
        if self.flow.has_had_its_turn(factory.seconds()):
            self._yield()

    def _yield(self) -> None:
        """Go on when others have had their turn."""
        if not self.flow.yielded:
            self.flow.yielded = self.paused = True
            self._factory.turns.join(self)

    def _set_flow(self) -> None:
        if self._at_end or self._lost:
            return  # there is nothing more to read
        room = not self.paused or len(self._buffer) < MOST_WAITING_OCTETS
        self.flow.read(self.transport, wanted=room and not self.flow.choked)

    def _absolve(self) -> None:
        self.flow.penalty = None
        if self._dialogue is not None:
            self._dialogue.absolve()
        self._turn()

    # Lines that are thrown away.

    def _throw_away(self, start: bytes, *, lone_lf: bool) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        discarded = self._discarded = Discarded(dialogue, start, lone_lf=lone_lf)
        self.setRawMode()
        self._discard(discarded, start)

    def _discard(self, discarded: Discarded, data: bytes) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        rest = discarded.take(data)
        if rest is not None:
            self._discarded = None
            if self._conversation is not None:
                self._conversation.note(f"too long a line: {discarded.octets} octets")
            self._buffer = rest
        self._look_ahead(dialogue)

    # TLS.

    def _shake_hands(self) -> None:
        self.patience.shake_hands()
        self.transport.startTLS(self._factory.tls)
        # If the client has been slow to take our replies, nobody else will say that it has.
        self.flow.choked = False

    def _secured(self) -> None:
        information = tls.describe(self.transport.getHandle())
        conversation = self._conversation
        self.patience.waits_for = _NOTHING
        if conversation is None:
            self.connection.tls = information
            self._begin()
        elif conversation.dialogue.wants is _HANDSHAKE:
            conversation.release_login()
            conversation.note(_described(information))
            conversation.dialogue.secured(information)

    def _late(self, now: float) -> None:
        conversation, patience = self._conversation, self.patience
        if patience.waits_for is _HANDSHAKE or conversation is None:
            self._abort()
        elif self._lost or conversation.leaving:
            conversation.expire(now)
        elif self._hung_up:
            self._abort()  # it does not go
        else:
            lone = self._discarded is not None or has_lone_newline(self._buffer)
            reply = patience.judge(now, conversation, lone_newline=lone)
            if reply is not None:
                conversation.dialogue.close(reply, Reason.TIMEOUT)
                if self.flow.choked:  # it does not read that either
                    self._abort()


def _described(information: TlsInformation) -> str:
    return f"TLS {information.version} {information.cipher}"


def _path_of(host: object) -> str:
    """Return the path of a UNIX socket."""
    name = getattr(host, "name", b"") or b""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
