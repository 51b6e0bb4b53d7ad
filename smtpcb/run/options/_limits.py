"""How much one client may ask for: a row for each field of `Limits` that can be set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from smtpcb._amounts import octets, seconds, whole_seconds
from smtpcb.run.options._option import Option
from smtpcb.run.options._values import (
    at_least,
    count,
    octets_or_times,
    octets_per_second,
    or_none,
    positive,
    verb_and_count,
)
from smtpcb.smtp._limits import Limits

_DEFAULTS = {row.name: row.default for row in fields(Limits) if row.default is not MISSING}


def _limit(limit: str, kind: Callable[[str], Any], metavar: str, text: str) -> Option:
    # A limit has one name, which is that of its field.
    return Option(limit.replace("_", "-"), kind, _DEFAULTS[limit], text, metavar, limit=limit)


ROWS: tuple[Option, ...] = (
    _limit(
        "message_octets",
        or_none(at_least(1, octets)),  # RFC 1870 §4: SIZE 0 says that there is no limit
        "OCTETS",
        "Longest message.",
    ),
    _limit("recipients", or_none(count), "N", "Most recipients of a message."),
    _limit(
        "connections",
        or_none(count),
        "N",
        "Most clients at once; each of several workers takes its share of them.",
    ),
    _limit(
        "connections_per_address",
        or_none(count),
        "N",
        "Most clients at once from one address; loopback is exempt.  Each worker counts its own.",
    ),
    _limit(
        "connections_per_network",
        or_none(count),
        "N",
        "The same for one IPv6 network of 48 bits.",
    ),
    _limit("errors", or_none(count), "N", "Errors that end a session."),
    _limit("free_errors", or_none(count), "N", "Errors answered without a delay."),
    _limit("messages", or_none(count), "N", "Messages in one session."),
    Option(
        "commands-per-verb",
        verb_and_count,
        (),
        "How often one session may give a command, such as VRFY=10; may be repeated.",
        "VERB=N",
        many=True,
        commas=True,
        limit="commands_per_verb",
    ),
    _limit("octets_in", or_none(octets), "OCTETS", "How much one session may send."),
    _limit("octets_out", or_none(octets), "OCTETS", "How much one session may be told."),
    _limit(
        "refusals",
        or_none(count),
        "N",
        "Refused recipients and the like that end it, where no message is accepted meanwhile.",
    ),
    _limit(
        "idle_commands",
        or_none(count),
        "N",
        "Commands that bring no message nearer, between two messages.",
    ),
    _limit(
        "auth_failures",
        or_none(count),
        "N",
        "Refused logins that end it.",
    ),
    _limit(
        "auth_failures_per_address",
        or_none(at_least(1, count)),
        "N",
        "Refused logins after which an address may neither log in nor come again for a while; "
        "loopback is exempt.",
    ),
    _limit(
        "auth_failure_seconds",
        positive,
        "SECONDS",
        "How long that is, from the first of them on.",
    ),
    _limit(
        "logins_slowed_after",
        or_none(count),
        "N",
        "Refused logins from one address after which its next ones wait; loopback is exempt.",
    ),
    _limit("login_slow_seconds", positive, "SECONDS", "How long that is, for each."),
    _limit("command_octets", at_least(512, octets), "OCTETS", "Longest command."),
    _limit("auth_octets", at_least(512, octets), "OCTETS", "Longest AUTH response."),
    _limit("header_octets", octets, "OCTETS", "How much of a header is parsed."),
    _limit(
        "hold_seconds",
        at_least(1, whole_seconds),
        "SECONDS",
        "How long FUTURERELEASE may have a message held, where the handler honours it.",
    ),
    _limit(
        "deliver_by_seconds",
        whole_seconds,
        "SECONDS",
        "Shortest time that DELIVERBY may ask for, where the handler honours it; 0: any.",
    ),
    _limit("idle_seconds", positive, "SECONDS", "How long to wait for a command."),
    _limit(
        "session_seconds",
        or_none(positive),
        "SECONDS",
        "How long a connection may last.",
    ),
    _limit(
        "greeting_seconds",
        seconds,
        "SECONDS",
        "Hold the greeting back for so long, and refuse early talkers: who speaks before it.",
    ),
    _limit(
        "content_octets_per_second",
        or_none(octets_per_second),
        "OCTETS",
        "Slowest message taken, in octets a second.",
    ),
    _limit(
        "handshake_seconds",
        positive,
        "SECONDS",
        "How long a handshake may take.",
    ),
    _limit(
        "decision_seconds",
        positive,
        "SECONDS",
        "How long an answer may take.",
    ),
    _limit(
        "message_seconds",
        positive,
        "SECONDS",
        "The same for a complete message.",
    ),
    _limit(
        "handler_seconds",
        or_none(positive),
        "SECONDS",
        "How long all answers to one session may take together.",
    ),
    _limit(
        "grace_seconds",
        seconds,
        "SECONDS",
        "How long transactions go on when we stop.",
    ),
    _limit(
        "min_free",
        or_none(octets_or_times),
        "OCTETS",
        "How much must be free on disks that mail is written to, or as a number of the longest "
        "messages, such as 2x.",
    ),
)
