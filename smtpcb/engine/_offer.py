"""What a client may do in its situation: the same for all connections in it, and made once."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

from smtpcb.engine import _replies as replies
from smtpcb.engine._commands import COMMANDS, SWITCHED_OFF, Row, extension_verb
from smtpcb.engine._connection import Connection
from smtpcb.engine._extensions import Situation, mechanisms, mechanisms_elsewhere, offered
from smtpcb.engine._lmtp import LMTP_COMMANDS, LMTP_WHY
from smtpcb.engine._rationed import rationed
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.engine._table import RESTRICTED, TRANSITIONS, WHY, State, Step
from smtpcb.smtp._command import Verb
from smtpcb.smtp._reply import Reply

_NEVER = 1 << 62

# What a peer has to be trusted with.
_OF_PROXIES = frozenset({Verb.XCLIENT, Verb.XFORWARD})


class Offer:
    """
    What a client may do.

    :ivar mask: the commands that somebody wants to see; ``None``: nobody does.
    :ivar commands: what is done about each, by verb.
    :ivar rows: what is legal.
    :ivar why: what the others are told.
    :ivar first: what must be done before all others: the reply that says so (RFC 3207 §4, RFC 4954
        §6), or ``None``.
    :ivar extensions: those in force, with their parameters.
    :ivar mechanisms: those of AUTH that may be used.
    :ivar elsewhere: those that may be used inside TLS only.
    :ivar trusted: the keywords of what the peer is trusted with.
    :ivar situation: in which that is so.
    :ivar help: what HELP says by itself.
    :ivar bare: no reply has a status.
    :ivar most_octets: a line up to this length needs no second look.
    """

    __slots__ = (
        "abilities",
        "bare",
        "commands",
        "elsewhere",
        "extensions",
        "first",
        "greeting",
        "hello",
        "helo",
        "help",
        "mask",
        "mechanisms",
        "most_commands",
        "most_errors",
        "most_octets",
        "most_octets_in",
        "rows",
        "settings",
        "situation",
        "trusted",
        "why",
    )

    def __init__(self, situation: Situation) -> None:
        settings = situation.settings
        limits = settings.limits
        self.situation = situation
        self.settings = settings
        self.trusted = situation.trusted
        self.abilities = situation.abilities
        self.mask = situation.abilities.command_mask
        self.extensions = offered(situation, settings.extensions)
        self.bare = "ENHANCEDSTATUSCODES" in settings.without
        self.help = replies.help_on(settings.without, lmtp=settings.lmtp)
        self.mechanisms = mechanisms(situation)
        self.elsewhere = mechanisms_elsewhere(situation)
        self.greeting = Reply(220, _greeting(settings), status=None)
        self.helo = Reply(250, settings.hostname, status=None)
        self.hello = self.extensions.reply
        self.most_commands = _NEVER if limits.idle_commands is None else limits.idle_commands
        self.most_errors = _NEVER if limits.errors is None else limits.errors
        self.most_octets = min(limits.command_octets, limits.auth_octets) - 2  # without CRLF
        self.most_octets_in = _NEVER if limits.octets_in is None else limits.octets_in
        self.commands = _commands(situation, self.extensions.verbs)
        self.why = LMTP_WHY if settings.lmtp else WHY
        self.first: Reply | None = None
        if settings.require_tls and not situation.secure:
            self.first = replies.TLS_FIRST
        elif settings.require_auth and not situation.authenticated:
            self.first = replies.AUTH_FIRST
        self.rows: Mapping[State, Container[Verb | Step]] = (
            TRANSITIONS if self.first is None else RESTRICTED
        )

    def anew(self) -> Offer:
        """Return the same for one client: what is offered to it changes with time."""
        return Offer(self.situation)

    def forget(self) -> None:
        """Have it made anew for the next client: a function that is asked for it has failed."""
        _offer_in.cache_clear()

    def why_not(self, state: State, verb: Verb) -> Reply:
        """Return what a command is told that is not legal."""
        if self.first is None or (state is State.CONNECTED and verb in self.why[state]):
            return self.why[state][verb]
        return self.first


def _greeting(settings: Settings) -> str:
    banner = settings.banner
    if settings.lmtp and banner == "ESMTP":
        banner = "LMTP"
    return f"{settings.hostname} {banner}".rstrip()


def _commands(
    situation: Situation, verbs: Mapping[bytes, Callable[..., object]]
) -> Mapping[bytes, Row]:
    """Return what is done about each command, those of a user's extensions included."""
    settings = situation.settings
    commands = {
        word: row
        for word, row in (LMTP_COMMANDS if settings.lmtp else COMMANDS).items()
        if row.verb not in _OF_PROXIES or word.decode("ascii") in situation.trusted
    }
    commands |= {verb: row for word, verb, row in SWITCHED_OFF if word in settings.without}
    commands |= {
        verb: Row(Verb.UNKNOWN, extension_verb(verb.decode("ascii"), answer))
        for verb, answer in verbs.items()
    }
    return rationed(commands, settings.limits)


def _left_of(situation: Situation) -> Situation:
    """Return what is left of it where keywords are switched off."""
    without, abilities = situation.settings.without, situation.abilities
    if not without:
        return situation
    left = replace(
        abilities,
        tls=abilities.tls and "STARTTLS" not in without,
        authentication=abilities.authentication and "AUTH" not in without,
        expand=abilities.expand and "EXPN" not in without,
        etrn=abilities.etrn and "ETRN" not in without,
    )
    return replace(situation, abilities=left, trusted=situation.trusted - without)


def offer_to(
    connection: Connection, settings: Settings, abilities: Abilities, trusted: frozenset[str]
) -> Offer:
    """Return what is offered to a client as things stand: always the same one."""
    tls = connection.tls
    return _offer_in(
        settings,
        abilities,
        tls is not None,
        connection.identity is not None,
        trusted,
        tls is not None and tls.client_certificate is not None,
        tls is not None and tls.bind is not None,
    )


# What is remembered by its parts is found without making a whole of them, for each connection.
@lru_cache(maxsize=256)
def _offer_in(*situation: Any) -> Offer:
    return Offer(_left_of(Situation(*situation)))


def try_own(settings: Settings) -> None:
    """
    Ask a user's extensions what they offer in each situation, before the first client does.

    :raises ValueError: one of them fails.
    """
    for secure, authenticated in product((False, True), repeat=2):
        # Not remembered: nobody is there yet.
        offer = Offer(Situation(settings, Abilities(), secure, authenticated))
        for what, error in offer.extensions.faults:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise ValueError(f"{what} fails: {why}") from error
