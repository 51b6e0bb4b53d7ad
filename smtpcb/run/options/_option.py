"""Option: one row of the settings; and the error that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smtpcb.run.options._masking import masked


class ConfigurationError(ValueError):
    """A setting is wrong; the text is one line that names it."""


@dataclass(frozen=True, slots=True)
class Option:
    """
    One row.

    :ivar name: as on the command line, without its dashes, and as in the TOML file.
    :ivar kind: makes the value of a text; ``bool`` is a switch that takes none.
    :ivar default: if it is not given.
    :ivar help: one line; ``None`` as a default is explained there.
    :ivar metavar: what stands for the value in the help.
    :ivar many: it may be given several times.
    :ivar limit: the field of `Limits` it sets.
    :ivar commas: several in one line of the environment may be separated by them, since no value
        has one.
    :ivar shown: makes what ``--print-config`` may show of a text.
    """

    name: str
    kind: Callable[[str], Any]
    default: Any
    help: str
    metavar: str = ""
    many: bool = False
    limit: str = ""
    commas: bool = False
    shown: Callable[[str], str] = masked

    @property
    def key(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return f"SMTPCB_{self.key.upper()}"

    @property
    def described(self) -> str:
        """The help with the default, if that says something."""
        default = self.default
        if default is None or default == () or self.kind is bool:
            return self.help
        if isinstance(default, tuple):
            default = " and ".join(default)
        elif isinstance(default, float):
            default = f"{default:g}"
        return f"{self.help} [default: {default}]"
