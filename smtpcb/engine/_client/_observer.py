"""ClientObserver: what may be seen of a client's session as it goes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from smtpcb.engine._client._failure import ClientFailure
from smtpcb.engine._client._table import Stage
from smtpcb.smtp._reply import Reply

if TYPE_CHECKING:
    from smtpcb.engine._client._transaction import Transaction
    from smtpcb.engine._connection import Connection, TlsInformation


class ClientObserver:
    """
    Sees everything and changes nothing; override what you want to see.

    It is called in the order of what happens.  One that raises is called no more on that
    connection, and all else goes on; `failed` is told why.  Of each connection that is made:

    1. `connected`, once;
    2. `secured`, once it has TLS;
    3. of each message `begun`, then `replied` for MAIL, for each RCPT and for the message, then
       `finished`; `content` stands where it leaves, which may be before those replies;
    4. `ended`, when the session is over, and `disconnected`, when the connection is.

    `connected` and `disconnected` are called by whoever has the connection: by `smtpcb.client`, for
    each address that was tried and connected to.
    """

    __slots__ = ()

    def connected(self, connection: Connection) -> ClientObserver | None:
        """
        There is a connection to a server.

        :param connection: seen as the server sees it: its peer is our end, its host and hostname
            are the server's.
        :return: an observer of that connection alone; ``None``: this one goes on.
        """

    def secured(self, tls: TlsInformation) -> None:
        """The connection has TLS now, and the server is who it should be."""

    def begun(self, transaction: Transaction) -> None:
        """
        A message is about to leave; up to `finished` all is about this one.

        Its ``left_out`` names the parameters that the server lacks and that are not said.
        """

    def finished(self, transaction: Transaction) -> None:
        """
        What became of a message stands in its destinations.

        It comes once for each `begun`; and without one for a message that this server cannot be
        sent, for its ``failure`` says what is lacking.
        """

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

    def disconnected(self, failure: ClientFailure | None) -> None:
        """
        The connection is gone; once for each `connected`.

        :param failure: why, if not because it was quit.
        """

    def failed(self, error: Exception) -> None:
        """Your own observer has raised this."""


class Watched(ClientObserver):
    """An observer of somebody's: one that fails costs nobody else anything."""

    __slots__ = ("_observer",)

    def __init__(self, observer: ClientObserver) -> None:
        self._observer: ClientObserver | None = observer

    def connected(self, connection: Connection) -> ClientObserver | None:
        """See `ClientObserver.connected`."""
        own = self._call("connected", connection)
        if isinstance(own, ClientObserver):
            self._observer = own
        return None

    def secured(self, tls: TlsInformation) -> None:
        """See `ClientObserver.secured`."""
        self._call("secured", tls)

    def begun(self, transaction: Transaction) -> None:
        """See `ClientObserver.begun`."""
        self._call("begun", transaction)

    def finished(self, transaction: Transaction) -> None:
        """See `ClientObserver.finished`."""
        self._call("finished", transaction)

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

    def disconnected(self, failure: ClientFailure | None) -> None:
        """See `ClientObserver.disconnected`."""
        self._call("disconnected", failure)

    def _call(self, name: str, *arguments: object) -> object:
        observer = self._observer
        if observer is None:
            return None
        try:
            return getattr(observer, name)(*arguments)
        except Exception as error:
            self._observer = None
            with suppress(Exception):  # it was told, and nobody else can be
                observer.failed(error)
            return None
