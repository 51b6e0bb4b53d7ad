"""What stands behind the name of a policy: words and settings, with commas between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Kind = Callable[[str], Any]


def read_words(
    argument: str, settings: Mapping[str, Kind], many: frozenset[str] = frozenset()
) -> tuple[list[str], dict[str, Any]]:
    """
    Read ``example.org,.example.net,relay-from=192.0.2.0/24``.

    :param settings: what may stand before an equals sign, with what makes the value of a text.
    :param many: those that may be said several times; their values are tuples.
    :return: the words, and the settings that were said, their names as Python has them.
    :raises ValueError: a setting is none, is said twice or has a wrong value; the text is one line.
    """
    words: list[str] = []
    said: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in argument.split(","))):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            words.append(part)
            continue
        if name not in settings:
            known = ", ".join(f"{one}=" for one in settings)
            raise ValueError(f"no such setting: {name}=; there are {known or 'none'}")
        key = name.replace("-", "_")
        try:
            value = settings[name](text)
        except ValueError as error:
            raise ValueError(f"{name}={text}: {error}") from None
        if name in many:
            said[key] = (*said.get(key, ()), value)
        elif key in said:
            raise ValueError(f"{name}= is given twice")
        else:
            said[key] = value
    return words, said


def no_words(words: list[str]) -> None:
    """
    Refuse words where there is nothing but settings.

    :raises ValueError: there are some.
    """
    if words:
        raise ValueError(f"NAME=VALUE is wanted, not {words[0]!r}")


def one_file(words: list[str], example: str) -> Path:
    """
    Return the path where nothing but one file is named.

    :param example: how to write it.
    :raises ValueError: there is none, or there are several.
    """
    if len(words) != 1:
        raise ValueError(f"a file is wanted, such as {example}")
    return path(words[0])


def whole_number(text: str) -> int:
    """Read a number above 0."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 16 and int(text)):
        raise ValueError("a number above 0 is wanted")
    return int(text)


def seconds(text: str) -> float:
    """Read seconds, or with a letter behind them minutes, hours, days: ``90``, ``5m``, ``36d``."""
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:].lower())
    try:
        return float(whole_number(text[:-1] if factor else text) * (factor or 1))
    except ValueError:
        raise ValueError("a number of seconds, or 5m, 12h, 36d, is wanted") from None


def octets(text: str) -> int:
    """Read ``33554432``, ``512k``, ``32M``."""
    factor = {"k": 1024, "m": 1024**2, "g": 1024**3}.get(text[-1:].lower())
    return whole_number(text[:-1] if factor else text) * (factor or 1)


def switch(text: str) -> bool:
    """Read ``yes`` or ``no``."""
    if text not in ("yes", "no"):
        raise ValueError("yes or no is wanted")
    return text == "yes"


def one_of(*words: str) -> Kind:
    """Return what reads one of a few words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{' or '.join(words)} is wanted")
        return text

    return read


def path(text: str) -> Path:
    """Read a path, absolute now: twistd may change folder before it is used."""
    if not text:
        raise ValueError("a path is wanted")
    return Path(text).expanduser().absolute()
