"""What is so for all connections at the moment: no room for mail, an address that guesses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.logger import Logger

from smtpcb.engine._budget import Circumstances
from smtpcb.server._admission import share_of
from smtpcb.smtp import Limits

# Of so many addresses it is known how often they have failed; the one that has been known for
# longest is forgotten first.
MOST_ADDRESSES = 10_000

_log = Logger(namespace="smtpcb.server")


class ServerCircumstances(Circumstances):
    """
    Those of one server.

    :param limits: how often an address may fail, and for how long it is remembered.
    :param seconds: tells the time.
    """

    __slots__ = ("_failures", "_limits", "_seconds")

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        super().__init__()
        self._limits = limits
        self._seconds = seconds
        # By what counts as one address: how often, and since when.
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def may_log_in(self, address: str) -> bool:
        """Whether a client of that address may try; one that may not need not come either."""
        most = self._limits.auth_failures_per_address
        if most is None:
            return True
        share = share_of(address)
        if share is None:
            return True
        count, _ = self._known(share)
        return count < most

    def login_failed(self, address: str) -> None:
        """Count it, and say so in the log when it was the last one."""
        most = self._limits.auth_failures_per_address
        share = share_of(address)
        if most is None or share is None:
            return
        count, since = self._known(share)
        self._failures[share] = count + 1, since
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        if count + 1 == most:
            _log.warn(
                "{address} has failed to log in {count} times: it is let alone for "
                "{seconds:.0f} seconds",
                address=share,
                count=most,
                seconds=since + self._limits.auth_failure_seconds - self._seconds(),
            )

    def _known(self, share: str) -> tuple[int, float]:
        now = self._seconds()
        count, since = self._failures.get(share, (0, now))
        if now - since >= self._limits.auth_failure_seconds:
            del self._failures[share]
            return 0, now
        return count, since
