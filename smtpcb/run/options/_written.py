"""A configuration as a TOML file that means the same, with where each line comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from smtpcb.run.options._configuration import Configuration, plain
from smtpcb.run.options._listener import TABLE
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._table import BY_NAME, OPTIONS

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def written(
    configuration: Configuration, in_force: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """
    Return the file; passwords in it are hidden.

    What nobody has said stands there as a comment: said, it might go before what a handler would
    like.

    :param in_force: by the name of a listener (empty: outside of tables) and by `Option.key`: what
        is in force where nobody has said anything, if it is not the default.
    :raises ConfigurationError: a value is no text.
    """
    return "\n".join(_lines(configuration, in_force or {})) + "\n"


def _lines(
    configuration: Configuration, in_force: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    used = in_force.get("", {})
    for option in OPTIONS:
        value, where = configuration[option.key], configuration.where(option.key)
        if option.key in configuration.given:
            yield f"{_setting(option, value, where)}  # {_in_a_line(where)}"
        elif option.key in used:
            yield f"# {_setting(option, used[option.key], where)}  # not given; what is in force"
        elif value == () or (option.default is None and not option.limit):
            yield f"# {option.name} is not given"
        else:
            yield f"# {_setting(option, value, where)}  # default"
    for door in configuration.doors if configuration.listeners else ():
        yield ""
        yield f"[{TABLE}.{_key(door.listener)}]"
        for key, value in configuration.listeners[door.listener].items():
            option, where = BY_NAME[key.replace("_", "-")], door.where(key)
            yield f"{_setting(option, value, where)}  # {_in_a_line(where)}"
        for key, value in in_force.get(door.listener, {}).items():
            option = BY_NAME[key.replace("_", "-")]
            yield f"# {_setting(option, value, '')}  # not given; what is in force"


def _setting(option: Option, value: Any, where: str) -> str:
    value = plain(value)
    if isinstance(value, list):
        text = ", ".join(_value(option, one) for one in value)
        text = f"[{text}]"
    else:
        text = _value(option, value)
    try:
        text.encode()
    except UnicodeEncodeError:  # octets of a path that are in no encoding
        raise ConfigurationError(f"{where}: {text} cannot be written in TOML") from None
    return f"{option.name} = {text}"


def _value(option: Option, value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value) if value.is_integer() else value)
    return _string(option.shown(value)) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    # JSON's strings are TOML's, but for this one.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _in_a_line(text: str) -> str:
    """Return what a comment can have: no control characters, and no octets that are no text."""
    clean = "".join(one if one.isprintable() else "?" for one in text)
    return clean.encode(errors="replace").decode()
