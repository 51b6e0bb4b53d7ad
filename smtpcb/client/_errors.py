"""What is wrong with a message that was to be sent, and where in it."""

from __future__ import annotations

from smtpcb.smtp import SMTPError, printable

_SHOWN = 60


class ContentError(SMTPError):
    """
    This message cannot be sent as it is.

    When it comes out of `Outgoing.needs`, nothing has been sent.  When it comes while the content
    is sent, the connection has to be closed without the final dot or the last chunk: SMTP has no
    other way to take a message back, and half of it must not look like the whole.

    :ivar reason: what is wrong.
    :ivar line: the line, counted from 1 in what the caller gave; ``None`` if it is no single line,
        or if the content can be read once only and was not counted.
    """

    def __init__(self, reason: str, line: int | None = None, octets: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self._shown = printable(octets, _SHOWN)

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        shown = f" (the line begins with '{self._shown}')" if self._shown else ""
        return f"{place}{self.reason}{shown}"
