"""A message in 7 bits, for servers that take nothing else (RFC 2045 §6)."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections import deque
from email import errors, message_from_bytes
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Compat32
from typing import Any, TypeAlias

from smtpcb.client._errors import ContentError
from smtpcb.client._field import narrowed_field
from smtpcb.client._lines import MOST_LINE_OCTETS

_Message: TypeAlias = "Message[str, str]"

# Octets as they are; all else is encoded already, whatever it is.
_PLAIN = frozenset({"", "7bit", "8bit", "binary"})
_ODD = re.compile(rb"[\0\x80-\xff]|\r(?!\n)|[^\r\n]{%d}" % (MOST_LINE_OCTETS + 1))
_LINE_END = re.compile(r"\r\n|\r|\n")
# `email` reads on behind such a line; it would be lost.
_LOST = (
    errors.FirstHeaderLineIsContinuationDefect,
    errors.InvalidHeaderDefect,
    errors.MisplacedEnvelopeHeaderDefect,
)
# What is in these is signed, or may only be 7-bit (RFC 1847 §2, RFC 2046 §5.2.2 and §5.2.3).
_SEALED = frozenset({"multipart/signed", "multipart/encrypted"}) | {
    "message/partial",
    "message/external-body",
}


class _AsItIs(Compat32):
    """Fields stay as they were read, folds too."""

    def fold_binary(self, name: str, value: str) -> bytes:
        """Write a field."""
        text = _LINE_END.sub(self.linesep, value)
        return f"{name}: {text}{self.linesep}".encode("ascii", "surrogateescape")


_POLICY = _AsItIs(linesep="\r\n", mangle_from_=False)


def reencode(octets: bytes) -> bytes:
    """
    Return a message with nothing above 127, no NUL, and no line over 998 octets in its body.

    Text becomes quoted-printable, all else base64; parts that are 7-bit already stay as they are,
    and so do their fields.

    :raises ContentError: it cannot be: a signature would break, a part must not be encoded
        (RFC 2046 §5.2), or a field cannot be ASCII.
    """
    try:
        message = message_from_bytes(octets, policy=_POLICY)
        if message.get_unixfrom() or any(isinstance(one, _LOST) for one in message.defects):
            raise ContentError("this message does not begin with a header section")
        waiting: deque[tuple[_Message, str]] = deque([(message, "")])
        while waiting:
            part, sealed = waiting.popleft()
            sealed = sealed or (kind if (kind := part.get_content_type()) in _SEALED else "")
            changed = _narrow(part) | (_encode(part) if not part.is_multipart() else _open(part))
            if changed and sealed:
                raise ContentError(f"what is in {sealed} cannot be encoded anew")
            if part.is_multipart():
                parts: Any = part.get_payload()
                waiting += ((one, sealed) for one in parts)
        out = io.BytesIO()
        BytesGenerator(out, policy=_POLICY).flatten(message)
    except ContentError:
        raise
    # Whatever strangers have written: `email` says it in many ways.
    except Exception as error:
        raise ContentError(f"this message cannot be encoded anew: {error!r:.200}") from error
    return out.getvalue()


def _narrow(part: _Message) -> bool:
    """Write the fields that are no ASCII anew; return whether there were any."""
    fields = [(name, str(value)) for name, value in part.raw_items()]
    if all(value.isascii() for _, value in fields):
        return False
    for name, _ in fields:
        del part[name]
    for name, value in fields:
        text = value
        if not value.isascii():
            source = f"{name}:{value}".encode("ascii", "surrogateescape")
            try:
                written = narrowed_field(source).decode("ascii")
            except ValueError as error:
                raise ContentError(f"a field that cannot be ASCII: {error}") from error
            text = written.partition(":")[2].strip()
        part.set_raw(name, text)
    return True


def _open(part: _Message) -> bool:
    """Look at what stands around parts; return whether anything was changed."""
    changed = False
    for name in ("preamble", "epilogue"):
        text = getattr(part, name)
        if text and _ODD.search(text.encode("ascii", "surrogateescape")):
            setattr(part, name, None)  # no part of the message (RFC 2046 §5.1.1)
            changed = True
    # A part holds no more than its parts do (RFC 2045 §6.4).
    if str(part.get("Content-Transfer-Encoding", "7bit")).strip().lower() != "7bit":
        part.replace_header("Content-Transfer-Encoding", "7bit")
    return changed


def _encode(part: _Message) -> bool:
    """Encode a part that needs it; return whether it did."""
    encoding = str(part.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    plain = encoding in _PLAIN
    payload: Any = part.get_payload(decode=True) if plain else part.get_payload()
    octets = payload if plain else payload.encode("utf-8", "surrogatepass")
    if not _ODD.search(octets):
        if plain:
            _replace(part, "7bit")
        return False
    kind = part.get_content_maintype()
    if not plain or kind in ("multipart", "message"):
        raise ContentError(f"a part of {part.get_content_type()} that cannot be encoded anew")
    # In UTF-16 what looks like a line end is none.
    if kind == "text" and b"\0" not in octets:
        lines = (binascii.b2a_qp(line, istext=False) for line in re.split(rb"\r?\n", octets))
        part.set_payload(b"\r\n".join(lines).decode("ascii"))
        _replace(part, "quoted-printable")
    else:
        part.set_payload(base64.encodebytes(octets).decode("ascii"))
        _replace(part, "base64")
    return True


def _replace(part: _Message, encoding: str) -> None:
    if "Content-Transfer-Encoding" in part:
        part.replace_header("Content-Transfer-Encoding", encoding)
    elif encoding != "7bit":
        part["Content-Transfer-Encoding"] = encoding
