"""rate: no more messages or recipients in a while from one client, login or sender."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from zope.interface import implementer

from smtpcb._steady import steady_seconds
from smtpcb._words import Kind, no_words, one_of, read_words, seconds, whole_number
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._addresses import address_of
from smtpcb.policies._clients import JUDGES_NOBODY, block_of, network_text, of_everybody
from smtpcb.smtp._address import ReversePath
from smtpcb.smtp._networks import UNIX, Networks
from smtpcb.smtp._reply import Reply

__all__ = ["TOO_MUCH", "RateLimit", "RateLimitPlugin"]

TOO_MUCH = Reply(450, "4.7.1", "Too much mail from you, try again later")
"""What a client hears that has sent too much."""

MOST_KEYS = 100_000
"""Of so many clients the counts are kept; then the one that was quiet longest is forgotten."""


class RateLimit:
    """
    Lets only so many messages or recipients through in a while.

    A client may send all of it at once; then what it may send comes back little by little.
    Counts are kept in memory, of a bounded number of clients, and each worker has its own.

    :param reactor: tells the time.
    :param messages: MAIL commands; None: no limit.
    :param recipients: RCPT commands, refused ones too; None: no limit.
    :param seconds: how long a while is.
    :param by: whose mail is counted together: of an ``address`` (of IPv6 its /64), of a ``login``
        (others are not counted), of a ``sender`` (``<>`` is not counted).
    :param exempt: networks whose clients are not counted; those of UNIX sockets never are.
    :raises ValueError: there is no limit, or one of the values cannot be.
    """

    concurrent_recipients = True

    def __init__(
        self,
        reactor: Any,
        *,
        messages: int | None = None,
        recipients: int | None = None,
        seconds: float = 3600.0,
        by: str = "address",
        exempt: Iterable[str] = (),
    ) -> None:
        if messages is None and recipients is None:
            raise ValueError("messages= or recipients= is wanted")
        if by not in ("address", "login", "sender"):
            raise ValueError(f"by is address, login or sender, not {by!r}")
        if not seconds > 0 or any(n is not None and n < 1 for n in (messages, recipients)):
            raise ValueError("a limit is at least 1, and its time above 0")
        self._by = by
        self._exempt = Networks([*exempt, UNIX])
        clock = steady_seconds(reactor)
        self._messages = None if messages is None else Buckets(messages, seconds, clock)
        self._recipients = None if recipients is None else Buckets(recipients, seconds, clock)

    @property
    def warnings(self) -> list[str]:
        """See `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        return of_everybody("exempt=", self._exempt, JUDGES_NOBODY)

    def mail(self, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.mail`."""
        return self._count(self._messages, envelope)

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        return self._count(self._recipients, envelope)

    def _count(self, buckets: Buckets | None, envelope: Envelope) -> Reply | None:
        key = None if buckets is None else self._key(envelope)
        if buckets is None or key is None or buckets.take(key):
            return None
        return TOO_MUCH

    def _key(self, envelope: Envelope) -> object:
        connection = envelope.connection
        if connection.peer_address in self._exempt:
            return None
        if self._by == "address":
            return block_of(connection.peer_address)
        if self._by == "login":
            return None if connection.identity is None else str(connection.identity)
        sender = envelope.reverse_path
        return None if sender == ReversePath.NULL else address_of(sender)


class Buckets:
    """
    How much each may still take: a bucket of tokens that fills itself.

    :param size: how many there are in a full one.
    :param seconds: in what time an empty one is full again.
    :param clock: tells the time.
    """

    def __init__(self, size: int, seconds: float, clock: Any, most: int = MOST_KEYS) -> None:
        self._size = size
        self._rate = size / seconds
        self._clock = clock
        self._most = most
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: object) -> bool:
        """Take one token; return whether there was one."""
        now = self._clock()
        left, since = self._left.pop(key, (float(self._size), now))
        left = min(self._size, left + (now - since) * self._rate)
        has = left >= 1 or math.isclose(left, 1)
        self._left[key] = (max(0.0, left - 1) if has else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return has


@implementer(ISmtpPolicyPlugin)
class RateLimitPlugin:
    """``--policy rate:messages=N,recipients=N[,seconds=T][,by=address|login|sender]``."""

    name = "rate"
    usage = "rate:messages=N"
    help = (
        "Takes so many messages=N or recipients=N in seconds=1h from one client, by=address, login "
        "or sender; exempt=NETWORK."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> RateLimit:
        """Return a `RateLimit`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        kinds: dict[str, Kind] = {
            "messages": whole_number,
            "recipients": whole_number,
            "seconds": seconds,
            "by": one_of("address", "login", "sender"),
            "exempt": network_text,
        }
        words, said = read_words(argument, kinds, frozenset({"exempt"}))
        no_words(words)
        return RateLimit(setting.reactor, **said)


plugin = RateLimitPlugin()
