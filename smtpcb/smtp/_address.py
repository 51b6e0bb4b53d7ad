"""Reverse-path and forward-path: read, written, compared (RFC 5321 §4.1.2)."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

from smtpcb.smtp import _grammar as grammar

# RFC 5321 §4.5.3.1.3, with the brackets: no domain in it passes §4.5.3.1.2's 255; RFC 1035 §2.3.4.
MAXIMUM_PATH_OCTETS = 256
MAXIMUM_LABEL_OCTETS = 63

_QUOTED_PAIR = re.compile(r"\\(.)")
_DOT_STRING = re.compile(grammar.DOT_STRING)
_BLANK = re.compile("[ \t]")
_DOMAIN = re.compile(f"{grammar.DOMAIN}|{grammar.ADDRESS_LITERAL}")


class AddressError(ValueError):
    """This is no path; the text says why and may be told to the client."""


class Leniency(enum.Enum):
    """In what way a line was wrong and was taken all the same; the value is a note about it."""

    BLANKS = "blanks where none belong"
    BRACKETS = "no brackets around the path"
    DOTS = "dots out of place in the local part"
    NO_DOMAIN = "a local part without a domain"
    FINAL_DOT = "a dot at the end of the domain"
    HOST_NAME = "a host name that is no domain of RFC 5321"
    LENGTH = "a path of more than 256 octets"

    __hash__ = object.__hash__


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
        if not local_part and not self.domain:
            return ""
        if not _DOT_STRING.fullmatch(local_part):
            escaped = local_part.replace("\\", "\\\\").replace('"', '\\"')
            local_part = f'"{escaped}"'
        return f"{local_part}@{self.domain}" if self.domain else local_part

    @property
    def wire(self) -> str:
        """
        The path as a command has it, in brackets; read back, it has the same meaning.

        :raises AddressError: it cannot be written: nothing that could end a command line can.
        """
        text = f"<{self}>"
        forward = isinstance(self, ForwardPath)
        found = (read_forward_path if forward else read_reverse_path)(text, lenient=True)
        if (
            found.rest
            or found.path.local_part != self.local_part
            # A blank that is forgiven to a client is part of a domain here.
            or Leniency.BLANKS in found.leniencies
        ):
            raise AddressError("This path cannot be written")
        return text

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
        """
        Whether it is ``<Postmaster>`` without a domain, whom every server takes mail for (§4.5.1).

        With a domain it is somebody's postmaster; whose, only the domain says.
        """
        return not self.domain and self.local_part.lower() == "postmaster"


AnyPath = TypeVar("AnyPath", bound=Path)


class PathRead(NamedTuple, Generic[AnyPath]):
    """
    What `read_reverse_path` and `read_forward_path` found.

    :ivar rest: the text behind the path.
    :ivar internationalized: the path as it was received, its source route included, is not ASCII.
    :ivar leniencies: what was wrong with it, in the order of `Leniency`.
    """

    path: AnyPath
    rest: str
    internationalized: bool = False
    leniencies: tuple[Leniency, ...] = ()


def read_reverse_path(text: str, *, lenient: bool = False) -> PathRead[ReversePath]:
    """
    Read what follows ``FROM:``.

    :param lenient: take what real clients get wrong; see `Leniency`.
    :raises AddressError: there is no path.
    """
    match = grammar.NULL_PATH.match(text)
    if match is not None:
        return PathRead(ReversePath.NULL, text[match.end() :])
    match = grammar.LENIENT_NULL_PATH.match(text) if lenient else None
    if match is not None:
        return PathRead(ReversePath.NULL, text[match.end() :], False, (Leniency.BLANKS,))
    found = _read_path(ReversePath, text, lenient=lenient)
    if found is None:
        raise AddressError("A path is <local-part@domain> or <>")
    return found


def read_forward_path(text: str, *, lenient: bool = False) -> PathRead[ForwardPath]:
    """
    Read what follows ``TO:``.

    :param lenient: take what real clients get wrong; see `Leniency`.
    :raises AddressError: there is no path.
    """
    match = grammar.POSTMASTER.match(text)
    if match is not None:
        return PathRead(ForwardPath(match[1], ""), text[match.end() :])
    found = _read_path(ForwardPath, text, lenient=lenient)
    if found is None:
        raise AddressError("A path is <local-part@domain>")
    return found


def _read_path(kind: type[AnyPath], text: str, *, lenient: bool) -> PathRead[AnyPath] | None:
    """Read a path that has a mailbox in it, or if it may be wrong, perhaps less."""
    match = grammar.PATH.match(text)
    if match is not None and not (lenient and _too_long(match)):
        _check_length(match)
        local_part, domain = _meaning(*match.group("local_part", "domain"))
        leniencies: tuple[Leniency, ...] = ()
    else:
        match = grammar.LENIENT_PATH.match(text) if lenient else None
        if match is None:
            return None
        local_part, domain, leniencies = _loosely(match)
    path = kind(local_part, domain)
    return PathRead(path, text[match.end() :], not match[0].isascii(), leniencies)


def read_mailbox(text: str) -> ReversePath:
    """
    Read a mailbox without brackets, and nothing behind it (RFC 5321 §4.1.2).

    :raises AddressError: it is none.
    """
    match = grammar.MAILBOX_PATTERN.fullmatch(text)
    if match is None:
        raise AddressError("A mailbox is local-part@domain")
    _check_length(match)
    return ReversePath(*_meaning(*match.group("local_part", "domain")))


def _too_long(match: re.Match[str]) -> bool:
    return len(match[0].lstrip(" \t").encode()) > MAXIMUM_PATH_OCTETS


def _check_length(match: re.Match[str]) -> None:
    """Refuse what passes the limits that a pattern cannot say."""
    length = match.end() - match.start()
    # Most paths as a whole are shorter than what only a part of them may be.
    if length > MAXIMUM_LABEL_OCTETS or not match[0].isascii():
        if _too_long(match):
            raise AddressError("Path too long")
        _check_labels(match["domain"])


def _check_labels(domain: str) -> None:
    if domain[:1] != "[" and any(
        len(label.encode()) > MAXIMUM_LABEL_OCTETS for label in domain.split(".")
    ):
        raise AddressError("Label of a domain too long")


def _meaning(local_part: str, domain: str) -> tuple[str, str]:
    """Return what local-part and domain mean: unquoted, and in lower case."""
    if local_part[0] == '"':
        local_part = _QUOTED_PAIR.sub(r"\1", local_part[1:-1])
    if domain[0] == "[":
        return local_part, _address_literal(domain)
    return local_part, _lower(domain)


def _lower(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    # What is not ASCII must not become ASCII: the KELVIN SIGN's lower case is a k.
    return "".join(
        lower if char.isascii() or not lower[0].isascii() else char
        for char, lower in ((char, char.lower()) for char in domain)
    )


def _loosely(match: re.Match[str]) -> tuple[str, str, tuple[Leniency, ...]]:
    """Return local-part and domain of a path that is wrong, and in what way it is."""
    local_part, domain = match.group("local_part", "domain")
    before = match.string[match.start("inner") : match.start("local_part")]
    behind = match.string[match.end("local_part") : match.end("inner")]
    used = []
    if _BLANK.search(before + behind):
        used.append(Leniency.BLANKS)
    if match["open"] is None:
        used.append(Leniency.BRACKETS)
    if local_part[0] != '"' and not _DOT_STRING.fullmatch(local_part):
        used.append(Leniency.DOTS)
    if domain is None:
        if local_part == '""':
            raise AddressError("A path is <local-part@domain>")  # nobody, and no bounce either
        used.append(Leniency.NO_DOMAIN)
        domain = ""
    elif domain[0] != "[":
        if domain[-1] == ".":
            used.append(Leniency.FINAL_DOT)
            domain = domain[:-1]
        if not _DOMAIN.fullmatch(domain):
            used.append(Leniency.HOST_NAME)
    if _too_long(match):
        used.append(Leniency.LENGTH)
    _check_labels(domain)
    if domain:
        return *_meaning(local_part, domain), tuple(used)
    return _meaning(local_part, "x")[0], "", tuple(used)


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
