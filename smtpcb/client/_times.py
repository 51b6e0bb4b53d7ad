"""ClientTimes: how long a server may take, stage by stage (RFC 5321 §4.5.3.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from smtpcb.engine import Stage


@dataclass(frozen=True, slots=True)
class ClientTimes:
    """
    Seconds that a server may take; past them the link is left.

    :ivar connect: until its addresses are known, and until it has accepted the connection.
    :ivar greeting: until it has said who it is, has answered EHLO, has shaken hands, and in AUTH.
    :ivar envelope: for MAIL, and for each RCPT.
    :ivar data: for DATA.
    :ivar content: until it takes more of the content.
    :ivar final: from the end of the content to its reply, in which it takes responsibility.
    :ivar quit: for QUIT, which matters to nobody.
    :raises ValueError: one of them is not above 0.
    """

    connect: float = 30.0
    greeting: float = 300.0
    envelope: float = 300.0
    data: float = 120.0
    content: float = 180.0
    final: float = 600.0
    quit: float = 5.0

    def __post_init__(self) -> None:
        for row in fields(self):
            value = getattr(self, row.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"{row.name} is a number of seconds above 0, not {value!r:.40}")

    def of(self, stage: Stage) -> float:
        """Return how long the server may take for that."""
        return float(getattr(self, _ROWS.get(stage, "envelope")))


_ROWS = {
    Stage.GREETING: "greeting",
    Stage.HELLO: "greeting",
    Stage.TLS: "greeting",
    Stage.AUTH: "greeting",
    Stage.DATA: "data",
    Stage.CONTENT: "content",
    Stage.FINAL: "final",
    Stage.QUIT: "quit",
}
