"""ServerDialogue: lines and content in, events out, answers in, octets out; no I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from smtpcb.engine import _extensions as extensions
from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._questions import (
    Aborted,
    Authenticate,
    Chunk,
    CommandSeen,
    Connected,
    Data,
    Decision,
    Event,
    Expand,
    Hello,
    Help,
    Mail,
    Message,
    Question,
    Rcpt,
    Reason,
    Secured,
    StartTls,
    Turn,
    Verify,
)
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.engine._table import TRANSITIONS, State
from smtpcb.smtp import _content as content
from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp import sasl
from smtpcb.smtp._argument import read_mail, read_rcpt
from smtpcb.smtp._command import Introduction, Verb, read_query
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._parameter import MailParameters, RcptParameters
from smtpcb.smtp._reply import MAXIMUM_LINE_OCTETS, Reply
from smtpcb.smtp._secret import is_auth, observed, shown, shown_response
from smtpcb.smtp._text import read_text

# Most recipients that are asked about at once, and most replies that wait behind them.
MOST_OVERLAPPING = 100


class Wants(enum.Enum):
    """What a dialogue can take next."""

    LINE = "a command or response line"
    CONTENT = "octets of mail data"
    ANSWER = "the answer to a decision, or that its events are taken"
    HANDSHAKE = "the outcome of a TLS handshake"
    NOTHING = "nothing: close the connection once its output has been sent"


class ServerDialogue:
    """
    One connection's SMTP, from the server's side (RFC 5321).

    The order of calls: `greet` once; then, for ever: run what `next_event` gives and `answer`
    each decision; write what `take_output` gives; look at `wants`, and give it a line
    (`receive_line`), octets (`receive_content`) or the outcome of a handshake
    (`tls_established`).  It ends when `wants` is `Wants.NOTHING`, or with `disconnect`.

    Nothing in here waits or fails because of what a client sends.

    :param connection: whose dialogue it is; ``tls`` is set already if TLS came first.
    :param settings: how it is led.
    :param abilities: what the handler can do.
    """

    __slots__ = (
        "_asks",
        "_at_end",
        "_check",
        "_chunk_is_last",
        "_chunks_failed",
        "_command_octets",
        "_content_ended",
        "_content_octets",
        "_content_refusal",
        "_events",
        "_exchange",
        "_greeting",
        "_handshaking",
        "_held",
        "_mask",
        "_offered",
        "_out",
        "_queue",
        "_reader",
        "_refusal_is_ours",
        "_refused",
        "_repair",
        "_situation",
        "_stopping",
        "abilities",
        "connection",
        "ended",
        "envelope",
        "penalized",
        "settings",
        "state",
    )

    def __init__(
        self,
        connection: Connection,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        abilities: Abilities = Abilities(),  # noqa: B008 - frozen
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.abilities = abilities
        self.state = State.CONNECTED
        self.envelope: Envelope | None = None
        #: Why it is over; ``None`` while it is not.
        self.ended: Reason | None = None
        #: Set with a reply that should wait a second (too many errors); the driver clears it.
        self.penalized = False
        # Lists, since a deque of none takes 600 octets and these never hold more than a few.
        self._events: list[Event] = []
        # Replies leave in the order of the commands (RFC 2920 §3.2): decisions that are open,
        # and whatever has been answered behind them.
        self._queue: list[Decision | Reply] = []
        self._held: bytes | None = None
        self._out: list[bytes] = []
        self._greeting: Reply | None = None
        self._refused: Reply | None = None
        self._handshaking = False
        self._stopping = False
        self._exchange: sasl.ServerExchange | None = None
        self._reader: content.DotReader | content.ChunkReader | None = None
        self._at_end: Callable[[], None] = self._chunk_ends
        # All of it has come, but not all of its chunks have been taken.
        self._content_ended = False
        self._check: content.NewlineCheck | None = None
        self._repair: content.NewlineRepair | None = None
        self._content_octets = 0
        self._content_refusal: Reply | None = None
        self._refusal_is_ours = True
        self._chunk_is_last = False
        self._chunks_failed = False
        self._mask = abilities.command_mask
        self._command_octets = settings.limits.command_octets
        asks = abilities.asks
        # Who may log in, whether a handshake can begin, and what becomes of content (somebody may
        # have taken its pieces) is never left unasked.
        always = {Authenticate.method, StartTls.method, Message.method}
        self._asks = None if asks is None else asks | always
        self._situate()

    def _situate(self) -> None:
        connection = self.connection
        self._situation = extensions.Situation(
            self.settings,
            self.abilities,
            connection.tls is not None,
            connection.identity is not None,
        )
        self._offered = extensions.offer(self._situation)

    # What the driver sees.

    @property
    def wants(self) -> Wants:
        """What the dialogue can take next; look again after each call."""
        if self.ended is not None:
            return Wants.NOTHING
        if self._queue:
            return Wants.LINE if self._may_overlap() else Wants.ANSWER
        if self._content_ended:
            return Wants.ANSWER
        if self._reader is not None:
            return Wants.CONTENT
        if self._handshaking:
            return Wants.HANDSHAKE
        return Wants.LINE

    @property
    def in_transaction(self) -> bool:
        """Whether a mail transaction is under way, its last answer included."""
        return (
            self.envelope is not None
            or self._reader is not None
            or self._content_ended
            or (bool(self._queue) and isinstance(self._queue[-1], Message))
        )

    @property
    def message_follows(self) -> bool:
        """Whether `next_event` will give a complete message, even if the client has gone."""
        return self._content_ended and self._chunk_is_last and self._content_refusal is None

    def next_event(self) -> Event | None:
        """
        Return what happened next, or ``None``: nothing more until the next call.

        The end of the mail data comes behind its last `Chunk`, so whoever takes that one may still
        refuse the message.
        """
        if self._content_ended and not self._events:
            self._content_ended = False
            self._at_end()
            if self._stopping:
                self._stop_if_idle()
        return self._events.pop(0) if self._events else None

    @property
    def replies_due(self) -> int:
        """How many replies `take_output` will give."""
        return len(self._out)

    def take_output(self) -> bytes:
        """Return the octets to send now; each is given once."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def shown(self, line: bytes) -> bytes:
        """
        Return a line as it may be recorded: no octet of a secret in it (RFC 4954).

        Call it before `receive_line`.
        """
        return shown_response(line) if self._exchange is not None else shown(line)

    # What the driver says.

    def greet(self) -> None:
        """Begin: a client has connected, and any TLS of its port is established."""
        settings = self.settings
        self._ask(Connected(self.connection, _greeting(settings.hostname, settings.banner)))

    def receive_line(self, line: bytes) -> None:
        """
        Take a command line, or a response line of AUTH.

        :param line: without its CRLF.
        :raises LocalProtocolError: `wants` is not `Wants.LINE`.
        """
        if self._queue:
            if not self._may_overlap():
                raise LocalProtocolError(f"a line, where {self.wants.value} is wanted")
            if line[:5].upper() != b"RCPT " or not self._room_for_recipients():
                self._held = line
                return
        elif self._reader is not None or self._content_ended or self._handshaking or self.ended:
            raise LocalProtocolError(f"a line, where {self.wants.value} is wanted")
        try:
            if self._exchange is not None:
                self._respond(line)
            else:
                self._command(line)
        except PeerProtocolError as error:
            self._say(error.reply)
        if self._stopping:
            self._stop_if_idle()

    def line_too_long(self, start: bytes) -> None:
        """
        Refuse a line that the driver did not keep.

        Call it once per line, when its CRLF has been found or as soon as it is known to be too
        long; not a single octet of it is a command.

        :param start: some of its first octets.
        """
        if self.ended is not None:
            return
        if self._exchange is not None or is_auth(start):
            self._exchange = None
            self._say(replies.AUTH_TOO_LONG)
        elif start[:4].upper() == b"BDAT":
            # How many octets follow is lost with the line, and they must not be run as commands.
            self._say(replies.LINE_TOO_LONG.closing())
        else:
            self._say(replies.LINE_TOO_LONG)
        if self._stopping:
            self._stop_if_idle()

    def receive_content(self, octets: bytes) -> bytes:
        """
        Take octets of mail data.

        :return: what stands behind the end of the data: the next commands.
        :raises LocalProtocolError: `wants` is not `Wants.CONTENT`.
        """
        reader = self._reader
        if reader is None or self._queue or self._content_ended:
            raise LocalProtocolError(f"mail data, where {self.wants.value} is wanted")
        data, rest = reader.read(octets)
        if data:
            self._take(data)
        if rest is None or self.ended is not None:
            return b""
        self._reader = None
        self._content_ended = True
        return rest

    def refuse_content(self, reply: Reply, reason: Reason) -> None:
        """
        Refuse the message whose content is coming in.

        It is read to its end, so that the dialogue stays in step; then the client gets the reply.
        """
        if self._reader is not None or self._content_ended or self.state is State.CHUNKS:
            self._refuse_content(reply, reason, ours=False)

    def answer(self, decision: Decision, verdict: Reply | bool) -> None:
        """
        Answer a decision.

        :param verdict: `Reply.from_verdict` makes it of whatever a handler returned.
        :raises ValueError: that reply cannot be the answer to that command; it is still open.
        :raises LocalProtocolError: the decision has been answered.
        """
        if decision.reply is not None:
            raise LocalProtocolError("this decision has been answered")
        if verdict is True:
            reply = decision.accept
        elif verdict is False:
            reply = decision.refuse
        else:
            assert isinstance(verdict, Reply)
            reply = verdict
            if reply.code < 400 and not _fits(decision, reply.code):
                raise ValueError(f"{reply.code} is no answer to {type(decision).__name__.lower()}")
        decision.reply = reply
        if self.ended is not None:
            return
        queue = self._queue
        while queue:
            first = queue[0]
            if first is not decision and isinstance(first, Reply):
                del queue[0]
                self._send(first, own=True)
                continue
            assert isinstance(first, Decision)
            if first.reply is None:
                return
            del queue[0]
            _SETTLE[type(first)](self, first, first.reply)
        if self._held is not None:
            line, self._held = self._held, None
            self.receive_line(line)
        elif self._stopping:
            self._stop_if_idle()

    def tls_established(self, tls: TlsInformation) -> None:
        """Go on after STARTTLS: nothing that was said in the clear counts (RFC 3207 §4.2)."""
        connection = self.connection
        connection.tls = tls
        connection.hello = None
        connection.extended = False
        connection.identity = None
        self._handshaking = False
        self.state = State.CONNECTED
        self._situate()
        self._ask(Secured(tls))

    def shut_down(self) -> None:
        """End with 421 as soon as no mail transaction is under way (RFC 5321 §3.8)."""
        self._stopping = True
        self._stop_if_idle()

    def close(self, reply: Reply | None, reason: Reason) -> None:
        """End now: say why, unless ``reply`` is ``None``, and abort what is under way."""
        if self.ended is None:
            if reply is not None and not self._handshaking:
                self._out.append(reply.wire)
            self._end(reason)

    def disconnect(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """End: the client has gone."""
        self.close(None, reason)

    # Commands.

    def _command(self, line: bytes) -> None:
        stripped = line.rstrip(b" \t")  # RFC 5321 §4.1.1 tolerates blanks before the CRLF
        word, _, rest = stripped.partition(b" ")
        row = COMMANDS.get(word) or COMMANDS.get(word.upper())
        mask = self._mask
        if mask is not None and (not mask or (row.verb if row else Verb.UNKNOWN) in mask):
            self._events.append(CommandSeen(observed(line)))
        if row is None:
            self._unknown(stripped)
            return
        verb = row.verb
        if verb is Verb.AUTH:
            if len(line) + 2 > self.settings.limits.auth_octets:
                raise PeerProtocolError(replies.AUTH_TOO_LONG)
        elif len(line) + 2 > self._command_octets:
            self._malformed(verb, rest, replies.LINE_TOO_LONG)
            return
        try:
            # A name that is no UTF-8 is no reason to refuse a client (RFC 5321 §4.1.4).
            tabs = verb is Verb.MAIL or verb is Verb.RCPT
            argument = rest.decode("latin-1") if row.octets else read_text(rest, tabs=tabs)
        except ValueError:
            self._malformed(verb, rest, replies.LINE_NOT_TEXT)
            return
        if row.idle:
            budget = self.connection.budget
            budget.commands += 1
            if (exhausted := budget.exhausted) is not None and verb is not Verb.QUIT:
                self.close(replies.exhausted(exhausted), Reason.LIMIT)
                return
        refusal = None
        if self._refused is not None:
            refusal = self._refused if verb is not Verb.QUIT else None
        elif verb not in TRANSITIONS[self.state]:
            refusal = self._out_of_sequence(verb)
        if refusal is not None:
            if verb is Verb.BDAT:
                self._drain(argument, refusal)
                return
            raise PeerProtocolError(refusal)
        if argument and not row.takes_argument:
            raise PeerProtocolError(replies.NO_ARGUMENT)
        row.act(self, argument)

    def _malformed(self, verb: Verb, rest: bytes, reply: Reply) -> None:
        """Refuse a line that cannot be read; but the octets that BDAT announces follow it still."""
        if verb is Verb.BDAT:
            self._spoil()
            self._drain(rest.decode("latin-1"), reply)
        else:
            raise PeerProtocolError(reply)

    def _spoil(self) -> None:
        """Refuse a message of which octets will be missing, and every chunk of it to come."""
        if self.envelope is not None and self.state in (State.FORWARD_PATH, State.CHUNKS):
            self._abort(Reason.REFUSED)
            self.state = State.CHUNKS
            self._chunks_failed = True

    def _unknown(self, line: bytes) -> None:
        if _HTTP.fullmatch(line):
            # Somebody makes a browser speak to us: what follows is a form's fields.
            self._say(replies.NOT_SMTP)
        elif line.isascii() and line.decode("ascii").isprintable():
            self._say(replies.COMMAND_UNKNOWN)
        else:
            self._say(replies.LINE_NOT_TEXT)

    def _out_of_sequence(self, verb: Verb) -> Reply:
        if self.state is State.CONNECTED:
            return replies.HELLO_FIRST
        if self.state is State.CHUNKS:
            return replies.CHUNKS_BEGUN
        if verb is Verb.MAIL:
            return replies.MAIL_TWICE
        if verb in (Verb.AUTH, Verb.STARTTLS, Verb.ETRN):
            return replies.NOT_IN_TRANSACTION
        return replies.MAIL_FIRST if self.state is State.READY else replies.RECIPIENT_FIRST

    def _hello(self, argument: str, extended: bool) -> None:
        accept = self._offered.reply if extended else _hello_reply(self.settings.hostname)
        verb = Verb.EHLO if extended else Verb.HELO
        self._ask(Hello(Introduction.read(verb, argument.encode("latin-1")), accept))

    def _helo(self, argument: str) -> None:
        self._hello(argument, extended=False)

    def _ehlo(self, argument: str) -> None:
        self._hello(argument, extended=True)

    def _mail(self, argument: str) -> None:
        found = read_mail(argument, lenient=self.settings.lenient_addresses)
        limits = self.settings.limits
        parameters = MailParameters.read(found.rest, self._offered.mail, utf8=self._offered.utf8)
        size = parameters.size
        if size is not None and limits.message_octets is not None and size > limits.message_octets:
            raise PeerProtocolError(replies.MESSAGE_TOO_BIG)
        if found.internationalized and not parameters.smtputf8:
            raise PeerProtocolError(replies.SENDER_NEEDS_UTF8)
        if limits.messages is not None and self.connection.budget.messages >= limits.messages:
            self.close(replies.exhausted("Too many messages"), Reason.LIMIT)
            return
        self._ask(Mail(found.path, parameters))

    def _rcpt(self, argument: str) -> None:
        found = read_rcpt(argument, lenient=self.settings.lenient_addresses)
        parameters = RcptParameters.read(found.rest, self._offered.rcpt, utf8=self._offered.utf8)
        if found.internationalized:
            assert self.envelope is not None
            if not self.envelope.parameters.smtputf8:
                raise PeerProtocolError(replies.RECIPIENT_NEEDS_UTF8)
        if not self._room_for_recipients():
            self._say(replies.TOO_MANY_RECIPIENTS)
            return
        self._ask(Rcpt(found.path, parameters))

    def _data(self, argument: str) -> None:
        assert self.envelope is not None
        self._at_end = self._chunk_ends
        self._chunk_is_last = True
        self._ask(Data(self.envelope))

    def _bdat(self, argument: str) -> None:
        if self._chunks_failed:
            self._drain(argument, replies.CHUNK_FAILED)
            return
        match = grammar.CHUNK.fullmatch(argument)
        if match is None:
            if self.state is State.CHUNKS:
                self._spoil()  # part of a message that has begun is missing
            raise PeerProtocolError(replies.SYNTAX_OF_BDAT)
        self._chunk_is_last = match["last"] is not None
        self._at_end = self._chunk_ends
        self._reader = content.ChunkReader(int(match["size"]))
        if match["rest"]:
            # These octets will be missing, so the message cannot be completed any more.
            self._refuse_content(replies.SYNTAX_OF_BDAT, Reason.REFUSED)
            self._read_if_empty()
        elif self.state is State.CHUNKS:
            self._read_if_empty()
        else:
            assert self.envelope is not None
            self._ask(Data(self.envelope))

    def _rset(self, argument: str) -> None:
        self._abort(Reason.RESET)
        self._reset()
        self._say(replies.OK)

    def _noop(self, argument: str) -> None:
        self._say(replies.OK)

    def _quit(self, argument: str) -> None:
        self._send(replies.BYE, own=True)

    def _vrfy(self, argument: str) -> None:
        self._question(Verify, argument)

    def _expn(self, argument: str) -> None:
        if not self.abilities.expand:
            raise PeerProtocolError(replies.COMMAND_UNAVAILABLE)
        self._question(Expand, argument)

    def _etrn(self, argument: str) -> None:
        if not self.abilities.turn:
            raise PeerProtocolError(replies.COMMAND_UNAVAILABLE)
        self._question(Turn, argument)

    def _question(self, kind: type[Question], argument: str) -> None:
        text = argument.strip()
        if kind is not Turn:
            text = read_query(text).text
        if not text:
            raise PeerProtocolError(replies.SYNTAX_OF_VRFY)
        self._ask(kind(text))

    def _help(self, argument: str) -> None:
        self._ask(Help(argument.strip()))

    def _starttls(self, argument: str) -> None:
        if self.connection.tls is not None:
            raise PeerProtocolError(replies.TLS_ALREADY)
        if not self.abilities.tls:
            raise PeerProtocolError(replies.TLS_UNAVAILABLE)
        self._ask(StartTls())

    # AUTH (RFC 4954).

    def _auth(self, argument: str) -> None:
        if self.connection.identity is not None:
            raise PeerProtocolError(replies.AUTH_ALREADY)
        if not self.abilities.authentication:
            raise PeerProtocolError(replies.AUTH_UNAVAILABLE)
        command = sasl.read_auth(argument.encode("latin-1"))
        mechanism = sasl.MECHANISMS.get(command.mechanism)
        if mechanism is None:
            raise PeerProtocolError(replies.AUTH_MECHANISM_UNKNOWN)
        if command.mechanism not in extensions.mechanisms(self._situation):
            raise PeerProtocolError(replies.AUTH_NEEDS_TLS)
        self._advance(mechanism.server(command.initial_response()), None)

    def _respond(self, line: bytes) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        if line.rstrip(b" \t") == b"*":
            raise PeerProtocolError(replies.AUTH_CANCELLED)
        if len(line) + 2 > self.settings.limits.auth_octets:
            raise PeerProtocolError(replies.AUTH_TOO_LONG)
        self._advance(exchange, sasl.decode(line))

    def _advance(self, exchange: sasl.ServerExchange, response: bytes | None) -> None:
        request = exchange.send(response)
        if isinstance(request, sasl.Challenge):
            self._exchange = exchange
            self._out.append(sasl.challenge_line(request.octets))
        else:
            assert isinstance(request, sasl.Decide)
            self._ask(Authenticate(request.credentials))

    # Mail data.

    def _take(self, data: bytes) -> None:
        limit = self.settings.limits.message_octets
        self._content_octets += len(data)
        if self.envelope is not None and self._content_refusal is None:
            self._keep(self.envelope, data, limit)
        if limit is not None and self._content_octets > 2 * limit:
            # It has been told nothing yet, and does not stop: hang up.
            self.close(replies.MESSAGE_TOO_BIG, Reason.LIMIT)

    def _keep(self, envelope: Envelope, data: bytes, limit: int | None) -> None:
        if self._repair is not None:
            data = self._repair.repair(data)
        # What fits is looked at first, so that the reply does not depend on how data was cut.
        too_big = limit is not None and envelope.size_octets + len(data) > limit
        if too_big:
            assert limit is not None
            data = data[: limit - envelope.size_octets]
        if self._check is not None and not self._check.passes(data):
            self._refuse_content(replies.BARE_NEWLINE, Reason.BARE_NEWLINE)
            return
        if data:
            envelope.size_octets += len(data)
            self._events.append(Chunk(data))
        if too_big:
            self._refuse_content(replies.MESSAGE_TOO_BIG, Reason.TOO_BIG)

    def _refuse_content(self, reply: Reply, reason: Reason, *, ours: bool = True) -> None:
        if self.envelope is not None and self._content_refusal is None:
            self._content_refusal = reply
            self._refusal_is_ours = ours
            self._abort(reason)

    def _read_if_empty(self) -> None:
        """A chunk of no octets ends where it begins."""
        if self._reader is not None:
            _, rest = self._reader.read(b"")
            if rest is not None:
                self._reader = None
                self._content_ended = True

    def _drain(self, argument: str, reply: Reply) -> None:
        """Read a chunk that nobody wants to its end, so that it is not taken for commands."""
        match = grammar.CHUNK.fullmatch(argument)
        if match is None:
            # No octets are announced; an honest client sends none.
            raise PeerProtocolError(replies.SYNTAX_OF_BDAT)
        self._content_refusal = reply
        self._refusal_is_ours = True
        self._content_octets = 0
        self._chunk_is_last = match["last"] is not None
        self._at_end = self._drained
        self._reader = content.ChunkReader(int(match["size"]))
        self._read_if_empty()

    def _drained(self) -> None:
        self._send_refusal(reset=self._chunks_failed and self._chunk_is_last)

    def _chunk_ends(self) -> None:
        if self._content_refusal is not None:
            if not self._chunk_is_last:
                # Chunks already under way behind this one must fail too (RFC 3030 §4.2).
                self.state = State.CHUNKS
                self._chunks_failed = True
            self._send_refusal(reset=self._chunk_is_last)
        elif self._chunk_is_last:
            envelope, self.envelope = self.envelope, None
            assert envelope is not None
            self._ask(Message(envelope))
        else:
            self.state = State.CHUNKS
            self._send(replies.CHUNK_OK, own=True)

    def _send_refusal(self, *, reset: bool) -> None:
        reply, self._content_refusal = self._content_refusal, None
        assert reply is not None
        if reset:
            self._reset()
        self._send(reply, own=self._refusal_is_ours)

    # Answers, as they leave.

    def _settle_connected(self, decision: Decision, reply: Reply) -> None:
        if not reply.positive:
            self._send(reply if reply.closes else reply.closing())
        elif self.connection.tls is not None:
            self._greeting = reply
            self._ask(Secured(self.connection.tls))
        else:
            self._send(reply)

    def _introduced(self, reply: Reply, keywords: tuple[str, ...]) -> Reply:
        """Put our name first (RFC 5321 §4.2), and take the status away (RFC 2034 §4)."""
        hostname = self.settings.hostname
        text = " ".join(reply.lines)
        if text.partition(" ")[0].lower() != hostname.lower():
            text = f"{hostname} {text}"
        first = text[: MAXIMUM_LINE_OCTETS - len("250-\r\n")]
        return Reply(reply.code, (first, *keywords), status=None, closes=reply.closes)

    def _settle_secured(self, decision: Decision, reply: Reply) -> None:
        greeting, self._greeting = self._greeting, None
        if reply.positive:
            if greeting is not None:
                self._send(greeting)
        elif greeting is not None:
            self._send(reply if reply.closes else reply.closing())
        else:
            self._refused = reply  # RFC 3207 §4.1: every command but QUIT gets it

    def _settle_hello(self, decision: Hello, reply: Reply) -> None:
        if reply.positive:
            self._abort(Reason.HELLO)
            self._reset()
            self.state = State.READY
            introduction = decision.introduction
            self.connection.hello = introduction.name
            self.connection.extended = introduction.verb is Verb.EHLO
            if reply is not decision.accept:
                reply = self._introduced(reply, decision.accept.lines[1:])
        self._send(reply)

    def _settle_mail(self, decision: Mail, reply: Reply) -> None:
        if reply.positive:
            self.state = State.REVERSE_PATH
            self.connection.budget.messages += 1
            self.envelope = Envelope(self.connection, decision.reverse_path, decision.parameters)
            self._content_octets = 0
        self._send(reply)

    def _settle_rcpt(self, decision: Rcpt, reply: Reply) -> None:
        if reply.positive:
            self.state = State.FORWARD_PATH
            assert self.envelope is not None
            self.envelope.recipients.append(Recipient(decision.forward_path, decision.parameters))
        self._send(reply)

    def _settle_data(self, decision: Decision, reply: Reply) -> None:
        chunked = self._reader is not None
        if reply.positive:
            if not chunked:
                self._reader = content.DotReader()
                if self.settings.bare_newline == "refuse":
                    self._check = content.NewlineCheck()
                else:
                    self._repair = content.NewlineRepair()
                self._send(reply)
        elif chunked and not reply.closes:
            self._refuse_content(reply, Reason.REFUSED, ours=False)
        else:
            self._reader = None
            self._send(reply)
        if chunked:
            self._read_if_empty()

    def _settle_message(self, decision: Decision, reply: Reply) -> None:
        self._reset()
        if reply.positive:
            self.connection.budget.commands = 0
        self._send(reply)

    def _settle_authenticate(self, decision: Authenticate, reply: Reply) -> None:
        connection = self.connection
        if reply.positive:
            if connection.identity is None:
                connection.identity = decision.credentials.username
            self._situate()
        elif reply.code >= 500:
            connection.budget.auth_failures += 1
            self.penalized = True
        self._send(reply)

    def _settle_starttls(self, decision: Decision, reply: Reply) -> None:
        self._send(reply)
        self._handshaking = reply.positive

    def _settle_plainly(self, decision: Decision, reply: Reply) -> None:
        self._send(reply)

    # The parts of the above.

    def _may_overlap(self) -> bool:
        """Whether the open decisions are recipients, and another one may join them."""
        return (
            self.abilities.concurrent_recipients
            and self._held is None
            and len(self._queue) < MOST_OVERLAPPING
            and isinstance(self._queue[0], Rcpt)
        )

    def _room_for_recipients(self) -> bool:
        most = self.settings.limits.recipients
        if most is None:
            return True
        assert self.envelope is not None
        return len(self.envelope.recipients) + len(self._queue) < most

    def _ask(self, decision: Decision) -> None:
        if self._asks is not None and decision.method not in self._asks:
            # Nobody is there to answer it, and what is absent accepts.
            decision.reply = decision.accept
            _SETTLE[type(decision)](self, decision, decision.accept)
            return
        self._queue.append(decision)
        self._events.append(decision)

    def _say(self, reply: Reply) -> None:
        """Answer by ourselves; behind open decisions the reply waits for its turn."""
        if self._queue:
            self._queue.append(reply)
        else:
            self._send(reply, own=True)

    def _send(self, reply: Reply, *, own: bool = False) -> None:
        if self.ended is not None:
            return
        if reply.code >= 400:
            budget = self.connection.budget
            if own and reply.code >= 500:
                budget.errors += 1
                free = budget.limits.free_errors
                self.penalized = free is not None and budget.errors > free
            if (exhausted := budget.exhausted) is not None and not reply.closes:
                self.close(replies.exhausted(exhausted), Reason.LIMIT)
                return
        self._out.append(reply.wire)
        if reply.closes:
            if reply is replies.BYE:
                self._end(Reason.QUIT)
            elif reply is replies.DATA_BEHIND_STARTTLS:
                self._end(Reason.INJECTED)
            else:
                self._end(Reason.LIMIT if own else Reason.REFUSED)

    def _abort(self, reason: Reason) -> None:
        if self.envelope is not None:
            self._events.append(Aborted(self.envelope, reason))
            self.envelope = None

    def _reset(self) -> None:
        """Forget the transaction (RFC 5321 §4.1.1.5)."""
        if self.state is not State.CONNECTED:
            self.state = State.READY
        self._check = self._repair = None
        self._content_refusal = None
        self._chunks_failed = False

    def _end(self, reason: Reason) -> None:
        self.ended = reason
        if not self.message_follows:
            # Content that is complete is kept, even if nobody hears of it (P46); nothing else is
            # worth doing any more.
            told = [event for event in self._events if isinstance(event, (Aborted, CommandSeen))]
            self._events.clear()
            self._events.extend(told)
            self._abort(reason)
            self._content_ended = False
        self._queue.clear()
        self._held = None
        self._exchange = None
        self._reader = None

    def _stop_if_idle(self) -> None:
        if not (self._queue or self.in_transaction or self._handshaking or self._exchange):
            self.close(replies.SHUTTING_DOWN, Reason.SHUTDOWN)


@lru_cache(maxsize=64)
def _greeting(hostname: str, banner: str) -> Reply:
    return Reply(220, f"{hostname} {banner}".rstrip(), status=None)


@lru_cache(maxsize=64)
def _hello_reply(hostname: str) -> Reply:
    return Reply(250, hostname, status=None)


def _fits(decision: Decision, code: int) -> bool:
    """Whether a positive reply leaves client and server in the same state (RFC 5321 §4.3.2)."""
    if isinstance(decision, Data):
        return code == 354
    if isinstance(decision, (Connected, StartTls)):
        return code == 220
    if isinstance(decision, Authenticate):
        return code == 235
    return 200 <= code < 300 and code != 221  # which would say goodbye in place of an answer


# A line of HTTP, which a browser can be made to send to any port.
_HTTP = re.compile(rb"[A-Z]{3,10} \S+ HTTP/[0-9.]+")


@dataclass(frozen=True, slots=True)
class Row:
    """
    What is done about one command.

    :ivar act: called with the argument, when the command is allowed in this state.
    :ivar takes_argument: whether anything may stand behind the verb (RFC 5321 §4.1.1).
    :ivar idle: whether it counts among the commands that bring no message nearer.
    :ivar octets: whether ``act`` gets octets, as Latin-1, whatever they are.
    """

    verb: Verb
    act: Callable[[ServerDialogue, str], None]
    takes_argument: bool = True
    idle: bool = True
    octets: bool = False


COMMANDS: Mapping[bytes, Row] = {
    b"HELO": Row(Verb.HELO, ServerDialogue._helo, octets=True),  # RFC 5321 §4.1.1.1
    b"EHLO": Row(Verb.EHLO, ServerDialogue._ehlo, octets=True),
    b"MAIL": Row(Verb.MAIL, ServerDialogue._mail),  # §4.1.1.2
    b"RCPT": Row(Verb.RCPT, ServerDialogue._rcpt, idle=False),  # §4.1.1.3
    b"DATA": Row(Verb.DATA, ServerDialogue._data, takes_argument=False, idle=False),  # §4.1.1.4
    b"RSET": Row(Verb.RSET, ServerDialogue._rset, takes_argument=False),  # §4.1.1.5
    b"VRFY": Row(Verb.VRFY, ServerDialogue._vrfy),  # §4.1.1.6
    b"EXPN": Row(Verb.EXPN, ServerDialogue._expn),  # §4.1.1.7
    b"HELP": Row(Verb.HELP, ServerDialogue._help),  # §4.1.1.8
    b"NOOP": Row(Verb.NOOP, ServerDialogue._noop),  # §4.1.1.9
    b"QUIT": Row(Verb.QUIT, ServerDialogue._quit, takes_argument=False),  # §4.1.1.10
    b"BDAT": Row(Verb.BDAT, ServerDialogue._bdat, idle=False),  # RFC 3030 §2
    b"STARTTLS": Row(Verb.STARTTLS, ServerDialogue._starttls, takes_argument=False),  # RFC 3207
    b"AUTH": Row(Verb.AUTH, ServerDialogue._auth, octets=True),  # RFC 4954 §4
    b"ETRN": Row(Verb.ETRN, ServerDialogue._etrn),  # RFC 1985
}

_SETTLE: Mapping[type[Decision], Callable[[ServerDialogue, Any, Reply], None]] = {
    Connected: ServerDialogue._settle_connected,
    Secured: ServerDialogue._settle_secured,
    Hello: ServerDialogue._settle_hello,
    Mail: ServerDialogue._settle_mail,
    Rcpt: ServerDialogue._settle_rcpt,
    Data: ServerDialogue._settle_data,
    Message: ServerDialogue._settle_message,
    Authenticate: ServerDialogue._settle_authenticate,
    StartTls: ServerDialogue._settle_starttls,
    Verify: ServerDialogue._settle_plainly,
    Expand: ServerDialogue._settle_plainly,
    Help: ServerDialogue._settle_plainly,
    Turn: ServerDialogue._settle_plainly,
}
