"""The ``twistd smtpcb`` command line."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from getopt import GetoptError
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.logger import Logger
from twisted.python import usage

from smtpcb.run._check import check
from smtpcb.run._descriptors import provide
from smtpcb.run._meant import OF_TWISTD, WORDS, did_you_mean, option_meant, plain
from smtpcb.run._notify import notifier_of
from smtpcb.run._pid_file import clear
from smtpcb.run._shown import shown
from smtpcb.run._signals import attend, remember_reload
from smtpcb.run._switches import spelled_out
from smtpcb.run._timers import follow_no_clock
from smtpcb.run.build import HANDLER_PLUGINS, POLICY_PLUGINS, make_service
from smtpcb.run.options import (
    FILE,
    OPTIONS,
    Configuration,
    ConfigurationError,
    Option,
    empty,
    read_environment,
    read_file,
    read_text,
    resolve,
)
from smtpcb.run.workers._supervisor import make_supervisor

_log = Logger(namespace="smtpcb")

# What there is beside the rows of `smtpcb.run.options`: as in the help, and what it does.
_OTHERS = (
    ("-c, --config=FILE", 'TOML file with any of the settings above: message-octets = "50M".'),
    ("--check", "Check the settings, and end."),
    ("--print-config", "Show the settings as a TOML file, each with where it was said, and end."),
    ("--help-handlers", "List the handlers there are, and end."),
    ("--help-policies", "List the policies there are, and end."),
    ("--help-auth", "List the methods of --auth, and end."),
    ("--help-auth-type=METHOD", "Explain one of them, and end."),
    ("--version", "Say which version this is, and end."),
    ("--help", "Show this, and end."),
)

_SWITCHES = frozenset(option.name for option in OPTIONS if option.kind is bool)


class Options(usage.Options, AuthOptionMixin):
    """Reads the command line; the rows are in `smtpcb.run.options`."""

    supportedInterfaces = (IUsernamePassword,)
    longdesc = (
        "An SMTP server that calls you back.  Without options it listens on 127.0.0.1, ports "
        "10025 and 10587, with STARTTLS, lets anybody log in, keeps every message in a Maildir, "
        "and records what clients say in transcripts, below ./smtpcb-state.  Each option can be "
        "said in the environment too (SMTPCB_MESSAGE_OCTETS=50M), and a switch can be switched off "
        "(--no-tls=false).  Times are seconds, or 90s, 5m, 12h, 2d; sizes are octets, or 512k, "
        "32M, 1G."
    )

    optFlags = (
        ("check", None, "Check the settings, and end."),
        ("print-config", None, "Show the settings, and end."),
    )

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.config: Path | None = None
        super().__init__()

    def opt_config(self, text: str) -> None:
        """TOML file with any of these settings."""
        if self.config is not None:
            raise usage.UsageError("--config is given twice")
        self.config = Path(text).absolute()

    opt_c = opt_config

    def opt_help_handlers(self) -> None:
        """List the handlers there are, and end."""
        self._list(HANDLER_PLUGINS.explained())

    def opt_help_policies(self) -> None:
        """List the policies there are, and end."""
        self._list(POLICY_PLUGINS.explained())

    @staticmethod
    def _list(known: Mapping[str, str]) -> None:
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
        arguments = sys.argv[1:] if options is None else options
        try:
            super().parseOptions(spelled_out(arguments, self.longOpt, _SWITCHES))
        except (usage.UsageError, ConfigurationError) as error:
            unread = error.__context__
            hint = self._hint(unread) if isinstance(unread, GetoptError) else ""
            raise SystemExit(f"smtpcb: {error}{hint}") from None

    def _hint(self, error: GetoptError) -> str:
        """Return what may have been meant by an option that could not be read."""
        known = [name for one in self.longOpt if (name := one.rstrip("=")) not in _NOT_OURS]
        if "prefix" in error.msg:
            names = ", ".join(f"--{name}" for name in known if name.startswith(error.opt))
            return f"; there are {names}"
        if "recognized" not in error.msg:
            return ""
        meant = option_meant(error.opt, known)
        if plain(error.opt) in OF_TWISTD and plain(error.opt) not in WORDS:
            return "; it is one of twistd's, which stand before smtpcb"
        return did_you_mean(None if meant is None else f"--{meant.option} {meant.value}".rstrip())

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no option."""
        if arguments:
            raise usage.UsageError(f"not an option: {arguments[0]}")

    def postOptions(self) -> None:
        """Check everything that can be checked before anything is bound."""
        if self["check"]:
            for warning in [*check(self.configuration(), _owner(self)), *_overlooked()]:
                print(f"smtpcb: warning: {warning}", file=sys.stderr)
        if self["print-config"]:
            print(shown(self.configuration()), end="")
            sys.exit(0)
        if self["check"]:
            print("smtpcb: the settings are good")
            sys.exit(0)
        if self.parent and self.parent.get("pidfile"):
            clear(Path(self.parent["pidfile"]))

    def configuration(self) -> Configuration:
        """
        Return all settings with their values: those of the command line, of the environment and of
        the file.

        :raises ConfigurationError: one of them is wrong.
        """
        path = self.config
        if path is None and os.environ.get(FILE):
            path = Path(os.environ[FILE]).absolute()
        file = read_file(path) if path is not None else {}
        return resolve(self.said, file, path, read_environment(os.environ))

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


def _takes(option: Option) -> Callable[[Options, str], None]:
    def take(self: Options, text: str) -> None:
        value = read_text(option, text, f"--{option.name}")
        if option.many:
            self.said[option.key] = (*self.said.get(option.key, ()), value)
        elif option.key in self.said:
            raise usage.UsageError(f"--{option.name} is given twice")
        else:
            self.said[option.key] = value

    take.__doc__ = option.described
    return take


# Words of other servers that could be the beginning of an option of ours which does something
# else: without a word of ours ``--host 0.0.0.0`` would be ``--hostname 0.0.0.0``.
_NOT_OURS = frozenset(
    word
    for word, meant in WORDS.items()
    if [one.name for one in OPTIONS if one.name.startswith(word)] not in ([], [meant.option])
    and sum(one.name.startswith(word) for one in OPTIONS) == 1
)


def _refuses(word: str) -> Callable[[Options, str], None]:
    def refuse(self: Options, text: str) -> None:
        meant = WORDS[word]
        question = did_you_mean(f"--{meant.option} {meant.value}".rstrip())
        dashes = "-" if len(word) == 1 else "--"
        raise usage.UsageError(f"option {dashes}{word} not recognized{question}")

    return refuse


for _word in _NOT_OURS:
    setattr(Options, f"opt_{_word.replace('-', '_')}", _refuses(_word))

# Methods, since of a parameter Twisted's parser keeps the last value, and forgets the others.
for _option in OPTIONS:
    setattr(Options, f"opt_{_option.key}", _takes(_option))


def makeService(options: Options) -> IService:
    """Return what twistd runs; a mistake is one line and exit status 1."""
    # Here and not at the top: twistd's --reactor installs one meanwhile.
    from twisted.internet import reactor

    follow_no_clock(reactor)
    remember_reload(reactor)
    notifier = notifier_of(os.environ)
    owner = _owner(options)
    try:
        configuration = options.configuration()
        make = make_service if configuration["workers"] is None else make_supervisor
        service = make(configuration, owner=owner)
    except ConfigurationError as error:
        raise SystemExit(f"smtpcb: {error}") from None
    for warning in _overlooked():
        _log.warn("{warning}", warning=warning)
    provide(configuration)
    service.log_faults = not _log_is_beside(options.parent or {})
    attend(reactor, service.cut)
    if notifier is not None:
        notifier.attend(reactor)
    return service


def _overlooked() -> list[str]:
    """Return a warning of what is in the environment and says nothing."""
    names = empty(os.environ)
    return [f"{', '.join(names)}: empty, which counts as not given"] if names else []


def _log_is_beside(twistd: Mapping[str, Any]) -> bool:
    """Whether twistd's log goes where standard error goes: what is said there is read once."""
    if not twistd.get("nodaemon") or twistd.get("syslog") or twistd.get("logger"):
        return False
    if twistd.get("logfile") not in (None, "-"):
        return False
    try:
        return os.path.sameopenfile(1, 2)
    except OSError:  # one of them is closed
        return False


def _owner(options: Options) -> tuple[int, int] | None:
    """Return user and group that twistd will become, if it is root and is to become somebody."""
    parent: Mapping[str, Any] = options.parent or {}
    user, group = parent.get("uid"), parent.get("gid")
    if os.getuid() != 0 or (user is None and group is None):
        return None
    return (-1 if user is None else user, -1 if group is None else group)
