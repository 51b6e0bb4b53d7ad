"""Observers: several of them where one is wanted."""

from __future__ import annotations

from smtpcb.engine import (
    ClientFailure,
    ClientObserver,
    Connection,
    Stage,
    TlsInformation,
    Transaction,
)
from smtpcb.engine._client._observer import Watched
from smtpcb.smtp import Reply


class Observers(ClientObserver):
    """
    Several observers where one is wanted; one that fails costs the others nothing.

    :param observers: in the order in which they are called.
    """

    __slots__ = ("_given", "_observers")

    def __init__(self, *observers: ClientObserver) -> None:
        self._given = observers
        self._observers = [Watched(one) for one in observers]

    def connected(self, connection: Connection) -> ClientObserver:
        """See `ClientObserver.connected`."""
        own = Observers(*self._given)
        for one in own._observers:
            one.connected(connection)
        return own

    def secured(self, tls: TlsInformation) -> None:
        """See `ClientObserver.secured`."""
        for one in self._observers:
            one.secured(tls)

    def begun(self, transaction: Transaction) -> None:
        """See `ClientObserver.begun`."""
        for one in self._observers:
            one.begun(transaction)

    def finished(self, transaction: Transaction) -> None:
        """See `ClientObserver.finished`."""
        for one in self._observers:
            one.finished(transaction)

    def client(self, octets: bytes) -> None:
        """See `ClientObserver.client`."""
        for one in self._observers:
            one.client(octets)

    def server(self, octets: bytes) -> None:
        """See `ClientObserver.server`."""
        for one in self._observers:
            one.server(octets)

    def content(self, octets: bytes) -> None:
        """See `ClientObserver.content`."""
        for one in self._observers:
            one.content(octets)

    def end_of_content(self) -> None:
        """See `ClientObserver.end_of_content`."""
        for one in self._observers:
            one.end_of_content()

    def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
        """See `ClientObserver.replied`."""
        for one in self._observers:
            one.replied(stage, subject, reply)

    def note(self, text: str) -> None:
        """See `ClientObserver.note`."""
        for one in self._observers:
            one.note(text)

    def ended(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.ended`."""
        for one in self._observers:
            one.ended(failure)

    def disconnected(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.disconnected`."""
        for one in self._observers:
            one.disconnected(failure)
