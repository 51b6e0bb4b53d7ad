"""A message of `email` as the octets that are sent."""

from __future__ import annotations

import io
import re
from collections import Counter
from email.generator import BytesGenerator
from email.message import Message
from email.policy import EmailPolicy
from typing import Any, TypeAlias

from smtpcb.client._errors import ContentError
from smtpcb.smtp import printable
from smtpcb.smtp._header import HeaderReader

_Message: TypeAlias = "Message[Any, Any]"

_NAME = re.compile(r"[!-9;-~]+")
# Of a value: what would begin another field, or the body.
_ENDS = re.compile(r"(?>\r\n|\r|\n)(?![ \t]+[^ \t\r\n])|\0")


def written(message: _Message) -> bytes:
    """
    Write a message as it stands at this time, by its own policy, with CRLF.

    Its fields are ASCII with encoded-words; only if an address in it is no ASCII are they UTF-8,
    and then the message needs SMTPUTF8: `email` would encode the address (RFC 2047 §5 forbids it).
    A line that begins with ``From`` stays as it is.

    :raises ContentError: it cannot be written, or a value in it would be several fields.
    """
    policy: Any = message.policy.clone(linesep="\r\n")
    out = io.BytesIO()
    try:
        if isinstance(policy, EmailPolicy) and any(map(_is_wide, message.values())):
            policy = policy.clone(utf8=True)
        for part in message.walk():
            _check_values(part)
        BytesGenerator(out, mangle_from_=False, policy=policy).flatten(message)
    except ContentError:
        raise
    # Whatever a message was made of: `email` finds out here, and says it in many ways.
    except Exception as error:
        raise ContentError(f"this message cannot be written: {error!r:.200}") from error
    octets = out.getvalue()
    _check_names(message, octets)
    return octets


def _check_values(part: _Message) -> None:
    for name, value in part.raw_items():
        if not _NAME.fullmatch(name) or _ENDS.search(str(value)):
            raise ContentError(f"no header field: '{printable(f'{name}: {value}', 80)}'")


def _check_names(message: _Message, octets: bytes) -> None:
    """
    Refuse a section that has other fields than the message had.

    `email` reads encoded-words when it folds a long field; a line end in one may become a line end.
    """
    reader = HeaderReader(len(octets))
    sources = [*reader.sources(octets), *reader.last_sources()]
    found = Counter(source.partition(b":")[0].decode("ascii").lower() for source in sources)
    meant = Counter(name.lower() for name in message)
    odd = {*(found - meant), *(meant - found)} - {"content-transfer-encoding"}
    if odd:
        raise ContentError(f"a header field that would become several: near {', '.join(odd)}")


def _is_wide(value: object) -> bool:
    """Whether it is a field with an address that is no ASCII."""
    addresses = getattr(value, "addresses", ())
    return any(not (one.username.isascii() and one.domain.isascii()) for one in addresses)
