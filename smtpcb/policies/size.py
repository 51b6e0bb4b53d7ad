"""size: how long a message may be, by its recipient."""

from __future__ import annotations

from pathlib import Path

from zope.interface import implementer

from smtpcb._words import octets, one_file, read_words
from smtpcb.engine._envelope import Envelope, Recipient
from smtpcb.interfaces import ISmtpHandlerSetting, ISmtpPolicyPlugin, Verdict
from smtpcb.policies._addresses import AddressSet
from smtpcb.policies._watched import CANNOT_TELL, WatchedFile
from smtpcb.smtp._address import ForwardPath
from smtpcb.smtp._reply import Reply

__all__ = ["TOO_LONG", "SizeByRecipient", "SizeByRecipientPlugin"]

TOO_LONG = Reply(552, "5.2.3", "Message is too long for that recipient")
"""What a client hears, at RCPT if it has said SIZE, else when the message is there."""

_Rows = list[tuple[AddressSet, int]]


class SizeByRecipient:
    """
    Refuses a message that is longer than one of its recipients takes.

    A line of the file is ``anne@example.org 10M`` or ``@example.net 512k``; the first that fits
    counts, and who stands in none takes what the server takes.  A client that says how long its
    message will be (SIZE) is refused that recipient; for others the whole message is refused, if
    it is too long for one of them: there is one answer for all (RFC 5321 §4.1.1.4).

    :param file: its path; it is read now, and again when it has changed.
    :raises ValueError: it cannot be read now, or is wrong; the text is one line.
    """

    concurrent_recipients = True

    def __init__(self, file: Path) -> None:
        self._file = WatchedFile(file, _understood)

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.rcpt`."""
        size = envelope.parameters.size
        return None if size is None else self._judge([recipient.forward_path], size)

    def message(self, envelope: Envelope) -> Verdict:
        """See `smtpcb.interfaces.ISmtpEventHandler.message`."""
        return self._judge(envelope.forward_paths, envelope.size_octets)

    def _judge(self, recipients: list[ForwardPath], size: int) -> Reply | None:
        rows = self._file.now()
        if rows is None:
            return CANNOT_TELL
        for one in recipients:
            most = next((limit for whose, limit in rows if whose.has(one)), None)
            if most is not None and size > most:
                return TOO_LONG
        return None


def _understood(lines: list[tuple[int, str]]) -> _Rows:
    rows: _Rows = []
    for number, line in lines:
        words = line.split()
        try:
            whose, text = words
            limit = octets(text)
        except ValueError:
            raise ValueError(f"line {number}: ADDRESS SIZE is wanted, such as 10M") from None
        rows.append((AddressSet([(number, whose)]), limit))
    return rows


@implementer(ISmtpPolicyPlugin)
class SizeByRecipientPlugin:
    """``--policy size:FILE``."""

    name = "size"
    usage = "size:FILE"
    help = "Refuses messages that are too long for a recipient; a line is ADDRESS 10M, @DOMAIN 1M."

    def make(self, argument: str, setting: ISmtpHandlerSetting) -> SizeByRecipient:
        """Return a `SizeByRecipient`; see `smtpcb.interfaces.ISmtpPolicyPlugin.make`."""
        words, _ = read_words(argument, {})
        return SizeByRecipient(one_file(words, "size:/etc/smtpcb/sizes"))


plugin = SizeByRecipientPlugin()
