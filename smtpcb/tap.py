"""The ``twistd smtpcb`` command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage

from smtpcb.options import (
    BY_NAME,
    OPTIONS,
    Configuration,
    ConfigurationError,
    read_file,
    read_value,
    resolve,
)
from smtpcb.service import make_service


class Options(usage.Options, AuthOptionMixin):
    """Reads the command line; the rows are in `smtpcb.options`."""

    supportedInterfaces = (IUsernamePassword,)
    longdesc = (
        "An SMTP server that calls you back.  Without options it listens on 127.0.0.1, ports "
        "10025 and 10587, with STARTTLS, accepts any login, and keeps every message in a Maildir "
        "and every connection in a transcript below ./smtpcb-state."
    )

    optParameters = [
        [option.name, None, None, _help]
        for option in OPTIONS
        if option.kind is not bool and not option.many
        for _help in [
            option.help + ("" if option.default is None else f" [default: {option.default}]")
        ]
    ] + [["config", "c", None, "TOML file with any of these settings."]]
    optFlags = [[option.name, None, option.help] for option in OPTIONS if option.kind is bool] + [
        ["check", None, "Check the settings, and end."]
    ]

    def __init__(self) -> None:
        self._many: dict[str, list[Any]] = {}
        super().__init__()

    def opt_listen(self, endpoint: str) -> None:
        """Twisted endpoint to take mail on, with STARTTLS; may be repeated."""
        self._add("listen", endpoint)

    def opt_smtps(self, endpoint: str) -> None:
        """Twisted endpoint to take mail on, with implicit TLS; may be repeated."""
        self._add("smtps", endpoint)

    def _add(self, name: str, text: str) -> None:
        option = BY_NAME[name]
        self._many.setdefault(option.key, []).append(read_value(option, text, f"--{name}"))

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
            make_service(self.configuration())
            print("smtpcb: the settings are good")
            sys.exit(0)

    def configuration(self) -> Configuration:
        """Return all settings with their values."""
        said: dict[str, Any] = {key: tuple(items) for key, items in self._many.items()}
        for option in OPTIONS:
            if option.many or self[option.name] in (None, 0):
                continue
            given = bool(self[option.name]) if option.kind is bool else self[option.name]
            said[option.key] = read_value(option, given, f"--{option.name}")
        file = read_file(Path(self["config"]).absolute()) if self["config"] else {}
        return resolve(said, file, tuple(self.get("credCheckers") or ()))


def makeService(options: Options) -> IService:
    """Return what twistd runs; a mistake is one line and exit status 1."""
    try:
        return make_service(options.configuration())
    except ConfigurationError as error:
        raise SystemExit(f"smtpcb: {error}") from None
