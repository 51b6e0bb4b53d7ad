"""The dialogue: lines and octets in, questions out, verdicts in, octets out; no clock, no I/O."""

from smtpcb.engine import _replies as replies
from smtpcb.engine._budget import Budget, Circumstances
from smtpcb.engine._client._dialogue import ClientDialogue
from smtpcb.engine._client._failure import Cause, ClientFailure
from smtpcb.engine._client._login import AskedMechanism
from smtpcb.engine._client._observer import ClientObserver
from smtpcb.engine._client._offers import Offers
from smtpcb.engine._client._settings import ClientSettings
from smtpcb.engine._client._table import (
    CLIENT_TRANSITIONS,
    ClientState,
    ClientStep,
    ClientWants,
    Stage,
)
from smtpcb.engine._client._transaction import Destination, Outcome, Transaction
from smtpcb.engine._connection import Connection, ProxyInformation, ProxyTls, TlsInformation
from smtpcb.engine._conversation import Conversation, Host
from smtpcb.engine._envelope import Content, Envelope, Recipient
from smtpcb.engine._handler import Handler, understand
from smtpcb.engine._keeping import MailData
from smtpcb.engine._lmtp import ReplyToEach
from smtpcb.engine._observer import Observer
from smtpcb.engine._pending import Pending, Platform
from smtpcb.engine._plain import Driver, PlainPlatform
from smtpcb.engine._questions import Kind, Question
from smtpcb.engine._reason import Reason
from smtpcb.engine._received import received_header
from smtpcb.engine._server import Owner, ServerDialogue
from smtpcb.engine._settings import Abilities, Settings
from smtpcb.engine._table import TRANSITIONS, State, Step, Wants
from smtpcb.engine._verdict import Failed, Incidents, Log

__all__ = [
    "CLIENT_TRANSITIONS",
    "TRANSITIONS",
    "Abilities",
    "AskedMechanism",
    "Budget",
    "Cause",
    "Circumstances",
    "ClientDialogue",
    "ClientFailure",
    "ClientObserver",
    "ClientSettings",
    "ClientState",
    "ClientStep",
    "ClientWants",
    "Connection",
    "Content",
    "Conversation",
    "Destination",
    "Driver",
    "Envelope",
    "Failed",
    "Handler",
    "Host",
    "Incidents",
    "Kind",
    "Log",
    "MailData",
    "Observer",
    "Offers",
    "Outcome",
    "Owner",
    "Pending",
    "PlainPlatform",
    "Platform",
    "ProxyInformation",
    "ProxyTls",
    "Question",
    "Reason",
    "Recipient",
    "ReplyToEach",
    "ServerDialogue",
    "Settings",
    "Stage",
    "State",
    "Step",
    "TlsInformation",
    "Transaction",
    "Wants",
    "received_header",
    "replies",
    "understand",
]
