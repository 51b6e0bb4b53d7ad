"""Service extensions, one row per EHLO keyword: when it is offered, and with which parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from smtpcb.engine._settings import Abilities, Settings
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sasl import MECHANISMS


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides on the offer."""

    settings: Settings
    abilities: Abilities
    secure: bool
    authenticated: bool


@dataclass(frozen=True, slots=True)
class Extension:
    """
    One row.

    :ivar keyword: as EHLO says it.
    :ivar offer: its parameters in a situation, ``""`` for none; ``None``: not offered.
    """

    keyword: str
    offer: Callable[[Situation], str | None]


def _always(situation: Situation) -> str | None:
    return ""


def _size(situation: Situation) -> str | None:
    return str(situation.settings.limits.message_octets or 0)  # 0: no limit (RFC 1870 §4)


def _starttls(situation: Situation) -> str | None:
    return "" if situation.abilities.tls and not situation.secure else None


def mechanisms(situation: Situation) -> list[str]:
    """Return the SASL mechanisms that may be used now (RFC 4954 §4)."""
    abilities, settings = situation.abilities, situation.settings
    if not abilities.authentication or situation.authenticated:
        return []
    return [
        name
        for name, row in MECHANISMS.items()
        if situation.secure or settings.allow_insecure_auth or not row.plaintext
    ]


def _auth(situation: Situation) -> str | None:
    return " ".join(mechanisms(situation)) or None


def _if_taken(keyword: str) -> Callable[[Situation], str | None]:
    """Offer what only a handler can honour if it says that it does."""
    return lambda situation: "" if keyword in situation.abilities.extensions else None


EXTENSIONS: tuple[Extension, ...] = (
    Extension("PIPELINING", _always),  # RFC 2920
    Extension("SIZE", _size),  # RFC 1870
    Extension("8BITMIME", _always),  # RFC 6152
    Extension("SMTPUTF8", _always),  # RFC 6531
    Extension("ENHANCEDSTATUSCODES", _always),  # RFC 2034
    Extension("CHUNKING", _always),  # RFC 3030
    Extension("STARTTLS", _starttls),  # RFC 3207
    Extension("AUTH", _auth),  # RFC 4954
    Extension("DSN", _if_taken("DSN")),  # RFC 3461
    Extension("ETRN", lambda situation: "" if situation.abilities.turn else None),  # RFC 1985
    Extension("VRFY", _always),  # RFC 5321 §3.5.2
    Extension("EXPN", lambda situation: "" if situation.abilities.expand else None),
    Extension("HELP", _always),  # RFC 5321 §4.1.1.8
)

HANDLER_EXTENSIONS = frozenset({"DSN"})
"""What a handler may name in its ``extensions``."""


@lru_cache(maxsize=256)
def hello_reply(situation: Situation) -> Reply:
    """Return the standard reply to EHLO (RFC 5321 §4.1.1.1)."""
    lines = [situation.settings.hostname]
    for row in EXTENSIONS:
        parameters = row.offer(situation)
        if parameters is not None:
            lines.append(f"{row.keyword} {parameters}" if parameters else row.keyword)
    return Reply(250, None, lines)


@lru_cache(maxsize=256)
def offered(situation: Situation) -> frozenset[str]:
    """
    Return the keywords whose parameters are understood.

    AUTH= on MAIL goes on being understood after a login, when AUTH itself is no longer offered.
    """
    keywords = {row.keyword for row in EXTENSIONS if row.offer(situation) is not None}
    if situation.authenticated:
        keywords.add("AUTH")
    return frozenset(keywords)
