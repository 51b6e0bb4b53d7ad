"""The ``twistd smtpcb`` command line."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage

from smtpcb.run._check import check
from smtpcb.run._options import (
    OPTIONS,
    Configuration,
    ConfigurationError,
    Option,
    read_file,
    read_value,
    resolve,
)
from smtpcb.run.build import handlers_known, make_service
from smtpcb.run.workers._supervisor import make_supervisor

# What there is beside the rows of `smtpcb.run._options`: as in the help, and what it does.
_OTHERS = (
    ("-c, --config=FILE", 'TOML file with any of the settings above: max-size = "50M".'),
    ("--check", "Check the settings, and end."),
    ("--help-handlers", "List the handlers there are, and end."),
    ("--help-auth", "List the methods of --auth, and end."),
    ("--help-auth-type=METHOD", "Explain one of them, and end."),
    ("--version", "Say which version this is, and end."),
    ("--help", "Show this, and end."),
)


class Options(usage.Options, AuthOptionMixin):
    """Reads the command line; the rows are in `smtpcb.run._options`."""

    supportedInterfaces = (IUsernamePassword,)
    longdesc = (
        "An SMTP server that calls you back.  Without options it listens on 127.0.0.1, ports "
        "10025 and 10587, with STARTTLS, accepts any login, and keeps every message in a Maildir "
        "and every connection in a transcript below ./smtpcb-state."
    )

    optParameters = [
        [option.name, None, None, option.described]
        for option in OPTIONS
        if option.kind is not bool and not option.many
    ] + [["config", "c", None, "TOML file with any of these settings."]]
    optFlags = [[option.name, None, option.help] for option in OPTIONS if option.kind is bool] + [
        ["check", None, "Check the settings, and end."]
    ]

    def __init__(self) -> None:
        self.many: dict[str, list[Any]] = {}
        super().__init__()

    def opt_help_handlers(self) -> None:
        """List the handlers there are, and end."""
        known = handlers_known()
        width = max(map(len, known))
        for name, text in known.items():
            print(f"  {name:{width}}  {text}")
        sys.exit(0)

    def opt_version(self) -> None:
        """Say which version this is, and end."""
        print(f"smtpcb {version('smtpcb')}, Twisted {version('twisted')}")
        sys.exit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Read the command line; a mistake is one line and exit status 1."""
        try:
            super().parseOptions(options)
        except (usage.UsageError, ConfigurationError) as error:
            raise SystemExit(f"smtpcb: {error}") from None

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no option."""
        if arguments:
            raise usage.UsageError(f"not an option: {arguments[0]}")

    def postOptions(self) -> None:
        """Check everything that can be checked before anything is bound."""
        if self["check"]:
            for warning in check(self.configuration(), _owner(self)):
                print(f"smtpcb: warning: {warning}", file=sys.stderr)
            print("smtpcb: the settings are good")
            sys.exit(0)

    def configuration(self) -> Configuration:
        """
        Return all settings with their values.

        :raises ConfigurationError: one of them is wrong.
        """
        said: dict[str, Any] = {key: tuple(items) for key, items in self.many.items()}
        for option in OPTIONS:
            if option.many or self[option.name] in (None, 0):
                continue
            given = bool(self[option.name]) if option.kind is bool else self[option.name]
            said[option.key] = read_value(option, given, f"--{option.name}")
        file = read_file(Path(self["config"]).absolute()) if self["config"] else {}
        return resolve(said, file)

    def getUsage(self, width: int | None = None) -> str:
        """Return what ``--help`` prints: the rows in their order, with their defaults."""
        width = width or int(os.environ.get("COLUMNS", "80"))
        rows = [
            (f"--{option.name}={option.metavar}".rstrip("="), option.described)
            for option in OPTIONS
        ]
        lines = [*textwrap.wrap(self.longdesc, width), "", "Options:"]
        for name, text in [*rows, *_OTHERS]:
            indent = " " * (2 if name.startswith("-c") else 6)
            lines.append(indent + name)
            margin = " " * 10
            lines += textwrap.wrap(
                text,
                width,
                initial_indent=margin,
                subsequent_indent=margin,
                break_on_hyphens=False,
                break_long_words=False,
            )
        return "\n".join(lines) + "\n"


def _collects(option: Option) -> Callable[[Options, str], None]:
    def collect(self: Options, text: str) -> None:
        self.many.setdefault(option.key, []).append(read_value(option, text, f"--{option.name}"))

    collect.__doc__ = option.described
    return collect


# Twisted's parser keeps the last value of a parameter; those that may be repeated are methods.
for _option in OPTIONS:
    if _option.many:
        setattr(Options, f"opt_{_option.key}", _collects(_option))


def makeService(options: Options) -> IService:
    """Return what twistd runs; a mistake is one line and exit status 1."""
    owner = _owner(options)
    try:
        configuration = options.configuration()
        make = make_service if configuration["workers"] is None else make_supervisor
        return make(configuration, owner=owner)
    except ConfigurationError as error:
        raise SystemExit(f"smtpcb: {error}") from None


def _owner(options: Options) -> tuple[int, int] | None:
    """Return user and group that twistd will become, if it is root and is to become somebody."""
    parent: Mapping[str, Any] = options.parent or {}
    user, group = parent.get("uid"), parent.get("gid")
    if os.getuid() != 0 or (user is None and group is None):
        return None
    return (-1 if user is None else user, -1 if group is None else group)
