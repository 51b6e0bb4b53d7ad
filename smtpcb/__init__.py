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
    from smtpcb.adapters import SmtpEventHandler as SmtpEventHandler
    from smtpcb.adapters import callbacks as callbacks
    from smtpcb.adapters import threaded as threaded
    from smtpcb.engine.address import ForwardPath as ForwardPath
    from smtpcb.engine.address import ReversePath as ReversePath
    from smtpcb.engine.command import Command as Command
    from smtpcb.engine.command import Verb as Verb
    from smtpcb.engine.connection import Connection as Connection
    from smtpcb.engine.connection import TlsInformation as TlsInformation
    from smtpcb.engine.envelope import Envelope as Envelope
    from smtpcb.engine.errors import Refusal as Refusal
    from smtpcb.engine.events import Reason as Reason
    from smtpcb.engine.limits import Limits as Limits
    from smtpcb.engine.reply import Reply as Reply
    from smtpcb.engine.sasl import Authenticated as Authenticated
    from smtpcb.engine.sasl import Credentials as Credentials
    from smtpcb.engine.settings import Settings as Settings
    from smtpcb.interfaces import IAuthenticator as IAuthenticator
    from smtpcb.interfaces import ISmtpEventHandler as ISmtpEventHandler
    from smtpcb.interfaces import ISmtpHandlerFactory as ISmtpHandlerFactory
    from smtpcb.server.factory import SmtpServerFactory as SmtpServerFactory
    from smtpcb.server.service import SmtpService as SmtpService

_HOMES = {
    "Authenticated": "smtpcb.engine.sasl",
    "Command": "smtpcb.engine.command",
    "Connection": "smtpcb.engine.connection",
    "Credentials": "smtpcb.engine.sasl",
    "Envelope": "smtpcb.engine.envelope",
    "ForwardPath": "smtpcb.engine.address",
    "IAuthenticator": "smtpcb.interfaces",
    "ISmtpEventHandler": "smtpcb.interfaces",
    "ISmtpHandlerFactory": "smtpcb.interfaces",
    "Limits": "smtpcb.engine.limits",
    "Reason": "smtpcb.engine.events",
    "Refusal": "smtpcb.engine.errors",
    "Reply": "smtpcb.engine.reply",
    "ReversePath": "smtpcb.engine.address",
    "Settings": "smtpcb.engine.settings",
    "SmtpEventHandler": "smtpcb.adapters",
    "SmtpServerFactory": "smtpcb.server.factory",
    "SmtpService": "smtpcb.server.service",
    "TlsInformation": "smtpcb.engine.connection",
    "Verb": "smtpcb.engine.command",
    "callbacks": "smtpcb.adapters",
    "threaded": "smtpcb.adapters",
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
