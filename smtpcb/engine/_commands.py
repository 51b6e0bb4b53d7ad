"""
One function a verb: what a command asks for.

It returns our reply, or ``None``: then it has asked, and the answer will be the reply.  A positive
reply of ours moves the dialogue as the table says; a negative one moves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpcb.engine import _questions as questions
from smtpcb.engine import _replies as replies
from smtpcb.engine._chunking import bdat, discard, is_bdat, refuse_bdat, spoil
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._extensions import latest_release
from smtpcb.engine._faults import fault, whose
from smtpcb.engine._login import auth
from smtpcb.engine._pipeline import room_for_recipients
from smtpcb.engine._reason import Reason
from smtpcb.engine._table import State
from smtpcb.engine._verdict import reply_of_refusal
from smtpcb.engine._xclient import NOBODY, as_known, xclient, xforward
from smtpcb.smtp._address import AnyPath, ForwardPath, Leniency, PathRead, ReversePath
from smtpcb.smtp._argument import USUAL_MAIL, USUAL_RCPT, read_mail, read_rcpt
from smtpcb.smtp._command import Introduction, Query, Verb, read_command, read_query
from smtpcb.smtp._delivery import WhenLate
from smtpcb.smtp._errors import PeerProtocolError, Refusal
from smtpcb.smtp._extension import ExtensionFailed
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._parameter import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    PARAMETER_UNKNOWN,
    BodyType,
    MailParameters,
    RcptParameters,
)
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._secret import observed
from smtpcb.smtp._text import read_text

if TYPE_CHECKING:
    from smtpcb.engine._server import ServerDialogue

Act = Callable[["ServerDialogue", bytes], Reply | None]

_BINARY_MIME = BodyType.BINARY_MIME
_AS_IT_SHOULD_BE: tuple[Leniency, ...] = ()


def _text_of(argument: bytes) -> str:
    """
    Return what stands behind a verb as text, without blanks at its end (RFC 5321 §4.1.1).

    :raises PeerProtocolError: it is none (500).
    """
    try:
        return read_text(argument).rstrip(" \t")
    except ValueError:
        raise PeerProtocolError(replies.LINE_NOT_TEXT) from None


def _query_of(argument: bytes) -> Query:
    """Return what stands behind a verb as one text, whatever it says; raises as `_text_of`."""
    return Query(_text_of(argument).lstrip(" \t"), smtputf8=False)


# Introductions (RFC 5321 §4.1.1.1).


def _hello(dialogue: ServerDialogue, argument: bytes, verb: Verb) -> Reply | None:
    introduction = Introduction.read(verb, argument)
    if dialogue.connection.xclient is not None:
        dialogue.look_round(trusted=NOBODY)  # from here on it is the client who speaks
    offer = dialogue.offer
    accept = offer.helo if verb is Verb.HELO else offer.hello
    dialogue.ask(questions.HELLO, introduction, introduction, dialogue.connection, accept=accept)
    return None


def helo(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """HELO."""
    return _hello(dialogue, argument, Verb.HELO)


def ehlo(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """EHLO."""
    return extended_hello(dialogue, argument, Verb.EHLO)


def extended_hello(dialogue: ServerDialogue, argument: bytes, verb: Verb) -> Reply | None:
    """EHLO, or what stands in its place."""
    if dialogue.offer.extensions.changes:
        dialogue.offer = dialogue.offer.anew()
    faults = dialogue.offer.extensions.faults
    if faults:
        dialogue.offer.forget()  # the next client may be luckier
        for what, error in faults:
            dialogue.ask(fault(what, error, _say_nothing), None)
    return _hello(dialogue, argument, verb)


def _lhlo(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """Refuse LHLO: where it is spoken, other commands are in force."""
    return replies.THIS_IS_SMTP


def _say_nothing(dialogue: ServerDialogue, subject: None, reply: Reply) -> None:
    """Do nothing: what is not offered is not missed."""


def _failed(
    dialogue: ServerDialogue, kind: questions.Kind, failed: ExtensionFailed
) -> Reply | None:
    """Answer a command one of whose parameters somebody's reader has refused, or failed at."""
    error = failed.__cause__
    assert error is not None
    if isinstance(error, Refusal):
        return reply_of_refusal(kind, error)
    settle = questions.settle_query(Verb.UNKNOWN)
    dialogue.ask(fault(failed.what, error, settle), Query("", smtputf8=False))
    return None


# Transactions (RFC 5321 §4.1.1.2 to §4.1.1.5).


def _read_path(
    dialogue: ServerDialogue, argument: bytes, read: Callable[..., PathRead[AnyPath]]
) -> PathRead[AnyPath]:
    """Read an argument that is not of the usual form."""
    return read(_text_of(argument), lenient=dialogue.offer.settings.lenient_addresses)


def mail(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """MAIL."""
    match = USUAL_MAIL.match(argument)
    if match is not None:
        local_part, domain, after = match.groups()
        path = (
            ReversePath.NULL
            if domain is None
            else ReversePath(local_part.decode("ascii"), domain.lower().decode("ascii"))
        )
        rest, wide, leniencies = after.decode("ascii"), False, _AS_IT_SHOULD_BE
    else:
        path, rest, wide, leniencies = _read_path(dialogue, argument, read_mail)
    offer = dialogue.offer
    limits = offer.settings.limits
    parameters = NO_MAIL_PARAMETERS
    if rest:
        try:
            parameters = MailParameters.read(
                rest, offer.extensions.mail, utf8=offer.extensions.utf8
            )
        except ExtensionFailed as failed:
            return _failed(dialogue, questions.MAIL, failed)
        size, most = parameters.size, limits.message_octets
        if size is not None and most is not None and size > most:
            return replies.MESSAGE_TOO_BIG
        if parameters.by is not None or parameters.holdfor or parameters.holduntil is not None:
            reply = _too_soon_or_late(parameters, limits)
            if reply is not None:
                return reply
    if wide and not parameters.smtputf8:
        return replies.SENDER_NEEDS_UTF8
    budget = dialogue.connection.budget
    if budget.circumstances.storage_full:
        return replies.NO_STORAGE
    if limits.messages is not None and budget.messages >= limits.messages:
        dialogue.close(replies.exhausted("Too many messages"), Reason.LIMIT)
        return None
    for leniency in leniencies:
        dialogue.note(leniency.value)
    envelope = Envelope(dialogue.connection, path, parameters, budget.messages + 1)
    envelope.forwarded = dialogue.forwarded
    dialogue.ask(questions.MAIL, envelope, envelope)
    return None


def _too_soon_or_late(parameters: MailParameters, limits: Limits) -> Reply | None:
    """Say that nobody can deliver a message so soon, or keep it for so long."""
    by, until = parameters.by, parameters.holduntil
    if by is not None and by.late is WhenLate.RETURN and by.seconds < limits.deliver_by_seconds:
        return replies.DELIVERY_TOO_SOON
    if (parameters.holdfor or 0) > limits.hold_seconds:
        return replies.HELD_TOO_LONG
    # A moment that has passed is taken: clocks differ, and the message goes on at once.
    if until is not None and until > latest_release(limits.hold_seconds):
        return replies.HELD_TOO_LONG
    return None


def rcpt(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """RCPT."""
    envelope = dialogue.envelope
    assert envelope is not None
    match = USUAL_RCPT.match(argument)
    if match is not None:
        local_part, domain, after = match.groups()
        path = ForwardPath(local_part.decode("ascii"), domain.lower().decode("ascii"))
        rest, wide, leniencies = after.decode("ascii"), False, _AS_IT_SHOULD_BE
    else:
        path, rest, wide, leniencies = _read_path(dialogue, argument, read_rcpt)
    parameters = NO_RCPT_PARAMETERS
    if rest:
        extensions = dialogue.offer.extensions
        try:
            parameters = RcptParameters.read(rest, extensions.rcpt, utf8=extensions.utf8)
        except ExtensionFailed as failed:
            return _failed(dialogue, questions.RCPT, failed)
    if wide and not envelope.parameters.smtputf8:
        return replies.RECIPIENT_NEEDS_UTF8
    most = dialogue.offer.settings.limits.recipients
    if (
        most is not None
        and (dialogue.open is not None or len(envelope.recipients) >= most)
        and not room_for_recipients(dialogue)
    ):
        return replies.TOO_MANY_RECIPIENTS
    for leniency in leniencies:
        dialogue.note(leniency.value)
    recipient = Recipient(path, parameters)
    dialogue.ask(questions.RCPT, recipient, recipient, envelope)
    return None


def data(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """DATA."""
    if argument.strip(b" \t"):
        return replies.NO_ARGUMENT
    envelope = dialogue.envelope
    assert envelope is not None
    if envelope.parameters.body is _BINARY_MIME:
        return replies.BINARY_BY_BDAT
    dialogue.ask(questions.DATA, envelope, envelope)
    return None


def rset(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """RSET."""
    if argument.strip(b" \t"):
        return replies.NO_ARGUMENT
    dialogue.abort(Reason.RESET)
    return replies.OK


# What may come at any time (RFC 5321 §4.1.1.6 to §4.1.1.10).


def noop(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """NOOP."""
    _text_of(argument)
    return replies.OK


def quit_(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """QUIT."""
    return replies.NO_ARGUMENT if argument.strip(b" \t") else replies.BYE


def _about(dialogue: ServerDialogue, kind: questions.Kind, argument: bytes) -> Reply | None:
    """Ask about a text, which must be there."""
    query = _query_of(argument)
    if kind is not questions.ETRN:
        query = read_query(query.text)
        if query.smtputf8 and not dialogue.offer.extensions.utf8:
            return PARAMETER_UNKNOWN
    if not query.text:
        return replies.SYNTAX_OF_VRFY
    dialogue.ask(kind, query, query.text, dialogue.connection)
    return None


def vrfy(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """VRFY (RFC 5321 §3.5)."""
    return _about(dialogue, questions.VERIFY, argument)


def expn(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """EXPN (RFC 5321 §3.5)."""
    if not dialogue.offer.abilities.expand:
        return replies.COMMAND_UNAVAILABLE
    return _about(dialogue, questions.EXPAND, argument)


def etrn(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """ETRN (RFC 1985)."""
    if not dialogue.offer.abilities.etrn:
        return replies.COMMAND_UNAVAILABLE
    return _about(dialogue, questions.ETRN, argument)


def help_(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """HELP."""
    query = _query_of(argument)
    dialogue.ask(questions.HELP, query, query.text, dialogue.connection, accept=dialogue.offer.help)
    return None


def _nothing_told(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """
    Answer VRFY or EXPN where it is switched off: nobody is asked.

    RFC 5321 §7.3 wants 252, and nothing that could be taken for a yes or a no.
    """
    return replies.CANNOT_VERIFY if _query_of(argument).text else replies.SYNTAX_OF_VRFY


def _no_chunks(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """Refuse BDAT where CHUNKING is switched off; its octets are read to their end."""
    return discard(dialogue, argument, replies.COMMAND_UNAVAILABLE)


def starttls(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
    """STARTTLS (RFC 3207)."""
    if argument.strip(b" \t"):
        return replies.NO_ARGUMENT
    if dialogue.connection.tls is not None:
        return replies.TLS_ALREADY
    if not dialogue.offer.abilities.tls:
        return replies.TLS_UNAVAILABLE
    return dialogue.owner.start_tls()


# What its specification says; but 221 would say goodbye.
_OF_AN_EXTENSION = frozenset(range(200, 300)) - {221}


def extension_verb(verb: str, answer: Callable[..., object]) -> Act:
    """Return what asks a user's own function, called with the argument and the connection."""
    kind = questions.Kind(
        verb,
        replies.OK,
        replies.COMMAND_UNAVAILABLE,
        questions.settle_query(Verb.UNKNOWN),
        _OF_AN_EXTENSION,
        call=answer,
        whose=whose(answer),
    )

    def act(dialogue: ServerDialogue, argument: bytes) -> Reply | None:
        query = _query_of(argument)
        dialogue.ask(kind, query, query.text, dialogue.connection)
        return None

    return act


# What is refused before its function is called.


def _not_text(octets: bytes) -> Reply | None:
    """Return what is said of what is no text; ``None``: it is."""
    try:
        read_text(octets)
    except ValueError:
        return replies.LINE_NOT_TEXT
    return None


def refuse(dialogue: ServerDialogue, verb: Verb, argument: bytes) -> Reply | None:
    """Say why a command may not come now."""
    state = dialogue.state
    if state is State.INSECURE:
        return dialogue.why
    return _not_text(argument) or dialogue.offer.why_not(state, verb)


# A line of HTTP, which a browser can be made to send to any port.
_HTTP = re.compile(rb"[A-Z]{3,10} \S+ HTTP/[0-9.]+")


def unknown(line: bytes) -> Reply:
    """Refuse a line that is no command."""
    if _HTTP.fullmatch(line.rstrip(b" \t")):
        # Somebody makes a browser speak to us: what follows is a form's fields.
        return replies.NOT_SMTP
    return _not_text(line) or replies.COMMAND_UNKNOWN


def too_long(dialogue: ServerDialogue, verb: Verb, argument: bytes) -> Reply | None:
    """Refuse a line that is too long; the octets that BDAT announces follow it still."""
    if verb is Verb.BDAT:
        return spoil(dialogue, argument, replies.LINE_TOO_LONG)
    return replies.LINE_TOO_LONG


@dataclass(frozen=True, slots=True)
class Row:
    """
    What is done about one command.

    :ivar act: called with the argument, when the command is allowed in this state.
    :ivar refuse: called with verb and argument, when it is not.
    :ivar idle: whether it counts among the commands that bring no message nearer.
    """

    verb: Verb
    act: Act
    idle: bool = True
    refuse: Callable[[ServerDialogue, Verb, bytes], Reply | None] = refuse


COMMANDS: Mapping[bytes, Row] = {
    b"HELO": Row(Verb.HELO, helo),
    b"EHLO": Row(Verb.EHLO, ehlo),
    b"LHLO": Row(Verb.LHLO, _lhlo),
    b"MAIL": Row(Verb.MAIL, mail),
    b"RCPT": Row(Verb.RCPT, rcpt, idle=False),
    b"DATA": Row(Verb.DATA, data, idle=False),
    b"RSET": Row(Verb.RSET, rset),
    b"VRFY": Row(Verb.VRFY, vrfy),
    b"EXPN": Row(Verb.EXPN, expn),
    b"HELP": Row(Verb.HELP, help_),
    b"NOOP": Row(Verb.NOOP, noop),
    b"QUIT": Row(Verb.QUIT, quit_),
    b"BDAT": Row(Verb.BDAT, bdat, idle=False, refuse=refuse_bdat),
    b"STARTTLS": Row(Verb.STARTTLS, starttls),
    b"AUTH": Row(Verb.AUTH, auth),
    b"ETRN": Row(Verb.ETRN, etrn),
    b"XCLIENT": Row(Verb.XCLIENT, xclient),
    b"XFORWARD": Row(Verb.XFORWARD, xforward),
}

SWITCHED_OFF: tuple[tuple[str, bytes, Row], ...] = (
    ("CHUNKING", b"BDAT", Row(Verb.BDAT, _no_chunks, idle=False, refuse=refuse_bdat)),
    ("VRFY", b"VRFY", Row(Verb.VRFY, _nothing_told)),
    ("EXPN", b"EXPN", Row(Verb.EXPN, _nothing_told)),
)
"""What takes the place of a command whose keyword is switched off; by keyword and verb."""


def look_closer(dialogue: ServerDialogue, line: bytes) -> tuple[Row | None, bytes, bytes]:
    """Read a line that is none of the usual; what cannot be read is refused here."""
    _, word, rest = read_command(line)
    row = dialogue.offer.commands.get(word)
    limits = dialogue.offer.settings.limits
    if row is None:
        reply = unknown(line)
        # How many octets follow cannot be known, and they must not be run as commands.
        dialogue.refuse(line, reply.closing() if is_bdat(line) else reply)
    elif row.verb is Verb.AUTH:
        if len(line) + 2 <= limits.auth_octets:
            return row, word, rest
        dialogue.connection.budget.logins += 1
        dialogue.refuse(line, replies.AUTH_TOO_LONG)
    elif len(line) + 2 > limits.command_octets:
        dialogue.refuse(line, too_long(dialogue, row.verb, rest))
    else:
        return row, word, rest
    return None, word, rest


def show(dialogue: ServerDialogue, line: bytes) -> None:
    """Show a command to who wants to see such, before it is acted on."""
    command = observed(line, dialogue.offer.extensions.verbs)
    command = as_known(command, dialogue.offer.trusted)
    mask = dialogue.offer.mask
    if mask is not None and (not mask or command.verb in mask):
        dialogue.ask(questions.COMMAND, line, command, dialogue.connection)
    else:
        dialogue.act(line)
