"""ClientObserver: what may be seen of a client's session as it goes."""

from __future__ import annotations

from contextlib import suppress

from smtpcb.engine._client._failure import ClientFailure
from smtpcb.engine._client._table import Stage
from smtpcb.smtp._reply import Reply


class ClientObserver:
    """
    Sees everything and changes nothing; override what you want to see.

    It is called in the order of what happens.  One that raises is called no more, and all else goes
    on; `failed` is told why.
    """

    __slots__ = ()

    def client(self, octets: bytes) -> None:
        """Commands leave, whole lines; no octet of a secret is in them."""

    def server(self, octets: bytes) -> None:
        """Something has come, as the network cut it."""

    def content(self, octets: bytes) -> None:
        """Some mail data leaves, as on the wire."""

    def end_of_content(self) -> None:
        """The mail data is at its end, or the chunk."""

    def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
        """
        A command of a transaction, or one of the owner's, was answered.

        :param stage: which kind of command.
        :param subject: what it was about: a `Transaction`, a `Destination`, or a `Command`.
        """

    def note(self, text: str) -> None:
        """Something else is worth knowing: a handshake, a login."""

    def ended(self, failure: ClientFailure | None) -> None:
        """The session is over."""

    def failed(self, error: Exception) -> None:
        """Your own observer has raised this."""


class Watched(ClientObserver):
    """An observer of somebody's: one that fails costs nobody else anything."""

    __slots__ = ("_observer",)

    def __init__(self, observer: ClientObserver) -> None:
        self._observer: ClientObserver | None = observer

    def client(self, octets: bytes) -> None:
        """See `ClientObserver.client`."""
        self._call("client", octets)

    def server(self, octets: bytes) -> None:
        """See `ClientObserver.server`."""
        self._call("server", octets)

    def content(self, octets: bytes) -> None:
        """See `ClientObserver.content`."""
        self._call("content", octets)

    def end_of_content(self) -> None:
        """See `ClientObserver.end_of_content`."""
        self._call("end_of_content")

    def replied(self, stage: Stage, subject: object, reply: Reply) -> None:
        """See `ClientObserver.replied`."""
        self._call("replied", stage, subject, reply)

    def note(self, text: str) -> None:
        """See `ClientObserver.note`."""
        self._call("note", text)

    def ended(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.ended`."""
        self._call("ended", failure)

    def _call(self, name: str, *arguments: object) -> None:
        observer = self._observer
        if observer is None:
            return
        try:
            getattr(observer, name)(*arguments)
        except Exception as error:
            self._observer = None
            with suppress(Exception):  # it was told, and nobody else can be
                observer.failed(error)
