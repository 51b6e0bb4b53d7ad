"""Service extensions, one row per EHLO keyword: when it is offered, and with which parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from smtpcb.smtp._command import VERBS
from smtpcb.smtp._extension import Extension, Parameter
from smtpcb.smtp._parameter import MailParameters, RcptParameters
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._xclient import XCLIENT, XFORWARD
from smtpcb.smtp.sasl import MECHANISMS

if TYPE_CHECKING:
    from smtpcb.engine._settings import Abilities, Settings


@dataclass(frozen=True, slots=True)
class Situation:
    """
    What decides on the offer.

    :ivar trusted: the keywords of what the peer is trusted with.
    """

    settings: Settings
    abilities: Abilities
    secure: bool
    authenticated: bool
    trusted: frozenset[str] = frozenset()


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


def _trusted(keyword: str, attributes: Iterable[str]) -> Callable[[Situation], str | None]:
    words = " ".join(attributes)
    return lambda situation: words if keyword in situation.trusted else None


def _rows(kind: Mapping[str, Parameter], *keywords: str) -> Mapping[str, Parameter]:
    return {keyword: kind[keyword] for keyword in keywords}


_MAIL, _RCPT = MailParameters.ROWS, RcptParameters.ROWS

EXTENSIONS: tuple[Extension, ...] = (
    Extension("PIPELINING"),  # RFC 2920
    Extension("SIZE", _size, mail=_rows(_MAIL, "SIZE")),  # RFC 1870
    Extension("8BITMIME", mail=_rows(_MAIL, "BODY")),  # RFC 6152
    Extension("SMTPUTF8", mail=_rows(_MAIL, "SMTPUTF8")),  # RFC 6531
    Extension("ENHANCEDSTATUSCODES"),  # RFC 2034
    Extension("CHUNKING"),  # RFC 3030
    Extension("STARTTLS", _starttls),  # RFC 3207
    # AUTH= on MAIL goes on being understood after a login, when AUTH is no longer offered.
    Extension(
        "AUTH", _auth, mail=_rows(_MAIL, "AUTH"), lasts=lambda situation: situation.authenticated
    ),  # RFC 4954
    Extension(
        "DSN",
        mail=_rows(_MAIL, "RET", "ENVID"),
        rcpt=_rows(_RCPT, "NOTIFY", "ORCPT"),
        handler_must_honour=True,
    ),  # RFC 3461
    Extension("ETRN", lambda situation: "" if situation.abilities.etrn else None),  # RFC 1985
    Extension("VRFY"),  # RFC 5321 §3.5.2
    Extension("EXPN", lambda situation: "" if situation.abilities.expand else None),
    Extension("HELP"),  # RFC 5321 §4.1.1.8
    Extension("XCLIENT", _trusted("XCLIENT", XCLIENT)),  # Postfix's XCLIENT_README
    Extension("XFORWARD", _trusted("XFORWARD", XFORWARD)),  # Postfix's XFORWARD_README
)

HANDLER_EXTENSIONS = frozenset(row.keyword for row in EXTENSIONS if row.handler_must_honour)
"""What a handler may name in its ``extensions``, beside those of `Settings`."""


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """
    What a situation offers, looked up once for all connections in it.

    :ivar reply: the standard reply to EHLO (RFC 5321 §4.1.1.1).
    :ivar keywords: those whose parameters are understood.
    :ivar mail: the parameters of MAIL that are understood.
    :ivar rcpt: the parameters of RCPT that are understood.
    :ivar verbs: the commands of users' own extensions, by verb.
    :ivar utf8: SMTPUTF8 is among them.
    :ivar faults: which functions of users' extensions have failed, and with what; what they were
        asked about is not offered.
    """

    reply: Reply
    keywords: frozenset[str]
    mail: Mapping[str, Parameter]
    rcpt: Mapping[str, Parameter]
    verbs: Mapping[bytes, Callable[..., object]]
    utf8: bool
    faults: tuple[tuple[str, BaseException], ...]


@lru_cache(maxsize=256)
def offered(situation: Situation, own: tuple[Extension, ...] = ()) -> Offered:
    """
    Return what is offered.

    :param own: the extensions of the user; `check_own` has looked at them.
    """
    lines = [situation.settings.hostname]
    understood: list[Extension] = []
    faults: list[tuple[str, BaseException]] = []
    for row in EXTENSIONS + own:
        if row.handler_must_honour and row.keyword not in situation.abilities.extensions:
            continue
        try:
            parameters = row.offered(situation)
            lasts = parameters is not None or (row.lasts is not None and row.lasts(situation))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() in one is its fault, no more
            faults.append((f"the offer of {row.keyword}", error))
            continue
        if parameters is not None:
            lines.append(f"{row.keyword} {parameters}" if parameters else row.keyword)
        if lasts:
            understood.append(row)
    keywords = frozenset(row.keyword for row in understood)
    return Offered(
        Reply(250, lines, status=None),
        keywords,
        {name: rule for row in understood for name, rule in row.mail.items()},
        {name: rule for row in understood for name, rule in row.rcpt.items()},
        {name.encode("ascii"): act for row in understood for name, act in row.verbs.items()},
        "SMTPUTF8" in keywords,
        tuple(faults),
    )


def check_own(own: tuple[Extension, ...]) -> None:
    """
    Check a user's extensions.

    :raises ValueError: one takes a keyword, a parameter or a verb that is taken already.
    """
    taken: dict[str, set[str]] = {
        "keyword": {row.keyword for row in EXTENSIONS},
        "parameter of MAIL": set(_MAIL),
        "parameter of RCPT": set(_RCPT),
        "verb": {verb.decode("ascii") for verb in VERBS},
    }
    for row in own:
        for what, names in (
            ("keyword", (row.keyword,)),
            ("parameter of MAIL", row.mail),
            ("parameter of RCPT", row.rcpt),
            ("verb", row.verbs),
        ):
            for name in names:
                if name in taken[what]:
                    raise ValueError(f"{name} is a {what} already")
                taken[what].add(name)
