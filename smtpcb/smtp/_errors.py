"""Whose fault it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, overload

from smtpcb.smtp._reply import Reply


class SMTPError(Exception):
    """Everything smtpcb raises on purpose."""


class Refusal(SMTPError):  # noqa: N818 - a verdict, not a fault
    """
    Your object says no; the client gets exactly this reply.

    Raising it from a handler is the same as returning its reply, from however deep:
    ``Refusal()`` is the event's own no, ``Refusal(550)``, ``Refusal(550, "text")``,
    ``Refusal(550, "5.1.1", "text")`` and ``Refusal(reply)`` say more.

    :ivar answer: the `Reply`, or ``False``: what `Reply.from_verdict` takes.
    :raises ValueError: it would not be a refusal, but a yes; or such a code or status does not
        exist.
    :raises TypeError: it is nothing that a handler could answer.
    """

    answer: Reply | Literal[False]

    @overload
    def __init__(self, answer: Reply | int | tuple[object, ...] = ..., /) -> None: ...

    @overload
    def __init__(self, code: int, text: str | Iterable[str], /) -> None: ...

    @overload
    def __init__(self, code: int, status: str | None, text: str | Iterable[str], /) -> None: ...

    def __init__(self, *answer: object) -> None:
        verdict = Reply.from_verdict(answer[0] if len(answer) == 1 else answer or False)
        if verdict is True or (isinstance(verdict, Reply) and verdict.positive):
            raise ValueError("a Refusal says no: its reply is 4yz or 5yz")
        self.answer = verdict
        super().__init__(verdict)

    def __str__(self) -> str:
        return self.answer.text if isinstance(self.answer, Reply) else "refused"


class PeerProtocolError(SMTPError):
    """
    The other side broke a rule; the reply says which.

    :param reply: what the client is told.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class LocalProtocolError(SMTPError):
    """The calling code did something that is never right: a bug, not mail."""
