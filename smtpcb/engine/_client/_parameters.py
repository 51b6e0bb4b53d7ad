"""The commands of a transaction, with no parameter that the server has not offered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._settings import ClientSettings
from smtpcb.engine._client._table import Stage
from smtpcb.engine._client._transaction import Destination, Transaction
from smtpcb.engine._extensions import EXTENSIONS
from smtpcb.smtp._delivery import WhenLate
from smtpcb.smtp._extension import Parameter
from smtpcb.smtp._moment import write_moment
from smtpcb.smtp._parameter import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    BodyType,
    MailParameters,
    RcptParameters,
)

# What each body needs; a message of lines in ASCII needs nothing, and need not say so.
_OF_BODY = {
    BodyType.SEVEN_BIT: ("8BITMIME",),
    BodyType.EIGHT_BIT_MIME: ("8BITMIME",),
    BodyType.BINARY_MIME: ("BINARYMIME", "CHUNKING"),
}
# Where these are not said, nothing is less true (RFC 1870, RFC 4954 §5).
_SEVEN_BIT = MailParameters(body=BodyType.SEVEN_BIT)
_MAY_LACK = frozenset({"SIZE", "AUTH"})


class _Rows(NamedTuple):
    """Parameters of MAIL or RCPT: how they are written, and of which extensions they are."""

    rows: Mapping[str, Parameter]
    homes: Mapping[str, str]


@lru_cache(maxsize=64)
def _rows(settings: ClientSettings) -> tuple[_Rows, _Rows]:
    """Return those of MAIL and of RCPT that are known."""
    mail, rcpt = dict(MailParameters.ROWS), dict(RcptParameters.ROWS)
    mail_homes: dict[str, str] = {}
    rcpt_homes: dict[str, str] = {}
    for one in settings.extensions:
        mail.update(one.mail)
        rcpt.update(one.rcpt)
    for one in (*EXTENSIONS, *settings.extensions):
        mail_homes.update(dict.fromkeys(one.mail, one.keyword))
        rcpt_homes.update(dict.fromkeys(one.rcpt, one.keyword))
    return _Rows(mail, mail_homes), _Rows(rcpt, rcpt_homes)


def written(
    transaction: Transaction,
    destinations: Iterable[Destination],
    offers: Offers,
    settings: ClientSettings,
) -> list[bytes]:
    """
    Return MAIL and each RCPT.

    :raises ClientFailure: the server lacks what is needed, so nothing may be sent.
    :raises ValueError: a value cannot be written.
    """
    size, most = transaction.size_octets, offers.size_octets
    if size is not None and most is not None and size > most:
        raise _limited(f"the message has {size} octets, and the server takes {most} at most")
    left_out: list[str] = []
    mail = b"MAIL FROM:" + transaction.wire
    if size is not None and "SIZE" in offers.keywords:
        mail += b" SIZE=%d" % size
    if transaction.parameters is not NO_MAIL_PARAMETERS:
        mail += _of_mail(transaction, offers, settings, left_out)
    lines = [mail + b"\r\n"]
    plain = mail.isascii()
    for one in destinations:
        rcpt = b"RCPT TO:" + one.wire
        if one.parameters is not NO_RCPT_PARAMETERS:
            rcpt += _of_rcpt(transaction, one, offers, settings, left_out)
        lines.append(rcpt + b"\r\n")
        plain = plain and rcpt.isascii()
    if not plain:
        # Whatever may be lacking: without it, no octet of such an address may be sent.
        _require("SMTPUTF8", ("SMTPUTF8",), offers)
        if not transaction.parameters.smtputf8:
            lines[0] = mail + b" SMTPUTF8\r\n"
    if left_out:
        transaction.left_out = tuple(dict.fromkeys(left_out))
    return lines


def written_later(
    transaction: Transaction, destination: Destination, offers: Offers, settings: ClientSettings
) -> bytes:
    """
    Return RCPT for a recipient who is named behind MAIL.

    :raises ClientFailure: the server lacks what is needed, or has not been told by MAIL.
    :raises ValueError: a value cannot be written.
    """
    left_out = list(transaction.left_out)
    line = b"RCPT TO:" + destination.wire
    line += _of_rcpt(transaction, destination, offers, settings, left_out) + b"\r\n"
    if not line.isascii():
        _require("SMTPUTF8", ("SMTPUTF8",), offers)
        if transaction.wire.isascii() and not transaction.parameters.smtputf8:
            raise ClientFailure(Stage.RCPT, Cause.LACKING, "MAIL was said without SMTPUTF8")
    transaction.left_out = tuple(dict.fromkeys(left_out))
    return line


def _of_rcpt(
    transaction: Transaction,
    destination: Destination,
    offers: Offers,
    settings: ClientSettings,
    left_out: list[str],
) -> bytes:
    known = _rows(settings)[1]
    values = _said(destination.parameters, known, transaction, offers, left_out)
    return RcptParameters.of(values).write(known.rows).encode()


def _of_mail(
    transaction: Transaction, offers: Offers, settings: ClientSettings, left_out: list[str]
) -> bytes:
    if transaction.parameters == _SEVEN_BIT and "8BITMIME" in offers.keywords:
        return b" BODY=7BIT"  # the most usual of all, and the rest would find nothing else
    mail = _rows(settings)[0]
    values = _said(transaction.parameters, mail, transaction, offers, left_out)
    values.pop("SIZE", None)
    words = MailParameters.of(values).write(mail.rows).encode()
    by, seconds, until = map(values.get, ("BY", "HOLDFOR", "HOLDUNTIL"))
    least, most = offers.number("DELIVERBY"), offers.number("FUTURERELEASE")
    latest = None if until is None else offers.moment("FUTURERELEASE")
    if by is not None and least is not None and by.late is WhenLate.RETURN and by.seconds < least:
        raise _limited(f"the server needs {least} seconds to deliver")  # RFC 2852 §4.1.4.3
    if seconds is not None and most is not None and seconds > most:
        raise _limited(f"the server holds messages for {most} seconds at most")  # RFC 4865 §4
    if until is not None and latest is not None and until > latest:
        raise _limited(f"the server holds messages until {write_moment(latest)} at most")
    return words


def _said(
    parameters: Mapping[str, Any],
    known: _Rows,
    transaction: Transaction,
    offers: Offers,
    left_out: list[str],
) -> dict[str, Any]:
    """Return those parameters that are offered, if the others may be left out."""
    values = {}
    for name, value in parameters.items():
        needed = _OF_BODY[BodyType(value)] if name == "BODY" else (known.homes.get(name, name),)
        may_lack = name in _MAY_LACK or transaction.may_lack.issuperset(needed)
        if name == "BODY":
            # Octets that are no lines cannot be sent otherwise.
            may_lack = value == BodyType.SEVEN_BIT or (may_lack and len(needed) == 1)
        if offers.keywords.keys() >= set(needed):
            values[name] = value
        elif may_lack:
            left_out.append(name)
        else:
            _require(name, needed, offers)
    return values


def _require(name: str, needed: Iterable[str], offers: Offers) -> None:
    lacking = [keyword for keyword in needed if keyword not in offers.keywords]
    if lacking:
        raise ClientFailure(
            Stage.MAIL, Cause.LACKING, f"{name} needs {' and '.join(lacking)}, which is not offered"
        )


def _limited(text: str) -> ClientFailure:
    return ClientFailure(Stage.MAIL, Cause.LIMIT, text, temporary=False)
