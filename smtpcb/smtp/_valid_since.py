"""Since when a mailbox must have been the same person's: RRVS, both ways (RFC 7293)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from smtpcb.smtp._moment import read_moment, write_moment
from smtpcb.smtp._text import upper


@dataclass(frozen=True, slots=True)
class ValidSince:
    """
    Since when the sender knows whose mailbox that is (RFC 7293 §3).

    :ivar moment: aware; a mailbox that has got another owner after it must refuse the message.
    :ivar or_else_continue: the message may go on to a server that does not know of this (``;C``);
        otherwise it must be returned there.
    """

    moment: datetime
    or_else_continue: bool = False


def read_valid_since(text: str | None) -> ValidSince:
    """Read since when a mailbox must have been the same person's."""
    moment, semicolon, action = (text or "").partition(";")
    action = upper(action)
    if semicolon and action not in ("C", "R"):
        raise ValueError("C or R")
    return ValidSince(read_moment(moment), or_else_continue=action == "C")


def write_valid_since(value: ValidSince) -> str:
    """Write since when a mailbox must have been the same person's."""
    return write_moment(value.moment) + (";C" if value.or_else_continue else "")
