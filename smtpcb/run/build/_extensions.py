"""Service extensions of the user's own: what ``--extension`` names."""

from __future__ import annotations

from smtpcb.engine._offer import try_own
from smtpcb.engine._settings import Settings
from smtpcb.run._start import one_line
from smtpcb.run.build._python import as_dotted, import_handler
from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.smtp._extension import Extension


def extensions_of(configuration: Configuration) -> tuple[Extension, ...]:
    """
    Return them.

    :raises ConfigurationError: one cannot be imported, is none, takes what is taken already, or
        fails.
    """
    where = configuration.where("extension")
    own = tuple(_extension(said, f"{where} {said}") for said in configuration["extension"])
    if own:
        try:
            try_own(Settings(extensions=own))
        except ValueError as error:
            raise ConfigurationError(f"{where}: {one_line(error)}") from None
    return own


def _extension(said: str, where: str) -> Extension:
    name, _, path = said.partition(":")
    if name != "python":
        wanted = as_dotted(said) or "python:MODULE.NAME"
        raise ConfigurationError(f"{where}: {wanted} is wanted")
    found = import_handler(path, where)
    if not isinstance(found, Extension):
        raise ConfigurationError(f"{where}: is no Extension but a {type(found).__name__}")
    return found
