"""State and TRANSITIONS: what is allowed when, and where it leads."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from smtpcb.smtp._command import Verb


class State(enum.Enum):
    """
    How far a session has come; named after the buffer filled last (RFC 5321 §4.1.1).
    """

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

    __hash__ = object.__hash__


# At any time (RFC 5321 §4.1.4); they lead nowhere.
_ALWAYS = (Verb.NOOP, Verb.HELP, Verb.VRFY, Verb.EXPN, Verb.QUIT)


def _row(state: State, moves: Mapping[Verb, State]) -> Mapping[Verb, State]:
    return {**dict.fromkeys(_ALWAYS, state), **moves}


# A verb missing from a row is answered 503, and a negative reply never moves the state
# (RFC 5321 §4.1.4).  The end of the mail data leads to READY whatever its reply is.
TRANSITIONS: Mapping[State, Mapping[Verb, State]] = {
    State.CONNECTED: _row(
        State.CONNECTED,
        {
            Verb.EHLO: State.READY,
            Verb.HELO: State.READY,
            Verb.RSET: State.CONNECTED,
        },
    ),
    State.READY: _row(
        State.READY,
        {
            Verb.EHLO: State.READY,
            Verb.HELO: State.READY,
            Verb.RSET: State.READY,
            Verb.MAIL: State.REVERSE_PATH,
            Verb.AUTH: State.READY,  # never inside a mail transaction: RFC 4954 §4
            Verb.STARTTLS: State.CONNECTED,  # the client starts over: RFC 3207 §4.2
            Verb.ETRN: State.READY,  # RFC 1985 §5.3
        },
    ),
    State.REVERSE_PATH: _row(
        State.REVERSE_PATH,
        {
            Verb.EHLO: State.READY,
            Verb.HELO: State.READY,
            Verb.RSET: State.READY,
            Verb.RCPT: State.FORWARD_PATH,
        },
    ),
    State.FORWARD_PATH: _row(
        State.FORWARD_PATH,
        {
            Verb.EHLO: State.READY,
            Verb.HELO: State.READY,
            Verb.RSET: State.READY,
            Verb.RCPT: State.FORWARD_PATH,
            Verb.DATA: State.READY,
            Verb.BDAT: State.CHUNKS,  # BDAT LAST: READY
        },
    ),
    State.CHUNKS: _row(
        State.CHUNKS,
        {
            Verb.EHLO: State.READY,
            Verb.HELO: State.READY,
            Verb.RSET: State.READY,
            Verb.BDAT: State.CHUNKS,  # DATA after BDAT is 503: RFC 3030 §2
        },
    ),
}
