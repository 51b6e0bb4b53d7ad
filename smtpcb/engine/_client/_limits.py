"""How many messages and recipients a server takes in a session (LIMITS, RFC 9422)."""

from __future__ import annotations

from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._table import Stage
from smtpcb.engine._client._transaction import Destination, Transaction


def chosen(
    transaction: Transaction, remaining: list[Destination], offers: Offers, transactions: int
) -> list[Destination]:
    """
    Return the recipients of a transaction that are tried now; the others are for the next time.

    :param remaining: its recipients for whom something is left to be done.
    :param transactions: how many there have been in the session.
    :raises ClientFailure: there can be none.
    """
    if not remaining:
        raise ClientFailure(Stage.RCPT, Cause.CANCELLED, "no recipient is left", temporary=False)
    limits = offers.limits
    if not limits:
        return remaining
    if transactions >= limits.get("MAILMAX", transactions + 1):
        raise ClientFailure(Stage.MAIL, Cause.LIMIT, "no more messages in this session")
    most = limits.get("RCPTMAX", len(remaining))
    most_domains = limits.get("RCPTDOMAINMAX", len(remaining))
    domains: set[str] = set()
    found: list[Destination] = []
    for one in remaining:
        domain = one.forward_path.domain
        if len(found) < most and (domain in domains or len(domains) < most_domains):
            domains.add(domain)
            found.append(one)
    if transaction.require_all_recipients and len(found) < len(remaining):
        raise ClientFailure(
            Stage.RCPT, Cause.LIMIT, "more recipients than the server takes", temporary=False
        )
    return found
