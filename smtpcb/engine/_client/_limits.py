"""How many messages and recipients a server takes in a session (LIMITS, RFC 9422)."""

from __future__ import annotations

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._table import Stage
from smtpcb.engine._client._transaction import Destination, Transaction

TOO_MANY = "more recipients than the server takes"


def chosen(
    transaction: Transaction, remaining: list[Destination], offers: Offers, transactions: int
) -> list[Destination]:
    """
    Return the recipients of a transaction that are tried now; the others are for the next time.

    :param remaining: its recipients for whom something is left to be done.
    :param transactions: how many there have been in the session.
    :raises ClientFailure: there can be none.
    """
    limits = offers.limits
    if not limits:
        return remaining
    if transactions >= limits.get("MAILMAX", transactions + 1):
        raise ClientFailure(Stage.MAIL, Cause.LIMIT, "no more messages in this session")
    found: list[Destination] = []
    for one in remaining:
        if has_room(found, one, offers):
            found.append(one)
    if transaction.require_all_recipients and len(found) < len(remaining):
        raise ClientFailure(Stage.RCPT, Cause.LIMIT, TOO_MANY, temporary=False)
    return found


def has_room(named: list[Destination], another: Destination, offers: Offers) -> bool:
    """Tell whether a server that has set limits takes another recipient beside some."""
    limits = offers.limits
    most, most_domains = limits.get("RCPTMAX"), limits.get("RCPTDOMAINMAX")
    if most is not None and len(named) >= most:
        return False
    domains = {one.forward_path.domain for one in named} if most_domains is not None else set()
    return most_domains is None or len(domains | {another.forward_path.domain}) <= most_domains
