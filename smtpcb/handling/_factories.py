"""A class, an instance, functions, any callable: all of them make the handler of a connection."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.python.components import getAdapterFactory
from zope.interface import implementer

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import EVENTS, name_of
from smtpcb.handling._calls import function_of
from smtpcb.handling._examine import examine
from smtpcb.interfaces import ISmtpEventHandler, ISmtpHandlerFactory

Factory = Callable[[Connection], object]


@implementer(ISmtpHandlerFactory)
class OneForAll:
    """An instance, shared by all connections."""

    def __init__(self, handler: object, *, takes_mail: bool = True) -> None:
        self.handler = handler
        self._takes_mail = takes_mail
        self.examine()

    def examine(self, *, blocking: bool = False) -> None:
        """Look at what will be called; see `examine`."""
        examine(self.handler, blocking=blocking, takes_mail=self._takes_mail)

    def __call__(self, connection: Connection) -> object:
        return self.handler


@implementer(ISmtpHandlerFactory)
class OnePerConnection:
    """
    A class, or whatever else can be called: a handler of its own for each connection.

    :raises TypeError: it cannot be called with a ``connection``, or with nothing.
    """

    def __init__(self, make: Callable[..., object], *, takes_mail: bool = True) -> None:
        self._make = make
        self._takes_mail = takes_mail
        self._how = _how_to_call(make)
        self.examine()

    def examine(self, *, blocking: bool = False) -> None:
        """Look at what will be called, where that can be seen before it was made."""
        if isinstance(self._make, type) and not _adapts(self._make):
            examine(self._make, blocking=blocking, takes_mail=self._takes_mail)

    def __call__(self, connection: Connection) -> object:
        if self._how is _Way.ALONE:
            made = self._make()
        elif self._how is _Way.BY_PLACE:
            made = self._make(connection)
        else:
            made = self._make(connection=connection)
        if not self._takes_mail or hasattr(made, "message") or hasattr(made, "chunk"):
            return made
        adapted: object = ISmtpEventHandler(made, made)
        return adapted


class _Way(enum.Enum):
    """How the connection is given to what makes a handler."""

    ALONE = enum.auto()
    BY_PLACE = enum.auto()
    BY_NAME = enum.auto()


def _how_to_call(make: Callable[..., object]) -> _Way:
    if inspect.iscoroutinefunction(function_of(make)):
        raise TypeError(f"{_name(make)}: a handler factory answers at once: it cannot be async def")
    try:
        parameters = inspect.signature(make).parameters
    except (ValueError, TypeError):  # a class written in C says nothing of its arguments
        return _Way.ALONE
    way = _Way.ALONE
    for place, parameter in enumerate(parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name == "connection":
            by_place = parameter.kind is parameter.POSITIONAL_ONLY
            way = _Way.BY_PLACE if by_place and place == 0 else _Way.BY_NAME
        elif parameter.default is parameter.empty:
            raise TypeError(
                f"{_name(make)} cannot be called for a new client: the server gives it the "
                f"connection, in a parameter of that name, and nothing for {parameter.name!r}; "
                "functools.partial can"
            )
    # Somebody has said already which connection it is.
    bound = isinstance(make, partial) and "connection" in make.keywords
    return _Way.ALONE if bound else way


def _name(make: object) -> str:
    while isinstance(make, partial):
        make = make.func
    return getattr(make, "__qualname__", "") or name_of(make)


def handler_factory(given: object, *, takes_mail: bool = True) -> Factory:
    """
    Make of whatever an application gives what makes the handler of each connection.

    :param given: a class, called for each connection; an object with some of the methods of
        `ISmtpEventHandler`, shared by all; what provides or is adaptable to either of
        `ISmtpHandlerFactory` and `ISmtpEventHandler`; or whatever else can be called.  What is
        called gets the connection in a parameter named ``connection``, if it has that.
    :param takes_mail: it has to take the mail; somebody else does that for a policy.
    :raises TypeError: it is nothing of the kind, or something is wrong with it that can be seen
        without calling it; the text says what.  See `check` for the rest.
    """
    if isinstance(given, type):
        if ISmtpHandlerFactory.providedBy(given):
            return given
        return OnePerConnection(given, takes_mail=takes_mail)
    factory: Any = ISmtpHandlerFactory(given, None)
    if factory is not None:
        return factory  # type: ignore[no-any-return]  # an interface says nothing to mypy here
    handler: object = ISmtpEventHandler(given, None)
    if handler is None and callable(given) and not _has_events(given):
        return OnePerConnection(given, takes_mail=takes_mail)
    return OneForAll(given if handler is None else handler, takes_mail=takes_mail)


def _adapts(kind: type) -> bool:
    """Whether what a class makes is no handler itself, and something else becomes one of it."""
    if ISmtpEventHandler.implementedBy(kind):
        return False
    find: Any = getAdapterFactory  # it has no types
    adapter = find(kind, ISmtpEventHandler, None)
    return adapter is not None or hasattr(kind, "__conform__")


def _has_events(given: object) -> bool:
    return getattr(given, "discards_content", False) is True or any(
        callable(getattr(given, name, None)) for name in EVENTS
    )
