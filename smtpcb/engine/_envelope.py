"""Envelope: what one mail transaction has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import BinaryIO, Protocol

from smtpcb.engine._connection import Connection
from smtpcb.smtp._address import ForwardPath, ReversePath
from smtpcb.smtp._parameter import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)

# Within `Content`, `bytes` is a method.
_Octets = bytes


class Content(Protocol):
    """
    The mail data of a message, taken whole: dots unstuffed, lines ending in CRLF.

    It is valid until the answer to ``message`` has been given.
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

    def mime(self) -> EmailMessage:
        """Return it parsed (RFC 5322, RFC 2045)."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    One accepted RCPT command.

    :ivar forward_path: whom.
    :ivar parameters: those of RCPT, decoded.
    """

    forward_path: ForwardPath
    parameters: RcptParameters = NO_RCPT_PARAMETERS


@dataclass(slots=True, eq=False)
class Envelope:
    """
    One mail transaction (RFC 5321 §2.3.1, §3.3), from its accepted MAIL on.

    :ivar connection: whose it is.
    :ivar reverse_path: as MAIL gave it.
    :ivar parameters: those of MAIL, decoded: ``envelope.parameters.size``.
    :ivar recipients: in the order of the commands; only those that were accepted.
    :ivar size_octets: octets of mail data so far, unstuffed, CRLF counted as two.
    """

    connection: Connection
    reverse_path: ReversePath
    parameters: MailParameters = NO_MAIL_PARAMETERS
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
