"""Settings: what a server is told once; Abilities: what its handler can do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from smtpcb.engine._keywords import check_own, switched_off
from smtpcb.smtp import _grammar as grammar
from smtpcb.smtp._command import Verb
from smtpcb.smtp._extension import Extension
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._networks import Networks
from smtpcb.smtp._reply import Reply
from smtpcb.smtp.sasl import BY_PASSWORD, MECHANISMS, Mechanism

_SWITCHES = (
    *("lmtp", "lenient_addresses", "allow_insecure_auth"),
    *("require_tls", "require_client_certificate", "require_auth"),
)

# One word behind a keyword of EHLO.
_PROFILE = re.compile("(?:[A-Za-z0-9][A-Za-z0-9_-]{0,19})?")
_HOSTNAME = re.compile(f"{grammar.DOMAIN}|{grammar.ADDRESS_LITERAL}")
# RFC 2033 §5: its clients rely on them.
_OF_LMTP = ("PIPELINING", "ENHANCEDSTATUSCODES")


# Both are made once and used by many dialogues, whose tables are kept by them; so they are told
# apart by identity, which costs nothing, and not by two dozen fields.


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """
    How a dialogue is led.

    :ivar hostname: our name in the greeting and the reply to EHLO (RFC 5321 §4.2).
    :ivar banner: what follows it in the greeting; where LMTP is spoken, that in place of ESMTP.
    :ivar lmtp: speak LMTP and not SMTP (RFC 2033): a client begins with LHLO, and is told of each
        recipient what became of the message.
    :ivar bare_newline: what a CR or LF alone does to a message: ``"refuse"`` it once it has been
        read, or ``"normalize"`` it to CRLF.
    :ivar lenient_addresses: take what real clients get wrong: ``MAIL FROM:a@b`` (no brackets),
        ``<root>``, ``<a..b@c.>`` and whatever else `Leniency` names.
    :ivar allow_insecure_auth: offer passwords outside TLS as well.
    :ivar mechanisms: those of AUTH, by name, in the order in which they are offered, and your own;
        ``None``: all that we speak.  Offered is of either what whoever decides on logins can do,
        and what fits the connection.
    :ivar require_auth: take mail from clients only that have logged in: before, anything but EHLO,
        HELO, NOOP, RSET, STARTTLS, AUTH and QUIT is 530 5.7.0 (RFC 4954 §6).
    :ivar require_tls: take nothing outside TLS but what leads to it, which is the same seven;
        anything else is 530 5.7.0 (RFC 3207 §4).  AUTH wants TLS by itself.
    :ivar xclient_from: who may say by XCLIENT for whom it speaks: networks such as
        ``"192.0.2.0/24"``, addresses, ``"unix"`` for UNIX sockets.  To all others it is unknown.
    :ivar xforward_from: who may say by XFORWARD from whom it has the next message; likewise.
    :ivar require_client_certificate: the same, and within TLS take nothing from clients that have
        shown no certificate which an authority of ours vouches for: anything but QUIT is 554 5.7.0
        (RFC 3207 §4.1).
    :ivar extensions: service extensions of your own.
    :ivar without: keywords of EHLO that are switched off, in upper or lower case: not offered,
        their parameters unknown, their commands not there.  What builds on one goes with it:
        SMTPUTF8 and BINARYMIME with 8BITMIME, BINARYMIME with CHUNKING too.  LMTP cannot be
        without PIPELINING and ENHANCEDSTATUSCODES (RFC 2033 §5).
    :ivar priority_profile: which steps of MT-PRIORITY are told apart, such as ``"STANAG4406"``
        (RFC 6710 §8); ``""``: as RFC 6710 has it by default.
    :ivar limits: how much one client may ask for.
    :raises ValueError: one of them cannot be, or contradicts another.
    :raises TypeError: one is of another type.
    """

    hostname: str = "localhost"
    banner: str = "ESMTP"
    lmtp: bool = False
    bare_newline: Literal["refuse", "normalize"] = "refuse"
    lenient_addresses: bool = False
    allow_insecure_auth: bool = False
    require_tls: bool = False
    require_client_certificate: bool = False
    require_auth: bool = False
    mechanisms: tuple[str | Mechanism, ...] | None = None
    xclient_from: tuple[str, ...] = ()
    xforward_from: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()
    without: frozenset[str] = frozenset()
    priority_profile: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        hostname = self.hostname
        for name in ("hostname", "banner"):
            _require(name, getattr(self, name), str, "a str")
        for name in _SWITCHES:
            _require(name, getattr(self, name), bool, "True or False")
        if self.require_client_certificate:
            object.__setattr__(self, "require_tls", True)
        if not hostname.isascii() or len(hostname) > 255 or not _HOSTNAME.fullmatch(hostname):
            raise ValueError(f"hostname is no domain or address literal: {hostname!r}")
        greeting = f"{hostname} {self.banner}"
        if not greeting.isascii() or Reply(220, greeting, status=None).lines != (greeting,):
            raise ValueError(f"banner is no line of a reply: {self.banner!r:.80}")
        for name in ("xclient_from", "xforward_from"):
            try:
                networks = Networks(getattr(self, name)).texts
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name}: {error}") from None
            object.__setattr__(self, name, networks)
        _require("extensions", self.extensions, Iterable, "some Extensions")
        object.__setattr__(self, "extensions", tuple(self.extensions))
        for extension in self.extensions:
            _require("an extension", extension, Extension, "an Extension")
        check_own(self.extensions)
        if self.mechanisms is not None:
            object.__setattr__(self, "mechanisms", _mechanisms(self.mechanisms))
        if self.mechanisms == () and self.require_auth:
            raise ValueError("mechanisms is empty: nobody could log in, and require_auth wants it")
        object.__setattr__(self, "without", switched_off(self.without, self.extensions))
        for keyword in _OF_LMTP if self.lmtp else ():
            if keyword in self.without:
                raise ValueError(f"lmtp needs {keyword} (RFC 2033 §5), which without switches off")
        if self.require_auth and "AUTH" in self.without:
            raise ValueError("require_auth needs AUTH, which without switches off")
        _require("priority_profile", self.priority_profile, str, "a str")
        if not _PROFILE.fullmatch(self.priority_profile):
            raise ValueError(f"priority_profile is no name: {self.priority_profile!r:.80}")
        _require("limits", self.limits, Limits, "a Limits")
        known = {verb.name for verb in Verb if verb is not Verb.UNKNOWN}.union(
            *(extension.verbs for extension in self.extensions)
        )
        for verb in self.limits.commands_per_verb:
            if verb not in known:
                raise ValueError(f"commands_per_verb names {verb}, which is no command")
        if self.bare_newline not in ("refuse", "normalize"):
            raise ValueError("bare_newline is 'refuse' or 'normalize'")

    def said(self, reply: Reply) -> Reply:
        """Return a reply as it is said: without its status where clients are told of none."""
        return reply.bare() if "ENHANCEDSTATUSCODES" in self.without else reply


def _mechanisms(given: object) -> tuple[str | Mechanism, ...]:
    """Return what `Settings.mechanisms` says, with names as EHLO has them."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"mechanisms is some names, such as ('PLAIN', 'LOGIN'), not {given!r:.40}")
    found: dict[str, str | Mechanism] = {}
    for one in given:
        if not isinstance(one, (str, Mechanism)):
            raise TypeError(f"a mechanism is a name or a Mechanism, not {one!r:.40}")
        name = one.upper() if isinstance(one, str) else one.name
        if isinstance(one, str) and name not in MECHANISMS:
            known = ", ".join(MECHANISMS)
            raise ValueError(f"mechanisms names {one!r:.40}, and there are {known}")
        if name in found:
            raise ValueError(f"mechanisms names {name} twice")
        found[name] = name if isinstance(one, str) else one
    return tuple(found.values())


def _require(name: str, value: object, kind: type[Any], described: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {described}, not {value!r:.40}")


@dataclass(frozen=True, slots=True, eq=False)
class Abilities:
    """
    What is behind a dialogue; an extension is offered only if it can be honoured.

    :ivar tls: a handshake can be made (STARTTLS).
    :ivar authentication: somebody decides on logins.
    :ivar mechanisms: by which of ours that is possible.
    :ivar extensions: EHLO keywords whose parameters the handler takes, such as ``"DSN"``.
    :ivar expand: somebody answers EXPN.
    :ivar etrn: somebody answers ETRN.
    :ivar concurrent_recipients: several recipients may be decided on at once.
    :ivar command_mask: which commands are shown before they are acted on; ``Verb(0)`` is all,
        ``None`` none.
    """

    tls: bool = False
    authentication: bool = False
    mechanisms: frozenset[str] = frozenset(BY_PASSWORD)
    extensions: frozenset[str] = frozenset()
    expand: bool = False
    etrn: bool = False
    concurrent_recipients: bool = False
    command_mask: Verb | None = None
