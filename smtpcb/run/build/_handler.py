"""Who decides: what ``--handler`` names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from twisted.plugin import getPlugins
from zope.interface import Invalid, implementer
from zope.interface.verify import verifyObject

from smtpcb.handlers import READY_MADE
from smtpcb.interfaces import IReadyMadeHandler, ISmtpHandlerPlugin
from smtpcb.run._meant import did_you_mean, nearest, of_another_server
from smtpcb.run._start import one_line
from smtpcb.run._state import State
from smtpcb.run.build._python import as_dotted, import_handler
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


@implementer(IReadyMadeHandler)
class Undemanding:
    """What we take for granted of a handler that says nothing of itself."""

    lenient_addresses = False
    bare_newline = "refuse"
    transcripts = False
    takes_any_login = False
    folders = ()
    report = ()

    def check(self) -> Sequence[str]:
        """Nothing is known, so nothing is wrong."""
        return ()


def handler_of(configuration: Configuration, state: State) -> object:
    """
    Return the handler.

    :raises ConfigurationError: there is none of that name, or it cannot be made so.
    """
    description = configuration["handler"]
    name, _, argument = description.partition(":")
    where = f"{configuration.where('handler')} {description}"
    if name == "python":
        return import_handler(argument, where)
    known = _plugins()
    if name not in known:
        names = ", ".join(sorted({*known, "python"}))
        meant = did_you_mean(_meant(description, known))
        raise ConfigurationError(f"{where}: no such handler; there are {names}{meant}")
    try:
        return known[name].make(argument, state)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {one_line(error)}") from None
    except Exception as error:  # a plug-in may raise anything, and may be of another edition
        fault = f"{type(error).__name__}: {one_line(error)}"
        raise ConfigurationError(f"{where}: {fault}") from None


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


def handlers_known() -> dict[str, str]:
    """Return what ``--handler`` takes, each with a line that explains it."""
    rows = {getattr(plugin, "usage", plugin.name): plugin.help for _, plugin in _plugins().items()}
    rows["python:MODULE.NAME"] = "Your own: a class, an instance, callbacks(...)."
    return dict(sorted(rows.items()))


def _plugins() -> Mapping[str, Any]:
    """Return ours and those of others, who may well replace one of ours."""
    return {plugin.name: plugin for plugin in (*READY_MADE, *getPlugins(ISmtpHandlerPlugin))}
