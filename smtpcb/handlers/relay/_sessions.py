"""Where the sessions come from over which messages go on: shared by all clients, and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, ensureDeferred

from smtpcb.client import ConnectionPool, open_session
from smtpcb.client._place import Place
from smtpcb.client._protocol import ClientProtocol
from smtpcb.engine import ClientSettings


class Pooled:
    """
    Sessions that are kept for the next message, whoever sends it.

    :param place: where to.
    :param settings: how the dialogues are led.
    :param size: so many there are at most.
    :param opening: what else `ConnectionPool` and `open_session` want.
    """

    def __init__(
        self, place: Place, settings: ClientSettings, size: int, opening: Mapping[str, Any]
    ) -> None:
        self._pool = ConnectionPool([place], settings, size=size, **opening)

    async def take(self) -> ClientProtocol:
        """
        Return a session for a transaction.

        :raises NoSession: there is none.
        """
        return await self._pool.take()

    def give_back(self, session: ClientProtocol) -> None:
        """Let another client have it."""
        self._pool.give_back(session)

    async def close(self) -> None:
        """Leave, and wait until that is done."""
        await self._pool.close()


class OneEach:
    """
    A session for each transaction: each is for another client, or goes to another place.

    :param size: so many there are at most.
    :param opening: what else `open_session` wants.
    """

    def __init__(self, size: int, opening: Mapping[str, Any]) -> None:
        self._room = DeferredSemaphore(size)
        self._opening = opening
        self._leaving: set[Deferred[Any]] = set()

    async def take(self, places: Iterable[Place], settings: ClientSettings) -> ClientProtocol:
        """
        Return a session for a transaction.

        :raises NoSession: there is none.
        """
        await self._room.acquire()
        try:
            return await open_session(places, settings, **self._opening)
        except BaseException:
            self._room.release()
            raise

    def give_back(self, session: ClientProtocol) -> None:
        """Leave it; another one may be there when it is gone."""
        if not session.is_ready:
            session.abandon("the transaction is over")
        leaving = ensureDeferred(session.quit())
        self._leaving.add(leaving)

        def left(result: object) -> None:
            self._leaving.discard(leaving)
            self._room.release()

        leaving.addBoth(left)

    async def close(self) -> None:
        """Wait until all are gone."""
        await DeferredList(list(self._leaving))
