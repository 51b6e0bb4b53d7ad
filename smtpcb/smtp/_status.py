"""What a bare code says: status and text for each reply code (RFC 5321 §4.2.3, RFC 5248)."""

from __future__ import annotations

import re

# RFC 3463 §2: class "." subject "." detail.
STATUS = re.compile(r"([245])\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})")

DEFAULTS: dict[int, tuple[str | None, str]] = {
    211: ("2.0.0", "System status"),
    214: ("2.0.0", "Help"),
    220: (None, "Service ready"),
    221: ("2.0.0", "Closing connection"),
    235: ("2.7.0", "Authentication succeeded"),
    250: ("2.0.0", "OK"),
    251: ("2.1.5", "Recipient not local, will forward"),
    252: ("2.5.0", "Cannot verify, but will take the message and try"),
    354: (None, "Start mail input, end with <CRLF>.<CRLF>"),
    421: ("4.3.0", "Service not available, closing connection"),
    450: ("4.2.0", "Mailbox busy, try again later"),
    451: ("4.3.0", "Local error in processing, try again later"),
    452: ("4.3.1", "Not enough storage, try again later"),
    454: ("4.7.0", "Temporary authentication failure"),
    455: ("4.5.4", "Parameters cannot be accommodated now"),
    500: ("5.5.2", "Command not recognised"),
    501: ("5.5.4", "Syntax error in parameters"),
    502: ("5.5.1", "Command not implemented"),
    503: ("5.5.1", "Bad sequence of commands"),
    504: ("5.5.4", "Parameter not implemented"),
    521: ("5.3.2", "This host takes no mail"),
    530: ("5.7.0", "Authentication required"),
    535: ("5.7.8", "Authentication credentials invalid"),
    550: ("5.7.1", "Refused by policy"),
    551: ("5.1.6", "Recipient not local"),
    552: ("5.3.4", "Message too big"),
    553: ("5.1.3", "Mailbox name not allowed"),
    554: ("5.7.1", "Transaction refused"),
    555: ("5.5.4", "Parameter not recognised"),
    556: ("5.1.10", "Domain takes no mail"),
}


def default(code: int) -> tuple[str | None, str]:
    """Return status and text of a code; of one without a row, the class alone (RFC 3463 §3.1)."""
    row = DEFAULTS.get(code)
    if row is not None:
        return row
    digit = code // 100
    return (f"{digit}.0.0", "") if digit in (2, 4, 5) else (None, "")
