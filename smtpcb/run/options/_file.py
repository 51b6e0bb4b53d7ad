"""Settings that stand in a TOML file, whose keys are the names of the options."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smtpcb._files import read_all
from smtpcb.run._meant import OF_TWISTD, did_you_mean, option_meant, plain
from smtpcb.run.options._listener import TABLE, is_of_a_listener
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._reading import read_value
from smtpcb.run.options._table import BY_NAME

#: What has no place in a file of settings.
ON_THE_COMMAND_LINE = frozenset(
    {
        *("config", "check", "print-config", "help-handlers", "help-policies", "help-auth"),
        *("version", "help"),
    }
)


def read_file(path: Path) -> dict[str, Any]:
    """
    Read settings from a TOML file; its keys are the names of the options.

    :return: values by `Option.key`; under ``listener``, if there are any, its tables by their
        names, and in each of them values by `Option.key`.
    :raises ConfigurationError: it cannot be read, or says what we do not know.
    """
    try:
        with path.open("rb") as file:
            said = tomllib.loads(read_all(file).decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = '; texts stand in quotes, "none" too' if "Invalid value" in str(error) else ""
        raise ConfigurationError(f"{path}: {error}{hint}") from None
    listeners = said.pop(TABLE, {})
    values = _read(said, f"{path}: ")
    if listeners != {}:
        values[TABLE] = _tables(path, listeners)
    return values


def _tables(path: Path, listeners: object) -> dict[str, dict[str, Any]]:
    """Read the tables of listeners; what stands in one beside ports is that listener's."""
    if not isinstance(listeners, dict):
        raise ConfigurationError(f"{path}: listener is a table of tables: [{TABLE}.NAME]")
    tables = {}
    for name, said in listeners.items():
        if not isinstance(said, dict):
            raise ConfigurationError(
                f"{path}: {TABLE}.{name} is no table: [{TABLE}.NAME] is wanted"
            )
        tables[name] = _read(said, f"{path}: [{TABLE}.{name}] ", within=_not_of_a_listener)
    return tables


def _not_of_a_listener(option: Option) -> str:
    """Return why an option cannot stand in a listener's table, or nothing."""
    return "" if is_of_a_listener(option) else "is the same for all listeners; say it above them"


def _read(
    said: Mapping[str, object], where: str, within: Callable[[Option], str] = lambda _: ""
) -> dict[str, Any]:
    """
    Read what stands in one table.

    :param where: what to put before a key in an error.
    :param within: returns why an option cannot stand in it.
    """
    values: dict[str, Any] = {}
    for name, given in said.items():
        option = BY_NAME.get(name.replace("_", "-"))
        if option is None:
            raise ConfigurationError(f"{where}{_unknown(name, given)}")
        place = f"{where}{name}"
        if fault := within(option):
            raise ConfigurationError(f"{place} {fault}")
        if option.key in values:  # once with a dash, and once with an underscore
            raise ConfigurationError(f"{place} is given twice")
        if option.many:
            items = given if isinstance(given, list) else [given]
            values[option.key] = tuple(read_value(option, item, place) for item in items)
        else:
            values[option.key] = read_value(option, given, place)
    return values


def _unknown(name: str, given: object) -> str:
    """Return what to say of a key that is none."""
    if isinstance(given, dict):
        return f"[{name}] is a table; settings stand in none, but for [{TABLE}.NAME]"
    if plain(name) in ON_THE_COMMAND_LINE:
        return f"{name} stands on the command line only"
    if plain(name) in OF_TWISTD:
        return f"{name} is an option of twistd, before smtpcb on the command line"
    meant = option_meant(name, BY_NAME)
    question = "" if meant is None else f'{meant.option} = "{meant.value}"'
    if meant is not None and not meant.value:
        question = meant.option
    return f"unknown setting {name!r}{did_you_mean(question or None)}"
