"""How the process works."""

from __future__ import annotations

from smtpcb.run.options._option import Option
from smtpcb.run.options._values import at_least, count

ROWS: tuple[Option, ...] = (
    Option(
        "workers",
        at_least(1, count),
        None,
        "Serve the ports from so many processes, which one more looks after (default: from one, "
        "without another).",
        "N",
    ),
    Option(
        "no-direct-writes",
        bool,
        False,
        "Leave each reply to the reactor's next turn instead of sending it at once.",
    ),
)
