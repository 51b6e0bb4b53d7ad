"""
Extension and Parameter: what a service extension is, in one record (RFC 5321 §2.2).

Ours are rows of them, and whoever needs another one makes a record of his own::

    TICKET = Extension(
        "XTICKET",
        mail={"XTICKET": Parameter(read_xtext, write_xtext)},
        verbs={"XTICKETS": tickets_left},
    )
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp._text import upper

# With a keyword before it, it fits into one line of a reply (RFC 5321 §4.5.3.1.5).
MAXIMUM_OFFER_OCTETS = 400
_OFFER = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
_VERB = re.compile("[A-Za-z][A-Za-z0-9-]*")

NOTHING: Mapping[str, Any] = MappingProxyType({})


def _as_text(value: object) -> str | None:
    return None if value is True else str(value)


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    A parameter of MAIL or RCPT: what it may say, and what it means.

    :ivar read: makes the value of its text, ``None`` where no ``=`` stood; ValueError if it
        cannot.
    :ivar write: makes the text of the value again, ``None`` for no ``=``.
    """

    read: Callable[[str | None], Any]
    write: Callable[[Any], str | None] = _as_text


@dataclass(frozen=True, slots=True)
class Extension:
    """
    A service extension (RFC 5321 §2.2).

    :ivar keyword: as EHLO says it.
    :ivar offer: what EHLO says behind the keyword, ``""`` for nothing; or a function of the
        situation (it has ``secure`` and ``authenticated``) that returns it, or ``None``: not
        offered now.
    :ivar mail: its parameters of MAIL, by keyword.
    :ivar rcpt: its parameters of RCPT, by keyword.
    :ivar verbs: its commands: called with the argument and the connection, a function returns a
        verdict.
    :ivar handler_must_honour: offered only if the handler says, in its ``extensions``, that it
        does what the parameters ask for.
    :ivar lasts: a function of the situation that says whether the parameters go on being
        understood where the keyword is not offered any more.
    :raises ValueError: a name or a text cannot be said in SMTP.
    """

    keyword: str
    offer: str | Callable[[Any], str | None] = ""
    mail: Mapping[str, Parameter] = field(default_factory=lambda: NOTHING)
    rcpt: Mapping[str, Parameter] = field(default_factory=lambda: NOTHING)
    verbs: Mapping[str, Callable[..., object]] = field(default_factory=lambda: NOTHING)
    handler_must_honour: bool = False
    lasts: Callable[[Any], bool] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "keyword", _name(self.keyword, grammar.KEYWORD, "an EHLO keyword"))
        if isinstance(self.offer, str):
            _sayable(self.offer)
        for attribute, pattern, what in (
            ("mail", grammar.KEYWORD, "a parameter"),
            ("rcpt", grammar.KEYWORD, "a parameter"),
            ("verbs", _VERB, "a verb"),
        ):
            rows = {
                _name(name, pattern, what): row for name, row in getattr(self, attribute).items()
            }
            put(self, attribute, MappingProxyType(rows))

    def __hash__(self) -> int:
        return hash(self.keyword)

    def offered(self, situation: object) -> str | None:
        """
        Return what EHLO says behind the keyword now; ``None``: it does not say it.

        :raises ValueError: a function returned what EHLO cannot say in one line.
        """
        if isinstance(self.offer, str):
            return self.offer
        offer = self.offer(situation)
        return None if offer is None else _sayable(offer)


def _sayable(offer: str) -> str:
    if len(offer) > MAXIMUM_OFFER_OCTETS or not _OFFER.fullmatch(offer):
        raise ValueError(f"EHLO cannot say {offer!r:.80}")
    return offer


def _name(name: str, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(name, str) or len(name) > 64 or not pattern.fullmatch(name):
        raise ValueError(f"{name!r} cannot be {what}")
    return upper(name)
