"""Every number of RFC 5321 §4.5.3, and ours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from smtpcb.smtp._delivery import MAXIMUM_SECONDS

# The least that makes sense; what is not here may be 0.
_LEAST: Mapping[str, int] = {
    "command_octets": 512,  # RFC 5321 §4.5.3.1.4
    "auth_octets": 512,
    "message_octets": 1,
    "recipients": 1,
    "hold_seconds": 1,
}
# The most that can be said in SMTP, or that somebody waits for.
_MOST: Mapping[str, int] = {
    "hold_seconds": MAXIMUM_SECONDS,
    "deliver_by_seconds": MAXIMUM_SECONDS,
    "greeting_seconds": 60,  # a client waits for 5 minutes (RFC 5321 §4.5.3.2.1)
}
# Nobody could do anything within none of these.
_POSITIVE = frozenset(
    {
        "idle_seconds",
        "session_seconds",
        "handler_seconds",
        "content_octets_per_second",
        "handshake_seconds",
        "decision_seconds",
        "message_seconds",
        "auth_failure_seconds",
        "login_slow_seconds",
    }
)

_TIMES = re.compile(r"([1-9][0-9]{0,5})x", re.ASCII)
_VERB = re.compile(r"[A-Z][A-Z0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much one connection may ask for.  Octets count CRLF as two (RFC 1870 §3).

    ``None`` means no limit, where the type allows it.  Each is looked at when it is made: a limit
    that is no such number would show with the first client only.

    :ivar command_octets: longest command line, CRLF included; at least 512 (§4.5.3.1.4), and more
        by each extension's share.
    :ivar auth_octets: longest line of an AUTH exchange (RFC 4954 §4.5: 12288).
    :ivar message_octets: longest message; offered as SIZE (RFC 1870).
    :ivar recipients: most recipients of one message; at least 100 (§4.5.3.1.8).
    :ivar errors: negative replies to commands after which 421 ends the session.
    :ivar free_errors: negative replies after which each further one waits a second.
    :ivar refusals: what may be refused between two accepted messages for other reasons than
        mistakes (recipients, limits, incidents); high enough for honest mailing lists.
    :ivar idle_commands: commands between two messages that do not lead to one.
    :ivar messages: mail transactions in one session.
    :ivar commands_per_verb: how often one session may give a command, by its verb, such as
        ``{"VRFY": 10}``; nothing pays it back.
    :ivar octets_in: how much one session may send, TLS not counted.
    :ivar octets_out: how much it may be told.
    :ivar auth_failures: refused logins after which 421 ends the session.
    :ivar auth_failures_per_address: refused logins after which an address (IPv6: one /64) may
        neither log in nor come again for a while; loopback is exempt.
    :ivar auth_failure_seconds: how long that is, from the first of them on.
    :ivar logins_slowed_after: refused logins from one address (IPv6: one /64), over all its
        connections, after which each further login waits; loopback is exempt.
    :ivar login_slow_seconds: how long that is, and how long it takes until one is forgotten.
    :ivar header_octets: how much of a header section is parsed for ``header`` events.
    :ivar hold_seconds: for how long FUTURERELEASE may ask a message to be held (RFC 4865).
    :ivar deliver_by_seconds: the shortest time in which DELIVERBY may ask for a message to be
        delivered or else returned (RFC 2852); 0: any.
    :ivar idle_seconds: how long a client may take for its next command (§4.5.3.2.7).
    :ivar session_seconds: how long one connection may last.
    :ivar greeting_seconds: how long the greeting is held back; who speaks before it is refused.
        0: it is sent at once, and nobody is.
    :ivar content_octets_per_second: slowest mail data taken, measured over a minute.
    :ivar handshake_seconds: how long a TLS handshake may take.
    :ivar decision_seconds: how long a handler may take for one answer; 300 is what a client waits
        for RCPT (§4.5.3.2.3).
    :ivar message_seconds: the same for the final answer to a message (§4.5.3.2.6).
    :ivar handler_seconds: how long all answers of a handler to one session may take together.
    :ivar grace_seconds: how long transactions may go on when the server stops.
    :ivar connections: clients at once.
    :ivar connections_per_address: clients at once from one address (IPv6: one /64); loopback is
        exempt.
    :ivar connections_per_network: the same for one IPv6 /48, which is easily had.
    :ivar min_free: octets that must be free where messages are written, or MAIL is 452; ``"2x"``
        is twice ``message_octets``, and what is kept here is the number that this makes.
    :raises TypeError: one is no number, or ``None`` where there has to be a limit.
    :raises ValueError: it is a number that nobody can mean.
    """

    command_octets: int = 2048
    auth_octets: int = 12288
    message_octets: int | None = 33_554_432
    recipients: int | None = 1000
    errors: int | None = 20
    free_errors: int | None = 10
    refusals: int | None = 2000
    idle_commands: int | None = 1000
    messages: int | None = None
    commands_per_verb: Mapping[str, int] = field(default_factory=dict, hash=False)
    octets_in: int | None = None
    octets_out: int | None = None
    auth_failures: int | None = 5
    auth_failures_per_address: int | None = None
    auth_failure_seconds: float = 600.0
    logins_slowed_after: int | None = 10
    login_slow_seconds: float = 10.0
    header_octets: int = 1_048_576
    hold_seconds: int = 2_592_000
    deliver_by_seconds: int = 0
    idle_seconds: float = 300.0
    session_seconds: float | None = 3600.0
    greeting_seconds: float = 0.0
    content_octets_per_second: float | None = 100.0
    handshake_seconds: float = 30.0
    decision_seconds: float = 300.0
    message_seconds: float = 600.0
    handler_seconds: float | None = None
    grace_seconds: float = 30.0
    connections: int | None = 1000
    connections_per_address: int | None = 100
    connections_per_network: int | None = 400
    min_free: int | str | None = "2x"

    def __post_init__(self) -> None:
        object.__setattr__(self, "min_free", _octets_of(self.min_free, self.message_octets))
        object.__setattr__(self, "commands_per_verb", _checked_verbs(self.commands_per_verb))
        for row in fields(self):
            if row.name != "commands_per_verb":
                _check(row.name, str(row.type), getattr(self, row.name))


def _octets_of(least: int | str | None, message_octets: int | None) -> int | str | None:
    """Return what ``"2x"`` means; whatever is none such is judged by others."""
    times = _TIMES.fullmatch(least) if isinstance(least, str) else None
    if times is None:
        return least
    return None if message_octets is None else int(times[1]) * message_octets


def _checked_verbs(most: object) -> dict[str, int]:
    """Refuse what is no mapping of verbs to numbers."""
    if not isinstance(most, Mapping):
        raise TypeError(f"commands_per_verb maps verbs to numbers, and is not {most!r:.40}")
    for verb, number in most.items():
        if not isinstance(verb, str) or not _VERB.fullmatch(verb):
            raise ValueError(f"commands_per_verb has no verb in capitals: {verb!r:.40}")
        if verb == "QUIT":
            raise ValueError("commands_per_verb cannot keep anybody from QUIT")
        _check(f"commands_per_verb of {verb}", "int", number)
    return dict(most)


def _check(name: str, kind: str, value: object) -> None:
    """Refuse what is no such limit; `kind` is its type, as it is written above."""
    if value is None and kind.endswith("None"):
        return
    whole = kind.startswith("int")
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        or_none = ", or None" if kind.endswith("None") else ""
        raise TypeError(f"{name} is {wanted}{or_none}, not {value!r:.40}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} cannot be {value}")
    least = _LEAST.get(name, 0)
    if value < least:
        raise ValueError(f"{name} is at least {least}, not {value}")
    if value > _MOST.get(name, value):
        raise ValueError(f"{name} is at most {_MOST[name]}, not {value}")
    if name in _POSITIVE and not value:
        raise ValueError(f"{name} is more than 0")
