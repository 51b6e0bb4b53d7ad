"""The words of SMTP, which server and client share: each can be read and written."""

from smtpcb.smtp._address import AddressError, ForwardPath, Leniency, Path, ReversePath
from smtpcb.smtp._command import Command, Introduction, Verb
from smtpcb.smtp._delivery import DeliverBy, WhenLate
from smtpcb.smtp._dsn import Notify, OriginalRecipient, Ret
from smtpcb.smtp._errors import LocalProtocolError, PeerProtocolError, Refusal, SMTPError
from smtpcb.smtp._extension import Extension, Parameter
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._parameter import BodyType, MailParameters, RcptParameters
from smtpcb.smtp._reply import Reply
from smtpcb.smtp._text import printable
from smtpcb.smtp._valid_since import ValidSince
from smtpcb.smtp._xclient import XClient, XForward
from smtpcb.smtp.sasl import Authenticated, Credentials

__all__ = [
    "AddressError",
    "Authenticated",
    "BodyType",
    "Command",
    "Credentials",
    "DeliverBy",
    "Extension",
    "ForwardPath",
    "Introduction",
    "Leniency",
    "Limits",
    "LocalProtocolError",
    "MailParameters",
    "Notify",
    "OriginalRecipient",
    "Parameter",
    "Path",
    "PeerProtocolError",
    "RcptParameters",
    "Refusal",
    "Reply",
    "Ret",
    "ReversePath",
    "SMTPError",
    "ValidSince",
    "Verb",
    "WhenLate",
    "XClient",
    "XForward",
    "printable",
]
