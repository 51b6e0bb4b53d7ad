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

import inspect
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


class ExtensionFailed(Exception):  # noqa: N818 - it is what became of a parameter
    """
    A function of somebody's extension has raised what it may not; why is the cause.

    :ivar what: which function, of which parameter.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    A parameter of MAIL or RCPT: what it may say, and what it means.

    :ivar read: makes the value of its text, ``None`` where no ``=`` stood; ValueError if it
        cannot.
    :ivar write: makes the text of the value again, ``None`` for no ``=``.
    :raises TypeError: one of them cannot be called so, or would have to be awaited.
    """

    read: Callable[[str | None], Any]
    write: Callable[[Any], str | None] = _as_text

    def __post_init__(self) -> None:
        _callable(self.read, ("text",), "Parameter.read")
        _callable(self.write, ("value",), "Parameter.write")


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
        verdict, now or later.
    :ivar handler_must_honour: offered only if the handler says, in its ``extensions``, that it
        does what the parameters ask for.
    :ivar lasts: a function of the situation that says whether the parameters go on being
        understood where the keyword is not offered any more.
    :ivar changes: ``offer`` is asked anew for each EHLO, since it says something else with time;
        otherwise once, for all connections in that situation.
    :raises ValueError: a name or a text cannot be said in SMTP.
    :raises TypeError: something is of another type, or cannot be called as it will be.
    """

    keyword: str
    offer: str | Callable[[Any], str | None] = ""
    mail: Mapping[str, Parameter] = field(default_factory=lambda: NOTHING)
    rcpt: Mapping[str, Parameter] = field(default_factory=lambda: NOTHING)
    verbs: Mapping[str, Callable[..., object]] = field(default_factory=lambda: NOTHING)
    handler_must_honour: bool = False
    lasts: Callable[[Any], bool] | None = None
    changes: bool = False

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "keyword", _name(self.keyword, grammar.KEYWORD, "an EHLO keyword"))
        offer, lasts = self.offer, self.lasts
        if isinstance(offer, str):
            _sayable(offer)
        else:
            _callable(offer, ("situation",), f"offer of {self.keyword}")
        if lasts is not None:
            _callable(lasts, ("situation",), f"lasts of {self.keyword}")
        for switch in ("handler_must_honour", "changes"):
            if not isinstance(getattr(self, switch), bool):
                raise TypeError(f"{switch} of {self.keyword} is True or False")
        for attribute, pattern, what in (
            ("mail", grammar.KEYWORD, "a parameter"),
            ("rcpt", grammar.KEYWORD, "a parameter"),
            ("verbs", _VERB, "a verb"),
        ):
            given = getattr(self, attribute)
            if not isinstance(given, Mapping):
                raise TypeError(f"{attribute} of {self.keyword} is a mapping, by name")
            rows = {_name(name, pattern, what): row for name, row in given.items()}
            if len(rows) < len(given):
                raise ValueError(f"{attribute} of {self.keyword} has a name twice")
            put(self, attribute, MappingProxyType(rows))
        for name, row in (*self.mail.items(), *self.rcpt.items()):
            if not isinstance(row, Parameter):
                raise TypeError(f"{name} of {self.keyword} is a Parameter, not {row!r:.40}")
        for name, verb in self.verbs.items():
            _callable(verb, ("argument", "connection"), name, waits=True)

    def __hash__(self) -> int:
        return hash(self.keyword)

    def offered(self, situation: object) -> str | None:
        """
        Return what EHLO says behind the keyword now; ``None``: it does not say it.

        :raises ValueError: a function returned what EHLO cannot say in one line.
        :raises TypeError: or what is no text.
        """
        if isinstance(self.offer, str):
            return self.offer
        offer = self.offer(situation)
        return None if offer is None else _sayable(offer)


def _sayable(offer: object) -> str:
    if not isinstance(offer, str):
        raise TypeError(f"EHLO says a str, or None for nothing, not {type(offer).__name__}")
    if len(offer) > MAXIMUM_OFFER_OCTETS or not _OFFER.fullmatch(offer):
        raise ValueError(f"EHLO cannot say {offer!r:.80}")
    return offer


def _callable(given: object, arguments: tuple[str, ...], what: str, *, waits: bool = False) -> None:
    """Check that a user's function can be called as it will be, as far as it tells."""
    call = f"({', '.join(arguments)})"
    if not callable(given):
        raise TypeError(f"{what} is a function {call}, not {given!r:.40}")
    if not waits and inspect.iscoroutinefunction(given):
        raise TypeError(f"{what} answers at once: it cannot be async def")
    try:
        signature = inspect.signature(given)
    except (ValueError, TypeError):  # a type written in C says nothing of its arguments
        return
    try:
        bound = signature.bind(*arguments)
    except TypeError:
        raise TypeError(f"{what}{signature} cannot be called as {call}") from None
    if any(name in arguments and bound.arguments[name] != name for name in bound.arguments):
        raise TypeError(f"{what}{signature} is called as {call}: its arguments are swapped")


def _name(name: str, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(name, str) or len(name) > 64 or not pattern.fullmatch(name):
        raise ValueError(f"{name!r} cannot be {what}")
    return upper(name)
