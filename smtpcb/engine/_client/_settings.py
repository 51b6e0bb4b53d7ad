"""ClientSettings: how a client leads its sessions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from smtpcb.engine._keywords import check_own
from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._text import printable, upper
from smtpcb.smtp._xclient import XCLIENT, XClient, write_attributes
from smtpcb.smtp.sasl import MECHANISMS, Mechanism

_NAME = re.compile(f"{grammar.DOMAIN}|{grammar.ADDRESS_LITERAL}")

_CHOICES = {
    "starttls": ("off", "opportunistic", "required"),
    "login": ("off", "optional", "required"),
}
_SWITCHES = ("lmtp", "allow_insecure_auth", "next_mechanism")


@dataclass(frozen=True, slots=True, eq=False)
class ClientSettings:
    """
    How sessions are led; made once, and used by many.

    :ivar hostname: who we say we are: a domain or an address literal (RFC 5321 §4.1.1.1);
        ``None``: this machine, as whoever has the connection finds it out.
    :ivar lmtp: speak LMTP and not SMTP (RFC 2033): each recipient has a reply of its own.
    :ivar starttls: ``"off"``; ``"opportunistic"``: where it is offered; ``"required"``: nothing is
        sent without it.  Offered and then refused ends a session in either case: somebody may have
        made it so.  A connection that has TLS already needs none.
    :ivar login: ``"off"``; ``"optional"``: go on without, if nobody could be logged in;
        ``"required"``.  EHLO is not repeated behind it: what a server can do changes with a
        security layer of SASL only (RFC 4954 §4), which no mechanism here has.
    :ivar mechanisms: those of AUTH that may be used, in the order in which they are tried, by name,
        and your own; ``None``: all that we know, in the server's order.
    :ivar next_mechanism: where a login is refused, try the next mechanism too.  It is the same
        password, and servers count.
    :ivar allow_insecure_auth: say passwords outside TLS as well.
    :ivar require: keywords that a server must offer once TLS is there, or no message is sent.
    :ivar without: keywords that are not used, although they are offered.
    :ivar extensions: service extensions of your own, for their parameters.
    :ivar xclient: for whom we speak: a server that trusts us is told by XCLIENT, before a login
        (Postfix's XCLIENT_README).  To one that does not offer it no message is sent.
    :ivar chunk_octets: how much of a message is gathered for one BDAT.
    :raises ValueError: one of them cannot be.
    :raises TypeError: one is of another type.
    """

    hostname: str | None = None
    lmtp: bool = False
    starttls: Literal["off", "opportunistic", "required"] = "required"
    login: Literal["off", "optional", "required"] = "off"
    mechanisms: tuple[str | Mechanism, ...] | None = None
    next_mechanism: bool = False
    allow_insecure_auth: bool = False
    require: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    extensions: tuple[Extension, ...] = ()
    xclient: XClient | None = None
    chunk_octets: int = 65_536

    def __post_init__(self) -> None:
        put = object.__setattr__
        hostname = self.hostname
        if not isinstance(hostname, str | None):
            raise TypeError(f"hostname is a str, not {hostname!r:.40}")
        if hostname is not None and not is_hostname(hostname):
            raise ValueError(f"hostname is no domain or address literal: {hostname!r:.80}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is True or False, not {getattr(self, name)!r:.40}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}")
        if self.xclient is not None and not isinstance(self.xclient, XClient):
            raise TypeError(f"xclient is an XClient, not {self.xclient!r:.40}")
        if self.xclient is not None:
            try:
                write_attributes(self.xclient, XCLIENT, XCLIENT)
            except ValueError as error:
                raise ValueError(f"xclient cannot be said: {error}") from None
        size = self.chunk_octets
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"chunk_octets is a number of octets, not {size!r:.40}")
        for name in ("require", "without"):
            put(self, name, keywords(name, getattr(self, name)))
        put(self, "extensions", tuple(self.extensions))
        if not all(isinstance(one, Extension) for one in self.extensions):
            raise TypeError("extensions are Extensions")
        check_own(self.extensions)
        if self.mechanisms is not None:
            put(self, "mechanisms", _mechanisms(self.mechanisms))


def is_hostname(text: str) -> bool:
    """Whether somebody may be called so in EHLO: it is a domain or an address literal."""
    return text.isascii() and len(text) <= 255 and _NAME.fullmatch(text) is not None


def keywords(name: str, given: Any) -> frozenset[str]:
    """
    Return keywords in upper case.

    :param name: what they are, for the error.
    :raises TypeError: it is no collection of text.
    :raises ValueError: one is no keyword.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{name} is a set of keywords, such as {{'DSN'}}, not {given!r:.40}")
    found = set()
    for word in given:
        if not isinstance(word, str):
            raise TypeError(f"{name} is a set of keywords, which are text, not {word!r:.40}")
        if not grammar.KEYWORD.fullmatch(word):
            raise ValueError(f"{name} has {printable(word, 64)!r}, which is no keyword")
        found.add(upper(word))
    return frozenset(found)


def _mechanisms(given: Any) -> tuple[Mechanism, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"mechanisms is some names, such as ('PLAIN', 'LOGIN'), not {given!r:.40}")
    found: dict[str, Mechanism] = {}
    for one in given:
        if not isinstance(one, (str, Mechanism)):
            raise TypeError(f"a mechanism is a name or a Mechanism, not {one!r:.40}")
        row = MECHANISMS.get(upper(one)) if isinstance(one, str) else one
        if row is None:
            known = ", ".join(MECHANISMS)
            raise ValueError(f"mechanisms names {one!r:.40}, and there are {known}")
        found.setdefault(row.name, row)
    return tuple(found.values())
