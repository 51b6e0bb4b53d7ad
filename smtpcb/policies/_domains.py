"""Which domains a policy means, however they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable

import idna

_LABEL = r"[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class Domains:
    """
    A set of domains: ``example.org`` is that one, ``.example.org`` all below it as well.

    Case does not count, and a name in another script is the same as its A-labels (``xn--…``).

    :raises ValueError: one of them is none; the text is one line.
    """

    __slots__ = ("_above", "_exact")

    def __init__(self, given: Iterable[str]) -> None:
        if isinstance(given, str):
            raise TypeError("domains are a list of texts, not one")
        self._exact: set[str] = set()
        self._above: set[str] = set()
        for text in given:
            name = _checked(text)
            self._exact.add(name)
            if text.strip().startswith("."):
                self._above.add(name)

    def __contains__(self, domain: object) -> bool:
        assert isinstance(domain, str)
        name = plain(domain)
        if name in self._exact:
            return True
        while self._above and "." in name and not name.startswith("["):
            name = name.partition(".")[2]
            if name in self._above:
                return True
        return False


def plain(domain: str) -> str:
    """Return a domain in lower case and A-labels."""
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return domain.lower()


def _checked(text: str) -> str:
    name = plain(text.strip().removeprefix("."))
    if name.startswith("[") and name.endswith("]") and not text.strip().startswith("."):
        return name
    if not _NAME.fullmatch(name):
        raise ValueError(f"a domain such as example.org or .example.org is wanted, not {text!r}")
    return name


def postmaster_of(local_part: str) -> bool:
    """Whether a local-part is the one for which every domain takes mail (RFC 5321 §4.5.1)."""
    return local_part.lower() == "postmaster"
