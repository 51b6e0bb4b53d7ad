"""What is one worker's, of all that ``--workers`` run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from smtpcb.engine._settings import Settings


@dataclass(frozen=True, slots=True)
class Share:
    """
    Which of them it is, and what it is handed.

    :ivar number: of this worker, from 1.
    :ivar workers: how many there are.
    :ivar sockets: descriptor and address family of those that all listen on, in the order of
        ``--listen`` and ``--smtps``.
    :ivar identities: of each key and chain in PEM and where they are from, for a worker that
        cannot read them there: twistd is not root any more, or they are just being exchanged.
    """

    number: int
    workers: int
    sockets: tuple[tuple[int, int], ...]
    identities: tuple[tuple[bytes, str], ...] = field(default=(), repr=False)


def part_of(settings: Settings, share: Share) -> Settings:
    """Return the settings with the part of each limit over all connections that is a worker's."""
    connections = settings.limits.connections
    if connections is None:
        return settings
    part = -(-connections // share.workers)
    return replace(settings, limits=replace(settings.limits, connections=part))
