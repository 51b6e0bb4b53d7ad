"""Plug-ins that an operator names, ours and those of others: found, made, and listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.plugin import getPlugins

from smtpcb.run._meant import did_you_mean
from smtpcb.run._start import one_line
from smtpcb.run._state import State
from smtpcb.run.build._python import import_handler
from smtpcb.run.options import ConfigurationError


class Plugins:
    """
    Those of one kind.

    :param kind: what a line calls one that is not there.
    :param ours: those that come with smtpcb; others may well replace one of them.
    :param interface: what others provide.
    :param meant: returns what may have been meant by the name of none, of those that are there.
    """

    def __init__(
        self,
        kind: str,
        ours: Iterable[Any],
        interface: type[Any],
        meant: Callable[[str, Mapping[str, Any]], str | None],
    ) -> None:
        self._kind = kind
        self._ours = tuple(ours)
        self._interface = interface
        self._meant = meant

    def known(self) -> Mapping[str, Any]:
        """Return those that are there, by their names."""
        return {plugin.name: plugin for plugin in (*self._ours, *getPlugins(self._interface))}

    def make(
        self,
        description: str,
        where: str,
        state: State,
        fault: Callable[[str, Mapping[str, Any]], str] = lambda argument, known: "",
    ) -> object:
        """
        Return what a description names: ``NAME``, ``NAME:ARGUMENT`` or ``python:MODULE.NAME``.

        :param where: how it was said.
        :param fault: what is wrong with an argument, before its plug-in is asked.
        :raises ConfigurationError: there is none of that name, or it cannot be made so.
        """
        name, _, argument = description.partition(":")
        if name == "python":
            return import_handler(argument, where)
        known = self.known()
        if name not in known:
            names = ", ".join(sorted({*known, "python"}))
            meant = did_you_mean(self._meant(description, known))
            raise ConfigurationError(f"{where}: no such {self._kind}; there are {names}{meant}")
        wrong = fault(argument, known)
        if wrong:
            raise ConfigurationError(f"{where}: {wrong}")
        try:
            return known[name].make(argument, state)
        except ValueError as error:
            raise ConfigurationError(f"{where}: {one_line(error)}") from None
        except Exception as error:  # a plug-in may raise anything, and may be of another edition
            raise ConfigurationError(
                f"{where}: {type(error).__name__}: {one_line(error)}"
            ) from None

    def explained(self) -> dict[str, str]:
        """Return what can be named, each with a line that explains it."""
        rows = {getattr(one, "usage", one.name): one.help for one in self.known().values()}
        rows["python:MODULE.NAME"] = "Your own: a class, an instance, callbacks(...)."
        return dict(sorted(rows.items()))
