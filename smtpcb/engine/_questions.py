"""What the dialogue asks its driver to decide, and what it tells it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from operator import attrgetter
from typing import ClassVar

from smtpcb.engine import _replies as replies
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._command import Command, Introduction
from smtpcb.smtp._parameter import MailParameters, RcptParameters
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import Credentials


class Reason(enum.Enum):
    """Why a transaction ended without a message, or a connection ended."""

    RESET = "RSET"
    HELLO = "a new HELO or EHLO"
    QUIT = "the client has quit"
    TOO_BIG = "message too big"
    BARE_NEWLINE = "bare CR or LF in the message"
    REFUSED = "refused"
    FAILED = "the handler failed"
    LIMIT = "a limit was reached"
    DISCONNECTED = "the client has gone"
    TIMEOUT = "timed out"
    TLS_FAILED = "the TLS handshake failed"
    INJECTED = "data behind STARTTLS in the clear"
    SHUTDOWN = "the server is stopping"


class Event:
    """
    Something that happened, in the order of `ServerDialogue.next_event`.

    :ivar method: the handler's method that is called for it.
    :ivar given: those of its attributes that the method is called with.
    """

    __slots__ = ()
    method: str
    given: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._pick = _picker(cls.given)

    _pick: ClassVar[Callable[[Event], tuple[object, ...]]]

    def arguments(self) -> tuple[object, ...]:
        """Return what the method is called with."""
        return type(self)._pick(self)


def _picker(names: tuple[str, ...]) -> Callable[[Event], tuple[object, ...]]:
    """Return what takes these attributes of an event: once per class, for many calls."""
    if len(names) > 1:
        return attrgetter(*names)
    if names:
        get = attrgetter(names[0])
        return lambda event: (get(event),)
    return lambda event: ()


class CommandSeen(Event):
    """A command line has come; it has not been acted on yet."""

    __slots__ = ("command",)
    method = "command"
    given = ("command",)

    def __init__(self, command: Command) -> None:
        self.command = command


class Chunk(Event):
    """Some octets of mail data, dots unstuffed."""

    __slots__ = ("octets",)
    method = "chunk"
    given = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


class Aborted(Event):
    """The transaction ended without a message."""

    __slots__ = ("envelope", "reason")
    method = "aborted"
    given = ("reason",)

    def __init__(self, envelope: Envelope, reason: Reason) -> None:
        self.envelope = envelope
        self.reason = reason


class Decision(Event):
    """
    Something to be answered by `ServerDialogue.answer`.

    :ivar accept: what the client hears of a plain yes.  A handler that lacks the method says yes.
    :ivar refuse: what it hears of a plain no.
    :ivar reply: the answer, once it was given.
    """

    __slots__ = ("reply",)
    accept: Reply
    refuse: Reply

    def __init__(self) -> None:
        self.reply: Reply | None = None


class Connected(Decision):
    """A client has connected and waits for the greeting."""

    __slots__ = ("accept", "connection")
    method = "connected"
    given = ("connection",)
    refuse = replies.NO_SERVICE

    def __init__(self, connection: Connection, greeting: Reply) -> None:
        self.reply = None
        self.connection = connection
        self.accept = greeting


class Secured(Decision):
    """The connection is inside TLS now; a yes says nothing to the client."""

    __slots__ = ("tls",)
    method = "secured"
    given = ("tls",)
    accept = replies.OK
    refuse = replies.TLS_REFUSED

    def __init__(self, tls: TlsInformation) -> None:
        self.reply = None
        self.tls = tls


class Hello(Decision):
    """HELO or EHLO."""

    __slots__ = ("accept", "introduction")
    method = "hello"
    given = ("introduction",)
    refuse = replies.HELLO_REFUSED

    def __init__(self, introduction: Introduction, accept: Reply) -> None:
        self.reply = None
        self.introduction = introduction
        self.accept = accept


class Mail(Decision):
    """MAIL begins a transaction."""

    __slots__ = ("parameters", "reverse_path")
    method = "mail"
    given = ("reverse_path", "parameters")
    accept = replies.SENDER_OK
    refuse = replies.SENDER_REFUSED

    def __init__(self, reverse_path: ReversePath, parameters: MailParameters) -> None:
        self.reply = None
        self.reverse_path = reverse_path
        self.parameters = parameters


class Rcpt(Decision):
    """RCPT names one recipient."""

    __slots__ = ("forward_path", "parameters")
    method = "rcpt"
    given = ("forward_path", "parameters")
    accept = replies.RECIPIENT_OK
    refuse = replies.RECIPIENT_REFUSED

    def __init__(self, forward_path: ForwardPath, parameters: RcptParameters) -> None:
        self.reply = None
        self.forward_path = forward_path
        self.parameters = parameters


class Data(Decision):
    """DATA, or the first BDAT: whether the content is wanted."""

    __slots__ = ("envelope",)
    method = "data"
    given = ("envelope",)
    accept = replies.START_MAIL_INPUT
    refuse = replies.TRANSACTION_REFUSED

    def __init__(self, envelope: Envelope) -> None:
        self.reply = None
        self.envelope = envelope


class Message(Decision):
    """The content is complete; a positive answer takes responsibility for it."""

    __slots__ = ("envelope",)
    method = "message"
    given = ("envelope",)
    accept = replies.MESSAGE_OK
    refuse = replies.MESSAGE_REFUSED

    def __init__(self, envelope: Envelope) -> None:
        self.reply = None
        self.envelope = envelope


class Authenticate(Decision):
    """AUTH has gathered what an authenticator needs."""

    __slots__ = ("credentials",)
    method = "authenticate"
    given = ("credentials",)
    accept = replies.AUTHENTICATED
    refuse = replies.AUTH_REFUSED

    def __init__(self, credentials: Credentials) -> None:
        self.reply = None
        self.credentials = credentials


class StartTls(Decision):
    """
    STARTTLS: the driver answers it, not the handler.

    After a yes and once all output has been written, the driver begins the handshake, and then
    calls `ServerDialogue.tls_established`.  If it already holds octets that came behind the
    command it answers `replies.DATA_BEHIND_STARTTLS`, and reads none of them (RFC 3207 §4.2).
    """

    __slots__ = ()
    method = "start_tls"
    accept = replies.READY_FOR_TLS
    refuse = replies.TLS_UNAVAILABLE


class Question(Decision):
    """A command with a text that does not touch the transaction."""

    __slots__ = ("text",)
    given = ("text",)

    def __init__(self, text: str) -> None:
        self.reply = None
        self.text = text


class Verify(Question):
    """VRFY (RFC 5321 §3.5)."""

    __slots__ = ()
    method = "verify"
    accept = replies.CANNOT_VERIFY
    refuse = replies.MAILBOX_UNKNOWN


class Expand(Question):
    """EXPN (RFC 5321 §3.5)."""

    __slots__ = ()
    method = "expand"
    accept = replies.OK
    refuse = replies.MAILBOX_UNKNOWN


class Help(Question):
    """HELP (RFC 5321 §4.1.1.8)."""

    __slots__ = ()
    method = "help"
    accept = replies.HELP
    refuse = replies.NO_HELP


class Turn(Question):
    """ETRN (RFC 1985)."""

    __slots__ = ()
    method = "turn"
    accept = replies.QUEUING_STARTED
    refuse = replies.NOTHING_QUEUED
