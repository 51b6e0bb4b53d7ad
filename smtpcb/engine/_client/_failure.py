"""ClientFailure: why a session ended, or why a message was not sent, and at which stage."""

from __future__ import annotations

import enum

from smtpcb.engine._client._table import Stage
from smtpcb.smtp._errors import SMTPError
from smtpcb.smtp._reply import Reply


class Cause(enum.Enum):
    """Whose doing it was."""

    REFUSED = "the server said no"
    PROTOCOL = "the server broke a rule"
    LOST = "the connection was lost"
    TIMEOUT = "the server took too long"
    TLS = "there is no TLS, and it is wanted"
    LOGIN = "nobody could be logged in"
    LACKING = "the server lacks what is needed"
    LIMIT = "the server takes no more than that"
    SOURCE = "the content failed"
    CANCELLED = "the caller gave it up"

    __hash__ = object.__hash__


# Another server, or the same one another time, would say the same.
_FOR_GOOD = frozenset({Cause.LACKING, Cause.LOGIN})


class ClientFailure(SMTPError):  # noqa: N818 - it is what became of a session
    """
    A session ended early, or a message was not sent.

    :ivar stage: what was under way.
    :ivar cause: whose doing it was.
    :ivar reply: what the server said, if that is why.
    :ivar temporary: to try again later makes sense.
    :ivar elsewhere: another address of the same host may do better: it did not come to a session.
    """

    def __init__(
        self,
        stage: Stage,
        cause: Cause,
        text: str = "",
        reply: Reply | None = None,
        *,
        temporary: bool | None = None,
        elsewhere: bool | None = None,
    ) -> None:
        said = text or cause.value
        super().__init__(f"{stage.value}: {said}" + (f": {reply.text}" if reply else ""))
        if temporary is None:
            temporary = cause not in _FOR_GOOD if reply is None else reply.code < 500
        if elsewhere is None:
            elsewhere = stage is Stage.GREETING or (stage is Stage.HELLO and temporary)
        self.stage = stage
        self.cause = cause
        self.reply = reply
        self.temporary = temporary
        self.elsewhere = elsewhere
