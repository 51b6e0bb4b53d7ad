"""
What may come next in a client's session, and where it leads: the machine is this table.

A *state* says what is under way.  It moves by a `ClientStep`; nobody but `ClientDialogue.move`
assigns it, and only with a target from `CLIENT_TRANSITIONS`, so that a step which has no entry is a
mistake of the caller's.  What the owner has to do is a column: `CLIENT_WANTS`; what an error in
that state is about is another one: `STAGES`.

What a *reply* means is no state, since several commands may be under way (RFC 2920): a script reads
the replies in the order in which their commands were written, and waits for one after the other.
Whether a reply may come at all is a number, that of the commands which have left and were not
answered; it is kept by the `Outbox`, and a reply beyond it ends the session.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class ClientState(enum.Enum):
    """What is under way in a client's session."""

    ARRIVING = "arriving"
    """The greeting has not come."""
    HELLO = "hello"
    """EHLO, HELO or LHLO was sent."""
    STARTTLS = "starttls"
    """STARTTLS was sent."""
    HANDSHAKE = "handshake"
    """The server has answered it by 220."""
    CREDENTIALS = "credentials"
    """A mechanism was chosen; who logs in is not known."""
    LOGIN = "login"
    """AUTH was sent."""
    READY = "ready"
    """Nothing is: what comes next, the owner decides."""
    COMMAND = "command"
    """A command that is no part of a transaction was sent."""
    OPEN = "open"
    """MAIL was sent, and the recipients are named one by one."""
    AHEAD = "ahead"
    """MAIL and RCPT were sent, and some content may follow them unasked (RFC 3030 §4.2)."""
    ENVELOPE = "envelope"
    """MAIL, RCPT or DATA were sent, and replies are waited for."""
    CONTENT = "content"
    """The server takes the content."""
    CHUNK = "chunk"
    """The same, once the last chunk has been answered."""
    FINAL = "final"
    """The content was sent to its end, or is not wanted any more."""
    QUITTING = "quitting"
    """QUIT was sent."""
    OVER = "over"
    """Nothing more will be said."""

    __hash__ = object.__hash__


class ClientStep(enum.Enum):
    """What moves a state."""

    GREETED = "the greeting has come"
    STARTTLS = "STARTTLS is sent"
    TLS_AGREED = "STARTTLS was accepted"
    SECURED = "the handshake succeeded"
    MECHANISM_CHOSEN = "a mechanism was chosen"
    CREDENTIALS_GIVEN = "AUTH is sent"
    OPENED = "the session can be used"
    COMMAND = "a command is sent"
    ANSWERED = "it was answered"
    TRANSACTION = "a mail transaction begins"
    TRANSACTION_OPEN = "the same, and its recipients are named later"
    RECIPIENTS_NAMED = "no more recipients will be named"
    TRANSACTION_AHEAD = "the same, and some content may follow at once"
    CONTENT_WANTED = "the server takes content"
    CHUNK_SENT = "a chunk was sent, and the next must wait"
    CONTENT_SENT = "the content is at its end"
    CHUNK_REFUSED = "a chunk was refused while others are under way"
    TRANSACTION_ENDED = "what became of the message is known"
    QUIT = "QUIT is sent"
    ENDED = "the connection is over"

    __hash__ = object.__hash__


class ClientWants(enum.Enum):
    """What the owner of a client's dialogue has to do next."""

    REPLY = "octets of the server"
    HANDSHAKE = "the outcome of a TLS handshake"
    CREDENTIALS = "who logs in"
    WORK = "a transaction, a command, or QUIT"
    RECIPIENTS = "another recipient, or the word that there are no more"
    CONTENT = "the next piece of the content, or its end"
    NOTHING = "nothing: close the connection"

    __hash__ = object.__hash__


class Stage(enum.Enum):
    """What an error in a client's session is about."""

    GREETING = "greeting"
    HELLO = "hello"
    TLS = "tls"
    AUTH = "auth"
    IDLE = "idle"
    """Between two transactions."""
    COMMAND = "command"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    FINAL = "final"
    """The reply to the whole message."""
    QUIT = "quit"

    __hash__ = object.__hash__


_Moves = Mapping[ClientStep, ClientState]
_S = ClientState
_T = ClientStep


def _row(moves: _Moves) -> _Moves:
    return {**moves, _T.ENDED: _S.OVER}


CLIENT_TRANSITIONS: Mapping[ClientState, _Moves] = {
    _S.ARRIVING: _row({_T.GREETED: _S.HELLO, _T.QUIT: _S.QUITTING}),
    _S.HELLO: _row(
        {
            _T.STARTTLS: _S.STARTTLS,
            _T.MECHANISM_CHOSEN: _S.CREDENTIALS,
            _T.OPENED: _S.READY,
            _T.QUIT: _S.QUITTING,
        }
    ),
    _S.STARTTLS: _row({_T.TLS_AGREED: _S.HANDSHAKE, _T.QUIT: _S.QUITTING}),
    _S.HANDSHAKE: _row({_T.SECURED: _S.HELLO}),  # it starts over: RFC 3207 §4.2
    _S.CREDENTIALS: _row(
        {
            _T.MECHANISM_CHOSEN: _S.CREDENTIALS,
            _T.CREDENTIALS_GIVEN: _S.LOGIN,
            _T.OPENED: _S.READY,
            _T.QUIT: _S.QUITTING,
        }
    ),
    _S.LOGIN: _row(
        {
            _T.MECHANISM_CHOSEN: _S.CREDENTIALS,
            _T.OPENED: _S.READY,
            _T.QUIT: _S.QUITTING,
        }
    ),
    _S.READY: _row(
        {
            _T.COMMAND: _S.COMMAND,
            _T.TRANSACTION: _S.ENVELOPE,
            _T.TRANSACTION_OPEN: _S.OPEN,
            _T.TRANSACTION_AHEAD: _S.AHEAD,
            _T.QUIT: _S.QUITTING,
        }
    ),
    _S.COMMAND: _row({_T.ANSWERED: _S.READY}),
    _S.OPEN: _row({_T.RECIPIENTS_NAMED: _S.ENVELOPE}),
    _S.AHEAD: _row(
        {
            _T.CHUNK_SENT: _S.ENVELOPE,  # no second one before it is known that it is wanted
            _T.CONTENT_SENT: _S.ENVELOPE,
            _T.CONTENT_WANTED: _S.CONTENT,
            _T.TRANSACTION_ENDED: _S.READY,
        }
    ),
    _S.ENVELOPE: _row(
        {
            _T.CONTENT_WANTED: _S.CONTENT,
            _T.CONTENT_SENT: _S.FINAL,  # it went ahead, and is all there is; or a lone dot
            _T.TRANSACTION_ENDED: _S.READY,
        }
    ),
    _S.CONTENT: _row(
        {
            _T.CHUNK_SENT: _S.CHUNK,
            _T.CONTENT_SENT: _S.FINAL,
            _T.CHUNK_REFUSED: _S.FINAL,
            _T.TRANSACTION_ENDED: _S.READY,
        }
    ),
    _S.CHUNK: _row({_T.CONTENT_WANTED: _S.CONTENT, _T.TRANSACTION_ENDED: _S.READY}),
    _S.FINAL: _row({_T.CHUNK_REFUSED: _S.FINAL, _T.TRANSACTION_ENDED: _S.READY}),
    _S.QUITTING: _row({}),
    _S.OVER: {},
}
"""Every move there is."""

CLIENT_WANTS: Mapping[ClientState, ClientWants] = {
    **dict.fromkeys(ClientState, ClientWants.REPLY),
    _S.HANDSHAKE: ClientWants.HANDSHAKE,
    _S.CREDENTIALS: ClientWants.CREDENTIALS,
    _S.READY: ClientWants.WORK,
    _S.OPEN: ClientWants.RECIPIENTS,
    _S.AHEAD: ClientWants.CONTENT,
    _S.CONTENT: ClientWants.CONTENT,
    _S.OVER: ClientWants.NOTHING,
}

STAGES: Mapping[ClientState, Stage] = {
    _S.ARRIVING: Stage.GREETING,
    _S.HELLO: Stage.HELLO,
    _S.STARTTLS: Stage.TLS,
    _S.HANDSHAKE: Stage.TLS,
    _S.CREDENTIALS: Stage.AUTH,
    _S.LOGIN: Stage.AUTH,
    _S.READY: Stage.IDLE,
    _S.COMMAND: Stage.COMMAND,
    _S.CONTENT: Stage.CONTENT,
    _S.CHUNK: Stage.CONTENT,
    _S.FINAL: Stage.FINAL,
    _S.QUITTING: Stage.QUIT,
    _S.OVER: Stage.QUIT,
}
"""While an envelope is under way, that of the oldest command without a reply stands for it."""
