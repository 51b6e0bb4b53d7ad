"""Who decides: what ``--handler`` names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from zope.interface import Invalid
from zope.interface.verify import verifyObject

from smtpcb.handlers import READY_MADE
from smtpcb.handlers._undemanding import Undemanding
from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerPlugin
from smtpcb.run._meant import nearest, of_another_server
from smtpcb.run._start import one_line
from smtpcb.run._state import State
from smtpcb.run.build._plugins import Plugins
from smtpcb.run.build._python import as_dotted
from smtpcb.run.options import Configuration, ConfigurationError

# What aiosmtpd calls its own.
_OF_AIOSMTPD = {"debugging": "print", "mailbox": "maildir", "sink": "discard"}


def _meant(description: str, known: Collection[str]) -> str | None:
    """Return what may have been meant: a name nearby, or a class said as other servers have it."""
    name, colon, argument = description.partition(":")
    found = nearest(name, (*known, "python"))
    if found is not None:
        return f"{found}{colon}{argument}"
    theirs = _OF_AIOSMTPD.get(name.lower())
    if theirs is not None:
        return f"{theirs}{colon}{argument}"
    word = of_another_server(name)
    if word is not None and word.value.startswith("capture"):  # maildir:/srv/mail
        return f"capture{colon}{argument}"
    return as_dotted(description)


HANDLER_PLUGINS = Plugins("handler", READY_MADE, ISmtpHandlerPlugin, _meant)


def handler_of(configuration: Configuration, state: State) -> object:
    """
    Return the handler.

    :raises ConfigurationError: there is none of that name, or it cannot be made so.
    """
    description = configuration["handler"]
    return HANDLER_PLUGINS.make(
        description, f"{configuration.where('handler')} {description}", state
    )


def wishes_of(handler: object) -> Any:
    """
    Return what a handler says of itself, as `IReadyMadeHandler` has it.

    :raises ConfigurationError: it says that it has all of that, and has not.
    """
    if not IReadyMadeHandler.providedBy(handler):
        return Undemanding()
    try:
        verifyObject(IReadyMadeHandler, handler)
    except Invalid as error:
        raise ConfigurationError(f"--handler: {one_line(error)}") from None
    return handler
