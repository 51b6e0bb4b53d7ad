"""
Logins of one address: those that have failed make its next ones wait, over all its connections.

A bucket for each address (IPv6: each /64) that is filled by tries and drained by time; a try that
did not fail is taken out again.  While it is full, the next try has to wait, before anybody is
asked and so before a password costs anything; where that would take too long it is refused for
now.  A connection that waits holds nobody else up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smtpcb.engine import replies
from smtpcb.server._admission import SILENCE_SECONDS, share_of
from smtpcb.smtp import Limits, Reply

# Longer than that nobody waits: a mail program would give up.
MOST_SECONDS = 30.0
# Who can come from more networks than that has a cure of his own.
MOST_ADDRESSES = 10_000

_log = Logger(namespace="smtpcb.server")


class Logins:
    """
    Who may try to log in, and when.

    :param limits: how many failures are free.
    :param reactor: for the waiting.
    :param seconds: tells the time.
    """

    def __init__(self, limits: Limits, reactor: Any, seconds: Callable[[], float]) -> None:
        self._free = limits.logins_slowed_after
        self._step = limits.login_slow_seconds
        self._reactor = reactor
        self._seconds = seconds
        #: When all that an address has done wrong is forgotten; who tried last is the last.
        self.forgotten: OrderedDict[str, float] = OrderedDict()
        self._silent_until = float("-inf")

    def admit(self, address: str) -> Deferred[None] | Reply | None:
        """
        Ask whether a try may begin.

        :param address: the client's, as text; loopback and UNIX sockets always may.
        :return: ``None``: now; a Deferred: when it fires; a reply: not now.
        """
        share = share_of(address)
        if share is None or self._free is None:
            return None
        now = self._seconds()
        until = max(self.forgotten.get(share, now), now)
        wait = until - now - (self._free - 1) * self._step
        if wait > 0:
            self._tell(address, now)
            if wait > MOST_SECONDS:
                return replies.AUTH_LATER
        self._remember(share, until + self._step)
        if wait <= 0:
            return None
        return deferLater(self._reactor, wait)

    def decided(self, address: str, reply: Reply) -> None:
        """Take a try out again that was no failure: a yes, or nobody can tell now."""
        share = share_of(address)
        if share is not None and share in self.forgotten and reply.code < 500:
            self.forgotten[share] -= self._step
            if self.forgotten[share] <= self._seconds():
                del self.forgotten[share]

    def _remember(self, share: str, until: float) -> None:
        forgotten = self.forgotten
        forgotten[share] = until
        forgotten.move_to_end(share)
        if len(forgotten) > MOST_ADDRESSES:
            forgotten.popitem(last=False)

    def _tell(self, address: str, now: float) -> None:
        if now >= self._silent_until:
            self._silent_until = now + SILENCE_SECONDS
            _log.warn("too many failed logins from {address}: its next ones wait", address=address)
