"""Service extensions, one row per EHLO keyword: when it is offered, and with which parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from smtpcb.smtp._extension import Extension, Parameter
from smtpcb.smtp._moment import write_moment
from smtpcb.smtp._parameter import BODY_OF_LINES, MailParameters, RcptParameters
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._xclient import XCLIENT, XFORWARD
from smtpcb.smtp.sasl import MECHANISMS, Mechanism

if TYPE_CHECKING:
    from smtpcb.engine._settings import Abilities, Settings


@dataclass(frozen=True, slots=True)
class Situation:
    """
    What decides on the offer.

    :ivar trusted: the keywords of what the peer is trusted with.
    :ivar certified: the client has given a certificate that says who it is.
    :ivar bound: its TLS has something to bind to.
    """

    settings: Settings
    abilities: Abilities
    secure: bool
    authenticated: bool
    trusted: frozenset[str] = frozenset()
    certified: bool = False
    bound: bool = False


def _size(situation: Situation) -> str | None:
    return str(situation.settings.limits.message_octets or 0)  # 0: no limit (RFC 1870 §4)


def _starttls(situation: Situation) -> str | None:
    return "" if situation.abilities.tls and not situation.secure else None


def mechanisms(situation: Situation) -> dict[str, Mechanism]:
    """Return the SASL mechanisms that may be used now (RFC 4954 §4), in the order of the offer."""
    return {name: row for name, row in _honoured(situation).items() if _fits(row, situation)}


def mechanisms_elsewhere(situation: Situation) -> frozenset[str]:
    """Return those that may be used inside TLS only, where there is none yet."""
    if situation.secure:
        return frozenset()
    inside = replace(situation, secure=True, bound=True)
    honoured = _honoured(situation)
    return frozenset(
        name for name, row in honoured.items() if _fits(row, inside) and not _fits(row, situation)
    )


def _honoured(situation: Situation) -> dict[str, Mechanism]:
    abilities, wished = situation.abilities, situation.settings.mechanisms
    if not abilities.authentication or situation.authenticated:
        return {}
    found: dict[str, Mechanism] = {}
    for one in MECHANISMS if wished is None else wished:
        if isinstance(one, Mechanism):  # the user's, who has somebody that can decide on it
            found[one.name] = one
        elif one in abilities.mechanisms:
            found[one] = MECHANISMS[one]
    return found


def _fits(row: Mechanism, situation: Situation) -> bool:
    in_the_clear = situation.settings.allow_insecure_auth or not row.plaintext
    return (
        (situation.secure or in_the_clear)
        and (situation.bound or not row.binds)
        and (situation.certified or not row.certificate)
    )


def _auth(situation: Situation) -> str | None:
    return " ".join(mechanisms(situation)) or None


def _trusted(keyword: str, attributes: Iterable[str]) -> Callable[[Situation], str | None]:
    words = " ".join(attributes)
    return lambda situation: words if keyword in situation.trusted else None


def _with(*others: str) -> Callable[[Situation], str | None]:
    """Return what offers a keyword that builds on others: not where one of them is off."""
    needed = frozenset(others)
    return lambda situation: "" if needed.isdisjoint(situation.settings.without) else None


def _limits(situation: Situation) -> str | None:
    limits = situation.settings.limits
    said = {"MAILMAX": limits.messages, "RCPTMAX": limits.recipients}
    # RFC 9422 §4: 1 to 6 digits; a limit that is not said is not known, and that is right too.
    return " ".join(f"{name}={most}" for name, most in said.items() if _sayable(most)) or None


def _sayable(most: int | None) -> bool:
    return most is not None and 0 < most <= 999_999


def _deliver_by(situation: Situation) -> str:
    return str(situation.settings.limits.deliver_by_seconds or "")


def _future_release(situation: Situation) -> str:
    seconds = situation.settings.limits.hold_seconds
    latest = latest_release(seconds).replace(microsecond=0)
    return f"{seconds} {write_moment(latest)}"  # RFC 4865 §3


def latest_release(seconds: int) -> datetime:
    """Return until when a message may be held, if that is said now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _rows(kind: Mapping[str, Parameter], *keywords: str) -> Mapping[str, Parameter]:
    return {keyword: kind[keyword] for keyword in keywords}


_MAIL, _RCPT = MailParameters.ROWS, RcptParameters.ROWS

EXTENSIONS: tuple[Extension, ...] = (
    Extension("PIPELINING"),  # RFC 2920
    Extension("SIZE", _size, mail=_rows(_MAIL, "SIZE")),  # RFC 1870
    Extension("8BITMIME", mail={"BODY": BODY_OF_LINES}),  # RFC 6152
    # It needs 8BITMIME: RFC 6531 §3.1.
    Extension("SMTPUTF8", _with("8BITMIME"), mail=_rows(_MAIL, "SMTPUTF8")),
    Extension("ENHANCEDSTATUSCODES"),  # RFC 2034
    Extension("CHUNKING"),  # RFC 3030
    # It needs CHUNKING: RFC 3030 §3.  Its BODY takes the place of the one above.
    Extension(
        "BINARYMIME",
        _with("CHUNKING", "8BITMIME"),
        mail=_rows(_MAIL, "BODY"),
        handler_must_honour=True,
    ),
    Extension("LIMITS", _limits),  # RFC 9422
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
    Extension(
        "DELIVERBY", _deliver_by, mail=_rows(_MAIL, "BY"), handler_must_honour=True
    ),  # RFC 2852
    Extension(
        "FUTURERELEASE",
        _future_release,
        mail=_rows(_MAIL, "HOLDFOR", "HOLDUNTIL"),
        handler_must_honour=True,
        changes=True,
    ),  # RFC 4865
    Extension(
        "MT-PRIORITY",
        lambda situation: situation.settings.priority_profile,
        mail=_rows(_MAIL, "MT-PRIORITY"),
        handler_must_honour=True,
    ),  # RFC 6710
    # Inside TLS only: RFC 8689 §2.
    Extension(
        "REQUIRETLS",
        lambda situation: "" if situation.secure else None,
        mail=_rows(_MAIL, "REQUIRETLS"),
        handler_must_honour=True,
    ),
    Extension("RRVS", rcpt=_rows(_RCPT, "RRVS"), handler_must_honour=True),  # RFC 7293
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
    What a situation offers.

    :ivar reply: the standard reply to EHLO (RFC 5321 §4.1.1.1).
    :ivar keywords: those whose parameters are understood.
    :ivar mail: the parameters of MAIL that are understood.
    :ivar rcpt: the parameters of RCPT that are understood.
    :ivar verbs: the commands of users' own extensions, by verb.
    :ivar utf8: SMTPUTF8 is among them.
    :ivar changes: the next EHLO is to be asked about anew.
    :ivar faults: which functions of users' extensions have failed, and with what; what they were
        asked about is not offered.
    """

    reply: Reply
    keywords: frozenset[str]
    mail: Mapping[str, Parameter]
    rcpt: Mapping[str, Parameter]
    verbs: Mapping[bytes, Callable[..., object]]
    utf8: bool
    changes: bool
    faults: tuple[tuple[str, BaseException], ...]


def offered(situation: Situation, own: tuple[Extension, ...] = ()) -> Offered:
    """
    Return what is offered.

    :param own: the extensions of the user; `check_own` has looked at them.
    """
    lines = [situation.settings.hostname]
    understood: list[Extension] = []
    faults: list[tuple[str, BaseException]] = []
    without = situation.settings.without
    for row in EXTENSIONS + own:
        if row.keyword in without:
            continue
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
        any(row.changes for row in understood),
        tuple(faults),
    )
