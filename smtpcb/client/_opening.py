"""open_session: each address of each place in turn, until one has a session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Any

from smtpcb.client._anywhere import awaited_anywhere
from smtpcb.client._credentials import GiveCredentials, nobody, settings_for
from smtpcb.client._place import Candidate, Place
from smtpcb.client._protocol import ClientProtocol
from smtpcb.client._race import Race
from smtpcb.client._times import ClientTimes
from smtpcb.engine import ClientFailure, ClientObserver, ClientSettings
from smtpcb.engine._client._observer import Watched
from smtpcb.smtp import SMTPError


class NoSession(SMTPError):  # noqa: N818 - it is what became of a session
    """
    No server could be reached that takes messages.

    :ivar failures: why, a failure for each address that was tried, in order, with its name.
    """

    def __init__(self, failures: Sequence[tuple[str, ClientFailure]]) -> None:
        super().__init__("; ".join(f"{where}: {failure}" for where, failure in failures))
        self.failures = tuple(failures)

    @property
    def temporary(self) -> bool:
        """Whether to try again later makes sense."""
        return any(failure.temporary for _, failure in self.failures)


@awaited_anywhere
async def open_session(
    places: Iterable[Place],
    settings: ClientSettings | None = None,
    *,
    times: ClientTimes | None = None,
    give: GiveCredentials = nobody,
    observer: ClientObserver | None = None,
    reactor: Any = None,
) -> ClientProtocol:
    """
    Return the first session that there is: greeted, inside TLS and logged in as it was wanted.

    The addresses of a host are tried one after the other, and the hosts of a place, and the places.
    The next one is tried where one cannot be connected to, has no greeting of 220, answers EHLO by
    4yz, or has no HELO either; not where EHLO is refused for good, or something later: another
    address of the same servers would say the same.  Cancelling leaves at once.

    :param places: where to, a `Server` for one.
    :param settings: how the dialogue is led; as for `SubmissionSession`.
    :param times: how long each server may take.
    :param give: says who logs in; see `SubmissionSession`.
    :param observer: sees everything, of each that was tried.
    :param reactor: by default the one that is installed.
    :raises NoSession: there is none; it has every failure.
    """
    if reactor is None:
        from twisted.internet import reactor
    opening = _Opening(
        settings_for(settings, give), times or ClientTimes(), give, observer, reactor
    )
    for place in places:
        found = await opening.at(place)
        if found is not None:
            return found
    raise NoSession(opening.failures)


class _Opening:
    """
    What was tried so far.

    :ivar failures: why there is no session.
    """

    def __init__(
        self,
        settings: ClientSettings,
        times: ClientTimes,
        give: GiveCredentials,
        observer: ClientObserver | None,
        reactor: Any,
    ) -> None:
        self._settings = settings
        self._times = times
        self._give = give
        self._observer = observer
        self._notes = None if observer is None else Watched(observer)
        self._reactor = reactor
        self.failures: list[tuple[str, ClientFailure]] = []

    async def at(self, place: Place) -> ClientProtocol | None:
        """Return a session with one of the hosts of a place; ``None``: there is none."""
        seconds = self._times.connect
        hosts = place.candidates(self._settings, seconds, self._reactor)
        async with aclosing(hosts):
            while True:
                try:
                    candidates = await anext(hosts)
                except StopAsyncIteration:
                    return None
                except ClientFailure as failure:  # where it is, is not known
                    self._unconnected(place.name, failure)
                    return None
                race = Race(candidates, self._made, self._unconnected, seconds, self._reactor)
                found = await self._first(race)
                if found is not None:
                    return found

    async def _first(self, race: Race) -> ClientProtocol | None:
        while True:
            won = await race.winner()
            if won is None:
                return None
            candidate, protocol = won
            try:
                await protocol.opened()
            except ClientFailure as failure:
                self._missed(candidate.name, failure)
            except BaseException:
                protocol.abandon("cancelled")
                raise
            else:
                return protocol

    def _made(self, candidate: Candidate) -> ClientProtocol:
        protocol = ClientProtocol(
            self._settings,
            self._reactor,
            self._times,
            candidate.creator,
            self._give,
            self._observer,
        )
        protocol.where = candidate.name
        return protocol

    def _unconnected(self, name: str, failure: ClientFailure) -> None:
        if self._notes is not None:
            self._notes.note(f"{name}: {failure}")
        self.failures.append((name, failure))

    def _missed(self, name: str, failure: ClientFailure) -> None:
        """Go on with the next one, if that may do better."""
        self.failures.append((name, failure))
        if not failure.elsewhere:
            raise NoSession(self.failures) from failure
