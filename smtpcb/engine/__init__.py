"""The dialogue: lines and octets in, questions out, verdicts in, octets out; no clock, no I/O."""

from smtpcb.engine import _replies as replies
from smtpcb.engine._budget import Budget
from smtpcb.engine._connection import Connection, TlsInformation
from smtpcb.engine._envelope import Content, Envelope, Recipient
from smtpcb.engine._plain import Driver, abilities_of
from smtpcb.engine._questions import Reason
from smtpcb.engine._server import ServerDialogue, Wants
from smtpcb.engine._settings import Abilities, Settings

__all__ = [
    "Abilities",
    "Budget",
    "Connection",
    "Content",
    "Driver",
    "Envelope",
    "Reason",
    "Recipient",
    "ServerDialogue",
    "Settings",
    "TlsInformation",
    "Wants",
    "abilities_of",
    "replies",
]
