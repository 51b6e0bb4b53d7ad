"""
smtpcb: write callbacks, get an SMTP server.

A server in ten lines, inside an application with other services::

    from smtpcb import SmtpServerFactory, SmtpService
    from twisted.internet import endpoints, reactor

    class Inbox:
        def rcpt(self, recipient, envelope):
            if recipient.domain != "example.org" and not recipient.is_postmaster:
                return 550, "No relaying"

        async def message(self, envelope):
            await store(envelope.id, envelope.content)  # the 250 waits for this

    endpoint = endpoints.serverFromString(reactor, "tcp:10025:interface=127.0.0.1")
    SmtpService(endpoint, SmtpServerFactory(Inbox)).setServiceParent(application)

The names below are imported when they are first used, so that ``import smtpcb.engine`` works
where Twisted is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpcb.engine import Budget as Budget
    from smtpcb.engine import Connection as Connection
    from smtpcb.engine import Content as Content
    from smtpcb.engine import Envelope as Envelope
    from smtpcb.engine import Observer as Observer
    from smtpcb.engine import ProxyInformation as ProxyInformation
    from smtpcb.engine import ProxyTls as ProxyTls
    from smtpcb.engine import Reason as Reason
    from smtpcb.engine import Recipient as Recipient
    from smtpcb.engine import Settings as Settings
    from smtpcb.engine import TlsInformation as TlsInformation
    from smtpcb.engine import received_header as received_header
    from smtpcb.handling import IAuthenticatedUser as IAuthenticatedUser
    from smtpcb.handling import SmtpEventHandler as SmtpEventHandler
    from smtpcb.handling import all_of as all_of
    from smtpcb.handling import around as around
    from smtpcb.handling import callbacks as callbacks
    from smtpcb.handling import shadow as shadow
    from smtpcb.handling import threaded as threaded
    from smtpcb.interfaces import AuthenticationVerdict as AuthenticationVerdict
    from smtpcb.interfaces import Done as Done
    from smtpcb.interfaces import IAuthenticator as IAuthenticator
    from smtpcb.interfaces import IReadyMadeHandler as IReadyMadeHandler
    from smtpcb.interfaces import ISecretKeeper as ISecretKeeper
    from smtpcb.interfaces import ISmtpEventHandler as ISmtpEventHandler
    from smtpcb.interfaces import ISmtpHandlerFactory as ISmtpHandlerFactory
    from smtpcb.interfaces import ISmtpHandlerPlugin as ISmtpHandlerPlugin
    from smtpcb.interfaces import ISmtpHandlerSetting as ISmtpHandlerSetting
    from smtpcb.interfaces import ISmtpPolicyPlugin as ISmtpPolicyPlugin
    from smtpcb.interfaces import MessageVerdict as MessageVerdict
    from smtpcb.interfaces import Secret as Secret
    from smtpcb.interfaces import Verdict as Verdict
    from smtpcb.server import Counters as Counters
    from smtpcb.server import SmtpServerFactory as SmtpServerFactory
    from smtpcb.server import SmtpService as SmtpService
    from smtpcb.server import serve as serve
    from smtpcb.smtp import Authenticated as Authenticated
    from smtpcb.smtp import BodyType as BodyType
    from smtpcb.smtp import Command as Command
    from smtpcb.smtp import Credentials as Credentials
    from smtpcb.smtp import Extension as Extension
    from smtpcb.smtp import ForwardPath as ForwardPath
    from smtpcb.smtp import Introduction as Introduction
    from smtpcb.smtp import Limits as Limits
    from smtpcb.smtp import MailParameters as MailParameters
    from smtpcb.smtp import Notify as Notify
    from smtpcb.smtp import OriginalRecipient as OriginalRecipient
    from smtpcb.smtp import Parameter as Parameter
    from smtpcb.smtp import RcptParameters as RcptParameters
    from smtpcb.smtp import Refusal as Refusal
    from smtpcb.smtp import Reply as Reply
    from smtpcb.smtp import Ret as Ret
    from smtpcb.smtp import ReversePath as ReversePath
    from smtpcb.smtp import SMTPError as SMTPError
    from smtpcb.smtp import Verb as Verb
    from smtpcb.smtp import XClient as XClient
    from smtpcb.smtp import XForward as XForward
    from smtpcb.tls import ServerTls as ServerTls
    from smtpcb.transcript import TranscriptFolder as TranscriptFolder
    from smtpcb.transcript import TranscriptSettings as TranscriptSettings

_HOMES = {
    "Authenticated": "smtpcb.smtp",
    "AuthenticationVerdict": "smtpcb.interfaces",
    "BodyType": "smtpcb.smtp",
    "Budget": "smtpcb.engine",
    "Command": "smtpcb.smtp",
    "Connection": "smtpcb.engine",
    "Content": "smtpcb.engine",
    "Credentials": "smtpcb.smtp",
    "Done": "smtpcb.interfaces",
    "Envelope": "smtpcb.engine",
    "Extension": "smtpcb.smtp",
    "ForwardPath": "smtpcb.smtp",
    "IAuthenticatedUser": "smtpcb.handling",
    "IAuthenticator": "smtpcb.interfaces",
    "IReadyMadeHandler": "smtpcb.interfaces",
    "ISecretKeeper": "smtpcb.interfaces",
    "ISmtpEventHandler": "smtpcb.interfaces",
    "ISmtpHandlerFactory": "smtpcb.interfaces",
    "ISmtpHandlerPlugin": "smtpcb.interfaces",
    "ISmtpHandlerSetting": "smtpcb.interfaces",
    "ISmtpPolicyPlugin": "smtpcb.interfaces",
    "Introduction": "smtpcb.smtp",
    "Limits": "smtpcb.smtp",
    "MailParameters": "smtpcb.smtp",
    "MessageVerdict": "smtpcb.interfaces",
    "Notify": "smtpcb.smtp",
    "Observer": "smtpcb.engine",
    "OriginalRecipient": "smtpcb.smtp",
    "Parameter": "smtpcb.smtp",
    "ProxyInformation": "smtpcb.engine",
    "ProxyTls": "smtpcb.engine",
    "RcptParameters": "smtpcb.smtp",
    "Reason": "smtpcb.engine",
    "Recipient": "smtpcb.engine",
    "Refusal": "smtpcb.smtp",
    "Reply": "smtpcb.smtp",
    "Ret": "smtpcb.smtp",
    "ReversePath": "smtpcb.smtp",
    "SMTPError": "smtpcb.smtp",
    "Secret": "smtpcb.interfaces",
    "ServerTls": "smtpcb.tls",
    "Settings": "smtpcb.engine",
    "SmtpEventHandler": "smtpcb.handling",
    "Counters": "smtpcb.server",
    "SmtpServerFactory": "smtpcb.server",
    "SmtpService": "smtpcb.server",
    "TlsInformation": "smtpcb.engine",
    "TranscriptFolder": "smtpcb.transcript",
    "TranscriptSettings": "smtpcb.transcript",
    "Verb": "smtpcb.smtp",
    "Verdict": "smtpcb.interfaces",
    "XClient": "smtpcb.smtp",
    "XForward": "smtpcb.smtp",
    "all_of": "smtpcb.handling",
    "around": "smtpcb.handling",
    "callbacks": "smtpcb.handling",
    "received_header": "smtpcb.engine",
    "serve": "smtpcb.server",
    "shadow": "smtpcb.handling",
    "threaded": "smtpcb.handling",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
