"""What the value of a setting may be: each makes one of a text, or says what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smtpcb.run.options._option import ConfigurationError
from smtpcb.server._proxied import refuse_proxied
from smtpcb.smtp._networks import Networks

_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}


def octets(text: str) -> int:
    """Read ``33554432``, ``512k``, ``32M``."""
    text = text.strip().lower()
    factor = _UNITS.get(text[-1:], 1)
    number = text[:-1] if factor > 1 else text
    if not (number.isascii() and number.isdigit()):
        raise ValueError("a number of octets such as 33554432 or 32M")
    return int(number) * factor


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a number")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ValueError("a number of seconds")
    return value


def days(text: str) -> float:
    try:
        return seconds(text)
    except ValueError:
        raise ValueError("a number of days") from None


def positive(text: str) -> float:
    value = seconds(text)
    if not value:
        raise ValueError("a number of seconds above 0")
    return value


def or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """``none`` lifts a limit."""

    def read(text: str) -> Any:
        return None if text.strip().lower() == "none" else kind(text)

    return read


def at_least(least: int, kind: Callable[[str], int]) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = kind(text)
        if value < least:
            raise ValueError(f"at least {least}")
        return value

    return read


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return read


def path(text: str) -> Path:
    if not text:
        raise ValueError("a path")
    # Absolute now: twistd may change folder before the path is used.
    return Path(text).expanduser().absolute()


def network(text: str) -> str:
    try:
        Networks((text,))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return text


def endpoint(text: str) -> str:
    try:
        refuse_proxied(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return text
