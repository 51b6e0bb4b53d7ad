"""Driver: octets in, octets out, and a plain handler in between; for any program that can wait."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Callable, Sequence
from traceback import format_tb

from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import TlsInformation
from smtpcb.engine._keeping import MailData
from smtpcb.engine._questions import (
    Aborted,
    Authenticate,
    Chunk,
    CommandSeen,
    Connected,
    Decision,
    Message,
    Reason,
    StartTls,
)
from smtpcb.engine._server import ServerDialogue, Wants
from smtpcb.engine._settings import Abilities
from smtpcb.smtp._command import Verb
from smtpcb.smtp._errors import LocalProtocolError, Refusal
from smtpcb.smtp._header import HeaderReader
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sasl import Authenticated

MOST_LINE_OCTETS = 1_048_576
"""A line without an end is read so far; then the connection is closed."""

_log = logging.getLogger("smtpcb")


def abilities_of(handler: object, *, tls: bool = False) -> Abilities:
    """
    Return what may be offered on behalf of a handler: what it has methods for.

    :param tls: whether the owner of the connection can make a handshake.
    """
    return Abilities(
        tls=tls,
        authentication=hasattr(handler, "authenticate"),
        extensions=frozenset(getattr(handler, "extensions", ())),
        expand=hasattr(handler, "expand"),
        turn=hasattr(handler, "turn"),
        command_mask=(
            getattr(handler, "command_mask", Verb(0)) if hasattr(handler, "command") else None
        ),
    )


class MemoryContent(MailData):
    """The mail data of one message, in memory."""

    __slots__ = ()

    def __init__(self, octets: bytes, header_octets: int = Limits().header_octets) -> None:
        super().__init__(len(octets), header_octets=header_octets)
        self.write(octets)


class Driver:
    """
    Leads a dialogue with a handler whose methods answer at once, or block.

    It frames lines, calls the handler and keeps the content.  Its owner has the connection: it
    sends what `start`, `receive` and `secure` return, and then looks at `finished`.  A thread per
    connection or an asyncio protocol will do.

    :param dialogue: whose abilities are those of the handler; see `abilities_of`.
    :param handler: any object with some of the methods of ``ISmtpEventHandler``, and
        ``authenticate``.
    """

    def __init__(self, dialogue: ServerDialogue, handler: object) -> None:
        self._dialogue = dialogue
        self._handler = handler
        limits = dialogue.settings.limits
        self._most_octets = max(limits.command_octets, limits.auth_octets) - 2  # without CRLF
        self._waiting = bytearray()
        self._searched = 0
        self._skipped = -1  # octets of a line that is too long; -1: there is none
        self._content: bytearray | None = None
        self._headers: HeaderReader | None = None
        self._release: Callable[[], object] | None = None
        self._told = False

    @property
    def finished(self) -> bool:
        """Whether to close the connection, once everything has been sent."""
        return self._dialogue.wants is Wants.NOTHING

    @property
    def handshaking(self) -> bool:
        """Whether to make a TLS handshake, once everything has been sent; then call `secure`."""
        return self._dialogue.wants is Wants.HANDSHAKE

    def start(self) -> bytes:
        """Return the greeting; any TLS of the port has been established."""
        self._dialogue.greet()
        return self._go_on()

    def receive(self, octets: bytes) -> bytes:
        """
        Take octets from the client, cut anywhere.

        :return: what to send.
        :raises LocalProtocolError: they belong to a TLS handshake.
        """
        if self.handshaking:
            raise LocalProtocolError("a TLS handshake is wanted")
        self._waiting += octets
        return self._go_on()

    def secure(self, tls: TlsInformation) -> bytes:
        """Go on inside TLS, after STARTTLS."""
        self._let_go()
        self._dialogue.tls_established(tls)
        return self._go_on()

    def shut_down(self) -> bytes:
        """End as soon as no mail transaction is under way."""
        self._dialogue.shut_down()
        return self._go_on()

    def disconnect(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """Take note that the client is gone."""
        self._dialogue.disconnect(reason)
        self._go_on()

    def _go_on(self) -> bytes:
        dialogue = self._dialogue
        self._run()
        while self._waiting:
            wants = dialogue.wants
            if wants is Wants.CONTENT:
                octets, self._waiting = bytes(self._waiting), bytearray()
                self._waiting += dialogue.receive_content(octets)
            elif wants is not Wants.LINE or not self._take_line():
                break
            self._run()
        if dialogue.ended is not None and not self._told:
            self._told = True
            self._waiting.clear()
            self._let_go()
            self._tell("disconnected", (dialogue.ended,))
        return dialogue.take_output()

    def _take_line(self) -> bool:
        """Pass one line on; tell whether there was one, or something else that ended."""
        waiting, dialogue = self._waiting, self._dialogue
        end = waiting.find(b"\r\n", self._searched)
        # A CR that is last may belong to the CRLF.
        length = end if end >= 0 else len(waiting) - waiting.endswith(b"\r")
        if self._skipped >= 0:
            self._skipped += length
        elif length > self._most_octets:
            self._skipped = length
            dialogue.line_too_long(bytes(waiting[:16]))
        elif end >= 0:
            line = bytes(waiting[:end])
            del waiting[: end + 2]
            self._searched = 0
            dialogue.receive_line(line)
            return True
        else:
            self._searched = length
            return False
        self._searched = 0
        del waiting[: length if end < 0 else end + 2]
        if self._skipped > MOST_LINE_OCTETS:
            dialogue.close(replies.LINE_ENDLESS, Reason.LIMIT)
        if end >= 0:
            self._skipped = -1
        return end >= 0

    def _run(self) -> None:
        while (event := self._dialogue.next_event()) is not None:
            if isinstance(event, StartTls):
                self._dialogue.answer(
                    event, replies.DATA_BEHIND_STARTTLS if self._waiting else True
                )
            elif isinstance(event, Message):
                self._complete(event)
            elif isinstance(event, Decision):
                self._decide(event)
            elif isinstance(event, Chunk):
                self._take(event.octets)
            else:
                assert isinstance(event, (Aborted, CommandSeen))
                if isinstance(event, Aborted):
                    self._content = self._headers = None
                self._tell(event.method, event.arguments())

    def _decide(self, decision: Decision) -> None:
        """Ask the handler, and answer whatever it did (P40)."""
        method = getattr(self._handler, decision.method, None)
        if method is None:
            # What is absent accepts, except that nobody can vouch for a login.
            self._dialogue.answer(decision, not isinstance(decision, Authenticate))
            return
        try:
            try:
                verdict = method(*decision.arguments())
            except Refusal as refusal:
                verdict = _negative(refusal)
            if isinstance(decision, Authenticate):
                if verdict is None:
                    # A forgotten return opens no door.
                    raise TypeError("authenticate answers True, Authenticated, False or a Reply")
                if isinstance(verdict, Authenticated):
                    self._dialogue.connection.identity = verdict.identity
                    self._release = verdict.release
                    verdict = True
            self._dialogue.answer(decision, Reply.from_verdict(verdict))
        except Exception:
            reply = self._incident(decision.method)
            if isinstance(decision, Connected):
                reply = Reply(421, "4.3.0", reply.lines)
            self._dialogue.answer(decision, reply)

    def _take(self, octets: bytes) -> None:
        """Pass mail data on, or keep it."""
        if hasattr(self._handler, "header"):
            if self._headers is None:
                self._headers = HeaderReader(self._dialogue.settings.limits.header_octets)
            for field in self._headers.read(octets):
                refusal = self._feed("header", field)
                if refusal is not None:
                    self._dialogue.refuse_content(*refusal)
                    return
        if not hasattr(self._handler, "chunk"):
            if self._content is None:
                self._content = bytearray()
            self._content += octets
        elif (refusal := self._feed("chunk", (octets,))) is not None:
            self._dialogue.refuse_content(*refusal)

    def _complete(self, event: Message) -> None:
        headers, self._headers = self._headers, None
        content, self._content = self._content, None
        for field in headers.finish() if headers is not None else ():
            refusal = self._feed("header", field)
            if refusal is not None:
                self._dialogue.answer(event, refusal[0])
                self._tell("aborted", refusal[1:])
                return
        if not hasattr(self._handler, "chunk"):
            event.envelope.kept = MemoryContent(
                bytes(content or b""), self._dialogue.settings.limits.header_octets
            )
        self._decide(event)

    def _feed(self, name: str, arguments: Sequence[object]) -> tuple[Reply, Reason] | None:
        """Call what has no verdict but may refuse the message."""
        try:
            try:
                getattr(self._handler, name)(*arguments)
            except Refusal as refusal:
                reply = Reply.from_verdict(_negative(refusal))
                return reply if isinstance(
                    reply, Reply
                ) else replies.MESSAGE_REFUSED, Reason.REFUSED
        except Exception:
            return self._incident(name), Reason.FAILED
        return None

    def _tell(self, name: str, arguments: Sequence[object]) -> None:
        """Call what nobody waits for."""
        method = getattr(self._handler, name, None)
        if method is not None:
            try:
                method(*arguments)
            except Exception:
                self._incident(name)

    def _let_go(self) -> None:
        """Tell whoever vouched for the client that the login is over."""
        release, self._release = self._release, None
        if release is not None:
            try:
                release()
            except Exception:
                self._incident("release")

    def _incident(self, name: str) -> Reply:
        number = secrets.token_hex(4)
        kind, _, traceback = sys.exc_info()
        if name == "authenticate" and kind is not None:
            # The text of the exception may quote the password: its kind and place will have to do.
            _log.error(
                "%s failed: incident %s on %s: %s at\n%s",
                name,
                number,
                self._dialogue.connection.id,
                kind.__qualname__,
                "".join(format_tb(traceback)),
            )
            return replies.incident(number)
        _log.exception("%s failed: incident %s on %s", name, number, self._dialogue.connection.id)
        return replies.incident(number)


def _negative(refusal: Refusal) -> object:
    """Return what a refusal says, which cannot be yes."""
    verdict = Reply.from_verdict(refusal.reply)
    if verdict is True or (isinstance(verdict, Reply) and verdict.positive):
        raise ValueError("a Refusal carries a 4yz or 5yz reply") from refusal
    return verdict
