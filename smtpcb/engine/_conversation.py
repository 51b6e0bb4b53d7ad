"""
Conversation: each question one call of a handler, each answer one verdict.

The same one under Twisted, threads, asyncio and tests: they differ in how an answer that needs time
is waited for (`later`) and in who sends the octets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from smtpcb.engine import _replies as replies
from smtpcb.engine._calls import (
    give_up_all,
    give_up_what_is_late,
    give_up_what_is_unwanted,
    look,
    wait,
)
from smtpcb.engine._each import judge_message
from smtpcb.engine._feed import Feed
from smtpcb.engine._lmtp import ReplyToEach
from smtpcb.engine._parting import Parting
from smtpcb.engine._pending import ANSWERS, Call, Pending, Platform
from smtpcb.engine._questions import (
    AUTHENTICATE,
    COMMAND,
    MESSAGE,
    STORED_SECRET,
    Kind,
    Question,
)
from smtpcb.engine._reason import Reason
from smtpcb.engine._remarks import blamed, let_go, note_slow
from smtpcb.engine._server import ServerDialogue
from smtpcb.engine._table import State
from smtpcb.engine._verdict import (
    Failed,
    is_secret,
    reply_of,
    reply_of_refusal,
    reply_to_incident,
)
from smtpcb.smtp._errors import LocalProtocolError, Refusal
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Authenticated

if TYPE_CHECKING:
    from smtpcb.engine._connection import Connection
    from smtpcb.engine._envelope import Envelope
    from smtpcb.engine._handler import Handler
    from smtpcb.engine._login import Login
    from smtpcb.engine._observer import Observer
    from smtpcb.engine._settings import Settings
    from smtpcb.smtp._xclient import XClient

# What is no mapping of verdicts, without a look at what a mapping is.
_VERDICTS = ANSWERS | {type(None)}

# A handler that keeps everybody waiting for so long is named in the log.
SLOW_SECONDS = 0.5


class Host(Protocol):
    """Who has the connection."""

    def changed(self) -> None:
        """A late answer has been taken: there may be output, or room for input."""

    def admit_login(self) -> object:
        """Say whether somebody may try to log in; see `Owner`."""

    def logged_in(self, reply: Reply) -> None:
        """A login has been decided on; see `Owner`."""

    def start_tls(self) -> Reply:
        """Answer STARTTLS; see `Owner`."""

    def start_over(self, client: XClient) -> Reply | None:
        """Answer XCLIENT; see `Owner`."""

    def adapt(self, handler: object) -> Handler:
        """Return what a dialogue wants to know of another handler; see `Connection.handler`."""


class Conversation:
    """
    A dialogue and its handler; neither octets nor timers.

    :param handler: what the connection's handler can do, and its methods.
    :param platform: how to wait, and where to log.
    :param host: who has the connection.
    :ivar busy: whether something that is no question is being waited for.
    :ivar deadline: when the first of the calls under way has to be answered.
    :ivar over: whether the handler has heard all: nothing more will happen.
    """

    __slots__ = (
        "budget",
        "busy",
        "calls",
        "content",
        "deadline",
        "dialogue",
        "feed",
        "handler",
        "host",
        "leaving",
        "methods",
        "notices",
        "observer",
        "over",
        "platform",
        "release",
        "told",
    )

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        handler: Handler,
        platform: Platform,
        host: Host,
        observer: Observer | None = None,
    ) -> None:
        self.handler = handler
        self.methods: Mapping[str, Callable[..., object]] = handler.methods
        self.platform = platform
        self.host = host
        self.observer = observer
        self.budget = connection.budget
        self.busy = False
        self.deadline = float("inf")
        self.over = False
        self.leaving = False
        self.told = False
        # None is shared by all who have none: most connections never have any of these.
        self.calls: list[Call] | tuple[()] = ()
        self.notices: list[tuple[str, tuple[object, ...]]] | tuple[()] = ()
        self.content: Any = None
        self.feed: Feed | None = None
        self.release: Callable[[], object] | None = None
        self.dialogue = ServerDialogue(connection, settings, handler.abilities, self)
        connection.bearer = self

    # What the dialogue wants.

    def ask(
        self, kind: Kind, subject: object, *arguments: object, accept: Reply | None = None
    ) -> None:
        """Call the handler; a plain yes is settled here and now (see `Owner`)."""
        dialogue = self.dialogue
        if accept is None:
            accept = kind.accept
        seconds = 0.0
        method = self.methods.get(kind.method, kind.call)
        if method is not None:
            began = perf_counter()
            try:
                answer = method(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a handler that calls sys.exit() has failed, no more
                answer = Failed(error)
            seconds = perf_counter() - began
            self.budget.handler_seconds += seconds
            if seconds > SLOW_SECONDS:
                note_slow(self, kind.method, seconds, blamed(self, kind))
            if answer is not None or not kind.silence_accepts:
                self._answered(Question(kind, subject, accept), answer, seconds)
                return
        elif not kind.silence_accepts:
            self._answered(Question(kind, subject, accept), False, 0.0)
            return
        observer = self.observer
        if observer is not None and (kind is MESSAGE or observer.sees_plain_answers):
            observer.decided(kind.method, subject, accept, seconds)
        if dialogue.open is not None and kind is not COMMAND:
            question = Question(kind, subject, accept)
            question.reply = accept
            dialogue.put(question)
        elif dialogue.finished is None or kind is MESSAGE:
            kind.settle(dialogue, subject, accept)

    def take(self, envelope: Envelope, octets: bytes) -> None:
        """Keep a piece of content, or pass it on."""
        if self.handler.only_keeps:
            self.keep(octets)
            return
        if self.feed is None:
            self.feed = Feed(self)
        self.feed.take(envelope, octets)

    def complete(self, envelope: Envelope) -> None:
        """Pass on the field that only the end completes, and hand over what was kept."""
        if self.feed is not None:
            self.feed.finish(envelope)
            return
        content, self.content = self.content, None
        if self.handler.keeps_content:
            # From here on it lives as long as somebody holds it.
            envelope.kept = self.platform.make_content() if content is None else content

    def keep(self, octets: bytes) -> None:
        """Put octets to those that are there."""
        content = self.content
        if content is None:
            content = self.content = self.platform.make_content()
        try:
            content.write(octets)
        except OSError as error:
            connection_id = self.dialogue.connection.id
            self.platform.log.warn(
                "no room for a message on {id}: {error}", id=connection_id, error=str(error)
            )
            self.dialogue.refuse_content(replies.NO_STORAGE, Reason.FAILED)

    def hand_over(self, envelope: Envelope) -> None:
        """Give the content to the envelope; the feed says so when all has been passed on."""
        self.feed = None
        self.complete(envelope)

    def forget_content(self) -> None:
        """Throw away what has come in of a message that will not be."""
        content, self.content, self.feed = self.content, None, None
        if content is not None:
            content.close()

    def aborted(self, reason: Reason, envelope: Envelope, reply: Reply | None) -> None:
        """Forget the content, and tell the handler."""
        self.forget_content()
        try:
            if self.observer is not None:
                self.observer.aborted(reason, envelope, reply)
        finally:  # whatever an observer does, the handler is told
            self._tell("aborted", (reason, envelope))

    def ended(self, *, keep: bool) -> None:
        """Cancel what nobody waits for any more."""
        give_up_what_is_unwanted(self, keep=keep)

    def undelivered(self, envelope: Envelope, reply: Reply) -> None:
        """
        A message was accepted, and its client does not hear of it: this explains a second copy.
        """
        self.platform.log.info(
            "accepted, reply not delivered on {id}: {reply}", id=envelope.id, reply=reply.text
        )

    def note(self, text: str) -> None:
        """Tell who observes."""
        if self.observer is not None:
            self.observer.note(text)

    def refused(self, line: bytes, reply: Reply) -> None:
        """Tell who observes."""
        if self.observer is not None:
            self.observer.refused(line, reply)

    def admit_login(self) -> object:
        """Ask who has the connection."""
        return self.host.admit_login()

    def denied(self, login: Login, reply: Reply) -> None:
        """Tell who observes, who hears of every login."""
        if self.observer is not None:
            self.observer.decided(AUTHENTICATE.method, login, reply, 0.0)

    def logged_in(self, reply: Reply) -> None:
        """Tell who has the connection."""
        self.host.logged_in(reply)

    def start_tls(self) -> Reply:
        """Ask who has the connection."""
        return self.host.start_tls()

    def start_over(self, client: XClient) -> Reply | None:
        """Ask who has the connection."""
        return self.host.start_over(client)

    # What the connection wants, for the handler or anybody else.

    @property
    def handler_object(self) -> object:
        """The handler, as it was made."""
        return self.handler.given

    def exchange(self, handler: object) -> None:
        """Put another handler in the place of this one (see `Connection.handler`)."""
        dialogue = self.dialogue
        if dialogue.finished is not None:
            raise LocalProtocolError("the dialogue is over, and its handler has heard so")
        if dialogue.intake is not None or dialogue.state is State.CHUNKS:
            raise LocalProtocolError("mail data are coming in: exchange the handler after them")
        # Of a handler behind policies only that one is exchanged: what they guard stays guarded.
        given = self.handler.given
        behind = getattr(type(given), "behind_policies", None)
        adapted = self.host.adapt(handler if behind is None else behind(given, handler))
        self.handler, self.methods = adapted, adapted.methods
        dialogue.look_round(adapted.abilities)

    def close(self, reply: Reply | None) -> None:
        """End the dialogue from our side (see `Connection.close`)."""
        dialogue = self.dialogue
        if dialogue.finished is None:
            dialogue.parting = Parting(reply, Reason.CLOSED)
            self.platform.soon(self._part_if_due)

    def _part_if_due(self) -> None:
        if self.dialogue.finished is None:
            self.dialogue.part_if_due()
            self.host.changed()

    # What who has the connection wants.

    def part(self) -> None:
        """
        Tell who observes that nothing more will happen, and forget who has the connection.

        All know each other; apart, they are freed at once.
        """
        dialogue = self.dialogue
        dialogue.connection.bearer = None
        try:
            if self.observer is not None and dialogue.finished is not None:
                self.observer.ended(dialogue.finished)
        finally:
            dialogue.release()
            del self.host

    def farewell(self, reason: Reason) -> None:
        """The connection is gone: tell the handler, once all else has been told."""
        self.dialogue.end(reason)
        self.leaving = True
        self.go_on()

    def expire(self, now: float) -> None:
        """Answer for the handler where its time is up."""
        give_up_what_is_late(self, now)
        self.go_on()

    def cut(self) -> None:
        """Cancel whatever is under way, a complete message included."""
        dialogue = self.dialogue
        dialogue.close(replies.SHUTTING_DOWN, Reason.SHUTDOWN)
        give_up_all(self)
        dialogue.open = None
        dialogue.intake = None
        dialogue.abort(Reason.SHUTDOWN)
        self.forget_content()
        self.go_on()

    def release_login(self) -> None:
        """Tell whoever vouched for the client that the login is over."""
        release, self.release = self.release, None
        if release is not None:
            let_go(self, release)

    @property
    def completing(self) -> bool:
        """Whether the handler has a complete message in its hands, and has not answered."""
        waiting = self.dialogue.open
        return isinstance(waiting, Question) and waiting.kind is MESSAGE

    def go_on(self) -> None:
        """Something has come to its end: tell what had to wait for it."""
        while self.notices and not self.calls:
            name, arguments = self.notices[0]
            self.notices = self.notices[1:] or ()
            look(self)
            self._tell(name, arguments)
        dialogue = self.dialogue
        if not self.busy:
            dialogue.resume()
        if self.leaving and not self.calls and not self.notices and dialogue.intake is None:
            if not self.told:
                self.told = True
                assert dialogue.finished is not None
                self._tell("disconnected", (dialogue.finished, dialogue.connection))
            if not self.calls:
                self._conclude()

    # The way of an answer.

    def _answered(self, question: Question, answer: object, seconds: float) -> None:
        """Take a method's first word."""
        kind = question.kind
        if type(answer) not in ANSWERS:
            answer = self._later(kind.method, answer)
        if isinstance(answer, Pending):
            self.dialogue.put(question)
            limits = self.dialogue.settings.limits
            limit = limits.message_seconds if kind is MESSAGE else limits.decision_seconds
            began = self.platform.seconds()

            def came(outcome: object) -> None:
                self._decided(question, outcome, self.platform.seconds() - began)

            wait(self, kind.method, answer, came, limit, question)
            return
        question.reply = reply = self.judge(question, answer)
        if self.observer is not None:
            self.observer.decided(kind.method, question.subject, reply, seconds)
        if kind is COMMAND and self.dialogue.open is not None:
            kind.settle(self.dialogue, question.subject, reply)
        else:
            self.dialogue.put(question)

    def _decided(self, question: Question, outcome: object, seconds: float) -> None:
        """Take a method's late answer."""
        dialogue = self.dialogue
        reply = self.judge(question, outcome)
        if self.observer is not None:
            self.observer.decided(question.kind.method, question.subject, reply, seconds)
        dialogue.answer(question, reply)

    def judge(self, question: Question, answer: object) -> Reply:
        """Turn an answer into the reply; one that cannot be is an incident."""
        kind = question.kind
        if kind is MESSAGE and (
            type(question.accept) is ReplyToEach
            or (type(answer) not in _VERDICTS and isinstance(answer, Mapping))
        ):
            return judge_message(self, question, answer)
        if kind is COMMAND:
            self._expect_nothing(kind.method, answer)
            return kind.accept
        try:
            if isinstance(answer, Failed):
                error = answer.take()
                if not isinstance(error, Refusal):
                    return self.incident(kind, kind.method, error)
                return reply_of_refusal(kind, error)
            if kind is STORED_SECRET and is_secret(answer):
                login: Any = question.subject
                login.secret = None if answer is False else answer
                return question.accept
            reply = reply_of(kind, question.accept, answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the lines of a text may be a generator of the user's
            return self.incident(kind, kind.method, error)
        if kind is AUTHENTICATE and isinstance(answer, Authenticated):
            self.release_login()  # of one whose mechanism gave up after the verdict
            self.dialogue.connection.identity = answer.identity
            self.release = answer.release
        return reply

    def _later(self, name: str, answer: object) -> object:
        """Find out whether an answer needs time; a coroutine runs as far as it goes."""
        return self._timed(name, self.platform.later, (answer,))

    def call(self, name: str, arguments: tuple[object, ...]) -> object:
        """Call what is no question: a piece of content, or something to know."""
        answer = self._timed(name, self.methods[name], arguments)
        return answer if answer is None or type(answer) in ANSWERS else self._later(name, answer)

    def _timed(
        self, name: str, function: Callable[..., object], arguments: tuple[object, ...]
    ) -> object:
        """Run users' code: what it raises is its answer, and it is noted if it takes too long."""
        began = perf_counter()
        try:
            answer = function(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            answer = Failed(error)
        seconds = perf_counter() - began
        self.budget.handler_seconds += seconds
        if seconds > SLOW_SECONDS:
            note_slow(self, name, seconds)
        return answer

    # What the handler is told.

    def _tell(self, name: str, arguments: tuple[object, ...]) -> None:
        """Call what nobody answers, if the handler has it."""
        if name not in self.methods:
            return
        if self.calls:
            self.notices = [*self.notices, (name, arguments)]
            look(self)
            return
        answer = self.call(name, arguments)
        if isinstance(answer, Pending):
            limit = self.dialogue.settings.limits.decision_seconds
            wait(self, name, answer, lambda outcome: self._expect_nothing(name, outcome), limit)
        else:
            self._expect_nothing(name, answer)

    def _expect_nothing(self, name: str, answer: object) -> None:
        if isinstance(answer, Failed):
            self.incident(None, name, answer.take())
        elif answer is not None:
            kind = type(answer).__name__
            self.incident(None, name, TypeError(f"{name} answers nothing, and not {kind}"))

    def incident(self, kind: Kind | None, name: str, error: BaseException) -> Reply:
        """Report a fault in users' code; return what the client hears of it."""
        connection_id = self.dialogue.connection.id
        number = self.platform.incidents.report(name, blamed(self, kind), error, connection_id)
        return reply_to_incident(kind, number)

    def _conclude(self) -> None:
        if not self.over:
            self.over = True
            self.forget_content()
            self.release_login()
