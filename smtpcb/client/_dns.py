"""What the DNS says of a name, or why that is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.names import dns
from twisted.names.error import AuthoritativeDomainError, DNSNameError

MOST_ALIASES = 8
"""A name that leads over more CNAME records than that leads nowhere."""


class NoSuchName(Exception):  # noqa: N818 - it is an answer
    """The DNS knows that there is no such name."""


class Unanswered(Exception):  # noqa: N818 - it is what became of a question
    """Nobody knows now: the server is down, slow or refuses, or the names lead in a circle."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What is known of a name.

    :ivar name: the one at the end of the aliases, in lower case.
    :ivar payloads: the records of twisted.names; none is an answer as well.
    """

    name: str
    payloads: Sequence[Any]


async def look_up(resolver: Any, name: str, kind: int, seconds: float, reactor: Any) -> Answer:
    """
    Return the records of one kind that a name has.

    :param resolver: an ``IResolver`` of twisted.names.
    :raises NoSuchName: there is none.
    :raises Unanswered: nobody knows now.
    """
    now, seen = name.lower().rstrip("."), set[str]()
    while True:
        asked = now
        answers = await _query(
            resolver, dns.Query(asked.encode("ascii"), kind, dns.IN), seconds, reactor
        )
        aliases = {
            text_of(one.name): text_of(one.payload.name) for one in answers if one.type == dns.CNAME
        }
        while now in aliases:
            seen.add(now)
            now = aliases[now]
            if now in seen or len(seen) > MOST_ALIASES or not 0 < len(now) < 254 or "\\" in now:
                raise Unanswered(f"the aliases of {name} lead nowhere")
        found = [one.payload for one in answers if one.type == kind and text_of(one.name) == now]
        # Whoever answers for one zone only does not know where an alias leads.
        if found or now == asked:
            return Answer(now, found)


def text_of(name: Any) -> str:
    """Return a name in lower case, without the last dot."""
    text: str = name.name.decode("ascii", "backslashreplace")
    return text.lower().rstrip(".")


async def _query(resolver: Any, query: dns.Query, seconds: float, reactor: Any) -> list[Any]:
    mine: Deferred[Any] = Deferred()
    # Others may wait for the same answer: to give it up is ours alone.
    maybeDeferred(resolver.query, query).addBoth(mine.callback)
    mine.addTimeout(seconds, reactor)
    try:
        answers, _, _ = await mine
    except CancelledError:
        raise
    except (DNSNameError, AuthoritativeDomainError) as fault:
        raise NoSuchName(text_of(query.name)) from fault
    except (defer.TimeoutError, error.TimeoutError) as fault:
        raise Unanswered(f"the DNS does not answer for {text_of(query.name)}") from fault
    except Exception as fault:  # whatever twisted.names makes of what comes from the network
        text = f"the DNS does not know {text_of(query.name)} now: {type(fault).__name__}"
        raise Unanswered(text) from fault
    return list(answers)
