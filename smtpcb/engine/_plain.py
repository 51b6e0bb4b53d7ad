"""
Driver: octets in, octets out, for a program that waits in its own way: threads, asyncio, tests.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._conversation import Conversation
from smtpcb.engine._envelope import Content
from smtpcb.engine._guarded import Guarded
from smtpcb.engine._handler import Handler, understand
from smtpcb.engine._keeping import MailData
from smtpcb.engine._lines import Discarded, has_lone_lf, has_lone_newline, most_line_octets
from smtpcb.engine._observer import Observer
from smtpcb.engine._parting import SHUTDOWN
from smtpcb.engine._pending import Pending
from smtpcb.engine._reason import Reason
from smtpcb.engine._settings import Settings
from smtpcb.engine._table import Wants
from smtpcb.engine._verdict import Incidents, Log
from smtpcb.engine._xclient import successor
from smtpcb.smtp._errors import LocalProtocolError
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._xclient import XClient


class StandardLog:
    """The logs of Python's own `logging`."""

    def __init__(self, name: str = "smtpcb") -> None:
        self._log = logging.getLogger(name)

    def info(self, text: str, /, **fields: Any) -> None:
        """Say what has happened."""
        self._log.info("%s", text.format(**fields))

    def warn(self, text: str, /, **fields: Any) -> None:
        """Say what somebody should look at."""
        self._log.warning("%s", text.format(**fields))

    def error(self, text: str, /, **fields: Any) -> None:
        """Say what went wrong."""
        self._log.error("%s", text.format(**fields))


class PlainPlatform:
    """
    Where handlers answer at once, or block.

    :param memory_octets: how much of a message is kept in memory.
    :param header_octets: how much of its header section is parsed.
    """

    def __init__(
        self, *, memory_octets: int = 1_048_576, header_octets: int = Limits().header_octets
    ) -> None:
        self._header_octets = header_octets
        self.log: Log = StandardLog()
        self.incidents = Incidents(self.log, time.monotonic)
        self._memory_octets = memory_octets

    def later(self, result: Any) -> object:
        """
        Run a coroutine that never waits to its end.

        :raises TypeError: it waits, and there is nobody here who could.
        """
        if not inspect.isawaitable(result):
            return result
        steps = result.__await__()
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("an answer that needs time, where nobody can wait for it")

    def seconds(self) -> float:
        """Tell the time."""
        return time.monotonic()

    def soon(self, step: Callable[[], object]) -> None:
        """Do nothing: there is nobody here who could call later."""

    def make_content(self) -> Content:
        """Make the place for one message."""
        return MailData(self._memory_octets, header_octets=self._header_octets)


class Driver:
    """
    Leads a conversation with one client.

    Its owner has the connection: it sends what `start`, `receive` and `secure` return, and then
    looks at `finished` and `handshaking`.

    Where a trusted proxy names another client (XCLIENT), handler and observer hear that it is over,
    and then of another `Connection` with the same id.

    :param handler: any object with some of the methods of ``ISmtpEventHandler``.
    :param settings: how the dialogue is led.
    :param connection: what is known of the client.
    :param tls: whether the owner can make a handshake.
    :param platform: how to wait; by default, handlers answer at once or block.
    :param observer: sees everything; one that fails is an incident, and hears no more.
    :param changed: called when a late answer has been taken, where the platform knows such, or when
        the connection is to be closed: send what `advance` returns, and look at `finished`.
    :param adapt: understands a handler that takes the place of the first one.
    :raises TypeError: the handler is none, or the observer.
    :raises ValueError: what it says of itself cannot be.
    """

    def __init__(
        self,
        handler: object,
        settings: Settings,
        connection: Connection,
        *,
        tls: bool = False,
        platform: Any = None,
        observer: Observer | None = None,
        changed: Callable[[], None] | None = None,
        adapt: Callable[[object], Handler] | None = None,
    ) -> None:
        self._adapt = (lambda other: understand(other, tls=tls)) if adapt is None else adapt
        understood = handler if isinstance(handler, Handler) else understand(handler, tls=tls)
        if platform is None:
            platform = PlainPlatform(header_octets=settings.limits.header_octets)
        if observer is not None:
            observer = Guarded(observer, platform, connection.id)
        self.conversation = Conversation(connection, settings, understood, platform, self, observer)
        self._connection = connection
        self._dialogue = self.conversation.dialogue
        self._changed = changed
        self._most_octets = most_line_octets(settings.limits)
        self._recorder = observer if observer is not None and observer.sees_octets else None
        self._waiting = bytearray()
        self._searched = 0
        self._discarded: Discarded | None = None
        self._running = False
        self._parted = False
        self._successor: XClient | None = None

    @property
    def finished(self) -> bool:
        """Whether to close the connection, once everything has been sent."""
        return self._dialogue.wants is Wants.NOTHING and self._successor is None

    @property
    def handshaking(self) -> bool:
        """Whether to make a TLS handshake, once everything has been sent; then call `secure`."""
        return self._dialogue.wants is Wants.HANDSHAKE

    def start(self) -> bytes:
        """Return the greeting; any TLS of the port has been established."""
        self._dialogue.greet()
        return self.advance()

    def receive(self, octets: bytes) -> bytes:
        """
        Take octets from the client, cut anywhere.

        :return: what to send.
        :raises LocalProtocolError: they belong to a TLS handshake.
        """
        if self.handshaking:
            raise LocalProtocolError("a TLS handshake is wanted")
        self._waiting += octets
        self._connection.octets_in += len(octets)
        return self.advance()

    def secure(self, tls: TlsInformation) -> bytes:
        """Go on inside TLS, after STARTTLS."""
        self.conversation.release_login()
        self._dialogue.secured(tls)
        return self.advance()

    def shut_down(self) -> bytes:
        """End as soon as no mail transaction is under way."""
        self._dialogue.shut_down()
        return self.advance()

    def time_out(self) -> bytes:
        """End, since the client has said nothing for too long."""
        lone = has_lone_newline(self._waiting) or self._discarded is not None
        self._dialogue.close(replies.timed_out(lone_newline=lone), Reason.TIMEOUT)
        return self.advance()

    def disconnect(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """Take note that the client is gone, or that everything has been sent."""
        self.conversation.farewell(reason)
        self._part_if_over()

    def advance(self) -> bytes:
        """Take what has been received as far as it goes, and return what to send."""
        if self._running:
            return b""
        self._running = True
        try:
            self._go_on()
        finally:
            self._running = False
        self._part_if_over()
        out = self._dialogue.take_output()
        self._connection.octets_out += len(out)
        if out and self._recorder is not None:
            self._recorder.server(out)
        return out

    def changed(self) -> None:
        """Take a late answer; the conversation calls it."""
        if self._changed is not None and not self._running:
            self._changed()
        self._part_if_over()

    def admit_login(self) -> object:
        """Let anybody try: there is nobody here who remembers addresses."""
        return None

    def logged_in(self, reply: Reply) -> None:
        """Forget it, likewise."""

    def adapt(self, handler: object) -> Handler:
        """Understand another handler; the conversation calls it."""
        return self._adapt(handler)

    def start_tls(self) -> Reply:
        """Answer STARTTLS; the conversation calls it."""
        return replies.DATA_BEHIND_STARTTLS if self._waiting else replies.READY_FOR_TLS

    def start_over(self, client: XClient) -> Reply | None:
        """Answer XCLIENT; the conversation calls it."""
        self._successor = client
        return None

    def _succeed(self) -> bool:
        """Begin anew if XCLIENT was accepted and its handler has heard all; tell whether it was."""
        old, dialogue = self.conversation, self._dialogue
        client, reason = self._successor, dialogue.finished
        if client is None or dialogue.wants is not Wants.NOTHING:
            return False
        if reason not in (None, Reason.XCLIENT):
            self._successor = None  # it was closed meanwhile
            return False
        old.farewell(Reason.XCLIENT)
        if not old.over:
            return False
        out = dialogue.take_output()
        settings, connection = dialogue.offer.settings, dialogue.connection
        self._part_if_over()
        new = successor(connection, client, connection.id, datetime.now(UTC))
        self.conversation = Conversation(
            new, settings, old.handler, old.platform, self, old.observer
        )
        self._connection, self._dialogue = new, self.conversation.dialogue
        self._successor, self._parted = None, False
        self._dialogue.out.append(out)
        self._dialogue.greet()
        if dialogue.parting is SHUTDOWN:
            self._dialogue.parting = SHUTDOWN
        return True

    def _part_if_over(self) -> None:
        if self.conversation.over and not self._parted:
            self._parted = True
            self.conversation.part()

    def _go_on(self) -> None:
        while True:
            self._take_all()
            if not self._succeed():
                break
        if self.finished:
            self._waiting.clear()

    def _take_all(self) -> None:
        """Take what has been received up to where something else is waited for."""
        dialogue = self._dialogue
        dialogue.absolve()  # there is no clock here to hold a reply back by
        while self._waiting:
            if self._discarded is not None:
                if not self._discard(self._discarded):
                    break
            elif dialogue.wants is Wants.CONTENT:
                octets, self._waiting = bytes(self._waiting), bytearray()
                rest = dialogue.content(octets)
                if self._recorder is not None:
                    self._recorder.content(octets[: len(octets) - len(rest)])
                    if dialogue.intake is None:
                        self._recorder.end_of_content()
                self._waiting += rest
            elif dialogue.wants is not Wants.LINE or not self._take_line():
                break
            dialogue.absolve()
        dialogue.part_if_due()

    def _take_line(self) -> bool:
        """Pass one line on; tell whether there was one, or something else that ended."""
        waiting, dialogue = self._waiting, self._dialogue
        end = waiting.find(b"\r\n", self._searched)
        # A CR that is last may belong to the CRLF.
        length = end if end >= 0 else len(waiting) - waiting.endswith(b"\r")
        if length > self._most_octets or (end < 0 and has_lone_lf(waiting)):
            # What is said of it does not depend on how the network has cut it.
            lone_lf = 0 <= waiting.find(b"\n") < min(length, self._most_octets)
            self._discarded = Discarded(dialogue, bytes(waiting[:64]), lone_lf=lone_lf)
            return True
        if end < 0:
            self._searched = length
            return False
        line = bytes(waiting[:end])
        del waiting[: end + 2]
        self._searched = 0
        if self._recorder is not None:
            self._recorder.client(dialogue.shown(line) + b"\r\n")
        dialogue.line(line)
        return True

    def _discard(self, discarded: Discarded) -> bool:
        rest = discarded.take(bytes(self._waiting))
        self._searched = 0
        self._waiting = bytearray(rest or b"")
        if rest is None:
            return False
        self._discarded = None
        return True


__all__ = ["Driver", "Pending", "PlainPlatform", "StandardLog"]
