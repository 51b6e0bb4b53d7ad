"""Transcripts: what was said on a client's connections, in the form of the server's."""

from __future__ import annotations

from smtpcb.engine import ClientFailure, ClientObserver, Connection, TlsInformation
from smtpcb.transcript import Transcript, TranscriptFolder


class Transcripts(ClientObserver):
    """
    Records each connection, as a server of ours records those that it has.

    The file has the same form, whoever wrote it: its peer is the client, which is we, and its host
    the server.  Secrets are masked.

    :param folder: where they are kept.  Whoever made it closes it, when all has been said.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: TranscriptFolder) -> None:
        self._folder = folder

    def connected(self, connection: Connection) -> ClientObserver:
        """Begin a transcript."""
        return _Recorded(self._folder.open(connection))


class _Recorded(ClientObserver):
    """A connection's transcript."""

    __slots__ = ("_transcript", "client", "content", "end_of_content", "note", "server")

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self.client = transcript.client  # type: ignore[method-assign]
        self.server = transcript.server  # type: ignore[method-assign]
        self.content = transcript.content  # type: ignore[method-assign]
        self.end_of_content = transcript.end_of_content  # type: ignore[method-assign]
        self.note = transcript.note  # type: ignore[method-assign]

    def secured(self, tls: TlsInformation) -> None:
        """Say so."""
        self._transcript.note(f"TLS {tls.version} {tls.cipher}")

    def disconnected(self, failure: ClientFailure | None) -> None:
        """Write the last line."""
        self._transcript.close("the session was quit" if failure is None else str(failure))
