"""
What can be seen of a handler before the first client comes: that it takes mail, and can be
called.

Everything here is a mistake that would otherwise show as mail accepted and dropped, as recipients
nobody looked at, or as 451 for every client.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from types import SimpleNamespace

from smtpcb.engine._handler import (
    DECLARATIONS,
    EVENTS,
    Method,
    abilities_of,
    methods_of,
    name_of,
    require_mail_taken,
)
from smtpcb.handling._calls import (
    accepts,
    does_nothing,
    is_coroutine,
    positional,
    reads_content,
    signature_of,
)
from smtpcb.handling._composed import Composed
from smtpcb.handling._names import SETTINGS, Likeness, Meant, declared, meant, said_elsewhere
from smtpcb.handling._written import functions_of, is_used, names_of, sets
from smtpcb.interfaces import IReadyMadeHandler
from smtpcb.smtp._command import Verb

# Parameters that are called so mean what these events give under that name, and nothing else.
# A password is in the credentials: a login of other libraries has it for itself.
_TELLING = frozenset({"connection", "credentials", "envelope", "octets", "password", "recipient"})
_BEFORE_THE_CONTENT = ("mail", "rcpt", "data", "header", "chunk")


def examine(
    handler: object,
    *,
    blocking: bool = False,
    own: AbstractSet[str] | None = None,
    takes_mail: bool = True,
) -> None:
    """
    Look at a handler, or at the class of some.

    :param blocking: it is to be called in threads.
    :param own: keywords of the server's own extensions, which it may honour; ``None`` where that
        is not known.
    :param takes_mail: it has to take the mail; somebody else does that for a policy.
    :raises TypeError: mail for it would be lost, a name was meant for an event and is none, a
        method cannot be called as it will be, or what it says of itself is of another type.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    if isinstance(handler, Composed):
        for part in handler.parts:
            blocks = blocking or part.blocking
            examine(part.handler, blocking=blocks, own=own, takes_mail=part.takes_mail)
        return
    methods = methods_of(handler)
    for name in functions_of(handler):
        _refuse_misspelt(handler, methods, name)
    for name in names_of(handler):
        _refuse_unread(handler, methods, name)
    if not takes_mail:
        _require_events(handler, methods)
    elif not (_is_said_later(handler, "discards_content") or _is_made_later(handler)):
        require_mail_taken(handler, methods)
    for name, method in methods.items():
        _refuse_uncallable(handler, name, method)
        _refuse_unrunnable(handler, name, method, blocking=blocking)
    _refuse_content_that_is_not_there(handler, methods)
    _check_declarations(handler, methods, own)


def _require_events(handler: object, methods: dict[str, Method]) -> None:
    """Refuse a policy that decides nothing, and would be thought to guard something."""
    discards = getattr(handler, "discards_content", False) is True
    if not (methods or discards or _is_made_later(handler)):
        raise TypeError(
            f"{name_of(handler)} has neither message(envelope) nor any other of the events: "
            f"{', '.join(EVENTS)}"
        )


def _refuse_misspelt(handler: object, methods: dict[str, Method], name: str) -> None:
    found = meant(name)
    if found is None or _is_their_own(handler, methods, name, found):
        return
    if not found.events:
        raise TypeError(
            f"{name_of(handler)}.{name} would never be called: {found.elsewhere}; a leading "
            "underscore says that it is yours"
        )
    right = " or ".join(_call(event) for event in found.events)
    raise TypeError(
        f"{name_of(handler)}.{name} would never be called: what is meant is {right}, or, if it is "
        f"something of your own, _{name}"
    )


def _refuse_unread(handler: object, methods: dict[str, Method], name: str) -> None:
    """Refuse what was meant to say something of the handler, under a name that nobody looks at."""
    right = declared(name)
    elsewhere = said_elsewhere(name) if right is None else None
    if (right or elsewhere) is None or name in methods or is_used(handler, name):
        return
    if name in IReadyMadeHandler and _is_ready_made(handler):
        return
    if right is None or right in SETTINGS:
        where = elsewhere or f"Settings({right}=...)"
        raise TypeError(
            f"{name_of(handler)}.{name} would never be looked at: it is said to the server, "
            f"{where}, or, if it is something of your own, _{name}"
        )
    raise TypeError(
        f"{name_of(handler)}.{name} would never be looked at: what is meant is {right}, or, if it "
        f"is something of your own, _{name}"
    )


def _is_ready_made(handler: object) -> bool:
    """Whether it says something of itself for the server around it."""
    if isinstance(handler, type):
        return bool(IReadyMadeHandler.implementedBy(handler))
    return bool(IReadyMadeHandler.providedBy(handler))


def _is_their_own(handler: object, methods: dict[str, Method], name: str, found: Meant) -> bool:
    """Whether a method is a helper of the handler's, although its name is like an event's."""
    if is_used(handler, name):
        return True
    if found.likeness is Likeness.FOREIGN or not found.events:
        return False
    signature = signature_of(handler, name, getattr(handler, name, None))
    if signature is not None and not signature.parameters:
        return True  # no event comes without an argument
    return all(event in methods for event in found.events)


def _call(event: str) -> str:
    return f"{event}({', '.join(EVENTS[event])})"


def _refuse_uncallable(handler: object, name: str, method: Method) -> None:
    signature = signature_of(handler, name, method)
    if signature is None:
        return
    arguments = EVENTS[name]
    if not accepts(signature, arguments):
        raise TypeError(f"{name_of(handler)}.{name}{signature} cannot be called as {_call(name)}")
    for wanted, parameter in zip(arguments, positional(signature), strict=False):
        other = parameter.name
        if other != wanted and (other in arguments or other in _TELLING):
            raise TypeError(
                f"{name_of(handler)}.{name}{signature} is called as {_call(name)}: {other!r} would "
                f"be the {wanted}"
            )


def _refuse_unrunnable(handler: object, name: str, method: Method, *, blocking: bool) -> None:
    if does_nothing(method):
        raise TypeError(
            f"{name_of(handler)}.{name} has a yield in it, so that calling it does nothing"
        )
    if blocking and is_coroutine(method):
        raise TypeError(
            f"{name_of(handler)}.{name} is async def: in threads a method is a plain function that "
            "blocks"
        )


def _refuse_content_that_is_not_there(handler: object, methods: dict[str, Method]) -> None:
    for name in _BEFORE_THE_CONTENT:
        if name in methods and _reads_content(handler, name, methods[name]):
            raise TypeError(
                f"{name_of(handler)}.{name} reads envelope.content, which is there in "
                "message(envelope) only"
            )
    if {"chunk", "message"} <= methods.keys() and _reads_content(
        handler, "message", methods["message"]
    ):
        raise TypeError(
            f"{name_of(handler)}.message reads envelope.content, which a handler with "
            "chunk(octets, envelope) does not have: it has taken the content already"
        )


def _reads_content(handler: object, name: str, method: Method) -> bool:
    return reads_content(handler, name, method, EVENTS[name].index("envelope"))


def _is_said_later(handler: object, name: str) -> bool:
    """Whether only an instance knows: a property."""
    static = inspect.getattr_static(handler, name, None)
    return isinstance(handler, type) and hasattr(type(static), "__get__")


def _is_made_later(handler: object) -> bool:
    """Whether only an instance has what takes its mail."""
    return isinstance(handler, type) and (
        hasattr(handler, "__getattr__") or sets(handler, ("message", "chunk", "discards_content"))
    )


def _check_declarations(
    handler: object, methods: dict[str, Method], own: AbstractSet[str] | None
) -> None:
    if any(_is_said_later(handler, name) for name in DECLARATIONS):
        return
    for name in ("concurrent_recipients", "discards_content"):
        value = getattr(handler, name, False)
        if not isinstance(value, bool):
            raise TypeError(
                f"{name_of(handler)}.{name} is True or False, not {type(value).__name__}"
            )
    extensions = getattr(handler, "extensions", ())
    if isinstance(extensions, Iterable) and not isinstance(extensions, str):
        extensions = [] if own is None else [one for one in extensions if one not in own]
    mask = getattr(handler, "command_mask", Verb(0))
    if "stored_secret" in methods and "authenticate" not in methods:
        raise TypeError(
            f"{name_of(handler)}.stored_secret would never be called: it needs "
            f"{_call('authenticate')}, which decides"
        )
    mechanisms = getattr(handler, "mechanisms", None)
    said = SimpleNamespace(command_mask=mask, extensions=extensions, mechanisms=mechanisms)
    try:
        abilities_of(said, methods, tls=False)
    except TypeError as error:
        raise TypeError(f"{name_of(handler)}: {error}") from None
