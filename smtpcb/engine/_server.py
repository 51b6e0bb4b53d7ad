"""ServerDialogue: a line in, what it asks out; content in; verdicts in, octets out; no I/O."""

from __future__ import annotations

from typing import Protocol

from smtpcb.engine import _replies as replies
from smtpcb.engine._charging import affords, ending
from smtpcb.engine._chunking import is_bdat
from smtpcb.engine._commands import look_closer, show
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._ending import finish
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._intake import SLACK_OCTETS, Intake, refuse_content
from smtpcb.engine._lmtp import to_what_is_open
from smtpcb.engine._login import Login, give_up, respond
from smtpcb.engine._offer import Offer, offer_to
from smtpcb.engine._parting import SHUTDOWN, Parting, may_part
from smtpcb.engine._pipeline import Pipeline, drain, join, wait_behind
from smtpcb.engine._questions import (
    COMMAND,
    CONNECTED,
    MESSAGE,
    RCPT,
    SECURED,
    Kind,
    Question,
    lacks_certificate,
)
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.engine._table import IN_TRANSACTION, TRANSITIONS, WANTS, State, Step, Wants
from smtpcb.engine._xclient import NOBODY, trusted_with
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._secret import is_auth, is_usual, shown, shown_response
from smtpcb.smtp._xclient import XClient, XForward

# A member of an enum is looked up in its class for the price of three calls before Python 3.12.
_LINE = Wants.LINE
_CONTENT = Wants.CONTENT
_ANSWER = Wants.ANSWER
_NOTHING = Wants.NOTHING
_RESPONSE = State.RESPONSE
_CHUNKS = State.CHUNKS
_QUIT = Verb.QUIT


class Owner(Protocol):
    """Who leads a dialogue: it asks the handler, keeps content, and knows the connection."""

    def ask(
        self, kind: Kind, subject: object, *arguments: object, accept: Reply | None = None
    ) -> None:
        """
        Have a question decided.

        A plain yes is settled at once (``kind.settle``); what needs more is a `Question` that is
        put to the dialogue (`ServerDialogue.put`) and answered, now or later
        (`ServerDialogue.answer`).
        """

    def take(self, envelope: Envelope, octets: bytes) -> None:
        """Keep or pass on a piece of content."""

    def complete(self, envelope: Envelope) -> None:
        """Pass on what only the end of the content completes."""

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """There will be no message."""

    def ended(self, *, keep: bool) -> None:
        """
        The dialogue is over: nobody waits for answers any more.

        :param keep: but for those about content that is complete.
        """

    def note(self, text: str) -> None:
        """Remark something for who observes."""

    def refused(self, line: bytes, reply: Reply) -> None:
        """A command is refused without a question; no octet of a secret is in the line."""

    def undelivered(self, envelope: Envelope, reply: Reply) -> None:
        """A message was accepted, and its client has gone."""

    def admit_login(self) -> object:
        """
        Say whether somebody may try to log in.

        :return: ``None``, a reply that refuses it for now, or what has to be waited for.
        """

    def denied(self, login: Login, reply: Reply) -> None:
        """A login is refused without a question: its proof was wrong."""

    def logged_in(self, reply: Reply) -> None:
        """A login has been decided on: it was right, it was wrong, or nobody can tell now."""

    def incident(self, kind: Kind | None, name: str, error: BaseException) -> Reply:
        """Report a fault in users' code; return what the client hears of it."""

    def start_tls(self) -> Reply:
        """Answer STARTTLS: 220, or why not."""

    def start_over(self, client: XClient) -> Reply | None:
        """Answer XCLIENT; ``None``: another conversation is about to take the place of this one."""

    @property
    def busy(self) -> bool:
        """Whether something that is no question is being waited for."""


class ServerDialogue:
    """
    One connection's SMTP, from the server's side (RFC 5321).

    Give it what `wants` says: a line (`line`), octets (`content`), the outcome of a handshake
    (`secured`); write what `take_output` gives after each.  It ends when `wants` is
    `Wants.NOTHING`, or with `end`.  Nothing in here waits or fails because of what a client sends.

    :param connection: whose dialogue it is; ``tls`` is set already if TLS came first.
    :param settings: how it is led.
    :param abilities: what the handler can do.
    :param owner: asks the handler.
    :ivar state: how far it has come; only `move` changes it.
    :ivar wants: what it can take next.
    :ivar offer: what is the same for all in this situation.
    :ivar envelope: the transaction under way.
    :ivar forwarded: what was said of the client of the next one.
    :ivar addressees: in LMTP, its recipients: what its message is answered with is counted by them,
        whatever a handler does to the envelope and when that is gone.  ``None`` in SMTP.
    :ivar open: what is being decided.
    :ivar intake: the octets that are coming in.
    :ivar login: the AUTH exchange under way.
    :ivar out: replies to send.
    :ivar late: those that are held back until `absolve`; ``None`` where none need be.
    :ivar parting: how it is to end, as soon as it may.
    :ivar why: what is said in a state where the table's own words would be wrong.
    :ivar finished: why it is over; ``None`` while it is not.
    """

    __slots__ = (
        "addressees",
        "ask",
        "connection",
        "envelope",
        "finished",
        "forwarded",
        "intake",
        "late",
        "login",
        "offer",
        "open",
        "out",
        "owner",
        "parting",
        "state",
        "wants",
        "why",
    )

    def __init__(
        self, connection: Connection, settings: Settings, abilities: Abilities, owner: Owner
    ) -> None:
        self.connection = connection
        self.owner = owner
        self.ask = owner.ask
        connection.budget.limits = settings.limits
        trusted = NOBODY
        if settings.xclient_from or settings.xforward_from:
            trusted = trusted_with(settings, connection)
        self.offer: Offer = offer_to(connection, settings, abilities, trusted)
        self.state = State.ARRIVED
        self.wants = WANTS[self.state]
        self.envelope: Envelope | None = None
        self.forwarded: XForward | None = None
        connection.lmtp = settings.lmtp
        self.addressees: list[Recipient] | None = [] if settings.lmtp else None
        self.open: Question | Pipeline | None = None
        self.intake: Intake | None = None
        self.login: Login | None = None
        self.out: list[bytes] = []
        self.late: list[bytes] | None = None
        self.parting: Parting | None = None
        self.why: Reply | None = None
        self.finished: Reason | None = None

    # What its owner says.

    def greet(self) -> None:
        """Begin: a client has connected, and any TLS of its port is established."""
        self.ask(CONNECTED, None, self.connection, accept=self.offer.greeting)
        if self.parting is not None:
            self.part_if_due()  # what the client sends with the end of the handshake is too late

    def line(self, line: bytes) -> None:
        """
        Take a command line, or a response line of AUTH.

        :param line: without its CRLF.
        :raises LocalProtocolError: `wants` is not `Wants.LINE`.
        """
        if self.wants is not _LINE:
            raise LocalProtocolError(f"a line, where {self.wants.value} is wanted")
        if b"\n" in line:
            self.broken_line(line, replies.LINES_END_IN_CRLF)
            return
        if self.open is not None and not join(self, line):
            return
        if self.state is _RESPONSE:
            self.reply(respond(self, line))
        elif self.offer.mask is None:
            self.act(line)
        else:
            show(self, line)
        if self.parting is not None:
            self.part_if_due()

    def act(self, line: bytes) -> None:
        """Do what a command line says."""
        word, _, rest = line.partition(b" ")
        offer = self.offer
        row = offer.commands.get(word)
        if row is None or len(line) > offer.most_octets:
            row, word, rest = look_closer(self, line)
            if row is None:
                return
        verb = row.verb
        if row.idle:
            budget = self.connection.budget
            budget.commands += 1
            if (
                budget.commands > offer.most_commands or budget.errors >= offer.most_errors
            ) and verb is not _QUIT:
                self.close(replies.exhausted(budget.exhausted or ""), Reason.LIMIT)
                return
        if verb not in offer.rows[self.state]:
            self.refuse(line, row.refuse(self, verb, rest))
            return
        try:
            reply = row.act(self, rest)
        except PeerProtocolError as error:
            reply = error.reply
        if reply is not None:
            if reply.code < 400:
                self.move(verb)
                if self.owner.busy:  # RSET: somebody is being told
                    self.look_ahead()
                self.reply(reply)
            else:
                self.refuse(line, reply)

    def broken_line(self, start: bytes, reply: Reply = replies.LINE_TOO_LONG) -> None:
        """
        Refuse a line that was not kept: too long, or with a lone LF in it.

        Call it once per line, as soon as it is known; not a single octet of it is a command.

        :param start: some of its first octets.
        """
        if self.finished is not None:
            return
        said = self.shown(start)
        if self.state is _RESPONSE or is_auth(start):
            self.connection.budget.logins += 1
            give_up(self)
            reply = replies.AUTH_TOO_LONG if reply is replies.LINE_TOO_LONG else reply
        elif is_bdat(start):
            # How many octets follow is lost with the line, and they must not be run as commands.
            reply = reply.closing()
        self.owner.refused(said, reply)
        self.reply(reply)
        if self.parting is not None:
            self.part_if_due()

    def content(self, octets: bytes) -> bytes:
        """
        Take octets of mail data.

        :return: what stands behind their end: the next commands.
        :raises LocalProtocolError: `wants` is not `Wants.CONTENT`.
        """
        intake = self.intake
        if intake is None or self.wants is not _CONTENT:
            raise LocalProtocolError(f"mail data, where {self.wants.value} is wanted")
        data, rest = intake.reader.read(octets)
        if data:
            intake.take(self, data)
            if self.finished is not None:  # the handler has had enough of it
                return b""
        if rest is None:
            limit = self.offer.settings.limits.message_octets
            if limit is not None and intake.octets > 2 * limit + SLACK_OCTETS:
                # It has been told nothing yet, and does not stop: hang up.
                self.close(intake.refusal or replies.MESSAGE_TOO_BIG, Reason.LIMIT)
            elif self.connection.octets_in > self.offer.most_octets_in:
                self.close(replies.exhausted("Too many octets"), Reason.LIMIT)
            elif self.owner.busy:
                self.wants = _ANSWER
            return b""
        intake.ended = True
        if self.owner.busy:
            self.wants = _ANSWER
        else:
            finish(self, intake)
            if self.parting is not None:
                self.part_if_due()
            if self.intake is not None or self.wants is _CONTENT:
                self.look_ahead()
        return b"" if self.finished is not None else rest

    def resume(self) -> None:
        """Go on when nothing is waited for any more; its owner says so when it was busy."""
        if self.parting is not None:
            self.part_if_due()
        intake = self.intake
        if intake is not None and intake.ended and self.open is None and not self.owner.busy:
            finish(self, intake)
            if self.parting is not None:
                self.part_if_due()
        if self.intake is not None or self.finished is not None or self.wants is _ANSWER:
            self.look_ahead()

    def refuse_content(self, reply: Reply, reason: Reason) -> None:
        """
        Refuse the message whose content is coming in, or comes in chunks.

        It is read to its end, so that the dialogue stays in step; then the client gets the reply.
        """
        if self.intake is not None:
            refuse_content(self, reply, reason, ours=False)
        elif self.state is _CHUNKS:
            self.spoil(reply, reason)

    def put(self, question: Question) -> None:
        """Take a question that was not settled at once; it may have its answer already."""
        if self.open is not None:
            wait_behind(self, question)
        elif question.reply is None:
            self.open = question
            self.look_ahead()
        else:
            self.settle(question, question.reply)

    def answer(self, question: Question, reply: Reply) -> None:
        """
        Answer an open question.

        :raises LocalProtocolError: it has been answered.
        """
        if question.reply is not None:
            raise LocalProtocolError("this question has been answered")
        question.reply = reply
        waiting = self.open
        if question is waiting:
            self.open = None
            self.settle(question, reply)
        elif isinstance(waiting, Pipeline):
            if question.kind is COMMAND:
                # It only held back its own command, which nothing has overtaken.
                waiting.entries.remove(question)
                self.open = waiting if waiting.entries else None
                self.settle(question, reply)
            else:
                drain(self, waiting)
        if self.parting is not None:
            self.part_if_due()
        self.look_ahead()

    def secured(self, tls: TlsInformation) -> None:
        """Go on after STARTTLS: nothing that was said in the clear counts (RFC 3207 §4.2)."""
        connection = self.connection
        connection.tls = tls
        connection.hello = None
        connection.extended = False
        connection.identity = None
        self.forwarded = None
        self.look_round()
        if lacks_certificate(self, tls):
            SECURED.settle(self, tls, replies.CERTIFICATE_REQUIRED)
        else:
            self.ask(SECURED, tls, tls, connection)
        if self.parting is not None:
            self.part_if_due()

    def shut_down(self) -> None:
        """End with 421 as soon as no mail transaction is under way (RFC 5321 §3.8)."""
        self.parting = SHUTDOWN
        self.part_if_due()

    def part_if_due(self) -> None:
        """End, if that was asked for and nothing has to be waited for."""
        parting = self.parting
        if parting is None or self.finished is not None or not may_part(self, parting):
            return
        if parting.reply is not None:
            self.close(parting.reply, parting.reason)
        else:
            self.out.clear()
            self.end(parting.reason)

    def close(self, reply: Reply, reason: Reason) -> None:
        """End now, say why, and abort what is under way."""
        if self.finished is None:
            self.absolve()
            if self.state is not State.HANDSHAKE:
                self.out.append(self.offer.settings.said(self.last_word(reply)).wire)
            self.end(reason)

    def end(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """
        End without a word: the client has gone.

        Content that is complete is kept, even if nobody hears of it (RFC 5321 §4.5.3.2.6), unless
        the handler has aborted the connection; nothing else is worth doing any more.
        """
        if self.finished is not None:
            return
        self.absolve()
        self.move(Step.ENDED)
        self.finished = reason
        self.login = None
        intake = self.intake
        kept = (
            intake is not None
            and (intake.ended and intake.last and intake.refusal is None)
            and reason is not Reason.CLOSED  # by an abort: it will be sent again
        )
        waiting, self.open = self.open, None
        if isinstance(waiting, Question) and waiting.kind is MESSAGE:
            self.open = waiting
        self.owner.ended(keep=kept)
        if not kept:
            self.intake = None
            self.abort(reason)

    def release(self) -> None:
        """
        Forget the owner, which knows us: nothing more will happen, and both are freed at once.
        """
        del self.ask, self.owner

    # What its commands and questions do.

    def note(self, text: str) -> None:
        """Leave a remark in the transcript."""
        self.owner.note(text)

    def move(self, key: Verb | Step) -> None:
        """Go where the table says."""
        if self.finished is None:
            state = self.state = TRANSITIONS[self.state][key]
            self.wants = WANTS[state]

    def reply(self, reply: Reply | None) -> None:
        """Say what we have decided ourselves; behind open questions it waits for its turn."""
        if reply is None:
            return
        if self.open is None:
            self.send(reply, own=True)
        else:
            wait_behind(self, reply)

    def last_word(self, reply: Reply) -> Reply:
        """
        Return what is said of the message under way: in LMTP, once for each recipient.

        Behind what is no message, or no end of one yet, its client waits for one reply.
        """
        return reply if self.addressees is None else to_what_is_open(self, reply)

    def refuse(self, line: bytes, reply: Reply | None) -> None:
        """Refuse a command without asking anybody, now or behind octets that it announces."""
        if reply is not None:
            self.owner.refused(self.shown(line), reply)
            self.reply(reply)

    def send(self, reply: Reply, *, own: bool = False, utf8: bool = False) -> None:
        """Let a reply leave; a negative one is charged, and may be the last."""
        if self.finished is not None:
            return
        if reply.code >= 400 and not affords(self, reply, own=own):
            return
        if self.offer.bare:
            reply = reply.bare()
        wire = reply.encoded(utf8=True) if utf8 else reply.wire
        (self.out if self.late is None else self.late).append(wire)
        if reply.closes:
            self.end(ending(self, reply, own=own))

    def penalize(self) -> None:
        """Hold back what is said from now on, until `absolve`."""
        if self.late is None:
            self.late = []

    def absolve(self) -> None:
        """Let go what was held back."""
        late, self.late = self.late, None
        if late:
            self.out += late

    def look_round(
        self, abilities: Abilities | None = None, *, trusted: frozenset[str] | None = None
    ) -> None:
        """
        See anew what the client may do: it has logged in, or TLS has begun.

        :param abilities: of another handler.
        :param trusted: what it is trusted with; ``None``: as before.
        """
        offer = self.offer
        self.offer = offer_to(
            self.connection,
            offer.settings,
            offer.abilities if abilities is None else abilities,
            offer.trusted if trusted is None else trusted,
        )

    def settle(self, question: Question, reply: Reply) -> None:
        """Do what an answer does, unless nobody waits for it any more."""
        if self.finished is None or question.kind is MESSAGE:
            question.kind.settle(self, question.subject, reply)

    def abort(self, reason: Reason) -> None:
        """There will be no message of the transaction under way, if one is."""
        envelope, self.envelope = self.envelope, None
        self.forwarded = None
        if envelope is not None:
            intake, budget = self.intake, self.connection.budget
            refusal = intake.refusal if intake is not None else None
            budget.recipients += len(envelope.recipients)
            if refusal is None:
                budget.aborted += 1
            else:
                budget.refused += 1
            self.owner.aborted(reason, envelope, refusal)

    def spoil(self, reply: Reply, reason: Reason) -> None:
        """Refuse a message between its chunks, and every chunk of it to come."""
        if self.envelope is not None and self.state in (State.FORWARD_PATH, _CHUNKS):
            self.why = reply
            self.move(Step.CHUNK_REFUSED)
            self.abort(reason)

    def look_ahead(self) -> None:
        """See what is wanted next."""
        waiting = self.open
        if self.finished is not None:
            self.wants = _NOTHING
        elif waiting is not None:
            self.wants = _LINE if self._may_overlap(waiting) else _ANSWER
        elif self.owner.busy:
            self.wants = _ANSWER
        elif self.intake is not None:
            self.wants = _CONTENT
        else:
            self.wants = WANTS[self.state]

    @property
    def settings(self) -> Settings:
        """How it is led."""
        return self.offer.settings

    def shown(self, line: bytes) -> bytes:
        """
        Return a line as it may be recorded: no octet of a secret is in it (RFC 4954 §4).

        Call it before `line`.
        """
        if self.state is _RESPONSE:
            return shown_response(line)
        return line if is_usual(line) else shown(line, self.offer.extensions.verbs)

    @property
    def in_transaction(self) -> bool:
        """Whether a mail transaction is under way, its last answer included."""
        return self.state in IN_TRANSACTION or self.intake is not None

    def take_output(self) -> bytes:
        """Return the octets to send now; each is given once."""
        out = self.out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    # The parts of the above.

    def _may_overlap(self, waiting: Question | Pipeline) -> bool:
        if not self.offer.abilities.concurrent_recipients:
            return False
        if isinstance(waiting, Pipeline):
            return waiting.may_grow
        return waiting.kind is RCPT
