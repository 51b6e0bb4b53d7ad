"""
What somebody decides: each kind of question once.

A kind says which method of a handler decides it, what the client hears of a plain yes and of a
plain no, which positive codes fit, and what an answer does (`settle`): a yes moves the dialogue by
its table, a no moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpcb.engine import _replies as replies
from smtpcb.engine._intake import begin_content, read_on, refuse_content
from smtpcb.engine._reason import Reason
from smtpcb.engine._table import Step
from smtpcb.smtp._command import Introduction, Query, Verb
from smtpcb.smtp._reply import MAXIMUM_LINE_OCTETS, Reply

if TYPE_CHECKING:
    from smtpcb.engine._connection import TlsInformation
    from smtpcb.engine._envelope import Envelope, Recipient
    from smtpcb.engine._login import Login
    from smtpcb.engine._server import ServerDialogue
    from smtpcb.smtp.sasl import Mechanism


# A member of an enum is looked up in its class for the price of three calls before Python 3.12.
_MAIL = Verb.MAIL
_RCPT = Verb.RCPT
_DATA = Verb.DATA
_BDAT = Verb.BDAT
_HELO = Verb.HELO
_MESSAGE_ENDED = Step.MESSAGE_ENDED
_GREETED = Step.GREETED


Settle = Callable[["ServerDialogue", Any, Reply], None]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """
    One kind of question.

    :ivar method: the handler's method that decides it; absent, it accepts.
    :ivar accept: what the client hears of a plain yes, unless the question says otherwise.
    :ivar refuse: what it hears of a plain no.
    :ivar settle: what the answer does: the dialogue, what was asked about, the reply.
    :ivar codes: the positive codes that its client can take for a yes (RFC 5321 §4.3.2).
    :ivar silence_accepts: whether ``None`` is a yes.
    :ivar call: decides in place of the handler: a function of an extension of the user's.
    :ivar whose: what logs call that; by default it is the handler.
    """

    method: str
    accept: Reply
    refuse: Reply
    settle: Settle
    codes: frozenset[int] = frozenset({250})
    silence_accepts: bool = True
    call: Callable[..., object] | None = None
    whose: str = ""

    def fits(self, code: int) -> bool:
        """Whether that positive code may be the answer."""
        return code in self.codes


class Question:
    """
    One question that could not be settled at once.

    :ivar kind: what is asked.
    :ivar subject: what it is about: an envelope, a recipient, …
    :ivar accept: what the client hears of a plain yes.
    :ivar reply: the answer, once it was given.
    """

    __slots__ = ("accept", "kind", "reply", "subject")

    def __init__(self, kind: Kind, subject: object, accept: Reply) -> None:
        self.kind = kind
        self.subject = subject
        self.accept = accept
        self.reply: Reply | None = None


def _settle_connected(dialogue: ServerDialogue, subject: object, reply: Reply) -> None:
    tls = dialogue.connection.tls
    if not reply.positive:
        dialogue.send(reply if reply.closes else reply.closing())
    elif tls is not None and lacks_certificate(dialogue, tls):
        dialogue.send(replies.CERTIFICATE_REQUIRED.closing())
    elif tls is not None:
        # Its port has TLS: the greeting waits until that has been looked at.
        dialogue.ask(SECURED_FIRST, reply, tls, dialogue.connection)
    else:
        dialogue.move(_GREETED)
        dialogue.send(reply)


def lacks_certificate(dialogue: ServerDialogue, tls: TlsInformation) -> bool:
    """Whether a client has shown none, where one is required."""
    return tls.client_certificate is None and dialogue.settings.require_client_certificate


def _settle_secured_first(dialogue: ServerDialogue, greeting: Reply, reply: Reply) -> None:
    if reply.positive:
        dialogue.move(_GREETED)
        dialogue.send(greeting)
    else:
        dialogue.send(reply if reply.closes else reply.closing())


def _settle_secured(dialogue: ServerDialogue, tls: TlsInformation, reply: Reply) -> None:
    if reply.positive:
        dialogue.move(Step.SECURED)
    else:
        dialogue.why = reply
        dialogue.move(Step.TOO_WEAK)


def _settle_command(dialogue: ServerDialogue, line: bytes, reply: Reply) -> None:
    dialogue.act(line)


def _settle_hello(dialogue: ServerDialogue, introduction: Introduction, reply: Reply) -> None:
    if not reply.positive:
        dialogue.send(reply)
        return
    connection = dialogue.connection
    extended = introduction.verb is not _HELO
    dialogue.abort(Reason.HELLO)
    dialogue.move(introduction.verb)
    dialogue.look_ahead()  # somebody may be being told of the end of a transaction
    connection.hello = introduction.name
    connection.extended = extended
    offer = dialogue.offer
    standard = offer.hello if extended else offer.helo
    dialogue.send(reply if reply is standard else _introduced(standard, reply))


def _introduced(standard: Reply, reply: Reply) -> Reply:
    """
    Put our name first (RFC 5321 §4.2), say what we offer, take the status away (RFC 2034 §4).

    What is said beside it stays in that one line, of ASCII: a client reads the next one as an
    extension.
    """
    hostname = standard.lines[0]
    text = " ".join(reply.lines)
    if text.partition(" ")[0].lower() != hostname.lower():
        text = f"{hostname} {text}"
    text = text.encode("ascii", "replace").decode("ascii")
    first = text[: MAXIMUM_LINE_OCTETS - len("250-\r\n")].rstrip(" ")
    lines = (first, *standard.lines[1:])
    return Reply(reply.code, lines, status=None, closes=reply.closes)


def _settle_mail(dialogue: ServerDialogue, envelope: Envelope, reply: Reply) -> None:
    if reply.code < 400:
        dialogue.move(_MAIL)
        dialogue.connection.budget.messages += 1
        dialogue.envelope = envelope
        dialogue.forwarded = None  # it was about this one
        if dialogue.addressees is not None:
            dialogue.addressees = []
    dialogue.send(reply, utf8=envelope.parameters.smtputf8)


def _settle_rcpt(dialogue: ServerDialogue, recipient: Recipient, reply: Reply) -> None:
    envelope = dialogue.envelope
    assert envelope is not None
    if reply.code < 400:
        dialogue.move(_RCPT)
        envelope.recipients.append(recipient)
        if dialogue.addressees is not None:
            dialogue.addressees.append(recipient)
    else:
        dialogue.connection.budget.recipients_refused += 1
    dialogue.send(reply, utf8=envelope.parameters.smtputf8)


def _settle_data(dialogue: ServerDialogue, envelope: Envelope, reply: Reply) -> None:
    if reply.code < 400:
        dialogue.move(_DATA)
        begin_content(dialogue)
    dialogue.send(reply, utf8=envelope.parameters.smtputf8)


def _settle_bdat(dialogue: ServerDialogue, envelope: Envelope, reply: Reply) -> None:
    if reply.closes and not reply.positive:
        reply = dialogue.last_word(reply)
        dialogue.intake = None
        dialogue.send(reply)
        return
    dialogue.move(_BDAT)
    if not reply.positive:
        refuse_content(dialogue, reply, Reason.REFUSED, ours=False)
    read_on(dialogue)


def _settle_message(dialogue: ServerDialogue, envelope: Envelope, reply: Reply) -> None:
    dialogue.move(_MESSAGE_ENDED)
    budget = dialogue.connection.budget
    budget.recipients += len(envelope.recipients)
    if reply.code < 400:
        if dialogue.finished is not None:
            dialogue.owner.undelivered(envelope, reply)
        # What has been accepted pays for mistakes and idle commands before it.
        budget.forgive()
        budget.accepted += 1
    else:
        budget.refused += 1
    dialogue.send(reply, utf8=envelope.parameters.smtputf8)


def _settle_authenticate(dialogue: ServerDialogue, login: Login, reply: Reply) -> None:
    if reply.positive:
        login.go_on_after_yes(dialogue, reply)
        return
    login.refuse(dialogue, reply)


def _settle_held(
    dialogue: ServerDialogue, begun: tuple[Mechanism, bytes | None], reply: Reply
) -> None:
    # Not ahead: that module knows this one.
    from smtpcb.engine._login import begin

    said = begin(dialogue, *begun) if reply.positive else reply
    if said is not None:
        dialogue.send(said, own=True)


def _settle_stored_secret(dialogue: ServerDialogue, login: Login, reply: Reply) -> None:
    if reply.positive:
        secret, login.secret = login.secret, None
        login.go_on(dialogue, secret)
    else:
        login.refuse(dialogue, reply)


def settle_query(verb: Verb) -> Settle:
    """Return what says it, and nothing else."""

    def settle(dialogue: ServerDialogue, query: Query, reply: Reply) -> None:
        if reply.positive:
            dialogue.move(verb)
        dialogue.send(reply, utf8=query.smtputf8)

    return settle


def _settle_piece(dialogue: ServerDialogue, subject: object, reply: Reply) -> None:
    """Do nothing: it is the message that is answered."""


_220 = frozenset({220})

CONNECTED = Kind("connected", replies.OK, replies.NO_SERVICE, _settle_connected, _220)
SECURED = Kind("secured", replies.OK, replies.TLS_REFUSED, _settle_secured)
SECURED_FIRST = Kind("secured", replies.OK, replies.TLS_REFUSED, _settle_secured_first)
# What it returns is nothing; a Deferred makes the client wait for what the command brings about.
COMMAND = Kind("command", replies.OK, replies.OK, _settle_command)
HELLO = Kind("hello", replies.OK, replies.HELLO_REFUSED, _settle_hello)
# Somebody has to wait before they may try to log in; the server, and no handler, says how long.
HELD = Kind("held", replies.OK, replies.AUTH_REFUSED, _settle_held, call=lambda held: held)
# It answers with what is stored, which is nobody's business: see `Conversation`.
STORED_SECRET = Kind(
    "stored_secret",
    replies.OK,
    replies.AUTH_REFUSED,
    _settle_stored_secret,
    frozenset({0}),
    silence_accepts=False,
)
AUTHENTICATE = Kind(
    "authenticate",
    replies.AUTHENTICATED,
    replies.AUTH_REFUSED,
    _settle_authenticate,
    frozenset({235}),
    silence_accepts=False,  # a forgotten return opens no door
)
MAIL = Kind("mail", replies.SENDER_OK, replies.SENDER_REFUSED, _settle_mail)
RCPT = Kind(
    "rcpt",
    replies.RECIPIENT_OK,
    replies.RECIPIENT_REFUSED,
    _settle_rcpt,
    frozenset({250, 251}),
)
DATA = Kind(
    "data",
    replies.START_MAIL_INPUT,
    replies.TRANSACTION_REFUSED,
    _settle_data,
    frozenset({354}),
)
BDAT = Kind(
    "data",
    replies.START_MAIL_INPUT,
    replies.TRANSACTION_REFUSED,
    _settle_bdat,
    frozenset({354}),
)
# Pieces of the content: no reply is sent for them, so no positive code fits; a no refuses the
# message.
HEADER = Kind("header", replies.OK, replies.MESSAGE_REFUSED, _settle_piece, frozenset({0}))
CHUNK = Kind("chunk", replies.OK, replies.MESSAGE_REFUSED, _settle_piece, frozenset({0}))
MESSAGE = Kind("message", replies.MESSAGE_OK, replies.MESSAGE_REFUSED, _settle_message)
VERIFY = Kind(
    "verify",
    replies.CANNOT_VERIFY,
    replies.MAILBOX_UNKNOWN,
    settle_query(Verb.VRFY),
    frozenset({250, 251, 252}),
)
EXPAND = Kind(
    "expand",
    replies.OK,
    replies.MAILBOX_UNKNOWN,
    settle_query(Verb.EXPN),
    frozenset({250, 252}),
)
HELP = Kind("help", replies.HELP, replies.NO_HELP, settle_query(Verb.HELP), frozenset({211, 214}))
ETRN = Kind(
    "etrn",
    replies.QUEUING_STARTED,
    replies.NOTHING_QUEUED,
    settle_query(Verb.ETRN),
    frozenset({250, 251, 252, 253}),  # RFC 1985 §5.2
)

KINDS = (
    *(CONNECTED, SECURED, SECURED_FIRST, COMMAND, HELLO, STORED_SECRET, AUTHENTICATE),
    *(MAIL, RCPT, DATA, BDAT, HEADER, CHUNK, MESSAGE, VERIFY, EXPAND, HELP, ETRN),
)
"""Every kind there is, in the order of a connection."""

KIND_OF: Mapping[str, Kind] = {kind.method: kind for kind in reversed(KINDS)}
"""By the method that decides it; those that share one take the same answers."""
