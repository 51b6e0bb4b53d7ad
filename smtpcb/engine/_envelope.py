"""Envelope: what one mail transaction has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from os import PathLike
from pathlib import Path as FilePath
from typing import BinaryIO, Protocol

from smtpcb.engine._connection import Connection
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._parameter import NO_PARAMETERS, Parameters

# Within `Content`, `bytes` is a method.
_Octets = bytes


class Content(Protocol):
    """
    The mail data of a message, taken whole: dots unstuffed, lines ending in CRLF.

    It is there as long as somebody holds it: put it into a queue, read it tomorrow.  A message that
    the server refused is no content, and is not kept for anybody.
    """

    @property
    def size_octets(self) -> int:
        """How long it is."""

    def bytes(self) -> _Octets:
        """Return all of it."""

    def open(self) -> BinaryIO:
        """Return a file of its own, at its beginning, that may be read in any thread."""

    def pieces(self, size: int = 65536) -> Iterator[_Octets]:
        """Return it piece by piece."""

    def save(self, path: str | PathLike[str]) -> FilePath:
        """
        Write it into a new file, and return that when a power cut cannot undo it.

        It blocks.  The file has mode 0600, appears when it is whole, and on any error not at all.

        :raises FileExistsError: there is something of that name; it stays as it is.
        :raises OSError: it could not be written.
        """

    def mime(self) -> EmailMessage:
        """
        Return it parsed (RFC 5322, RFC 2045), in time proportional to its length.

        It has the fields that ``header`` was told, and does not raise for what a stranger wrote:
        see the page Reading mail, and the ``defects`` of what you get.
        """

    async def parsed(self) -> EmailMessage:
        """Return what `mime` does, from a thread: other clients do not wait meanwhile."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    One accepted RCPT command.

    :ivar forward_path: whom.
    :ivar parameters: those of RCPT, decoded.
    """

    forward_path: ForwardPath
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)


@dataclass(slots=True, eq=False)
class Envelope:
    """
    One mail transaction (RFC 5321 §2.3.1, §3.3), from its accepted MAIL on.

    :ivar connection: whose it is.
    :ivar reverse_path: as MAIL gave it.
    :ivar parameters: those of MAIL, decoded: ``envelope.parameters.get("SIZE")``.
    :ivar recipients: in the order of the commands; only those that were accepted.
    :ivar size_octets: octets of mail data so far, unstuffed, CRLF counted as two.
    """

    connection: Connection
    reverse_path: ReversePath
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    recipients: list[Recipient] = field(default_factory=list)
    size_octets: int = 0
    kept: Content | None = None

    @property
    def forward_paths(self) -> list[ForwardPath]:
        """The accepted recipients' addresses."""
        return [recipient.forward_path for recipient in self.recipients]

    @property
    def content(self) -> Content:
        """
        The mail data.

        :raises LookupError: nothing was kept: the handler has ``chunk`` and takes it as it
            comes, or the content has not arrived yet.
        """
        if self.kept is None:
            raise LookupError("no content is kept: see SmtpEventHandler.chunk")
        return self.kept
