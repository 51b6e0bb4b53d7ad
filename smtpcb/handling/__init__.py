"""What an application gives becomes a handler."""

from smtpcb.handling._factories import SmtpEventHandler, callbacks, handler_factory, threaded

__all__ = ["SmtpEventHandler", "callbacks", "handler_factory", "threaded"]
