"""What a server has done since it was made: numbers, and a snapshot of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from smtpcb.engine import Connection


@dataclass(frozen=True, slots=True)
class Counters:
    """
    What a server has done.  Each number only grows, but for that of the moment.

    Connections that are there count with what they have done up to now.

    :ivar since: when counting began, in UTC.
    :ivar connections: clients at the moment.
    :ivar arrived: clients that were let in, those at the moment included.
    :ivar turned_away: those that were not, by reason: ``"connections"`` (`Limits`),
        ``"failed logins"``, ``"early"`` (`Limits.greeting_seconds`), ``"stopping"``.
    :ivar octets_in: received; TLS is not counted.
    :ivar octets_out: sent.
    :ivar messages_accepted: those that were answered 2yz.
    :ivar messages_refused: those whose content has come, and was not taken.
    :ivar transactions_aborted: those that ended without a message: RSET, a client that left.
    :ivar recipients_accepted: of all transactions that are over.
    :ivar recipients_refused: by the handler.
    :ivar logins_accepted: those who have logged in.
    :ivar logins_failed: passwords that were wrong.
    :ivar handshakes_done: connections that TLS secures, or has secured.
    :ivar handshakes_failed: those on which it did not come to that.
    :ivar incidents: faults in users' code.
    """

    since: datetime
    connections: int
    arrived: int
    turned_away: Mapping[str, int]
    octets_in: int
    octets_out: int
    messages_accepted: int
    messages_refused: int
    transactions_aborted: int
    recipients_accepted: int
    recipients_refused: int
    logins_accepted: int
    logins_failed: int
    handshakes_done: int
    handshakes_failed: int
    incidents: int

    def __str__(self) -> str:
        """Say what is not 0, in one line."""
        said = [
            f"{row.name} {value}"
            for row in fields(self)
            if isinstance(value := getattr(self, row.name), int) and value
        ]
        said += [f"turned away ({why}) {count}" for why, count in self.turned_away.items()]
        return ", ".join(said).replace("_", " ") or "nothing"


class Tally:
    """
    The numbers of one server.  A connection counts itself while it lasts, and is added at its end.
    """

    def __init__(self) -> None:
        self.since = datetime.now(UTC)
        self.arrived = 0
        self.turned_away: Counter[str] = Counter()
        self.octets_in = 0
        self.octets_out = 0
        self.messages_accepted = 0
        self.messages_refused = 0
        self.transactions_aborted = 0
        self.recipients_accepted = 0
        self.recipients_refused = 0
        self.logins_accepted = 0
        self.logins_failed = 0
        self.handshakes_done = 0
        self.handshakes_failed = 0

    def add(self, connection: Connection) -> None:
        """Add what a connection has done."""
        budget = connection.budget
        self.octets_in += connection.octets_in
        self.octets_out += connection.octets_out
        self.messages_accepted += budget.accepted
        self.messages_refused += budget.refused
        self.transactions_aborted += budget.aborted
        self.recipients_accepted += budget.recipients
        self.recipients_refused += budget.recipients_refused
        self.logins_accepted += budget.authenticated
        self.logins_failed += budget.auth_failures
        self.handshakes_done += connection.tls is not None

    def counters(self, present: Iterable[Connection], incidents: int) -> Counters:
        """
        Return a snapshot.

        :param present: the connections that are there.
        """
        now = copy(self)
        present = list(present)
        for connection in present:
            now.add(connection)
        numbers = {**vars(now), "turned_away": dict(self.turned_away)}
        return Counters(connections=len(present), incidents=incidents, **numbers)
