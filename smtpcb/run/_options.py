"""Every setting of ``twistd smtpcb``, once: name, kind, default, help."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from smtpcb._files import read_all
from smtpcb.run._meant import OF_TWISTD, did_you_mean, option_meant, plain
from smtpcb.server._proxied import refuse_proxied
from smtpcb.smtp._limits import Limits


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
    """

    name: str
    kind: Callable[[str], Any]
    default: Any
    help: str
    metavar: str = ""
    many: bool = False
    limit: str = ""

    @property
    def key(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace("-", "_")

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


_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}


def _octets(text: str) -> int:
    """Read ``33554432``, ``512k``, ``32M``."""
    text = text.strip().lower()
    factor = _UNITS.get(text[-1:], 1)
    number = text[:-1] if factor > 1 else text
    if not (number.isascii() and number.isdigit()):
        raise ValueError("a number of octets such as 33554432 or 32M")
    return int(number) * factor


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ValueError("a number of seconds")
    return value


def _days(text: str) -> float:
    try:
        return _seconds(text)
    except ValueError:
        raise ValueError("a number of days") from None


def _positive(text: str) -> float:
    value = _seconds(text)
    if not value:
        raise ValueError("a number of seconds above 0")
    return value


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """``none`` lifts a limit."""

    def read(text: str) -> Any:
        return None if text.strip().lower() == "none" else kind(text)

    return read


def _at_least(least: int, kind: Callable[[str], int]) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = kind(text)
        if value < least:
            raise ValueError(f"at least {least}")
        return value

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return read


def _path(text: str) -> Path:
    if not text:
        raise ValueError("a path")
    # Absolute now: twistd may change folder before the path is used.
    return Path(text).expanduser().absolute()


def _endpoint(text: str) -> str:
    try:
        refuse_proxied(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return text


# The system chooses one, which is another each time.
_FREE_PORT = re.compile(r"tcp6?:(?:port=)?0+(?::|\Z)|fd:|systemd:")

_DEFAULTS = {row.name: row.default for row in fields(Limits) if row.default is not MISSING}


def _limit(limit: str, kind: Callable[[str], Any], metavar: str, text: str) -> Option:
    # A limit has one name, which is that of its field.
    return Option(limit.replace("_", "-"), kind, _DEFAULTS[limit], text, metavar, limit=limit)


OPTIONS: tuple[Option, ...] = (
    Option(
        "listen",
        _endpoint,
        ("tcp:10025:interface=127.0.0.1", "tcp:10587:interface=127.0.0.1"),
        "Twisted endpoint to take mail on, with STARTTLS; may be repeated.",
        "ENDPOINT",
        many=True,
    ),
    Option(
        "smtps",
        _endpoint,
        (),
        "The same with implicit TLS.  Ports named by either replace the default ones.",
        "ENDPOINT",
        many=True,
    ),
    Option("hostname", str, None, "Our name in greetings (default: the machine's).", "NAME"),
    Option("banner", str, "ESMTP", "What follows the name in the greeting.", "TEXT"),
    Option(
        "handler",
        str,
        "capture",
        "Who decides: python:MODULE.NAME, capture[:FOLDER], or a plug-in's NAME[:ARGUMENT].",
        "HANDLER",
    ),
    Option(
        "state",
        _path,
        Path("smtpcb-state"),
        "Folder of what is kept: messages, transcripts, the self-signed certificate.",
        "FOLDER",
    ),
    Option(
        "transcripts",
        _path,
        None,
        "Record what is said below FOLDER (capture does so without being asked).",
        "FOLDER",
    ),
    Option("no-transcripts", bool, False, "Record nothing."),
    Option(
        "transcript-content",
        _one_of("full", "head", "none"),
        "full",
        "How much of a message a transcript has: full, head or none.",
        "HOW",
    ),
    Option(
        "transcript-days",
        _or_none(_days),
        30.0,
        "Remove transcripts after so many days (none: never).",
        "DAYS",
    ),
    Option(
        "transcript-sessions",
        _one_of("all", "commands", "transactions"),
        "commands",
        "Which connections are recorded: all, those in which the client says anything (commands), "
        "or those in which it begins a mail (transactions).",
        "WHICH",
    ),
    Option(
        "transcript-octets",
        _or_none(_octets),
        1_073_741_824,
        "How large all transcripts together may be; past it the oldest are removed (none: no "
        "limit).",
        "OCTETS",
    ),
    Option(
        "transcript-files",
        _or_none(_count),
        100_000,
        "The same as a number of transcripts.",
        "N",
    ),
    Option("tls-certificate", _path, None, "PEM file: certificate, then its chain.", "FILE"),
    Option("tls-key", _path, None, "PEM file: private key, if it is another file.", "FILE"),
    Option("tls-pkcs12", _path, None, "PKCS#12 file instead of PEM files.", "FILE"),
    Option("tls-passphrase-file", _path, None, "File whose first line opens the key.", "FILE"),
    Option(
        "tls-client-authorities",
        _path,
        None,
        "PEM file of authorities: ask clients for a certificate of theirs.",
        "FILE",
    ),
    Option("no-tls", bool, False, "Offer no STARTTLS."),
    Option(
        "auth",
        str,
        (),
        "Who may log in, instead of whom the handler lets: file:FILE with lines NAME:PASSWORD, or "
        "what else --help-auth lists; may be repeated.",
        "METHOD",
        many=True,
    ),
    Option(
        "no-direct-writes",
        bool,
        False,
        "Leave each reply to the reactor's next turn instead of sending it at once.",
    ),
    Option(
        "workers",
        _at_least(1, _count),
        None,
        "Serve the ports from so many processes, which one more looks after (default: from one, "
        "without another).",
        "N",
    ),
    Option("allow-insecure-auth", bool, False, "Take passwords outside TLS as well."),
    Option("require-auth", bool, False, "Take mail from clients only that have logged in."),
    Option("require-tls", bool, False, "Take nothing outside TLS but what leads to it."),
    Option(
        "bare-newline",
        _one_of("refuse", "normalize"),
        "refuse",
        "What to do with a message that has a CR or LF alone: refuse or normalize.",
        "HOW",
    ),
    Option("lenient-addresses", bool, False, "Take addresses without brackets or behind a blank."),
    _limit(
        "message_octets",
        _or_none(_at_least(1, _octets)),  # RFC 1870 §4: SIZE 0 says that there is no limit
        "OCTETS",
        "Longest message.",
    ),
    _limit("recipients", _or_none(_count), "N", "Most recipients of a message."),
    _limit(
        "connections",
        _or_none(_count),
        "N",
        "Most clients at once; each of several workers takes its share of them.",
    ),
    _limit(
        "connections_per_address",
        _or_none(_count),
        "N",
        "Most clients at once from one address; loopback is exempt.  Each worker counts its own.",
    ),
    _limit(
        "connections_per_network",
        _or_none(_count),
        "N",
        "The same for one IPv6 network of 48 bits.",
    ),
    _limit("errors", _or_none(_count), "N", "Errors that end a session."),
    _limit("free_errors", _or_none(_count), "N", "Errors answered without a delay."),
    _limit("messages", _or_none(_count), "N", "Messages in one session."),
    _limit(
        "refusals",
        _or_none(_count),
        "N",
        "Refused recipients and the like that end it, where no message is accepted meanwhile.",
    ),
    _limit(
        "idle_commands",
        _or_none(_count),
        "N",
        "Commands that bring no message nearer, between two messages.",
    ),
    _limit(
        "auth_failures",
        _or_none(_count),
        "N",
        "Refused logins that end it.",
    ),
    _limit("command_octets", _at_least(512, _octets), "OCTETS", "Longest command."),
    _limit("auth_octets", _at_least(512, _octets), "OCTETS", "Longest AUTH response."),
    _limit("header_octets", _octets, "OCTETS", "How much of a header is parsed."),
    _limit("idle_seconds", _positive, "SECONDS", "How long to wait for a command."),
    _limit(
        "session_seconds",
        _or_none(_positive),
        "SECONDS",
        "How long a connection may last.",
    ),
    _limit(
        "content_octets_per_second",
        _or_none(_seconds),
        "OCTETS",
        "Slowest message taken, in octets a second.",
    ),
    _limit(
        "handshake_seconds",
        _positive,
        "SECONDS",
        "How long a handshake may take.",
    ),
    _limit(
        "decision_seconds",
        _positive,
        "SECONDS",
        "How long an answer may take.",
    ),
    _limit(
        "message_seconds",
        _positive,
        "SECONDS",
        "The same for a complete message.",
    ),
    _limit(
        "grace_seconds",
        _seconds,
        "SECONDS",
        "How long transactions go on when we stop.",
    ),
)

BY_NAME: Mapping[str, Option] = {option.name: option for option in OPTIONS}

#: What has no place in a file of settings.
ON_THE_COMMAND_LINE = frozenset(
    {"config", "check", "help-handlers", "help-auth", "version", "help"}
)


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
            if option.kind is _path and value is not None:
                values[option.key] = Path(value)
            elif option.many:
                values[option.key] = tuple(value)
        return cls(values, frozenset(told["given"]), frozenset(told["in_file"]), told["file"])

    @property
    def limits(self) -> Limits:
        """The limits among them."""
        return Limits(
            **{option.limit: self.values[option.key] for option in OPTIONS if option.limit}
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
