"""MxRelay: to the servers of each message's domain, for those who may send anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from smtpcb.client import MailExchangers
from smtpcb.client._place import Place
from smtpcb.engine import ClientSettings, Envelope, Recipient
from smtpcb.handlers.relay import _replies as replies
from smtpcb.handlers.relay._relay import Relay
from smtpcb.smtp import Reply
from smtpcb.smtp._networks import Networks


class MxRelay(Relay):
    """
    A handler that passes messages on to the mail exchangers of their recipients' domain.

    Nothing is kept, so one message goes to one domain: a recipient of another one is answered 451,
    and the client sends it again.  Whoever has logged in may send, and clients of the networks that
    are named; to all others every recipient is refused, so this is never an open relay.

    :param settings: how the dialogues are led; by default STARTTLS where it is offered.
    :param relay_from: networks whose clients may send without a login.
    :param place: returns the servers of a domain.
    :param options: see `Relay`.
    :raises ValueError: the networks are everybody.
    """

    by_domain = True

    def __init__(
        self,
        settings: ClientSettings | None = None,
        *,
        relay_from: Iterable[str] = (),
        place: Callable[[str], Place] = MailExchangers,
        **options: Any,
    ) -> None:
        self._relay_from = Networks(relay_from)
        if self._relay_from.whole:
            whole = " and ".join(self._relay_from.whole)
            raise ValueError(f"relay-from={whole} is everybody: this would be an open relay")
        self._place = place
        super().__init__(place("example.org"), settings, **options)
        if self.introduction is not None:
            raise ValueError("pass_on is for a server that trusts us, and not for any in the world")
        self.report = ("messages: they go on to the servers of their domain, and none is kept",)

    @property
    def needs_login(self) -> bool:
        """Whether nobody may send who has not logged in."""
        return not self._relay_from

    def refuses(self, recipient: Recipient, envelope: Envelope) -> Reply | None:
        """Return why a recipient cannot be named."""
        connection = envelope.connection
        if connection.identity is None and connection.peer_address not in self._relay_from:
            return replies.DENIED
        return None if recipient.domain else replies.NO_DOMAIN

    def place(self, envelope: Envelope, domain: str) -> Place:
        """Return the servers of a domain."""
        return self._place(domain)
