"""What is known of handlers' classes, so that it is found out once and not for each connection."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from smtpcb.engine import Abilities, Handler, Settings, understand
from smtpcb.engine._handler import DECLARATIONS, EVENTS, Authenticator, handler_with

# What is looked at in a handler.
_LOOKED_AT = frozenset({*EVENTS, *DECLARATIONS})
_OF_LOGINS = ("stored_secret", "authenticate")
_Entry = dict[bool, tuple[tuple[str, ...], Abilities, str]]


class Known:
    """
    Handlers as dialogues see them.

    :param login: who may log in, in place of the handlers' own ``authenticate``.
    """

    def __init__(self, login: Authenticator | None, settings: Settings) -> None:
        self._login = login
        # Who says to honour what is offered anyway is right.
        self.own = frozenset(extension.keyword for extension in settings.extensions)
        # By class, and whether STARTTLS is possible; ``None`` where each instance must be asked.
        self._classes: WeakKeyDictionary[type, _Entry | None] = WeakKeyDictionary()
        self._shared: tuple[object, bool, Handler] | None = None
        #: A handler that decides nothing.
        self.nobody = Handler({}, Abilities())

    def handler(self, handler: Any, *, tls: bool) -> Handler:
        """
        Return what a dialogue wants to know of a handler.

        :param tls: whether STARTTLS is possible on its connection.
        :raises TypeError: it is no handler; ValueError: nor can it do what it says.
        """
        shared = self._shared
        if shared is not None and shared[0] is handler and shared[1] is tls:
            return shared[2]
        kind = type(handler)
        entry = self._entry(kind)
        if entry is not None and not _LOOKED_AT.isdisjoint(getattr(handler, "__dict__", ())):
            entry = None
        if entry is None:
            return understand(handler, tls=tls, login=self._login, own=self.own)
        known = entry.get(tls)
        if known is None:
            found = understand(handler, tls=tls, login=self._login, own=self.own)
            entry[tls] = tuple(found.methods), found.abilities, found.name
            return found
        names, abilities, name = known
        if self._login is None:
            methods = {event: getattr(handler, event) for event in names}
        else:
            methods = {event: getattr(handler, event) for event in names if event not in _OF_LOGINS}
            self._login.put_into(methods)
        return handler_with(methods, abilities, name, handler)

    def has_seen(self, kind: type) -> bool:
        """Whether a handler of this class has been asked for."""
        return kind in self._classes

    def _entry(self, kind: type) -> _Entry | None:
        try:
            return self._classes[kind]
        except KeyError:
            entry: _Entry | None = {} if _says_all(kind) else None
            self._classes[kind] = entry
            return entry


def _says_all(kind: type) -> bool:
    """Whether a class says of its instances all that is looked at."""
    asked = inspect.getattr_static(kind, "__getattribute__")
    if asked is not object.__getattribute__ or hasattr(kind, "__getattr__"):
        return False
    for name in _LOOKED_AT:
        found = inspect.getattr_static(kind, name, None)
        if hasattr(type(found), "__get__") and not isinstance(
            found, (FunctionType, staticmethod, classmethod)
        ):
            return False  # a property or a slot: it may be another with each
    return True
