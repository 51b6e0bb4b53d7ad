"""
Sending mail: the other side of the dialogue.

In one line: `send`.  In full: a `SubmissionSession` to a `Server`, its messages and recipients, and
what became of each.  What is sent is an `Outgoing`: any source of octets, as lines that end in CRLF
behind a header section that is complete; it says what it needs of a server before an octet is sent.
"""

from smtpcb.client._checks import CertificateChecks, Check, FailedCheck
from smtpcb.client._complete import Origin
from smtpcb.client._connect import Server
from smtpcb.client._errors import ContentError
from smtpcb.client._feed import Feed
from smtpcb.client._message import Message, MessageRecipient
from smtpcb.client._monitor import Monitor
from smtpcb.client._mx import MailExchangers
from smtpcb.client._observers import Observers
from smtpcb.client._opening import NoSession, open_session
from smtpcb.client._outgoing import Outgoing
from smtpcb.client._passage import Needs
from smtpcb.client._place import Candidate, Place
from smtpcb.client._pool import ConnectionPool
from smtpcb.client._protocol import ClientProtocol
from smtpcb.client._record import Transcripts
from smtpcb.client._rules import HeaderRules
from smtpcb.client._send import NotDelivered, send
from smtpcb.client._session import SessionCommand, SessionResult, SubmissionSession
from smtpcb.client._times import ClientTimes

__all__ = [
    "Candidate",
    "CertificateChecks",
    "Check",
    "ClientProtocol",
    "ClientTimes",
    "ConnectionPool",
    "ContentError",
    "FailedCheck",
    "Feed",
    "HeaderRules",
    "MailExchangers",
    "Message",
    "MessageRecipient",
    "Monitor",
    "Needs",
    "NoSession",
    "NotDelivered",
    "Observers",
    "Origin",
    "Outgoing",
    "Place",
    "Server",
    "SessionCommand",
    "SessionResult",
    "SubmissionSession",
    "Transcripts",
    "open_session",
    "send",
]
