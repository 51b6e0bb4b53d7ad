"""Configuration: all settings with their values, and where each was said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smtpcb.run.options._option import ConfigurationError
from smtpcb.run.options._table import OPTIONS
from smtpcb.run.options._values import path
from smtpcb.smtp._limits import Limits

# The system chooses one, which is another each time.
_FREE_PORT = re.compile(r"tcp6?:(?:port=)?0+(?::|\Z)|fd:|systemd:")


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    All settings with their values.

    :ivar values: by `Option.key`.
    :ivar given: the keys that were said, on the command line or in the file.
    :ivar in_file: those of them that the file has said.
    :ivar file: its path.
    """

    values: Mapping[str, Any] = field(repr=False)  # there may be passwords in --auth
    given: frozenset[str] = frozenset()
    in_file: frozenset[str] = field(default=frozenset(), compare=False)
    file: str = field(default="", compare=False)

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def where(self, key: str) -> str:
        """Return how a setting was said: ``--listen``, or ``/etc/smtpcb.toml: listen``."""
        name = key.replace("_", "-")
        return f"{self.file}: {name}" if key in self.in_file else f"--{name}"

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can say; `from_json` reads it."""
        values = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in self.values.items()
        }
        in_file = sorted(self.in_file)
        return {
            "values": values,
            "given": sorted(self.given),
            "in_file": in_file,
            "file": self.file,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Configuration:
        """Return what `as_json` has said."""
        values = dict(told["values"])
        for option in OPTIONS:
            value = values[option.key]
            if option.kind is path and value is not None:
                values[option.key] = Path(value)
            elif option.many:
                values[option.key] = tuple(value)
        return cls(values, frozenset(told["given"]), frozenset(told["in_file"]), told["file"])

    @property
    def limits(self) -> Limits:
        """The limits among them."""
        said = {option.limit: self.values[option.key] for option in OPTIONS if option.limit}
        # Of each command the last number counts, as with any other setting.
        said["commands_per_verb"] = dict(said["commands_per_verb"])
        return Limits(**said)


def resolve(
    said: Mapping[str, Any], file: Mapping[str, Any], path: Path | None = None
) -> Configuration:
    """
    Return the configuration: the command line before the file before the defaults.

    :param path: of the file.
    :raises ConfigurationError: no port is left to take mail on.
    """
    given = {**file, **said}
    values = {option.key: given.get(option.key, option.default) for option in OPTIONS}
    if given.keys() & {"listen", "smtps"} and "listen" not in given:
        values["listen"] = ()  # ports that are named take the place of the default ones
    in_file = frozenset(file) - said.keys()
    made = Configuration(values, frozenset(given), in_file, "" if path is None else str(path))
    everywhere = [*values["listen"], *values["smtps"]]
    twice = next((one for one in everywhere if everywhere.count(one) > 1), None)
    if twice is not None and not _FREE_PORT.match(twice):
        where = made.where("smtps" if twice in values["smtps"] else "listen")
        raise ConfigurationError(f"{where} {twice} is given twice")
    if not values["listen"] and not values["smtps"]:
        which = made.where("listen" if "listen" in given else "smtps")
        raise ConfigurationError(f"{which}: nothing to listen on: it names no port")
    values["state"] = values["state"].absolute()
    return made
