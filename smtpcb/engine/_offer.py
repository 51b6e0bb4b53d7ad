"""What is the same for all connections in one situation: greeting, offer, limits; made once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from smtpcb.engine._extensions import Situation, hello_reply, mechanisms, offered
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.engine._table import RESTRICTED, TRANSITIONS, WHY, Moves, State
from smtpcb.engine import _replies as replies
from smtpcb.smtp._command import Verb
from smtpcb.smtp._reply import Reply

_NEVER = 1 << 62


class Offer:
    """
    What a client may do in its situation.

    :ivar rows: the moves that are legal.
    :ivar first: what must be done before the other ones: the reply that says so (RFC 3207 §4, RFC
        4954 §6), or ``None``.
    :ivar keywords: the extensions in force, whose parameters are understood.
    :ivar mechanisms: those of AUTH that may be used.
    """

    __slots__ = (
        "abilities",
        "first",
        "greeting",
        "hello",
        "helo",
        "keywords",
        "mask",
        "mechanisms",
        "most_commands",
        "most_errors",
        "rows",
        "settings",
    )

    def __init__(
        self, settings: Settings, abilities: Abilities, *, secure: bool, authenticated: bool
    ) -> None:
        situation = Situation(settings, abilities, secure, authenticated)
        self.settings = settings
        self.abilities = abilities
        self.mask = abilities.command_mask
        self.keywords = offered(situation)
        self.mechanisms = frozenset(mechanisms(situation))
        self.greeting = Reply(220, None, f"{settings.hostname} {settings.banner}".rstrip())
        self.helo = Reply(250, None, settings.hostname)
        self.hello = hello_reply(situation)
        limits = settings.limits
        self.most_commands = _NEVER if limits.idle_commands is None else limits.idle_commands
        self.most_errors = _NEVER if limits.errors is None else limits.errors
        self.first: Reply | None = None
        if settings.require_tls and not secure:
            self.first = replies.TLS_FIRST
        elif settings.require_auth and not authenticated:
            self.first = replies.AUTH_FIRST
        self.rows: Mapping[State, Moves] = TRANSITIONS if self.first is None else RESTRICTED


    def why_not(self, state: State, verb: Verb) -> Reply:
        """Return what a command is told that is not legal."""
        reply = WHY[state].get(verb)
        if self.first is not None and state is not State.CONNECTED:
            return self.first
        return self.first or replies.BAD_SEQUENCE if reply is None else reply


@lru_cache(maxsize=256)
def offer_for(
    settings: Settings, abilities: Abilities, secure: bool, authenticated: bool
) -> Offer:
    """Return what is offered in a situation."""
    return Offer(settings, abilities, secure=secure, authenticated=authenticated)
