"""A delivery agent: a mail server hands messages over by LMTP, and each mailbox is a folder."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from smtpcb import Connection, Envelope, Recipient, threaded

# A folder ``anne`` in here is the mailbox of anne, whatever her domain is.
MAILBOXES = Path(os.environ.get("MAILBOXES", "mailboxes"))

# Addresses come from strangers, and become names of files here: these cannot lead elsewhere.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")

FULL = {errno.ENOSPC, errno.EDQUOT}


@threaded
class Delivery:
    """Files a message under each of its recipients, and says of each what became of it."""

    def __init__(self, connection: Connection) -> None:
        self.mailboxes = MAILBOXES

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> object:
        if not self.mailboxes.is_dir():  # not mounted, or misspelt: that bounces nobody's mail
            return 451, "4.2.0", "Mailboxes cannot be reached now"
        name = recipient.local_part.lower()
        if not NAME.fullmatch(name) or not (self.mailboxes / name).is_dir():
            return 550, "5.1.1", "No such mailbox"
        return None

    def message(self, envelope: Envelope) -> object:
        return {recipient: self.deliver(recipient, envelope) for recipient in envelope.recipients}

    def deliver(self, recipient: Recipient, envelope: Envelope) -> object:
        path = self.mailboxes / recipient.local_part.lower() / f"{envelope.id}.eml"
        try:
            envelope.content.save(path)  # whole, and on the disk, or not at all
        except FileExistsError:
            pass  # the same mailbox, as a recipient who was named before
        except OSError as error:
            if error.errno in FULL:
                return 452, "4.2.2", "Mailbox full"
            return 451, "4.2.0", "Mailbox cannot be used now"
        return 250, "2.1.5", f"Delivered as {envelope.id}"
