"""serve: a whole server in one call, for the first program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smtpcb.engine import Settings
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import Endpoint, SmtpService


def serve(
    reactor: Any,
    endpoints: Endpoint | Sequence[Endpoint],
    handler: object,
    settings: Settings | None = None,
    **options: Any,
) -> SmtpService:
    """
    Take mail from now on, until the reactor stops.

    For example::

        from twisted.internet import reactor

        smtpcb.serve(reactor, "tcp:2525", Inbox)
        reactor.run()

    What is under way when the reactor stops is finished first (RFC 5321 §3.8).

    :param reactor: ``None``: the one that is installed.
    :param endpoints: as for `SmtpService`.
    :param handler: as for `SmtpServerFactory`, and so are ``settings`` and ``options``.
    :return: the running service: ``service.ports[0].getHost()``.
    :raises TypeError: something is of another kind.
    :raises ValueError: a description means nothing.
    :raises twisted.internet.error.CannotListenError: a port cannot be bound, and none is left
        bound.
    """
    factory = SmtpServerFactory(handler, settings, reactor=reactor, **options)
    service = SmtpService(endpoints, factory)
    service.privilegedStartService()
    service.startService()
    factory.reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    return service
