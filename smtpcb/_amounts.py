"""Times and sizes as people write them: ``300`` or ``5m``, ``33554432`` or ``32M``."""

from __future__ import annotations

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OCTETS = {"k": 1024, "m": 1024**2, "g": 1024**3}

# Longer than anybody's server runs, and something that a clock can add to.
_MOST_SECONDS = 1e9
# Past it only a slip is meant; and what `int` makes of very many digits takes its time.
_MOST_DIGITS = 15


def seconds(text: str) -> float:
    """
    Read a time: ``300`` or ``0.5`` seconds; ``90s``, ``5m``, ``12h``, ``36d``.

    :return: seconds, 0 or more.
    :raises ValueError: it is none; the text is what is wanted.
    """
    number, factor = _split(text, _SECONDS)
    try:
        value = float(number) * factor
    except ValueError:
        value = -1.0
    if not (number.isascii() and 0 <= value < _MOST_SECONDS):
        raise ValueError("a number of seconds, or 5m, 12h, 36d,")
    return value


def whole_seconds(text: str) -> int:
    """
    Read the same where parts of a second mean nothing; who takes it says how much is too much.

    :raises ValueError: as for `seconds`.
    """
    number, factor = _split(text, _SECONDS)
    if not _is_whole(number):
        raise ValueError("a whole number of seconds, or 5m, 12h, 36d,")
    return int(number) * factor


def days(text: str) -> float:
    """
    Read the same where a number without a letter is one of days.

    :return: days, 0 or more.
    :raises ValueError: as for `seconds`.
    """
    try:
        value = seconds(text)
    except ValueError:
        raise ValueError("a number of days") from None
    number, _ = _split(text, _SECONDS)
    return value if number == text.strip() else value / 86400


def number(text: str) -> int:
    """
    Read how many of something, without a unit.

    :raises ValueError: it is none; the text is what is wanted.
    """
    if not _is_whole(text):
        raise ValueError("a whole number")
    return int(text)


def octets(text: str) -> int:
    """
    Read a size: ``33554432``, ``512k``, ``32M``, ``1G``; k is 1024.

    :return: octets, 0 or more.
    :raises ValueError: it is none; the text is what is wanted.
    """
    number, factor = _split(text, _OCTETS)
    if not _is_whole(number):
        raise ValueError("a number of octets such as 33554432 or 32M")
    return int(number) * factor


def _is_whole(number: str) -> bool:
    return number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS


def _split(text: str, units: dict[str, int]) -> tuple[str, int]:
    """Return what stands before the letter of a unit, and what that stands for."""
    text = text.strip()
    factor = units.get(text[-1:].lower())
    return (text, 1) if factor is None else (text[:-1], factor)
