"""check: everything that is wrong with a handler, before the first client finds out."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from smtpcb.engine._connection import Connection
from smtpcb.engine._handler import Handler, name_of, understand
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.handling._compose import Compound
from smtpcb.handling._examine import examine
from smtpcb.handling._factories import Factory, handler_factory
from smtpcb.handling._threaded import threaded
from smtpcb.interfaces import ISmtpEventHandler
from smtpcb.smtp._errors import Refusal
from smtpcb.smtp.sasl import MECHANISMS, Mechanism


def check(
    given: object,
    *,
    own: AbstractSet[str] = frozenset(),
    needs_login: str = "",
    mechanisms: Iterable[str] = (),
) -> list[str]:
    """
    Make a handler once, as for a client, and look at it.

    It is called when the server is made, in whose place it fails; what it has made is forgotten.

    :param given: what `handler_factory` takes.
    :param own: keywords of the server's own extensions, which a handler may say it honours.
    :param needs_login: the setting that wants somebody who decides on logins, if nobody else does.
    :param mechanisms: those of ours that it has to be able to decide on.
    :return: what is likely to be wrong, a sentence each.
    :raises TypeError: it is wrong, and every client would be told 421 or 451; the text says why.
    :raises ValueError: ``extensions`` names one that cannot be left to a handler.
    """
    factory = handler_factory(given)
    blocking = isinstance(factory, threaded)
    warnings: list[str] = []
    inner = factory.inner if isinstance(factory, (threaded, Compound)) else factory
    handler = _try(inner, warnings)
    if handler is None:
        return warnings
    examine(handler, blocking=blocking, own=own)
    if needs_login:
        require_login(understand(handler, own=frozenset(own)), needs_login)
    if mechanisms:
        understood = understand(handler, own=frozenset(own))
        require_mechanisms(mechanisms, understood.abilities, name_of(handler))
    if ISmtpEventHandler.providedBy(handler):
        try:
            verifyObject(ISmtpEventHandler, handler)
        except Invalid as error:
            sentence = " ".join(str(error).split())
            warnings.append(f"{name_of(handler)} does not provide what it says: {sentence}")
    return warnings


def wants_login(settings: Settings) -> str:
    """Return the setting that wants somebody who decides on logins, or nothing."""
    if settings.require_auth:
        return "require_auth"
    own = any(isinstance(one, Mechanism) for one in settings.mechanisms or ())
    return "a mechanism of your own" if own else ""


def require_login(handler: Handler, wanted: str) -> None:
    """
    Refuse a handler that nobody could log in to, where somebody has to.

    :param wanted: by which setting.
    :raises TypeError: nobody decides on logins.
    """
    if not handler.abilities.authentication:
        raise TypeError(
            f"{wanted} needs who decides on logins: a handler with authenticate, or an "
            "authenticator (--auth)"
        )


def require_mechanisms(asked: Iterable[str], abilities: Abilities, whose: str) -> None:
    """
    Refuse mechanisms that were asked for by name and cannot be honoured.

    :param whose: who decides on logins.
    :raises ValueError: one of them would never be offered.
    """
    able = abilities.mechanisms if abilities.authentication else frozenset()
    unable = [name for name in asked if name not in able]
    if unable:
        can = ", ".join(name for name in MECHANISMS if name in able) or "none"
        raise ValueError(
            f"mechanisms names {unable[0]}, on which {whose} cannot decide; it can on: {can}"
        )


def _try(factory: Factory, warnings: list[str]) -> object | None:
    """Make a handler for a client that is not there."""
    client = Connection(
        "check", peer_address="127.0.0.1", peer_port=1, host_address="127.0.0.1", host_port=25
    )
    try:
        handler = factory(client)
    except Refusal:
        return None  # this client is not welcome
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, RuntimeError) and "no running event loop" in str(error):
            reactor = sys.modules.get("twisted.internet.reactor")
            if reactor is not None and not isinstance(reactor, AsyncioSelectorReactor):
                raise TypeError(
                    f"no handler could be made: {what}; start with twistd --reactor=asyncio"
                ) from error
            # It will run when the server does.
            warnings.append(f"the handler could not be tried before asyncio's loop runs: {what}")
            return None
        raise TypeError(f"no handler could be made: {what}") from error
    if inspect.iscoroutine(handler):
        handler.close()
        raise TypeError("a handler factory answers at once: it cannot return a coroutine")
    if handler is None:
        raise TypeError("the handler factory has returned None: a return is missing")
    return handler
