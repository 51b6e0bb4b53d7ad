"""The words of SMTP, which server and client share: each can be read and written."""

from smtpcb.smtp._address import AddressError, ForwardPath, Path, ReversePath
from smtpcb.smtp._command import Command, Introduction, Verb
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError, Refusal, SMTPError
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._parameter import BodyType, Parameters
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._sasl import Authenticated, Credentials

__all__ = [
    "AddressError",
    "Authenticated",
    "BodyType",
    "Command",
    "Credentials",
    "ForwardPath",
    "Introduction",
    "Limits",
    "LocalProtocolError",
    "Parameters",
    "Path",
    "PeerProtocolError",
    "Refusal",
    "Reply",
    "ReversePath",
    "SMTPError",
    "Verb",
]
