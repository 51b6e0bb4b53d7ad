"""Settings become a running service, and nothing is changed or bound on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from twisted.internet.endpoints import wrapServerTLS
from twisted.internet.interfaces import IStreamServerEndpoint

from smtpcb.engine._settings import Settings
from smtpcb.interfaces import IReadyMadeHandler
from smtpcb.run._server import ServerService
from smtpcb.run._start import Announcement, one_line
from smtpcb.run._state import state_of
from smtpcb.run.build._endpoints import endpoints_for
from smtpcb.run.build._handler import handler_of, wishes_of
from smtpcb.run.build._identities import Identities, identities_of
from smtpcb.run.build._kept import Kept
from smtpcb.run.build._logins import authenticator_of
from smtpcb.run.build._settings import settings_of
from smtpcb.run.build._share import Share, part_of
from smtpcb.run.build._transcripts import transcripts_of
from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.server._direct import is_supported
from smtpcb.server._factory import SmtpServerFactory
from smtpcb.server._service import SmtpService
from smtpcb.transcript import TranscriptFolder


def make_service(
    configuration: Configuration,
    reactor: Any = None,
    *,
    owner: tuple[int, int] | None = None,
    share: Share | None = None,
    checking: bool = False,
) -> ServerService:
    """
    Build everything, and bind nothing; what would be wrong is found out without changing anything.

    :param owner: user and group that the process will run as once its ports are bound, if it is
        started as root (-1: as it is).  Root makes folders for them that are missing, when the
        ports are bound; everything else is done by them, when the service starts.
    :param share: of the worker that this process is, if it is one.
    :param checking: it will not be started; so what a start would find is looked for now.
    :raises ConfigurationError: a setting is wrong or a file cannot be used; one line says which.
    """
    if reactor is None:
        from twisted.internet import reactor
    state = state_of(configuration, reactor, owner)
    handler = handler_of(configuration, state)
    wishes = wishes_of(handler)
    settings = settings_of(configuration, wishes)
    direct = is_supported() and not configuration["no_direct_writes"]
    endpoints = endpoints_for(configuration, reactor, share, direct=direct)
    number, handed = 0, None
    if share is not None:
        settings = part_of(settings, share)
        number, handed = share.number, share.identity
    authenticator = authenticator_of(configuration)
    identities = identities_of(configuration, settings, state, handed)
    recorded = transcripts_of(configuration, wanted=wishes.transcripts)
    transcripts = TranscriptFolder(recorded, reactor) if recorded is not None else None
    with _blamed_on_the_handler(configuration):
        factory = SmtpServerFactory(
            handler,
            settings,
            reactor=reactor,
            tls=identities.server,
            authenticator=authenticator,
            transcripts=transcripts,
            worker=number,
        )
    kept = Kept(configuration, state, wishes, recorded, identities)
    kept.look_at(checking=checking, quiet=share is not None)
    clear = len(configuration["listen"])
    implicit = _with_tls(endpoints[clear:], identities, reactor)
    # A program that is no balancer is not let in.
    invitation = "" if configuration["proxy_from"] else _invitation(handler, settings)
    announcement = Announcement(clear, identities.server is not None, invitation, kept.report)
    return ServerService(
        SmtpService(
            [*endpoints[:clear], *implicit],
            factory,
            direct=direct,
            proxy_from=configuration["proxy_from"],
        ),
        handler,
        # Of several workers the supervisor says it, once.
        announcement if share is None else None,
        identities.first,
        as_root=() if owner is None else [partial(kept.hand_over, owner)],
        first=[kept.make],
        where=configuration.where("handler"),
    )


def _invitation(handler: object, settings: Settings) -> str:
    """Return what stands before the command that sends a first message, if one could get in."""
    if settings.require_auth or settings.require_tls:
        return ""
    if IReadyMadeHandler.providedBy(handler):
        return "a first message"
    return "a first message (with a recipient that your handler takes)"


@contextmanager
def _blamed_on_the_handler(configuration: Configuration) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{configuration.where('handler')} {configuration['handler']}: {one_line(error)}"
        ) from None


def _with_tls(
    endpoints: list[IStreamServerEndpoint], identities: Identities, reactor: Any
) -> list[IStreamServerEndpoint]:
    """Return endpoints with implicit TLS; there are none where there is no TLS."""
    server = identities.server
    return [] if server is None else [wrapServerTLS(server, one, reactor) for one in endpoints]
