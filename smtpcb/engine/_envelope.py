"""Envelope: what one mail transaction has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from os import PathLike
from pathlib import Path as FilePath
from typing import BinaryIO, Protocol

from smtpcb.engine._connection import Connection
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._parameter import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)
from smtpcb.smtp._xclient import XForward

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


class Recipient:
    """
    One RCPT command.

    :ivar forward_path: whom.
    :ivar parameters: those of RCPT, checked and typed.
    """

    __slots__ = ("forward_path", "parameters")

    def __init__(
        self, forward_path: ForwardPath, parameters: RcptParameters = NO_RCPT_PARAMETERS
    ) -> None:
        self.forward_path = forward_path
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"Recipient({self.forward_path!r}, {self.parameters!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipient):
            return NotImplemented
        return (self.forward_path, self.parameters) == (other.forward_path, other.parameters)

    def __hash__(self) -> int:
        return hash(self.forward_path)

    def __str__(self) -> str:
        return str(self.forward_path)

    @property
    def local_part(self) -> str:
        """What stands before the ``@``: without quotes and quoted pairs."""
        return self.forward_path.local_part

    @property
    def domain(self) -> str:
        """What stands behind it, in lower case; ``""`` for ``<Postmaster>``."""
        return self.forward_path.domain

    @property
    def is_postmaster(self) -> bool:
        """
        Whether it is ``<Postmaster>`` without a domain, for whom every server takes mail (§4.5.1).
        """
        return self.forward_path.is_postmaster


class Envelope:
    """
    One mail transaction (RFC 5321 §2.3.1, §3.3), from its MAIL on.

    :ivar connection: whose it is.
    :ivar reverse_path: as MAIL gave it.
    :ivar parameters: those of MAIL, checked and typed: ``envelope.parameters.size``.
    :ivar number: of the transaction on its connection, from 1.
    :ivar recipients: in the order of the commands; only those that were accepted.
    :ivar forwarded: what a trusted server has said by XFORWARD of the client from whom it has the
        message, or ``None``.
    :ivar size_octets: octets of mail data so far, unstuffed, CRLF counted as two.
    """

    __slots__ = (
        "__weakref__",
        "connection",
        "forwarded",
        "kept",
        "number",
        "parameters",
        "recipients",
        "reverse_path",
        "size_octets",
    )

    def __init__(
        self,
        connection: Connection,
        reverse_path: ReversePath,
        parameters: MailParameters = NO_MAIL_PARAMETERS,
        number: int = 1,
    ) -> None:
        self.connection = connection
        self.reverse_path = reverse_path
        self.parameters = parameters
        self.number = number
        self.recipients: list[Recipient] = []
        self.forwarded: XForward | None = None
        self.size_octets = 0
        self.kept: Content | None = None

    def __repr__(self) -> str:
        return f"<Envelope {self.id} from <{self.reverse_path}> to {len(self.recipients)}>"

    @property
    def id(self) -> str:
        """Names the transaction, for logs and files; no two have the same."""
        return f"{self.connection.id}-{self.number}"

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
