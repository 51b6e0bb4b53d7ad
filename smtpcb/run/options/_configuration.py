"""Configuration: all settings with their values, and where each was said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smtpcb.run.options._listener import PORTS, TABLE
from smtpcb.run.options._option import ConfigurationError
from smtpcb.run.options._table import BY_NAME, OPTIONS
from smtpcb.smtp._limits import Limits

# The system chooses one, which is another each time.
_FREE_PORT = re.compile(r"tcp6?:(?:port=)?0+(?::|\Z)|fd:|systemd:")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    All settings with their values.

    :ivar values: by `Option.key`.
    :ivar given: the keys that were said, in whatever layer.
    :ivar origins: how each of them was said: ``--listen``, ``SMTPCB_LISTEN``,
        ``/etc/smtpcb.toml: listen``.
    :ivar listeners: what the tables of listeners say, by their names; a mapping of its own for
        each, by `Option.key`.
    :ivar listener: the name of the one that this configuration is of; empty: all that have none.
    """

    values: Mapping[str, Any] = field(repr=False)  # there may be passwords in --auth
    given: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    listeners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    listener: str = ""

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def where(self, key: str) -> str:
        """Return how a setting was said: ``--listen``, or ``/etc/smtpcb.toml: listen``."""
        return self.origins.get(key, f"--{key.replace('_', '-')}")

    @property
    def doors(self) -> tuple[Configuration, ...]:
        """The settings of each kind of port: a table of a listener, or all that there is."""
        if not self.listeners:
            return (self,)
        return tuple(self._of(name) for name in self.listeners)

    @property
    def ports(self) -> tuple[tuple[str, str], ...]:
        """What is listened on: the option, and the endpoint; in the order in which it is bound."""
        return tuple((key, endpoint) for key in PORTS for endpoint in self.values[key])

    def _of(self, name: str) -> Configuration:
        """Return the settings of a listener: what its table says, before what all others have."""
        said = self.listeners[name]
        file = self.origins.get(TABLE, "")
        own = {key: f"{file}: [{TABLE}.{name}] {key.replace('_', '-')}" for key in said}
        return Configuration(
            {**self.values, **said},
            self.given | said.keys(),
            {**self.origins, **own},
            listener=name,
        )

    @property
    def overridden(self) -> tuple[str, ...]:
        """What was said before the file, and has no effect on a listener that says it too."""
        file = self.origins.get(TABLE, "")
        return tuple(
            f"{self.where(key)} has no effect on [{TABLE}.{name}], which says it too in {file}"
            for name, said in self.listeners.items()
            for key in said
            if key in self.given and not self.where(key).startswith(f"{file}: ")
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can say; `from_json` reads it."""
        return {
            "values": _plain(self.values),
            "given": sorted(self.given),
            "origins": dict(self.origins),
            "listeners": {name: _plain(said) for name, said in self.listeners.items()},
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Configuration:
        """Return what `as_json` has said."""
        return cls(
            _made(told["values"]),
            frozenset(told["given"]),
            told["origins"],
            {name: _made(said) for name, said in told["listeners"].items()},
        )

    @property
    def limits(self) -> Limits:
        """The limits among them."""
        said = {option.limit: self.values[option.key] for option in OPTIONS if option.limit}
        # Of each command the last number counts, as with any other setting.
        pairs = [text.partition("=") for text in said["commands_per_verb"]]
        said["commands_per_verb"] = {verb: int(number) for verb, _, number in pairs}
        return Limits(**said)


def plain(value: Any) -> Any:
    """Return a value as what JSON and TOML have for it; read as a text it is the same again."""
    if isinstance(value, tuple):
        # What is a pair within a list is written as one: VRFY=10.
        return ["=".join(map(str, one)) if isinstance(one, tuple) else plain(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in values.items()}


def _made(values: Mapping[str, Any]) -> dict[str, Any]:
    def one(key: str, value: Any) -> Any:
        kind = BY_NAME[key.replace("_", "-")].kind
        return kind(value) if isinstance(value, str) else value

    return {
        key: tuple(one(key, item) for item in value) if isinstance(value, list) else one(key, value)
        for key, value in values.items()
    }


def resolve(
    said: Mapping[str, Any],
    file: Mapping[str, Any],
    path: Path | None = None,
    environment: Mapping[str, Any] = _NOTHING,
) -> Configuration:
    """
    Return the configuration: the command line before the environment before the file before the
    defaults.

    :param said: on the command line, by `Option.key`; as for the others.
    :param path: of the file.
    :raises ConfigurationError: no port is left to take mail on, or one is there twice.
    """
    listeners = file.get(TABLE, _NOTHING)
    settings = {key: value for key, value in file.items() if key != TABLE}
    origins = {
        **{key: f"{path or ''}: {BY_NAME[key.replace('_', '-')].name}" for key in settings},
        **{key: BY_NAME[key.replace("_", "-")].variable for key in environment},
        **{key: f"--{key.replace('_', '-')}" for key in said},
    }
    given = {**settings, **environment, **said}
    values = {option.key: given.get(option.key, option.default) for option in OPTIONS}
    values["state"] = values["state"].absolute()
    named = [key for key in PORTS if key in given]
    if listeners:
        origins[TABLE] = str(path or "")
        if named:
            table = f"[{TABLE}.{next(iter(listeners))}]"
            raise ConfigurationError(
                f"{origins[named[0]]} cannot stand beside {path or 'the file'}: {table}: where one "
                "port has a table, all have"
            )
    for key in PORTS:  # ports that are named take the place of the default ones
        if key not in given and (named or listeners):
            values[key] = ()
    made = Configuration(values, frozenset(given), origins, listeners)
    _check_ports(made, named)
    return made


def _check_ports(made: Configuration, named: list[str]) -> None:
    seen: set[str] = set()
    for door in made.doors:
        for key, endpoint in door.ports:
            if endpoint in seen and not _FREE_PORT.match(endpoint):
                raise ConfigurationError(f"{door.where(key)} {endpoint} is given twice")
            seen.add(endpoint)
        if not door.ports:
            raise ConfigurationError(
                f"{_portless(door, named)}: nothing to listen on: it names no port"
            )


def _portless(door: Configuration, named: list[str]) -> str:
    if door.listener:
        return f"{door.origins[TABLE]}: [{TABLE}.{door.listener}]"
    return door.where(named[0])
