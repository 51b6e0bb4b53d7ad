"""What a dialogue knows of its handler: the methods that are there, and what they make possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from smtpcb.engine._extensions import HANDLER_EXTENSIONS
from smtpcb.engine._keywords import meant
from smtpcb.engine._settings import Abilities
from smtpcb.smtp._command import Verb
from smtpcb.smtp._text import printable
from smtpcb.smtp.sasl import BY_PASSWORD, BY_SECRET, MECHANISMS

Method = Callable[..., Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

EVENTS: Mapping[str, tuple[str, ...]] = {
    "connected": ("connection",),
    "secured": ("tls", "connection"),
    "command": ("command", "connection"),
    "hello": ("introduction", "connection"),
    "stored_secret": ("username", "mechanism", "connection"),
    "authenticate": ("credentials", "connection"),
    "mail": ("envelope",),
    "rcpt": ("recipient", "envelope"),
    "data": ("envelope",),
    "header": ("name", "value", "envelope"),
    "chunk": ("octets", "envelope"),
    "message": ("envelope",),
    "verify": ("text", "connection"),
    "expand": ("text", "connection"),
    "help": ("text", "connection"),
    "etrn": ("domain", "connection"),
    "aborted": ("reason", "envelope"),
    "disconnected": ("reason", "connection"),
}
"""The methods that a handler may have, with their arguments, in the order of a connection."""

DECLARATIONS = (
    "command_mask",
    "extensions",
    "mechanisms",
    "concurrent_recipients",
    "discards_content",
)
"""The attributes in which a handler says something of itself."""


@dataclass(slots=True, eq=False)
class Handler:
    """
    A handler as a dialogue sees it.

    :ivar methods: by event, only those that are there.
    :ivar abilities: what may be offered on its behalf.
    :ivar name: what logs call it.
    :ivar keeps_content: its messages are kept for it until they are complete.
    :ivar reads_headers: it hears of each header field as it comes.
    :ivar only_keeps: nobody hears of the content before it is complete.
    :ivar given: the object itself.
    """

    methods: Mapping[str, Method]
    abilities: Abilities
    name: str = "nobody"
    keeps_content: bool = False
    reads_headers: bool = False
    only_keeps: bool = False
    given: object = None


@dataclass(frozen=True, slots=True, eq=False)
class Authenticator:
    """
    Who decides on logins in place of handlers.

    :ivar authenticate: called with credentials and connection.
    :ivar stored_secret: called with a name, a mechanism and the connection, if there is one.
    :ivar mechanisms: by which of ours it can decide.
    """

    authenticate: Method
    stored_secret: Method | None = None
    mechanisms: frozenset[str] = frozenset(BY_PASSWORD)

    def put_into(self, methods: dict[str, Method]) -> None:
        """Take the place of whoever a handler has."""
        methods["authenticate"] = self.authenticate
        if self.stored_secret is not None:
            methods["stored_secret"] = self.stored_secret
        else:
            methods.pop("stored_secret", None)


def absent(method: _Function) -> _Function:
    """Mark a method of a base class: who inherits it and does not override it does not have it."""
    method.__dict__["absent"] = True
    return method


def content_too(method: Method) -> Method:
    """Return a ``chunk`` beside which content is kept: somebody else wants it in ``message``."""

    def chunk(octets: bytes, envelope: object) -> object:
        return method(octets, envelope)

    chunk.__dict__["content_too"] = True
    return chunk


def methods_of(handler: object) -> dict[str, Method]:
    """
    Return the methods that a handler has.

    :raises TypeError: one of the names is something else.
    """
    methods: dict[str, Method] = {}
    for name in EVENTS:
        method = getattr(handler, name, None)
        if method is None or getattr(method, "absent", False) is True:
            continue
        if not callable(method):
            kind = type(method).__name__
            raise TypeError(
                f"{name_of(handler)}.{name} is no method but a {kind}: call it otherwise"
            )
        methods[name] = method
    return methods


def abilities_of(
    handler: object,
    methods: Mapping[str, Method],
    *,
    tls: bool,
    own: frozenset[str] = frozenset(),
) -> Abilities:
    """
    Return what may be offered on behalf of a handler.

    :param tls: whether a handshake can be made.
    :param own: keywords of users' own extensions that it may say it honours.
    :raises TypeError: it says something of itself that cannot be.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    mask = getattr(handler, "command_mask", Verb(0))
    mechanisms = mechanisms_of(handler, methods)
    if not isinstance(mask, Verb):
        raise TypeError(f"command_mask is a Verb, not {type(mask).__name__}")
    extensions = getattr(handler, "extensions", ())
    if isinstance(extensions, str) or not isinstance(extensions, Iterable):
        raise TypeError("extensions is a set of keywords, such as {'DSN'}")
    taken = frozenset(extensions)
    possible = HANDLER_EXTENSIONS | own
    if not taken <= possible:
        word = min(map(str, taken - possible))
        raise ValueError(f"a handler cannot honour {printable(word, 64)}; {meant(word, possible)}")
    return Abilities(
        tls=tls,
        authentication="authenticate" in methods,
        mechanisms=mechanisms,
        extensions=taken,
        expand="expand" in methods,
        etrn="etrn" in methods,
        # Another yes than True is a mistake, which `smtpcb.handling.check` tells.
        concurrent_recipients=getattr(handler, "concurrent_recipients", False) is True,
        command_mask=mask if "command" in methods else None,
    )


def mechanisms_of(given: object, methods: Container[str]) -> frozenset[str]:
    """
    Return by which of our mechanisms somebody can decide on logins.

    :param given: a handler or an authenticator: what it says in ``mechanisms``.  If it says
        nothing, that is what needs a password only; with ``stored_secret``, what needs that too.
    :raises TypeError: it says it in another way.
    :raises ValueError: it names one that is none of ours, or cannot be decided on without
        ``stored_secret``.
    """
    said = getattr(given, "mechanisms", None)
    has_secrets = "stored_secret" in methods
    if said is None:
        return frozenset((*BY_PASSWORD, *BY_SECRET) if has_secrets else BY_PASSWORD)
    if isinstance(said, (str, bytes)) or not isinstance(said, Iterable):
        raise TypeError("mechanisms is some names, such as {'PLAIN', 'XOAUTH2'}")
    named = [str(one).upper() for one in said]
    for name in named:
        if name not in MECHANISMS:
            known = ", ".join(MECHANISMS)
            raise ValueError(f"mechanisms: there is no {name:.40}; there are {known}")
        if name in BY_SECRET and not has_secrets:
            raise ValueError(
                f"mechanisms: {name} needs stored_secret(username, mechanism, connection)"
            )
    return frozenset(named)


def understand(
    handler: object,
    *,
    tls: bool = False,
    login: Authenticator | None = None,
    own: frozenset[str] = frozenset(),
) -> Handler:
    """
    Return what a dialogue wants to know of a handler.

    :param tls: whether a handshake can be made.
    :param login: who may log in, in place of the handler's own ``authenticate``.
    :param own: keywords of users' own extensions that it may say it honours.
    :raises TypeError: it is no handler: a method or what it says of itself is no such thing, or it
        takes no mail and does not say so.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    if inspect.iscoroutine(handler):
        handler.close()
        raise TypeError("a handler factory answers at once: it cannot be async def")
    methods = methods_of(handler)
    require_mail_taken(handler, methods)
    abilities = abilities_of(handler, methods, tls=tls, own=own)
    if login is not None:
        login.put_into(methods)
        abilities = replace(abilities, authentication=True, mechanisms=login.mechanisms)
    return handler_with(methods, abilities, name_of(handler), handler)


def handler_with(
    methods: Mapping[str, Method], abilities: Abilities, name: str, given: object
) -> Handler:
    """Put together what was found out about a handler."""
    chunk = methods.get("chunk")
    keeps = "message" in methods and (chunk is None or getattr(chunk, "content_too", False) is True)
    reads = "header" in methods
    alone = keeps and chunk is None and not reads
    return Handler(methods, abilities, name, keeps, reads, alone, given)


def require_mail_taken(handler: object, methods: Mapping[str, Method]) -> None:
    """
    Refuse a handler that would answer 250 and drop the message.

    :raises TypeError: it has neither ``message`` nor ``chunk``, and does not say that it means it.
    """
    if "message" in methods or "chunk" in methods or getattr(handler, "discards_content", False):
        return
    raise TypeError(
        f"{name_of(handler)} has neither message(envelope) nor chunk(octets, envelope), so mail "
        "for it would be lost; discards_content = True says that this is meant"
    )


def name_of(handler: object) -> str:
    """Return what logs and errors call a handler."""
    kind = handler if isinstance(handler, type) else type(handler)
    if isinstance(handler, type):
        return kind.__qualname__
    try:
        name = getattr(handler, "__name__", "")
    except Exception:  # it is users' code, and this is no place to fail in
        name = ""
    return name if isinstance(name, str) and name else kind.__qualname__
