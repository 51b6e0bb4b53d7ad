"""
smtpcb: write callbacks, get an SMTP server.

A server in ten lines, inside an application with other services::

    from smtpcb import SmtpServerFactory, SmtpService
    from twisted.internet import endpoints, reactor

    class Inbox:
        def rcpt(self, forward_path, parameters):
            if forward_path.domain != "example.org":
                return 550, "No relaying"

        async def message(self, envelope):
            await store(envelope.content.bytes())  # the 250 waits for this

    endpoint = endpoints.serverFromString(reactor, "tcp:10025:interface=127.0.0.1")
    SmtpService(endpoint, SmtpServerFactory(Inbox)).setServiceParent(application)

The names below are imported when they are first used, so that ``import smtpcb.engine`` works
where Twisted is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpcb.engine import Connection as Connection
    from smtpcb.engine import Envelope as Envelope
    from smtpcb.engine import Reason as Reason
    from smtpcb.engine import Settings as Settings
    from smtpcb.engine import TlsInformation as TlsInformation
    from smtpcb.handling import SmtpEventHandler as SmtpEventHandler
    from smtpcb.handling import callbacks as callbacks
    from smtpcb.handling import threaded as threaded
    from smtpcb.interfaces import IAuthenticator as IAuthenticator
    from smtpcb.interfaces import ISmtpEventHandler as ISmtpEventHandler
    from smtpcb.interfaces import ISmtpHandlerFactory as ISmtpHandlerFactory
    from smtpcb.server import SmtpServerFactory as SmtpServerFactory
    from smtpcb.server import SmtpService as SmtpService
    from smtpcb.smtp import Authenticated as Authenticated
    from smtpcb.smtp import Command as Command
    from smtpcb.smtp import Credentials as Credentials
    from smtpcb.smtp import ForwardPath as ForwardPath
    from smtpcb.smtp import Limits as Limits
    from smtpcb.smtp import Refusal as Refusal
    from smtpcb.smtp import Reply as Reply
    from smtpcb.smtp import ReversePath as ReversePath
    from smtpcb.smtp import Verb as Verb

_HOMES = {
    "Authenticated": "smtpcb.smtp",
    "Command": "smtpcb.smtp",
    "Connection": "smtpcb.engine",
    "Credentials": "smtpcb.smtp",
    "Envelope": "smtpcb.engine",
    "ForwardPath": "smtpcb.smtp",
    "IAuthenticator": "smtpcb.interfaces",
    "ISmtpEventHandler": "smtpcb.interfaces",
    "ISmtpHandlerFactory": "smtpcb.interfaces",
    "Limits": "smtpcb.smtp",
    "Reason": "smtpcb.engine",
    "Refusal": "smtpcb.smtp",
    "Reply": "smtpcb.smtp",
    "ReversePath": "smtpcb.smtp",
    "Settings": "smtpcb.engine",
    "SmtpEventHandler": "smtpcb.handling",
    "SmtpServerFactory": "smtpcb.server",
    "SmtpService": "smtpcb.server",
    "TlsInformation": "smtpcb.engine",
    "Verb": "smtpcb.smtp",
    "callbacks": "smtpcb.handling",
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
