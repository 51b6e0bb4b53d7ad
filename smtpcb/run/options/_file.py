"""Settings that stand in a TOML file, whose keys are the names of the options."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from smtpcb._files import read_all
from smtpcb.run._meant import OF_TWISTD, did_you_mean, option_meant, plain
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._table import BY_NAME

#: What has no place in a file of settings.
ON_THE_COMMAND_LINE = frozenset(
    {"config", "check", "help-handlers", "help-policies", "help-auth", "version", "help"}
)


def read_value(option: Option, text: object, where: str) -> Any:
    """
    Make a value of what was given for an option.

    :param where: how the user said it, for the error.
    :raises ConfigurationError: it cannot be.
    """
    if option.kind is bool:
        if not isinstance(text, bool):
            raise ConfigurationError(f"{where}: true or false is wanted, not {text!r}")
        return text
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ConfigurationError(f"{where}: not a value: {text!r}")
    try:
        return option.kind(str(text))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error} is wanted, not {text!r}") from None


def read_file(path: Path) -> dict[str, Any]:
    """
    Read settings from a TOML file; its keys are the names of the options.

    :raises ConfigurationError: it cannot be read, or says what we do not know.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.loads(read_all(file).decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    values: dict[str, Any] = {}
    for name, given in table.items():
        option = BY_NAME.get(name.replace("_", "-"))
        if option is None:
            raise ConfigurationError(f"{path}: {_unknown(name, given)}")
        where = f"{path}: {name}"
        if option.key in values:  # once with a dash, and once with an underscore
            raise ConfigurationError(f"{where} is given twice")
        if option.many:
            items = given if isinstance(given, list) else [given]
            values[option.key] = tuple(read_value(option, item, where) for item in items)
        else:
            values[option.key] = read_value(option, given, where)
    return values


def _unknown(name: str, given: object) -> str:
    """Return what to say of a key that is none."""
    if isinstance(given, dict):
        return f"[{name}] is a table; settings stand in none"
    if plain(name) in ON_THE_COMMAND_LINE:
        return f"{name} stands on the command line only"
    if plain(name) in OF_TWISTD:
        return f"{name} is an option of twistd, before smtpcb on the command line"
    meant = option_meant(name, BY_NAME)
    question = "" if meant is None else f'{meant.option} = "{meant.value}"'
    if meant is not None and not meant.value:
        question = meant.option
    return f"unknown setting {name!r}{did_you_mean(question or None)}"
