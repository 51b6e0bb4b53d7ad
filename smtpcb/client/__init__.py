"""
Sending mail: the other side of the dialogue.

What is sent is an `Outgoing`: any source of octets, as lines that end in CRLF behind a header
section that is complete; it says what it needs of a server before an octet is sent.
"""

from smtpcb.client._complete import Origin
from smtpcb.client._errors import ContentError
from smtpcb.client._feed import Feed
from smtpcb.client._outgoing import Outgoing
from smtpcb.client._passage import Needs
from smtpcb.client._rules import HeaderRules

__all__ = ["ContentError", "Feed", "HeaderRules", "Needs", "Origin", "Outgoing"]
