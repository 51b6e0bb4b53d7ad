"""Settings become a running service, and nothing is changed or bound on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.endpoints import wrapServerTLS
from twisted.internet.interfaces import IStreamServerEndpoint

from smtpcb.engine._settings import Settings
from smtpcb.interfaces import IReadyMadeHandler
from smtpcb.run._server import ServerService
from smtpcb.run._start import Announcement, Place, one_line
from smtpcb.run._state import state_of
from smtpcb.run.build._circles import refuse_circles, refuse_nobody, warn_of_open_relay
from smtpcb.run.build._endpoints import endpoints_for, look_at_places
from smtpcb.run.build._handler import handler_of, wishes_of
from smtpcb.run.build._identities import identities_of, no_tls_alone
from smtpcb.run.build._kept import Kept
from smtpcb.run.build._logins import authenticator_of
from smtpcb.run.build._policies import guarded
from smtpcb.run.build._settings import settings_of
from smtpcb.run.build._share import Share, part_of
from smtpcb.run.build._transcripts import transcripts_of
from smtpcb.run.build._warnings import warn_of_everybody, warn_of_words_in_vain
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
    refuse_circles(handler, configuration)
    wishes = wishes_of(handler)
    with _blamed_on_the_handler(configuration):
        asked = guarded(handler, configuration, state, quiet=share is not None)
    settings = settings_of(configuration, wishes)
    direct = is_supported() and not configuration["no_direct_writes"]
    if checking:
        look_at_places(configuration)
    endpoints = endpoints_for(configuration, reactor, share, direct=direct, checking=checking)
    number = 0
    if share is not None:
        settings = part_of(settings, share)
        number = share.number
    authenticator = authenticator_of(configuration, state.owners)
    refuse_nobody(handler, configuration, logins=authenticator is not None)
    identities = identities_of(configuration, settings, state, share)
    several = _settings_of_doors(configuration, wishes, tls=identities.server is not None)
    recorded = transcripts_of(configuration, wanted=wishes.transcripts)
    transcripts = TranscriptFolder(recorded, reactor) if recorded is not None else None
    with _blamed_on_the_handler(configuration):
        factory = SmtpServerFactory(
            asked,
            settings,
            reactor=reactor,
            tls=identities.server,
            authenticator=authenticator,
            transcripts=transcripts,
            worker=number,
        )
        opened = _doors(configuration, several, factory, endpoints, direct=direct)
    kept = Kept(configuration, state, wishes, recorded, identities)
    if share is None:
        warn_of_everybody(configuration)
        warn_of_words_in_vain(configuration)
        warn_of_open_relay(handler, configuration)
    kept.look_at(checking=checking, quiet=share is not None)
    places = [_place(name, door, asked) for door, names in opened for name in names]
    announcement = Announcement(places, identities.server is not None, kept.report)
    return ServerService(
        [door for door, _ in opened],
        handler,
        # Of several workers the supervisor says it, once.
        announcement if share is None else None,
        identities.first,
        owner,
        as_root=() if owner is None else [partial(kept.hand_over, owner)],
        first=[kept.make],
        where=configuration.where("handler"),
    )


def _settings_of_doors(
    configuration: Configuration, wishes: Any, *, tls: bool
) -> list[Settings | None]:
    """Return how dialogues are led at each door; ``None``: as at all others."""
    several: list[Settings | None] = []
    for door in configuration.doors:
        settings = settings_of(door, wishes) if door.listener else None
        if settings is not None and not tls:
            no_tls_alone(door, settings)
        several.append(settings)
    return several


def _doors(
    configuration: Configuration,
    several: Sequence[Settings | None],
    factory: SmtpServerFactory,
    endpoints: Sequence[IStreamServerEndpoint],
    *,
    direct: bool,
) -> list[tuple[SmtpService, list[str]]]:
    """
    Return the ports, those together whose dialogues are led in the same way, with the options that
    have named them.
    """
    rest, tls = iter(endpoints), factory.tls  # without it there are no ports of --smtps
    doors = []
    for door, settings in zip(configuration.doors, several, strict=True):
        named = [
            (name, wrapServerTLS(tls, one, factory.reactor) if name == "smtps" and tls else one)
            for (name, _), one in zip(door.ports, rest, strict=False)
        ]
        lmtp = replace(factory.settings if settings is None else settings, lmtp=True)
        for led, ports in (
            (settings, [each for each in named if each[0] != "lmtp"]),
            (lmtp, [each for each in named if each[0] == "lmtp"]),
        ):
            if ports:
                service = SmtpService(
                    [one for _, one in ports],
                    factory,
                    led,
                    direct=direct,
                    proxy_from=door["proxy_from"],
                )
                doors.append((service, [name for name, _ in ports]))
    return doors


def _place(name: str, door: SmtpService, handler: object) -> Place:
    """Return what to say of a port that this option has named."""
    # A program that is no balancer is not let in.
    invitation = "" if door.balancers else _invitation(handler, door.doorway.settings)
    return Place(implicit=name == "smtps", lmtp=name == "lmtp", invitation=invitation)


def _invitation(handler: object, settings: Settings) -> str:
    """Return what stands before the command that sends a first message, if one could get in."""
    if settings.require_auth or settings.require_tls or settings.lmtp:
        return ""
    if IReadyMadeHandler.providedBy(handler):
        return "a first message"
    return "a first message (with a recipient that your handler takes)"


@contextmanager
def _blamed_on_the_handler(configuration: Configuration) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:  # which says already whose mistake it is
        raise
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{configuration.where('handler')} {configuration['handler']}: {one_line(error)}"
        ) from None
