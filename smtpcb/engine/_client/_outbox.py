"""Outbox: what has been written and not yet sent, and how many replies are due."""

from __future__ import annotations

from smtpcb.engine._client._observer import ClientObserver, Watched


class Outbox:
    """
    What a client writes, and what is due to it.

    A reply is due once its command has left.  So a server that says three things to one command
    cannot answer the next two before they were sent.

    :ivar due: how many replies may come.
    :ivar observer: sees what is written; ``None``: nobody does.
    """

    __slots__ = ("_out", "_written", "due", "observer")

    def __init__(self, observer: ClientObserver | None) -> None:
        # Whoever has the connection may have had to watch it before there was a dialogue.
        if observer is None or isinstance(observer, Watched):
            self.observer: Watched | None = observer
        else:
            self.observer = Watched(observer)
        self.due = 1  # the greeting
        self._out: list[bytes] = []
        self._written = 0

    def write(self, octets: bytes, replies: int = 1, shown: bytes | None = None) -> None:
        """
        Write commands.

        :param octets: with their CRLF.
        :param replies: how many are due to them.
        :param shown: what may be recorded, if that is not all of it.
        """
        self._out.append(octets)
        self._written += replies
        if self.observer is not None:
            self.observer.client(octets if shown is None else shown)

    def write_content(self, octets: bytes, replies: int = 0, *, ends: bool = False) -> None:
        """
        Write mail data as it goes over the wire.

        :param ends: it is the end of the data, or of a chunk.
        """
        self._out.append(octets)
        self._written += replies
        if self.observer is not None:
            self.observer.content(octets)
            if ends:
                self.observer.end_of_content()

    def take(self) -> bytes:
        """Return what is to be sent, once."""
        self.due += self._written
        self._written = 0
        out = self._out
        if len(out) == 1:
            return out.pop()
        octets = b"".join(out)
        out.clear()
        return octets

    def clear(self) -> None:
        """Forget what has not been sent, and what is due."""
        self._out.clear()
        self._written = self.due = 0
