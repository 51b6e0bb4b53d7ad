"""Which event a name was meant for: one that is misspelt, or that another library has."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from smtpcb.engine._handler import DECLARATIONS, EVENTS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What begins the name of a hook in aiosmtpd, smtpd, Twisted, Haraka, qpsmtpd, smtp-server, milters…
_PREFIXES = _words(
    "accept after allow before cb check client cmd do env ext filter got handle handler hook on "
    "process receive received smtp state validate verify"
)
# What may follow there and says nothing more.
_SUFFIXES = _words("addr address command domain event handler hook line post pre received")
# Words of SMTP and of other libraries, with the events they stand for, the likeliest first.
_WORDS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in EVENTS},
    "abort": ("aborted",),
    "auth": ("authenticate",),
    "auth plain": ("authenticate",),
    "plain auth": ("authenticate",),
    "authentication": ("authenticate",),
    "bdat": ("chunk",),
    "body": ("chunk",),
    "chunks": ("chunk",),
    "close": ("disconnected",),
    "closed": ("disconnected",),
    "connect": ("connected",),
    "connection": ("connected",),
    "connection made": ("connected",),
    "connection lost": ("disconnected",),
    "content": ("message", "chunk"),
    "data": ("message", "data"),
    "disconnect": ("disconnected",),
    "disconnection": ("disconnected",),
    "ehlo": ("hello",),
    "envfrom": ("mail",),
    "envrcpt": ("rcpt",),
    "eoh": ("header",),
    "eom": ("message",),
    "expn": ("expand",),
    "from": ("mail",),
    "headers": ("header",),
    "helo": ("hello",),
    "lhlo": ("hello",),
    "line": ("command",),
    "login": ("authenticate",),
    "logout": ("disconnected",),
    "lost": ("disconnected",),
    "mail from": ("mail",),
    "mailfrom": ("mail",),
    "messages": ("message",),
    "queue": ("message",),
    "quit": ("disconnected",),
    "rcpt to": ("rcpt",),
    "rcptto": ("rcpt",),
    "recipient": ("rcpt",),
    "reset": ("aborted",),
    "rset": ("aborted",),
    "secure": ("secured",),
    "sender": ("mail",),
    "start tls": ("secured",),
    "starttls": ("secured",),
    "tls": ("secured",),
    "to": ("rcpt",),
    "turn": ("etrn",),
    "vrfy": ("verify",),
    "welcome": ("connected",),
}
_FAILURES = "a handler that fails is answered 451 and logged by itself"
# What other libraries ask their handlers, and what stands in its place here.
_ELSEWHERE: Mapping[str, str] = {
    "handle exception": _FAILURES,
    "on exception": _FAILURES,
    "get server domain": "our name is said to the server, Settings(hostname=...)",
    "receive data line": "chunk(octets, envelope) has the content as it comes, and in message its "
    "lines are those of envelope.content.open()",
    "max size": "the limit is said to the server, Settings(limits=Limits(message_octets=...))",
    "received header": "smtpcb.received_header(envelope) makes the trace field",
}
# Those that nobody uses for anything else, so that they need nothing in front of them.
_TELLING = _words(
    "auth authentication bdat closed connection disconnect ehlo envfrom envrcpt eoh eom expn "
    "headers helo lhlo login logout mailfrom rcptto recipient rset turn vrfy"
) | {"auth plain", "connection made", "connection lost", "mail from", "rcpt to", "start tls"}

# Names that are near to an event's and are words of their own.
_OTHERS = _words(
    "bail check comment date email extend fail hail heal heap hold leader mailed main messaging "
    "nail reader sail shell tail wail yell"
)
# What a server is told, and handlers are not asked about.
SETTINGS = (
    *("require_tls", "require_auth", "allow_insecure_auth", "lenient_addresses", "bare_newline"),
    "require_client_certificate",
)
# Other words for what a handler says of itself, and nobody uses for anything else.
_SAYINGS: Mapping[str, str] = {
    "auth_required": "require_auth",
    "auth_require_tls": "require_tls",
    "tls_required": "require_tls",
    "requires_auth": "require_auth",
    "requires_tls": "require_tls",
    "concurrent": "concurrent_recipients",
    "concurrent_rcpt": "concurrent_recipients",
    "concurrent_rcpts": "concurrent_recipients",
    "parallel_recipients": "concurrent_recipients",
    "recipients_concurrent": "concurrent_recipients",
    "commands_mask": "command_mask",
    "wants_command": "command_mask",
    "wants_commands": "command_mask",
    "discard_mail": "discards_content",
    "discard_message": "discards_content",
    "discard_messages": "discards_content",
    "discards": "discards_content",
    "discards_mail": "discards_content",
    "discards_message": "discards_content",
    "discards_messages": "discards_content",
    "esmtp_extensions": "extensions",
    "smtp_extensions": "extensions",
}
# How aiosmtpd, Twisted and the standard library's smtpd name what answers a verb.
_OWN_VERB = re.compile(r"(?:smtp|do|cmd|ext)_[A-Z][A-Z0-9]+")
# What other servers are told so, and what ours is; a name that a method of the handler's own speaks
# of is its own.
_ELSEWHERE_SAID: Mapping[str, str] = {
    "auth_optional": "Settings(require_auth=...)",
    "auth_methods": "Settings(mechanisms=...)",
    "auth_exclude_mechanism": "Settings(mechanisms=...)",
    "command_call_limit": "Settings(limits=Limits(commands_per_verb=...))",
    "data_size_limit": "Settings(limits=Limits(message_octets=...))",
    "max_message_size": "Settings(limits=Limits(message_octets=...))",
    "disabled_commands": "Settings(without=...)",
    "hide_8_bitmime": 'Settings(without={"8BITMIME"})',
    "hide_pipelining": 'Settings(without={"PIPELINING"})',
    "hide_starttls": 'Settings(without={"STARTTLS"})',
    "lmtp": "Settings(lmtp=...)",
    "max_clients": "Settings(limits=Limits(connections=...))",
    "require_starttls": "Settings(require_tls=...)",
    "secure": "an endpoint with TLS, --smtps",
    "use_proxy": "SmtpService(proxy_from=...)",
    "use_x_client": "Settings(xclient_from=...)",
    "use_x_forward": "Settings(xforward_from=...)",
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Likeness(enum.Enum):
    """How sure it is that a name was meant for an event."""

    FOREIGN = enum.auto()
    """So it is written in another library or language: ``handle_RCPT``, ``onData``, ``Mail``."""
    HOOK = enum.auto()
    """A hook of another library, or a helper of one's own: ``on_data``, ``process_message``."""
    NEAR = enum.auto()
    """A slip of the keyboard, or another word: ``recpt``, ``login``."""


class Meant(NamedTuple):
    """
    What a name was meant for.

    :ivar events: the likeliest first; none for what no handler is asked here.
    :ivar elsewhere: what stands in its place then.
    """

    events: tuple[str, ...]
    likeness: Likeness
    elsewhere: str = ""


@lru_cache(maxsize=1024)
def meant(name: str) -> Meant | None:
    """Return what a method may have been meant for; ``None`` for a name like any other."""
    if name in EVENTS:
        return None
    words = [word.lower() for word in _WORD.findall(name)]
    if _OWN_VERB.fullmatch(name) and name.partition("_")[2].lower() not in _WORDS:
        return Meant((), Likeness.FOREIGN, "a verb of your own is one of an Extension")
    if " ".join(words) in _ELSEWHERE:
        return Meant((), Likeness.FOREIGN, _ELSEWHERE[" ".join(words)])
    hooked = len(words) > 1 and words[0] in _PREFIXES
    rest = words[1:] if hooked else words
    while len(rest) > 1 and rest[-1] in _SUFFIXES:
        rest, hooked = rest[:-1], True
    word = " ".join(rest)
    if word in _WORDS:
        if name != name.lower() and (
            hooked or word in EVENTS or word in _TELLING or name[0].isupper()
        ):
            return Meant(_WORDS[word], Likeness.FOREIGN)
        if hooked:
            return Meant(_WORDS[word], Likeness.HOOK)
        if word in _TELLING:
            return Meant(_WORDS[word], Likeness.NEAR)
    lowered = name.lower()
    if lowered in _OTHERS:
        return None
    found = nearest(lowered, EVENTS, 1 if len(lowered) < 7 else 2)
    return Meant((found,), Likeness.NEAR) if found is not None else None


@lru_cache(maxsize=1024)  # the same few names are asked about at each start and each exchange
def declared(name: str) -> str | None:
    """
    Return what an attribute may have been meant to say of its handler.

    :return: one of `DECLARATIONS`, or of `SETTINGS`; ``None`` for a name like any other.
    """
    if name in DECLARATIONS:
        return None
    if name in SETTINGS:
        return name
    spelt = "_".join(word.lower() for word in _WORD.findall(name))
    if spelt in DECLARATIONS or spelt in SETTINGS:
        return spelt
    meaning = _SAYINGS.get(spelt)
    if meaning is not None:
        return meaning
    return nearest(spelt, DECLARATIONS, 2) or nearest(spelt, SETTINGS, 2)


def said_elsewhere(name: str) -> str | None:
    """Return where a server is told what an attribute says in other libraries, or ``None``."""
    return _ELSEWHERE_SAID.get("_".join(word.lower() for word in _WORD.findall(name)))


def nearest(name: str, known: Iterable[str], most: int) -> str | None:
    """Return the known name that differs least, in at most so many places, or ``None``."""
    distances = [(distance(name, one), at, one) for at, one in enumerate(known)]
    least, _, found = min(distances)
    return found if least <= most else None


def distance(one: str, other: str) -> int:
    """
    Return how many letters were left out, added, mistaken, or swapped with their neighbour.

    Optimal string alignment, after Damerau (1964).
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(row[-1] + 1, before[j] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
