"""What the value of a setting may be: each makes one of a text, or says what is wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smtpcb._amounts import octets, seconds
from smtpcb.run.options._masking import FILES
from smtpcb.run.options._option import ConfigurationError
from smtpcb.server._proxied import refuse_proxied
from smtpcb.smtp._networks import Networks
from smtpcb.smtp.sasl import MECHANISMS


def octets_or_times(text: str) -> int | str:
    """Read ``500M``, or ``2x`` for two of the longest messages."""
    if re.fullmatch(r"[1-9][0-9]{0,5}x", text.strip(), re.ASCII):
        return text.strip()
    try:
        return octets(text)
    except ValueError as error:
        raise ValueError(f"{error}, or of the longest messages such as 2x") from None


def verb_and_count(text: str) -> str:
    """Read ``VRFY=10``; what stands in front of the number is in capitals then."""
    verb, equals, number = text.strip().partition("=")
    if not (verb.isascii() and verb.isalnum() and equals and number.isascii() and number.isdigit()):
        raise ValueError("a command and a number such as VRFY=10")
    return f"{verb.upper()}={int(number)}"


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a number")
    return int(text)


def positive(text: str) -> float:
    """Read a time above 0, in seconds."""
    value = seconds(text)
    if not value:
        raise ValueError("a number of seconds above 0")
    return value


def octets_per_second(text: str) -> float:
    """Read ``100``, ``0.5``, ``1k``."""
    try:
        return float(text) if "." in text else float(octets(text))
    except ValueError:
        raise ValueError("a number of octets a second") from None


def mechanisms(text: str) -> str:
    """Read ``PLAIN,LOGIN``: names of mechanisms."""
    names = [one.strip().upper() for one in text.split(",")]
    unknown = next((one for one in names if one not in MECHANISMS), None)
    if unknown is not None:
        raise ValueError(f"names of mechanisms: {', '.join(MECHANISMS)}")
    return ",".join(names)


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


_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_CREDENTIALS = "CREDENTIALS_DIRECTORY"


def expanded(text: str) -> str:
    """
    Put the folder in place of ``${CREDENTIALS_DIRECTORY}``, which systemd makes for secrets.

    :raises ConfigurationError: there is none, or another variable is named.
    """

    def folder(found: re.Match[str]) -> str:
        if found[1] != _CREDENTIALS:
            raise ConfigurationError(f"{found[0]} is unknown; only ${{{_CREDENTIALS}}} is put in")
        folder = os.environ.get(_CREDENTIALS)
        if not folder:
            raise ConfigurationError(
                f"{found[0]} is not there: systemd sets it for LoadCredential="
            )
        return folder

    return _VARIABLE.sub(folder, text)


def path(text: str) -> Path:
    if not text:
        raise ValueError("a path")
    # Absolute now: twistd may change folder before the path is used.
    return Path(expanded(text)).expanduser().absolute()


def login_method(text: str) -> str:
    """Read a method of ``--auth``; what may be a password is left as it is."""
    return expanded(text) if text.partition(":")[0] in FILES else text


_SWITCHES = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def switch(text: str) -> bool:
    """Read a switch where there are only texts."""
    value = _SWITCHES.get(text.strip().lower())
    if value is None:
        raise ValueError("true or false")
    return value


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
