"""sender-domain: the domain of the sender takes mail itself, so that a bounce could reach it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from zope.interface import implementer

from smtpcb._words import no_words, read_words
from smtpcb.engine._envelope import Envelope
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._clients import JUDGES_NOBODY, Trusted, of_everybody
from smtpcb.policies._dns import Names, Unanswered
from smtpcb.policies._dns_policy import KINDS, MANY, UNANSWERED, settings_of
from smtpcb.policies._domains import plain
from smtpcb.smtp._address import ReversePath
from smtpcb.smtp._reply import Reply

__all__ = ["NO_SUCH_DOMAIN", "SenderDomain", "SenderDomainPlugin"]

NO_SUCH_DOMAIN = Reply(550, "5.1.8", "The domain of that sender takes no mail")
"""What a client hears of a sender that no answer could reach (RFC 3463 §3.2)."""


class SenderDomain:
    """
    Refuses senders whose domain has neither MX nor address, or says that it takes no mail.

    ``<>`` is no domain's, and passes, as do address literals.  While the DNS does not answer, mail
    passes, unless it is said otherwise.

    :param reactor: for time and sockets.
    :param exempt: networks whose clients are not judged; those who have logged in never are.
    :param unanswered: ``pass``, or ``defer``, which is 451.
    :param servers: address and port of each resolver.
    :raises ValueError: one of these is none; the text is one line.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        exempt: Iterable[str] = (),
        unanswered: str = "pass",
        servers: Sequence[tuple[str, int]] | None = None,
    ) -> None:
        if unanswered not in ("pass", "defer"):
            raise ValueError(f"unanswered is pass or defer, not {unanswered!r}")
        self._exempt = Trusted(exempt)
        self._unanswered = UNANSWERED if unanswered == "defer" else None
        self._names = Names(reactor, servers)

    @property
    def warnings(self) -> list[str]:
        """See `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        return of_everybody("exempt=", self._exempt.networks, JUDGES_NOBODY)

    def mail(self, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.mail`."""
        sender = envelope.reverse_path
        if sender == ReversePath.NULL or sender.domain.startswith("["):
            return None
        return None if envelope.connection in self._exempt else self._look_up(sender.domain)

    async def _look_up(self, domain: str) -> Reply | None:
        name = plain(domain)
        if not name.isascii() or not name:
            return NO_SUCH_DOMAIN
        try:
            return None if await self._names.has_mail_host(name) else NO_SUCH_DOMAIN
        except Unanswered:
            return self._unanswered


@implementer(ISmtpPolicyPlugin)
class SenderDomainPlugin:
    """``--policy sender-domain[:exempt=NETWORK][,unanswered=defer][,resolver=ADDRESS]``."""

    name = "sender-domain"
    usage = "sender-domain"
    help = (
        "Refuses senders whose domain has neither MX nor address; exempt=NETWORK, "
        "unanswered=defer, resolver=ADDRESS."
    )

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> SenderDomain:
        """Return a `SenderDomain`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        kinds = {name: kind for name, kind in KINDS.items() if name != "at"}
        words, said = read_words(argument, kinds, MANY)
        no_words(words)
        return SenderDomain(setting.reactor, **settings_of(said))


plugin = SenderDomainPlugin()
