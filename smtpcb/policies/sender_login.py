"""sender-login: who has logged in sends under addresses of their own only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from zope.interface import implementer

from smtpcb._words import one_file, read_words
from smtpcb.engine._envelope import Envelope
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._addresses import AddressSet, address_of
from smtpcb.policies._asked import Asked
from smtpcb.policies._watched import CANNOT_TELL, WatchedFile
from smtpcb.smtp._address import ReversePath
from smtpcb.smtp._reply import Reply

__all__ = ["NOT_YOURS", "SenderLogin", "SenderLoginFile", "SenderLoginPlugin"]

NOT_YOURS = Reply(553, "5.7.1", "That sender address is not yours")
"""What a user hears who sends as somebody else."""


class SenderLogin:
    """
    Asks a function of yours whether who has logged in may send as that address.

    Clients without a login are not asked about, nor is ``<>``: answers of mail programs come from
    nobody.

    :param may: called with ``connection.identity`` and the address in lower case; answers True or
        False, now, from ``async def`` or as a Deferred.
    """

    def __init__(self, may: Callable[[object, str], bool | Awaitable[bool]]) -> None:
        self._may = Asked(may, NOT_YOURS, "an address is theirs or not")

    def mail(self, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.mail`."""
        identity, sender = envelope.connection.identity, envelope.reverse_path
        if identity is None or sender == ReversePath.NULL:
            return None
        return self._may(identity, address_of(sender))


class SenderLoginFile:
    """
    Looks into a file whose addresses are whose; it may change at any time.

    A line is ``anne: anne@example.org sales@example.org``: a login, which ends at the first colon,
    and addresses, of which ``@example.net`` is all of a domain.  A login that has no line has no
    address.  While the file cannot be read, users hear 451.

    :param file: its path; it is read now, and again when it has changed.
    :raises ValueError: it cannot be read now, or is wrong; the text is one line.
    """

    def __init__(self, file: Path) -> None:
        self._file = WatchedFile(file, _understood)

    def mail(self, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.mail`."""
        identity, sender = envelope.connection.identity, envelope.reverse_path
        if identity is None or sender == ReversePath.NULL:
            return None
        known = self._file.now()
        if known is None:
            return CANNOT_TELL
        theirs = known.get(str(identity))
        return None if theirs is not None and theirs.has(sender) else NOT_YOURS


def _understood(lines: list[tuple[int, str]]) -> dict[str, AddressSet]:
    known: dict[str, AddressSet] = {}
    for number, line in lines:
        login, colon, rest = line.partition(":")
        addresses = rest.replace(",", " ").split()
        if not (login.strip() and colon and addresses):
            raise ValueError(f"line {number}: LOGIN: ADDRESS ... is wanted")
        if login.strip() in known:
            raise ValueError(f"line {number}: {login.strip()!r} has a line already")
        known[login.strip()] = AddressSet((number, one) for one in addresses)
    return known


@implementer(ISmtpPolicyPlugin)
class SenderLoginPlugin:
    """``--policy sender-login:FILE``."""

    name = "sender-login"
    usage = "sender-login:FILE"
    help = "Lets logins send as their own addresses only; a line is LOGIN: ADDRESS @DOMAIN ..."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> SenderLoginFile:
        """Return a `SenderLoginFile`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        words, _ = read_words(argument, {})
        return SenderLoginFile(one_file(words, "sender-login:/etc/smtpcb/senders"))


plugin = SenderLoginPlugin()
