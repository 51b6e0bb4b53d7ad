"""Everything that ``twistd smtpcb`` runs: what is kept is made ready, then mail is taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IListeningPort

from smtpcb import tls
from smtpcb.interfaces import IReadyMadeHandler
from smtpcb.run._start import Announcement, cannot_listen, give_up, one_line
from smtpcb.run._state import explained
from smtpcb.run.options import ConfigurationError
from smtpcb.server._service import SmtpService


class ServerService(Service):
    """
    A server of one `smtpcb.server.SmtpService` or more, with what it has on disk and what it says.

    :param doors: the ports, and all that belongs to them; they share a factory.
    :param handler: what is wrong when a ready-made one starts is one line.
    :param announcement: what to say once the ports are open; ``None``: say nothing at all.
    :param identities: what they were at first, where only root may be able to read them.
    :param owner: user and group to whom root gives the sockets that are files.
    :param as_root: what is done while we may still be root.
    :param first: what is done on disk when we are not any more, before anything else.
    :param where: how the handler was named.
    :ivar log_faults: whether what stops the start is logged too, and not only on standard error.
    """

    name = "smtpcb"

    def __init__(
        self,
        doors: Sequence[SmtpService],
        handler: object,
        announcement: Announcement | None,
        identities: Sequence[tls.Identity] = (),
        owner: tuple[int, int] | None = None,
        *,
        as_root: Sequence[Callable[[], None]] = (),
        first: Sequence[Callable[[], None]] = (),
        where: str = "--handler",
    ) -> None:
        self.doors = doors
        self._is_ready_made = IReadyMadeHandler.providedBy(handler)
        self.announcement = announcement
        self.log_faults = True
        self.identities = identities
        self._owner = owner
        self._as_root = as_root
        self._first = first
        self._where = where

    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        :raises StartError: one cannot be bound; a line on standard error says why, and nothing
            else does.
        """
        super().privilegedStartService()
        self.prepare_as_root()
        self._bind()
        if self._owner is not None:
            for address in [port.getHost() for port in self.ports]:
                if isinstance(address, UNIXAddress) and address.name:
                    os.chown(address.name, *self._owner, follow_symlinks=False)

    def prepare_as_root(self) -> None:
        """
        Do what only root can do beside binding ports.

        :raises StartError: it could not be done, which has been said.
        """
        self._do(self._as_root)

    def startService(self) -> None:
        """
        Start all of it.

        :raises StartError: a folder or file cannot be used, as for a port that cannot be bound.
        :raises ConfigurationError: the same for a worker, whose supervisor says it.
        """
        if self.running:
            return
        self._bind()
        self._do([*self._first, self._start])
        super().startService()
        if self.announcement is not None:
            self.announcement.make([port.getHost() for port in self.ports])

    @property
    def smtp(self) -> SmtpService:
        """The first of its doors."""
        return self.doors[0]

    @property
    def ports(self) -> list[IListeningPort]:
        """What is bound, in the order in which it was said."""
        return [port for door in self.doors for port in door.ports]

    def stopService(self) -> Deferred[Any]:
        """Stop all of it: no message that was accepted is lost."""
        super().stopService()
        stopped: Deferred[Any] = self._stop()
        return stopped

    def cut(self) -> None:
        """End all connections now; they stop already, and somebody does not want to wait."""
        for door in self.doors:
            door.cut()

    def reload(self) -> Deferred[None]:
        """Read keys and certificates again; see `SmtpService.reload`."""
        return self.smtp.reload()

    def _bind(self) -> None:
        try:
            for door in self.doors:
                door.privilegedStartService()
        except Exception as error:  # an endpoint of a plug-in may raise anything
            self._close()
            cannot_listen(error, log=self.log_faults)

    def _close(self) -> None:
        """Let go of what is bound; nobody has connected, so the ports are closed at once."""
        self._stop()

    def _stop(self) -> Deferred[Any]:
        return gatherResults([door.stopService() for door in self.doors])

    def _do(self, steps: Sequence[Callable[[], None]]) -> None:
        try:
            for step in steps:
                step()
        except ConfigurationError as error:
            self._close()
            if self.announcement is None:
                raise
            give_up(str(error), log=self.log_faults)

    def _start(self) -> None:
        try:
            for door in self.doors:
                door.startService()
        except (OSError, ValueError) as error:
            if not self._is_ready_made or isinstance(error, ConfigurationError):
                raise  # where in the user's code it happened is worth more than a line
            with explained(self._where):
                if isinstance(error, OSError):
                    raise
            raise ConfigurationError(f"{self._where}: {one_line(error)}") from None
