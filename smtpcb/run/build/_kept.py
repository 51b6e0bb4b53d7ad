"""What a server has on disk, from the first look at it to its making."""

from __future__ import annotations

import os
from typing import Any

from twisted.logger import Logger

from smtpcb import _folders as folders
from smtpcb import tls
from smtpcb.run._owner import make_for
from smtpcb.run._start import one_line
from smtpcb.run._state import State, explained
from smtpcb.run.build._identities import Identities
from smtpcb.run.build._transcripts import transcripts_named
from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.transcript import TranscriptSettings

_log = Logger(namespace="smtpcb")


class Kept:
    """
    What a server has on disk: looked at first, then handed over, then made.

    :ivar report: lines that say where it is.
    """

    def __init__(
        self,
        configuration: Configuration,
        state: State,
        wishes: Any,
        recorded: TranscriptSettings | None,
        identities: Identities,
    ) -> None:
        self._handler = f"{configuration.where('handler')} {configuration['handler']}"
        self._transcripts = transcripts_named(configuration)
        self._state = state
        self._wishes = wishes
        self._recorded = None if recorded is None else recorded.folder
        self._identity = identities.kept
        self._tls = identities.server
        self.report = [*wishes.report]
        places = [*wishes.folders]
        if self._recorded is not None:
            self.report.append(f"transcripts: {self._recorded}")
            places.append(self._recorded)
        if self._identity is not None:
            self.report.append(f"certificate: {self._identity.path}")
            places.append(self._identity.path)
        inside = [place.is_relative_to(state.state) for place in places]
        outside = [place for place, is_inside in zip(places, inside, strict=True) if not is_inside]
        self._places = [*([state.state] if any(inside) else []), *outside]

    def look_at(self, *, checking: bool, quiet: bool = False) -> None:
        """
        Find out what would be wrong, and change nothing.

        :param checking: nothing will be made that would show more.
        :param quiet: somebody else logs the warnings.
        :raises ConfigurationError: the server could not start; one line says why.
        """
        if self._state.state in self._places:
            self._state.check()
        if self._recorded is not None:
            with explained(self._transcripts):
                folders.look_at(self._recorded, self._state.owners)
        if self._identity is not None and checking:
            self._identity.look_at()
        try:
            with explained(self._handler):
                warnings = self._wishes.check()
        except ConfigurationError:
            raise
        except ValueError as error:
            raise ConfigurationError(f"{self._handler}: {one_line(error)}") from None
        for warning in () if quiet else warnings:
            _log.warn("{warning}", warning=" ".join(warning.split()))

    def hand_over(self, owner: tuple[int, int]) -> None:
        """As root, make what is missing for the user that we become."""
        for place in self._places:
            with explained("--uid"):
                make_for(place, owner)

    def make(self) -> None:
        """Make what is missing, but for what the handler makes itself."""
        if self._recorded is not None:
            with explained(self._transcripts):
                if self._recorded.is_relative_to(self._state.state):
                    self._state.make_state()
                descriptor, _ = folders.make_folder(self._recorded)
                try:
                    folders.require_writable(descriptor, self._recorded)
                finally:
                    os.close(descriptor)
        if self._identity is not None and self._tls is not None:
            self._identity.prepare()
            try:
                self._tls.reload()
            except tls.IdentityError as error:
                raise ConfigurationError(str(error)) from None
