"""
What may come next, and where it leads: the machine of the dialogue is this table.

A *state* says how far the session has come.  It is named after the buffer that was filled last (RFC
5321 §4.1.1), or after what is being waited for.  It moves by an accepted command (`Verb`) or by one
of the few other things that happen (`Step`); nobody but `ServerDialogue.move` assigns it, and only
with a target from `TRANSITIONS`.  A negative reply never moves it (§4.1.4).

What is *legal* is what has an entry: a command without one is answered by `WHY`.  What is *wanted*
next, a line or octets or a handshake, is a column too: `WANTS`.  Two things are laid over it while
they last, and are no states, since the dialogue stands still under them: a question that is open
(somebody decides; until then nothing is taken, but for recipients that are decided together), and
the octets behind a BDAT that was refused, which belong to that command and are read to their end
(RFC 3030 §4.2).

Who frees what: leaving a transaction for READY or CONNECTED forgets its envelope, OVER frees all.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from smtpcb.engine import _replies as replies
from smtpcb.smtp._command import Verb
from smtpcb.smtp._reply import Reply


class State(enum.Enum):
    """How far a session has come."""

    ARRIVED = "arrived"
    """Somebody has connected and has been told nothing."""
    CONNECTED = "connected"
    """Greeted, or secured by STARTTLS; the client has not said who it is."""
    READY = "ready"
    """Between mail transactions."""
    REVERSE_PATH = "reverse-path"
    """MAIL was accepted."""
    FORWARD_PATH = "forward-path"
    """At least one RCPT was accepted."""
    CHUNKS = "chunks"
    """Between two BDAT commands of one message (RFC 3030)."""
    CHUNKS_FAILED = "chunks failed"
    """The same, of a message that has been refused: each later chunk is refused like the first."""
    MAIL_DATA = "mail data"
    """Octets of a message are coming in, or it is being decided on."""
    RESPONSE = "response"
    """A challenge of AUTH was sent (RFC 4954 §4)."""
    HANDSHAKE = "handshake"
    """STARTTLS was accepted."""
    INSECURE = "insecure"
    """The handshake was too weak: nothing but QUIT is taken (RFC 3207 §4.1)."""
    OVER = "over"
    """Nothing more will be said."""

    __hash__ = object.__hash__


class Step(enum.Enum):
    """What moves a state beside an accepted command."""

    GREETED = "the greeting was sent"
    CHALLENGED = "AUTH goes on"
    RESPONDED = "a response has come, or AUTH was given up"
    SECURED = "the handshake succeeded"
    TOO_WEAK = "the handshake succeeded, and was not good enough"
    CHUNK_TAKEN = "a chunk was taken, and is not the last"
    CHUNK_REFUSED = "a chunk was refused, and is not the last"
    MESSAGE_ENDED = "the message was accepted or refused"
    DISCARDED = "the octets of a failed message went by, and no more will come"
    ENDED = "the connection is over"

    __hash__ = object.__hash__


class Wants(enum.Enum):
    """What a dialogue can take next."""

    LINE = "a command or response line"
    CONTENT = "octets of mail data"
    ANSWER = "the answer to a question"
    HANDSHAKE = "the outcome of a TLS handshake"
    NOTHING = "nothing: close the connection once its output has been sent"

    __hash__ = object.__hash__


Moves = Mapping[Verb | Step, State]

# At any time (RFC 5321 §4.1.4).
# UNKNOWN is a verb of an extension of the user's; a line that is no command never gets so far.
_ALWAYS = (Verb.NOOP, Verb.HELP, Verb.VRFY, Verb.EXPN, Verb.UNKNOWN)


def _row(state: State, moves: Moves) -> Moves:
    always: Moves = {**dict.fromkeys(_ALWAYS, state), Verb.QUIT: State.OVER, Step.ENDED: State.OVER}
    return {**always, **moves}


# EHLO and HELO where SMTP is spoken, LHLO where it is LMTP (RFC 2033 §4.1).
_AGAIN: Moves = dict.fromkeys((Verb.EHLO, Verb.HELO, Verb.LHLO, Verb.RSET), State.READY)

TRANSITIONS: Mapping[State, Moves] = {
    State.ARRIVED: {Step.GREETED: State.CONNECTED, Step.ENDED: State.OVER},
    State.CONNECTED: _row(
        State.CONNECTED,
        {
            **_AGAIN,
            Verb.RSET: State.CONNECTED,
            Verb.XCLIENT: State.OVER,  # what begins anew is another conversation
            Verb.XFORWARD: State.CONNECTED,
        },
    ),
    State.READY: _row(
        State.READY,
        {
            **_AGAIN,
            Verb.MAIL: State.REVERSE_PATH,
            Verb.AUTH: State.READY,  # never inside a mail transaction: RFC 4954 §4
            Step.CHALLENGED: State.RESPONSE,
            Verb.STARTTLS: State.HANDSHAKE,  # RFC 3207 §4
            Verb.ETRN: State.READY,  # RFC 1985 §5.3
            Verb.XCLIENT: State.OVER,
            Verb.XFORWARD: State.READY,
        },
    ),
    State.REVERSE_PATH: _row(State.REVERSE_PATH, {**_AGAIN, Verb.RCPT: State.FORWARD_PATH}),
    State.FORWARD_PATH: _row(
        State.FORWARD_PATH,
        {
            **_AGAIN,
            Verb.RCPT: State.FORWARD_PATH,
            Verb.DATA: State.MAIL_DATA,
            Verb.BDAT: State.MAIL_DATA,
            Step.CHUNK_REFUSED: State.CHUNKS_FAILED,  # a BDAT that cannot be read
        },
    ),
    State.CHUNKS: _row(
        State.CHUNKS,
        {
            **_AGAIN,
            Verb.BDAT: State.MAIL_DATA,  # DATA after BDAT is 503: RFC 3030 §2
            Step.CHUNK_REFUSED: State.CHUNKS_FAILED,
        },
    ),
    State.CHUNKS_FAILED: _row(State.CHUNKS_FAILED, {**_AGAIN, Step.DISCARDED: State.READY}),
    State.MAIL_DATA: {
        Step.CHUNK_TAKEN: State.CHUNKS,
        Step.CHUNK_REFUSED: State.CHUNKS_FAILED,
        Step.MESSAGE_ENDED: State.READY,  # whatever its reply is
        Step.ENDED: State.OVER,
    },
    State.RESPONSE: {
        Step.RESPONDED: State.READY,  # AUTH goes on from there
        Step.ENDED: State.OVER,
    },
    State.HANDSHAKE: {
        Step.SECURED: State.CONNECTED,  # the client starts over: RFC 3207 §4.2
        Step.TOO_WEAK: State.INSECURE,
        Step.ENDED: State.OVER,
    },
    State.INSECURE: {Verb.QUIT: State.OVER, Step.ENDED: State.OVER},
    State.OVER: {Step.ENDED: State.OVER},
}
"""Every move there is: by an accepted command, or by a step; what is not here is refused."""

# Where a policy wants TLS or a login first: what is taken until then (RFC 3207 §4, RFC 4954 §6).
# By XCLIENT a trusted proxy says as whom its client has logged in there.
_UNRESTRICTED = frozenset(
    {
        *(Verb.EHLO, Verb.HELO, Verb.LHLO, Verb.NOOP, Verb.RSET, Verb.QUIT),
        *(Verb.STARTTLS, Verb.AUTH, Verb.XCLIENT),
    }
)
RESTRICTED: Mapping[State, frozenset[Verb | Step]] = {
    state: _UNRESTRICTED.intersection(moves) for state, moves in TRANSITIONS.items()
}

WANTS: Mapping[State, Wants] = {
    **dict.fromkeys(State, Wants.LINE),
    State.ARRIVED: Wants.ANSWER,
    State.MAIL_DATA: Wants.CONTENT,
    State.HANDSHAKE: Wants.HANDSHAKE,
    State.OVER: Wants.NOTHING,
}

IN_TRANSACTION = frozenset({State.REVERSE_PATH, State.FORWARD_PATH, State.CHUNKS, State.MAIL_DATA})
"""A server that stops lets these go on (RFC 5321 §3.8)."""

_WHY: Mapping[State, Reply] = {
    State.CONNECTED: replies.HELLO_FIRST,
    State.READY: replies.MAIL_FIRST,
    State.REVERSE_PATH: replies.RECIPIENT_FIRST,
    State.FORWARD_PATH: replies.RECIPIENT_FIRST,
    State.CHUNKS: replies.CHUNKS_BEGUN,
    State.CHUNKS_FAILED: replies.CHUNKS_BEGUN,
}
_WITHIN: Mapping[Verb, Reply] = {
    Verb.MAIL: replies.MAIL_TWICE,
    Verb.AUTH: replies.NOT_IN_TRANSACTION,
    Verb.STARTTLS: replies.NOT_IN_TRANSACTION,
    Verb.ETRN: replies.NOT_IN_TRANSACTION,
    Verb.XCLIENT: replies.NOT_IN_TRANSACTION,
    Verb.XFORWARD: replies.NOT_IN_TRANSACTION,
}
_BEGUN = (State.REVERSE_PATH, State.FORWARD_PATH)

WHY: Mapping[State, Mapping[Verb, Reply]] = {
    state: {
        verb: (_WITHIN.get(verb, why) if state in _BEGUN else why)
        for verb in Verb
        if verb not in TRANSITIONS[state] and (state, verb) != (State.CHUNKS_FAILED, Verb.BDAT)
    }
    for state, why in _WHY.items()
}
"""
What a command is told that may not come in that state (RFC 5321 §4.1.4, §4.2.4: 503).

Where somebody has said why, that is said again (`ServerDialogue.why`): to all that comes when
INSECURE, and to each BDAT when CHUNKS_FAILED.  In a state that has no row no command is read.
"""
