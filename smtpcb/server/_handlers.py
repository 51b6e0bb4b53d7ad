"""A handler for each connection, and what the client is told where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from smtpcb.engine import Abilities, Connection, Handler, Settings
from smtpcb.engine._conversation import SLOW_SECONDS
from smtpcb.engine._handler import name_of
from smtpcb.engine._questions import CONNECTED
from smtpcb.engine._verdict import reply_of_refusal, reply_to_incident
from smtpcb.handling import check, handler_factory
from smtpcb.handling._check import require_mechanisms, wants_login
from smtpcb.handling._composed import Composed
from smtpcb.handling._examine import examine
from smtpcb.handling._known import Known
from smtpcb.handling._logins import authenticator as adapt_authenticator
from smtpcb.handling._threaded import threaded
from smtpcb.smtp import Refusal

if TYPE_CHECKING:
    from smtpcb.server._later import TwistedPlatform
    from smtpcb.smtp import Reply

_log = Logger(namespace="smtpcb.server")


class Handlers:
    """
    Makes the handlers of a server's connections.

    :param handler: what `smtpcb.handling.handler_factory` takes.
    :param authenticator: who may log in, for all of them; by default their own ``authenticate``.
    :raises TypeError: one of both is none.
    :ivar make: called with a connection.
    """

    def __init__(self, handler: object, authenticator: object | None) -> None:
        self._handler: Any = handler
        self._warned: set[str] = set()
        self.make = handler_factory(handler)
        self._login = adapt_authenticator(authenticator) if authenticator is not None else None

    def known(self, settings: Settings) -> Known:
        """
        Return what remembers their classes, for dialogues that are led so.

        :raises TypeError: no handler could be made, or nobody decides on logins where everybody has
            to log in.
        :raises ValueError: the handler says of itself what cannot be, or nobody can decide on a
            mechanism that the settings name.
        """
        asked = [one for one in settings.mechanisms or () if isinstance(one, str)]
        login = self._login
        if login is not None:
            able = Abilities(authentication=True, mechanisms=login.mechanisms)
            require_mechanisms(asked, able, "the authenticator")
        for warning in check(
            self._handler,
            own=frozenset(one.keyword for one in settings.extensions),
            needs_login=wants_login(settings) if login is None else "",
            mechanisms=asked if login is None else (),
        ):
            if warning not in self._warned:
                self._warned.add(warning)
                _log.warn("{warning}", warning=warning)
        return Known(self._login, settings)

    def adapt(self, given: object, connection: Connection, known: Known, *, tls: bool) -> Handler:
        """
        Return another handler for a connection that has one.

        :param given: what `smtpcb.handling.handler_factory` takes.
        :raises TypeError: no handler can be made of it; ValueError: it says what cannot be.
        """
        factory = handler_factory(given)
        handler = factory(connection)
        # Once a class: it may be exchanged on every connection.  What is composed has parts.
        seen = known.has_seen(type(handler)) and not isinstance(handler, Composed)
        if not isinstance(factory, threaded) and not seen:
            examine(handler, own=known.own)
        return known.handler(handler, tls=tls)

    def start(self) -> None:
        """Start what was given, if it is a service."""
        if IService.providedBy(self._handler):
            self._handler.startService()

    @property
    def folders(self) -> Sequence[Path]:
        """Where it writes, if it says so (`smtpcb.interfaces.IReadyMadeHandler`)."""
        folders = getattr(self._handler, "folders", ())
        if isinstance(folders, (str, bytes)) or not isinstance(folders, Sequence):
            return ()
        return [folder for folder in folders if isinstance(folder, Path)]

    def stop(self) -> Deferred[Any]:
        """Stop it."""
        if IService.providedBy(self._handler):
            return maybeDeferred(self._handler.stopService)
        return succeed(None)

    def of(
        self, connection: Connection, platform: TwistedPlatform, known: Known, *, tls: bool
    ) -> tuple[Handler, Reply | None]:
        """
        Return the handler of a new connection, and what the client is told if there is none.

        :param known: what `known` has returned.
        :param tls: whether STARTTLS is possible on it.
        """
        began = perf_counter()
        try:
            return known.handler(self.make(connection), tls=tls), None
        except KeyboardInterrupt:
            raise
        except Refusal as refusal:
            return known.nobody, reply_of_refusal(CONNECTED, refusal).closing()
        except BaseException as error:  # sys.exit() in a constructor is a fault, no more
            number = platform.incidents.report(
                "the handler factory", name_of(self._handler), error, connection.id
            )
            return known.nobody, reply_to_incident(CONNECTED, number)
        finally:
            seconds = perf_counter() - began
            if seconds > SLOW_SECONDS:
                platform.log.warn(
                    "making {handler} kept everybody waiting for {seconds:.1f} s on {id}",
                    handler=name_of(self._handler),
                    seconds=seconds,
                    id=connection.id,
                )
