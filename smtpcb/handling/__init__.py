"""What an application gives becomes a handler."""

from smtpcb.handling._base import SmtpEventHandler
from smtpcb.handling._callbacks import callbacks
from smtpcb.handling._check import check
from smtpcb.handling._compose import Compound, all_of, around, shadow
from smtpcb.handling._factories import handler_factory
from smtpcb.handling._logins import IAuthenticatedUser, authenticator
from smtpcb.handling._threaded import threaded

__all__ = [
    "Compound",
    "IAuthenticatedUser",
    "SmtpEventHandler",
    "all_of",
    "around",
    "authenticator",
    "callbacks",
    "check",
    "handler_factory",
    "shadow",
    "threaded",
]
