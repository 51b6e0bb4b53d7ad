"""Reverse-path and forward-path: parse, print, compare (RFC 5321 §4.1.2)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar

from smtpcb.smtp import _grammar as grammar

# RFC 5321 §4.5.3.1.3, with the brackets: no domain in it passes §4.5.3.1.2's 255; RFC 1035 §2.3.4.
MAXIMUM_PATH_OCTETS = 256
MAXIMUM_LABEL_OCTETS = 63

_QUOTED_PAIR = re.compile(r"\\(.)")
_DOT_STRING = re.compile(grammar.DOT_STRING)


class AddressError(ValueError):
    """This is no path; the text says why and may be told to the client."""


@dataclass(frozen=True, slots=True)
class Path:
    """
    Where mail comes from or goes to.

    :ivar local_part: what it means: without quotes and quoted pairs.
    :ivar domain: in lower case, since domains compare so (RFC 5321 §2.4); an address literal with
        its brackets; ``""`` where there is none.
    """

    local_part: str
    domain: str

    def __str__(self) -> str:
        local_part = self.local_part
        if not self.domain:
            return local_part
        if not _DOT_STRING.fullmatch(local_part):
            escaped = local_part.replace("\\", "\\\\").replace('"', '\\"')
            local_part = f'"{escaped}"'
        return f"{local_part}@{self.domain}"

    @property
    def internationalized(self) -> bool:
        """Whether it can only be used with SMTPUTF8 (RFC 6531 §3.2)."""
        return not (self.local_part.isascii() and self.domain.isascii())


@dataclass(frozen=True, slots=True)
class ReversePath(Path):
    """
    Where reports about a message go (MAIL, RFC 5321 §4.1.1.2).

    `ReversePath.NULL` is the ``<>`` of a bounce, which must never be answered by another one.
    """

    NULL: ClassVar[ReversePath]


ReversePath.NULL = ReversePath("", "")


@dataclass(frozen=True, slots=True)
class ForwardPath(Path):
    """
    One recipient (RCPT, RFC 5321 §4.1.1.3).

    ``<Postmaster>`` alone has the local-part ``"Postmaster"`` as it was written, and no domain.
    """

    @property
    def is_postmaster(self) -> bool:
        """Whether it is the postmaster, whom every server has to take mail for (§4.5.1)."""
        return self.local_part.lower() == "postmaster"


def read_reverse_path(text: str, *, lenient: bool = False) -> tuple[ReversePath, str]:
    """
    Read what follows ``FROM:``.

    :return: the path, and the text behind it.
    :raises AddressError: there is none.
    """
    if text.startswith("<>"):
        return ReversePath.NULL, text[2:]
    match = (grammar.LENIENT_PATH if lenient else grammar.PATH).match(text)
    if match is None:
        raise AddressError("A path is <local-part@domain> or <>")
    return ReversePath(*_checked(match)), text[match.end() :]


def read_forward_path(text: str, *, lenient: bool = False) -> tuple[ForwardPath, str]:
    """
    Read what follows ``TO:``.

    :return: the path, and the text behind it.
    :raises AddressError: there is none.
    """
    match = (grammar.LENIENT_PATH if lenient else grammar.PATH).match(text)
    if match is None:
        match = grammar.POSTMASTER.match(text)
        if match is not None:
            return ForwardPath(match[1], ""), text[match.end() :]
        raise AddressError("A path is <local-part@domain>")
    return ForwardPath(*_checked(match)), text[match.end() :]


def _checked(match: re.Match[str]) -> tuple[str, str]:
    """Return local-part and domain, if they keep to the limits that a pattern cannot say."""
    local_part, domain = match.group("local_part", "domain")
    length = match.end() - match.start()
    # Most paths as a whole are shorter than what only a part of them may be.
    if length > MAXIMUM_LABEL_OCTETS or not match.string.isascii():
        if len(match[0].encode()) > MAXIMUM_PATH_OCTETS:
            raise AddressError("Path too long")
        if domain[0] != "[" and any(
            len(label.encode()) > MAXIMUM_LABEL_OCTETS for label in domain.split(".")
        ):
            raise AddressError("Label of a domain too long")
    if local_part[0] == '"':
        local_part = _QUOTED_PAIR.sub(r"\1", local_part[1:-1])
    if domain[0] == "[":
        return local_part, _address_literal(domain)
    return local_part, domain.lower()


def _address_literal(text: str) -> str:
    """Check what stands in brackets (RFC 5321 §4.1.3); other kinds than IP are not registered."""
    inner = text[1:-1]
    try:
        if inner[:5].upper() == "IPV6:":
            address = ipaddress.IPv6Address(inner[5:])
            if address.scope_id is not None:
                raise AddressError("Bad address literal")
            return f"[IPv6:{address}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise AddressError("Bad address literal") from None
