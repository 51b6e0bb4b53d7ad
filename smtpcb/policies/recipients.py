"""recipients: a recipient map says who there is, from a file or from code of yours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from zope.interface import implementer

from smtpcb._words import one_file, read_words, switch
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._addresses import AddressSet, address_of
from smtpcb.policies._asked import Asked
from smtpcb.policies._clients import OPEN_RELAY, Trusted, network_text, of_everybody
from smtpcb.policies._watched import CANNOT_TELL, WatchedFile
from smtpcb.smtp._reply import Reply

__all__ = ["NO_SUCH_MAILBOX", "RecipientFile", "Recipients", "RecipientsPlugin"]

NO_SUCH_MAILBOX = Reply(550, "5.1.1", "No such mailbox")
"""What a client hears of a recipient that is not there."""


class Recipients:
    """
    Takes recipients that a function of yours knows.

    What it raises is answered 451, and the client comes back; so a database that is down bounces
    nothing.  ``<Postmaster>`` without a domain is taken unasked (RFC 5321 §4.5.1).

    :param knows: called with the address, in lower case, such as ``anne@example.org``; whether it
        is there, now, from ``async def`` or as a Deferred.
    """

    concurrent_recipients = True

    def __init__(self, knows: Callable[[str], bool | Awaitable[bool]]) -> None:
        self._knows = Asked(knows, NO_SUCH_MAILBOX, "a recipient is there or not")

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        if recipient.is_postmaster:
            return None
        return self._knows(address_of(recipient.forward_path))


class RecipientFile:
    """
    Takes recipients that stand in a file, which may change at any time.

    A line is an address; ``@example.net`` is everybody there.  Case does not count.  The
    postmaster of each domain in it is there in any case (RFC 5321 §4.5.1).  A file that is gone or
    cannot be read refuses nobody for good: clients hear 451, and the log says why.

    :param file: its path; it is read now, and again when it has changed.
    :param delimiter: where a local-part ends of which a client may make many: with ``+`` mail for
        ``anne+shop@example.org`` is Anne's.
    :param relay_from: networks of clients that may send to domains that are not in it.
    :param relay_logins: whether those who have logged in may.
    :raises ValueError: it cannot be read now, or is wrong; the text is one line.
    """

    concurrent_recipients = True

    def __init__(
        self,
        file: Path,
        *,
        delimiter: str = "",
        relay_from: Iterable[str] = (),
        relay_logins: bool = True,
    ) -> None:
        self._file = WatchedFile(file, AddressSet)
        self._delimiter = delimiter
        self._may_relay = Trusted(relay_from, logins=relay_logins)

    @property
    def warnings(self) -> list[str]:
        """See `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        found = of_everybody("relay-from=", self._may_relay.networks, OPEN_RELAY)
        known = self._file.now()
        if known is not None and not known:
            found.append("no addresses in the file: every recipient but postmaster is refused")
        return found

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        known = self._file.now()
        if recipient.is_postmaster:
            return None
        if known is None:
            return CANNOT_TELL
        path = recipient.forward_path
        if known.has(path, self._delimiter) or known.is_postmaster(path):
            return None
        if not known.has_domain(path) and envelope.connection in self._may_relay:
            return None
        return NO_SUCH_MAILBOX


@implementer(ISmtpPolicyPlugin)
class RecipientsPlugin:
    """``--policy recipients:FILE[,delimiter=+][,relay-from=NETWORK][,relay-logins=no]``."""

    name = "recipients"
    usage = "recipients:FILE"
    help = "Takes recipients that stand in a file, an address a line, @example.net: all there."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> RecipientFile:
        """Return a `RecipientFile`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        kinds = {"delimiter": _one_sign, "relay-from": network_text, "relay-logins": switch}
        words, said = read_words(argument, kinds, frozenset({"relay-from"}))
        return RecipientFile(one_file(words, "recipients:/etc/smtpcb/recipients"), **said)


def _one_sign(text: str) -> str:
    if len(text) != 1 or text.isalnum() or text == "@":
        raise ValueError("one sign such as + is wanted")
    return text


plugin = RecipientsPlugin()
