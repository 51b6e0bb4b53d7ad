"""callbacks: functions become a handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import wraps
from typing import Any, TypeVar

from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.engine._handler import DECLARATIONS, EVENTS
from smtpcb.engine._reason import Reason
from smtpcb.handling._examine import examine
from smtpcb.handling._names import meant, nearest
from smtpcb.interfaces import AuthenticationVerdict, Done, Secret, Verdict
from smtpcb.smtp._command import Command, Introduction, Verb
from smtpcb.smtp.sasl import Credentials

_NAMES = (*EVENTS, *DECLARATIONS)
_Function = TypeVar("_Function", bound=Callable[..., object])


class Callbacks:
    """A handler made of functions."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self.__dict__.update(given)

    def __repr__(self) -> str:
        return f"callbacks({', '.join(sorted(self.__dict__))})"


def _naming_the_nearest(function: _Function) -> _Function:
    """Say of an unknown name which one is meant; Python itself does so from 3.12 on only."""

    @wraps(function)
    def checked(**given: Any) -> object:
        for name in given:
            if name not in _NAMES:
                found = meant(name)
                close = nearest(name.lower(), _NAMES, 2) or ""
                nearby = " or ".join(found.events) if found is not None else close
                hint = f"did you mean {nearby}?" if nearby else f"there are {', '.join(_NAMES)}"
                raise TypeError(f"callbacks: there is no event {name!r}; {hint}")
        return function(**given)

    return checked  # type: ignore[return-value]  # called as the one inside


@_naming_the_nearest
def callbacks(
    *,
    connected: Callable[[Connection], Verdict] | None = None,
    secured: Callable[[TlsInformation, Connection], Verdict] | None = None,
    command: Callable[[Command, Connection], Done] | None = None,
    hello: Callable[[Introduction, Connection], Verdict] | None = None,
    stored_secret: Callable[[str, str, Connection], Secret] | None = None,
    authenticate: Callable[[Credentials, Connection], AuthenticationVerdict] | None = None,
    mail: Callable[[Envelope], Verdict] | None = None,
    rcpt: Callable[[Recipient, Envelope], Verdict] | None = None,
    data: Callable[[Envelope], Verdict] | None = None,
    header: Callable[[str, str, Envelope], Verdict] | None = None,
    chunk: Callable[[bytes, Envelope], Verdict] | None = None,
    message: Callable[[Envelope], Verdict] | None = None,
    verify: Callable[[str, Connection], Verdict] | None = None,
    expand: Callable[[str, Connection], Verdict] | None = None,
    help: Callable[[str, Connection], Verdict] | None = None,
    etrn: Callable[[str, Connection], Verdict] | None = None,
    aborted: Callable[[Reason, Envelope], Done] | None = None,
    disconnected: Callable[[Reason, Connection], Done] | None = None,
    command_mask: Verb | None = None,
    extensions: AbstractSet[str] | None = None,
    mechanisms: AbstractSet[str] | None = None,
    concurrent_recipients: bool | None = None,
    discards_content: bool | None = None,
) -> object:
    """
    Make a handler of functions, shared by all connections: ``callbacks(rcpt=f, message=g)``.

    :param command_mask: this and what follows are what the handler says of itself; see
        `ISmtpEventHandler`.
    :raises TypeError: there is no such event, a function cannot be called as it would be, or
        there is none at all.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    handler = Callbacks(given)
    # With events it may be a policy; whoever takes it for a handler looks again.
    examine(handler, takes_mail=EVENTS.keys().isdisjoint(given))
    return handler
