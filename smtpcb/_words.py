"""What stands behind the name of a plug-in: words and settings, with commas between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smtpcb import _amounts

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


def duration(text: str) -> float:
    """Read a time, in seconds, which may be none."""
    try:
        return _amounts.seconds(text)
    except ValueError as error:
        raise ValueError(f"{error} is wanted") from None


def seconds(text: str) -> float:
    """Read a time above 0, in seconds: ``90``, ``5m``, ``36d``."""
    value = duration(text)
    if not value:
        raise ValueError("a time above 0 is wanted, such as 5m")
    return value


def octets(text: str) -> int:
    """Read a size above 0: ``33554432``, ``512k``, ``32M``."""
    try:
        value = _amounts.octets(text)
    except ValueError as error:
        raise ValueError(f"{error} is wanted") from None
    if not value:
        raise ValueError("a number above 0 is wanted")
    return value


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
