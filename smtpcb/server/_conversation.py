"""Conversation: each event of a dialogue becomes one call of a handler, each answer one verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpcb.engine import _replies as replies
from smtpcb.engine._keeping import MailData
from smtpcb.engine._questions import (
    Aborted,
    Authenticate,
    Chunk,
    Connected,
    Data,
    Decision,
    Event,
    Hello,
    Mail,
    Message,
    Rcpt,
    Reason,
    Secured,
    StartTls,
)
from smtpcb.engine._server import ServerDialogue
from smtpcb.handling._factories import Method
from smtpcb.server import _decisions as decisions
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp._header import HeaderReader
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sasl import Authenticated

_log = Logger(namespace="smtpcb.handler")


class Disconnected(Event):
    """The last thing a handler hears of; it is no part of the dialogue."""

    __slots__ = ("reason",)
    method = "disconnected"
    given = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class Conversation:
    """
    A dialogue and its handler; neither octets nor timers.

    :param dialogue: whose events are run.
    :param methods: the handler's, by name; ``authenticate`` among them.
    :param clock: tells the time for deadlines.
    :param start_tls: answers `StartTls`.
    :param changed: called when a late answer has been taken; it calls `run`.
    :param make_content: makes the place for the content of a message that is taken whole.
    """

    __slots__ = (
        "_agenda",
        "_blocking",
        "_changed",
        "_clock",
        "_content",
        "_dialogue",
        "_farewell",
        "_fault",
        "_headers",
        "_id",
        "_keeps_content",
        "_make_content",
        "_methods",
        "_reads_headers",
        "_release",
        "_running",
        "_start_tls",
        "calls",
        "leaving",
        "over",
    )

    def __init__(
        self,
        dialogue: ServerDialogue,
        methods: Mapping[str, Method],
        clock: Any,
        *,
        start_tls: Callable[[StartTls], None],
        changed: Callable[[], None],
        make_content: Callable[[], MailData],
    ) -> None:
        self._dialogue = dialogue
        self._methods = methods
        self._clock = clock
        self._start_tls = start_tls
        self._changed = changed
        self._make_content = make_content
        self._id = dialogue.connection.id
        self._keeps_content = "message" in methods and "chunk" not in methods
        self._reads_headers = "header" in methods
        # Calls that have still to be made for the event at hand, before the next event.
        self._agenda: deque[tuple[str, Sequence[object], Event]] | None = None
        #: Calls under way: what was called, its answer, until when.  Only recipients overlap.
        self.calls: dict[Event, tuple[str, Deferred[Any], float]] = {}
        # The one of them that nothing may overlap.
        self._blocking: Event | None = None
        # What fires in the meantime changes nothing but the verdicts.
        self._running = False
        self._content: MailData | None = None
        self._headers: HeaderReader | None = None
        # Why the content under way will be refused, although it is still coming in.
        self._fault: tuple[Reply, Reason] | None = None
        self._release: Callable[[], object] | None = None
        self._farewell: Reason | None = None
        #: Whether the client has closed its side of the connection.
        self.leaving = False
        #: Whether `disconnected` has been called and answered: nothing more will happen.
        self.over = False

    @property
    def blocked(self) -> bool:
        """Whether the next event has to wait for an answer."""
        return self._blocking is not None

    @property
    def deadline(self) -> float | None:
        """When the first of the calls under way has to be answered; ``None`` if there is none."""
        return min((end for _, _, end in self.calls.values()), default=None)

    @property
    def completing(self) -> bool:
        """Whether the handler has a complete message in its hands, and has not answered."""
        return isinstance(self._blocking, Message)

    def run(self) -> None:
        """Run events until one needs time, or none is left."""
        if self._running:
            return
        self._running = True
        try:
            while self._step():
                pass
        finally:
            self._running = False

    def expire(self, now: float) -> None:
        """Answer for the handler where its time is up (P41); `run` goes on from there."""
        with self._undisturbed():
            for event, (name, _, end) in list(self.calls.items()):
                if end <= now and event in self.calls:
                    verdict = decisions.timed_out(name, self._seconds_for(event), event, self._id)
                    self._cancel(event)
                    self._refuse(event, name, verdict, Reason.FAILED)

    def cut(self) -> None:
        """
        Cancel whatever is under way, a complete message included; `run` tells the handler.

        The dialogue has ended.  A message that the handler has not got as a whole is aborted.
        """
        with self._undisturbed():
            self._dialogue.refuse_content(replies.SHUTTING_DOWN, Reason.SHUTDOWN)
            self._fault = replies.SHUTTING_DOWN, Reason.SHUTDOWN
            for event in list(self.calls):
                self._cancel(event)

    def farewell(self, reason: Reason) -> None:
        """Have `run` tell the handler, once all else has been told, that all is over."""
        self._farewell = reason

    def release_login(self) -> None:
        """Tell whoever vouched for the client that the login is over."""
        release, self._release = self._release, None
        self._let_go(release)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        before, self._running = self._running, True
        try:
            yield
        finally:
            self._running = before

    def _step(self) -> bool:
        """Do the next thing; tell whether there was one."""
        dialogue = self._dialogue
        if dialogue.ended is not None:
            self._abandon()
        if self._blocking is not None:
            return False
        if self._agenda:
            self._call(*self._agenda.popleft())
            return True
        event = dialogue.next_event()
        if event is not None:
            special = _SPECIAL.get(type(event))
            if special is None:
                self._call(event.method, event.arguments(), event)
            else:
                special(self, event)
            return True
        if self._farewell is None or self.calls:
            return False
        event, self._farewell = Disconnected(self._farewell), None
        self._call(event.method, event.arguments(), event)
        if not self.blocked:
            self._conclude()
        return True

    def _abandon(self) -> None:
        """
        Cancel what nobody waits for any more: the dialogue has ended.

        A message whose content is complete is no such thing: it was sent, so it is kept, and its
        last pieces are waited for.
        """
        if self.completing or self._dialogue.message_follows:
            return
        if self._agenda:
            told = [entry for entry in self._agenda if isinstance(entry[2], (Aborted, Message))]
            self._agenda = deque(told) or None
        for event in list(self.calls):
            if not isinstance(event, (Aborted, Disconnected)):
                self._cancel(event)

    # The way of an event.

    def _later(self, entry: tuple[str, Sequence[object], Event]) -> None:
        """Put a call on the agenda; there is none before it is needed."""
        if self._agenda is None:
            self._agenda = deque()
        self._agenda.append(entry)

    def _take(self, event: Chunk) -> None:
        if self._fault is not None:
            return
        if self._reads_headers:
            if self._headers is None:
                self._headers = HeaderReader(self._dialogue.settings.limits.header_octets)
            for field in self._headers.read(event.octets):
                self._later(("header", field, event))
        if self._keeps_content:
            if self._content is None:
                self._content = self._make_content()
            try:
                self._content.write(event.octets)
            except OSError as error:
                _log.warn("no room for a message on {id}: {error}", id=self._id, error=str(error))
                self._refuse_content(replies.NO_STORAGE, Reason.FAILED)
        else:
            self._later(("chunk", (event.octets,), event))

    def _complete(self, event: Message) -> None:
        if self._headers is not None and self._fault is None:
            for field in self._headers.finish():
                self._later(("header", field, event))
        self._later(("message", (event.envelope,), event))

    def _abort(self, event: Aborted) -> None:
        self._forget_content()
        self._call(event.method, event.arguments(), event)

    def _secure(self, event: StartTls) -> None:
        self._start_tls(event)

    def _call(self, name: str, arguments: Sequence[object], event: Event) -> None:
        if self._fault is not None and name in ("header", "chunk", "message"):
            if name == "message":
                assert isinstance(event, Message)
                self._refuse_message(event, *self._fault)
            return
        if name == "message" and self._keeps_content:
            assert isinstance(event, Message)
            if self._content is None:
                self._content = self._make_content()
            event.envelope.kept = self._content
        method = self._methods.get(name)
        if method is None:
            if isinstance(event, Decision):
                self._answer(event, True)
            return
        try:
            result = method(*arguments)
            if result is None:
                if type(event) in _SIMPLE:
                    self._dialogue.answer(event, True)  # type: ignore[arg-type]
                    return
            else:
                result = decisions.started(result)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a handler that calls sys.exit() has failed, no more
            self._failed(Failure(), event, name)
            return
        if result is not None and isinstance(result, Deferred):
            self._wait(result, event, name)
        else:
            self._answered(result, event, name)

    def _wait(self, deferred: Deferred[Any], event: Event, name: str) -> None:
        end = self._clock.seconds() + self._seconds_for(event)
        self.calls[event] = name, deferred, end
        if not (isinstance(event, Rcpt) and self._dialogue.abilities.concurrent_recipients):
            self._blocking = event
        deferred.addCallbacks(
            self._answered_late,
            self._failed_late,
            callbackArgs=(event, name),
            errbackArgs=(event, name),
        )

    def _seconds_for(self, event: Event) -> float:
        limits = self._dialogue.settings.limits
        return limits.message_seconds if isinstance(event, Message) else limits.decision_seconds

    # Both return what another event gets for which the handler has given the same Deferred.

    def _answered_late(self, result: object, event: Event, name: str) -> object:
        if self._end_call(event):
            self._answered(result, event, name)
            self._go_on()
        else:
            _log.info("{name} answered too late on {id}: dropped", name=name, id=self._id)
            if isinstance(result, Authenticated):
                self._let_go(result.release)
        return result

    def _failed_late(self, failure: Failure, event: Event, name: str) -> object:
        if self._end_call(event):
            self._failed(failure, event, name)
            self._go_on()
        elif failure.check(CancelledError) is None:
            kind = type(failure.value).__qualname__
            _log.info("{name} failed too late on {id}: {kind}", name=name, id=self._id, kind=kind)
        return Reply(451)

    def _end_call(self, event: Event) -> Deferred[Any] | None:
        """Return what was waited for, if it still was."""
        _, deferred, _ = self.calls.pop(event, (None, None, None))
        if self._blocking is event:
            self._blocking = None
        return deferred

    def _go_on(self) -> None:
        if not self._running:
            self._changed()

    def _cancel(self, event: Event) -> None:
        deferred = self._end_call(event)
        if deferred is None:
            return  # cancelling another one has made it answer
        try:
            deferred.cancel()
        except Exception as error:
            # Not with its text, which may quote a password.
            kind = type(error).__qualname__
            _log.error("cancelling an answer failed on {id}: {kind}", id=self._id, kind=kind)
        if isinstance(event, Disconnected):
            self._conclude()
        elif isinstance(event, Message) and self._fault is None:
            self._forget_content()

    # Answers.

    def _answered(self, result: object, event: Event, name: str) -> None:
        if isinstance(event, Disconnected):
            self._conclude()
        if not isinstance(event, Decision) or event.method != name:
            return  # a notification may return anything
        if result is None and not isinstance(event, Authenticate):
            self._answer(event, True)
            return
        try:
            verdict = decisions.verdict_of(event, result)
        except Exception:
            verdict = decisions.incident(event, name, Failure(), self._id)
        if isinstance(event, Authenticate) and isinstance(result, Authenticated):
            self._dialogue.connection.identity = result.identity
            self._release = result.release
        self._answer(event, verdict)

    def _failed(self, failure: Failure, event: Event, name: str) -> None:
        reason = Reason.REFUSED if isinstance(failure.value, Refusal) else Reason.FAILED
        self._refuse(event, name, decisions.fault_of(event, name, failure, self._id), reason)

    def _refuse(self, event: Event, name: str, verdict: Reply | bool, reason: Reason) -> None:
        if isinstance(event, Disconnected):
            self._conclude()
        elif isinstance(event, Decision) and event.method == name:
            self._answer(event, verdict)
        elif name in ("header", "chunk"):
            reply = verdict if isinstance(verdict, Reply) else replies.MESSAGE_REFUSED
            self._refuse_content(reply, reason)

    def _answer(self, event: Decision, verdict: Reply | bool) -> None:
        dialogue = self._dialogue
        alone = dialogue.ended is not None
        try:
            dialogue.answer(event, verdict)
        except ValueError:
            dialogue.answer(event, decisions.incident(event, event.method, Failure(), self._id))
        if isinstance(event, Message):
            reply = event.reply
            if reply is not None and reply.positive:
                self._content = None  # it is there as long as somebody holds it
            self._forget_content()
            if (alone or self.leaving) and reply is not None and reply.positive:
                # Who has closed one side may have closed both: then it does not read this either.
                how = "reply not delivered" if alone else "reply perhaps not delivered"
                _log.info(
                    "accepted, {how} on {id}: {reply}", how=how, id=self._id, reply=reply.text
                )

    def _refuse_content(self, reply: Reply, reason: Reason) -> None:
        """Have the message read to its end, and then refused."""
        self._fault = reply, reason
        self._dialogue.refuse_content(reply, reason)

    def _refuse_message(self, event: Message, reply: Reply, reason: Reason) -> None:
        """Refuse a message whose content was complete before the fault was known."""
        aborted = Aborted(event.envelope, reason)
        self._later((aborted.method, aborted.arguments(), aborted))
        self._answer(event, reply)

    def _forget_content(self) -> None:
        self._fault = None
        self._headers = None
        if self._content is not None:
            self._content.close()
            self._content = None

    def _let_go(self, release: Callable[[], object] | None) -> None:
        if release is not None:
            try:
                release()
            except Exception:
                _log.failure("the end of a login failed on {id}", id=self._id)

    def _conclude(self) -> None:
        if not self.over:
            self.over = True
            self._forget_content()
            self.release_login()


# Decisions of which a plain yes is nothing but that.
_SIMPLE = frozenset({Connected, Secured, Hello, Mail, Rcpt, Data})

# Events that are more than one call.
_SPECIAL: Mapping[type[Event], Callable[[Conversation, Any], None]] = {
    Chunk: Conversation._take,
    Message: Conversation._complete,
    Aborted: Conversation._abort,
    StartTls: Conversation._secure,
}
