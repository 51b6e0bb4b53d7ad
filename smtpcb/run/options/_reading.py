"""A value is made of what was said for an option, or one line says why there is none."""

from __future__ import annotations

from typing import Any

from smtpcb.run.options._masking import HIDDEN
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._values import switch


def read_value(option: Option, given: object, where: str) -> Any:
    """
    Make a value of what a file has for an option: TOML has numbers and switches of its own.

    :param where: how the user said it, for the error.
    :raises ConfigurationError: it cannot be.
    """
    if option.kind is bool:
        if not isinstance(given, bool):
            raise ConfigurationError(f"{where}: true or false is wanted, not {given!r}")
        return given
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        raise ConfigurationError(f"{where}: {_wanted(option)} is wanted, not {given!r}")
    return _made(option, str(given), where)


def read_text(option: Option, text: str, where: str) -> Any:
    """
    Make a value of what the command line or the environment has, which know texts only.

    :param where: as for `read_value`.
    :raises ConfigurationError: it cannot be.
    """
    return _made(option, text, where)


def _wanted(option: Option) -> str:
    """Return what a value of an option is, where something was said that is not even a text."""
    try:
        option.kind("")
    except ConfigurationError:
        pass  # it says more than what is wanted
    except ValueError as error:
        return str(error)
    return "a text in quotes"


def _made(option: Option, text: str, where: str) -> Any:
    if HIDDEN in text:
        # It would look like a password, and be none.
        raise ConfigurationError(f"{where}: --print-config has hidden a password here; write it")
    try:
        return switch(text) if option.kind is bool else option.kind(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error} is wanted, not {text!r}") from None
