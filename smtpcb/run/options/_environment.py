"""Settings that stand in the environment: ``SMTPCB_MESSAGE_OCTETS`` is ``--message-octets``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from smtpcb.run._meant import did_you_mean, option_meant, plain
from smtpcb.run.options._file import ON_THE_COMMAND_LINE
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._reading import read_text
from smtpcb.run.options._table import BY_NAME, OPTIONS

PREFIX = "SMTPCB_"
#: Names the file of settings, as ``--config`` does.
FILE = "SMTPCB_CONFIG"

# For the tests of smtpcb itself.
_OF_TESTS = "SMTPCB_REQUIRE_CLIENTS"
_NO_SETTINGS = frozenset({FILE, _OF_TESTS})

# Kubernetes (and Docker's links) tell each container of each service; one that is called smtpcb, or
# smtpcb-console, is told of in names that begin like ours.
_OF_A_SERVICE = re.compile(
    r"SMTPCB_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?"
    r"|ENV_\w+)"
)
_ADDRESS_OF_A_SERVICE = re.compile(r"(?:tcp|udp|sctp)://.+")

_BY_VARIABLE = {option.variable: option for option in OPTIONS}


def read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """
    Read settings from the environment.

    An empty value is one that was not given: what runs containers passes on a variable that nobody
    has set as one that is empty.  Where several values can be said, each is a line of its own.

    :return: values by `Option.key`.
    :raises ConfigurationError: one of them is wrong, or means nothing.
    """
    values = {}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in _NO_SETTINGS:
            continue
        option = _BY_VARIABLE.get(name)
        text = environment[name]
        if option is None and not _is_of_a_service(name, text):
            if plain(name.removeprefix(PREFIX)) in ON_THE_COMMAND_LINE:
                raise ConfigurationError(f"{name}: this stands on the command line only")
            raise ConfigurationError(f"{name}: no such setting{did_you_mean(_meant(name))}")
        if option is not None and text.strip():
            values[option.key] = _read(option, text)
    return values


def empty(environment: Mapping[str, str]) -> list[str]:
    """Return the names of settings that are there and say nothing."""
    return [name for name in sorted(_BY_VARIABLE) if not environment.get(name, "x").strip()]


def _read(option: Option, text: str) -> Any:
    if not option.many:
        return read_text(option, text, option.variable)
    several = re.split(r"[,\n]" if option.commas else r"\n", text)
    words = [word.strip() for word in several]
    return tuple(read_text(option, word, option.variable) for word in words if word)


def _is_of_a_service(name: str, text: str) -> bool:
    if _OF_A_SERVICE.fullmatch(name):
        return True
    return name.endswith("_PORT") and _ADDRESS_OF_A_SERVICE.fullmatch(text) is not None


def _meant(name: str) -> str | None:
    """Return the variable that may have been meant, with what its value looks like."""
    meant = option_meant(name.removeprefix(PREFIX), [*BY_NAME, "config"])
    if meant is None:
        return None
    variable = FILE if meant.option == "config" else BY_NAME[meant.option].variable
    return f"{variable}={meant.value}" if meant.value else variable
