"""What nobody should read over somebody's shoulder, where settings are shown."""

from __future__ import annotations

import re

#: Stands where a password was; no value may have it.
HIDDEN = "<hidden>"

# Methods of --auth behind which a file is named, and no password.
FILES = ("file", "htpasswd")

# http://user:password@host, amqp://:password@host
_IN_AN_ADDRESS = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+(?=@)")
# ?token=x, password=x: what plug-ins take behind their names.
_NAMED = re.compile(r"(?i)((?:passw(?:or)?d|passphrase|secret|token|api[_-]?key)=)[^&:;,\s]+")


def masked(text: str) -> str:
    """Return a value as it may be shown: passwords within it are hidden."""
    return _NAMED.sub(rf"\1{HIDDEN}", _IN_AN_ADDRESS.sub(rf"\1:{HIDDEN}", text))


def masked_login(text: str) -> str:
    """The same for a method of ``--auth``, behind whose name everything may be a password."""
    name, colon, argument = text.partition(":")
    if not argument or name in FILES:
        return text
    return f"{name}{colon}{HIDDEN}"
