"""Octets as text, in the charset that a stranger names, if it is one (RFC 2046 §4.1.2)."""

from __future__ import annotations

import binascii
import re
from encodings.aliases import aliases

# Codecs that are no charset, need quadratic time (punycode), warn, or raise whatever is asked of
# them.  Only names of this table are looked up: Python remembers each name that it did not
# find, for ever, and tries to import it.
_NO_CHARSETS = {
    *("base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "oem", "punycode", "quopri_codec"),
    *("raw_unicode_escape", "rot_13", "tactis", "undefined", "unicode_escape", "uu_codec"),
    "zlib_codec",
}
_CHARSETS = {name: name for name in aliases.values() if name not in _NO_CHARSETS} | {
    alias: name for alias, name in aliases.items() if name not in _NO_CHARSETS
}
_CHARSETS |= {"utf_8_sig": "utf_8_sig", "cp874": "cp874", "windows_874": "cp874"}
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = bytes(
    octet
    for octet in range(256)
    if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)
_BLANKS = b" \t\r\n"
_MOST_NAME = 64


def codec_of(charset: str) -> str | None:
    """Return the name by which Python knows a charset; ``None`` if it had better not."""
    if len(charset) > _MOST_NAME:
        return None
    name = _SEPARATORS.sub("_", charset.strip().lower()).strip("_")
    # Many write cp-850 for cp850, and iso-8859-8-i for what is iso-8859-8 but for its direction.
    for candidate in (name, name.replace("_", ""), name.removesuffix("_i").removesuffix("_e")):
        if candidate in _CHARSETS:
            return _CHARSETS[candidate]
    return None


def decode(octets: bytes, charset: str, errors: str = "replace") -> str:
    """
    Return octets as text.

    :param charset: one that is not known is taken for UTF-8, of which US-ASCII is a part.
    :raises UnicodeError: ``errors`` asks for it.
    """
    return octets.decode(codec_of(charset) or "utf-8", errors)


def clean(text: str) -> str:
    """Replace what no text can hold: octets that were no UTF-8, halves of surrogate pairs."""
    return _SURROGATES.sub("\ufffd", text)


def from_base64(octets: bytes) -> tuple[bytes, bool]:
    """Decode base64 as far as it goes (RFC 2045 §6.8); return whether it was well-formed, too."""
    data = octets.translate(None, _NOT_BASE64)
    whole = len(data) == len(octets.translate(None, _BLANKS)) and len(data) % 4 == 0
    try:
        return binascii.a2b_base64(data), whole
    except binascii.Error:
        data = data.replace(b"=", b"")
        data = data[: len(data) - (len(data) % 4 == 1)]
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4)), False


def from_uuencode(octets: bytes) -> bytes:
    """Decode uuencoded octets, which begin with ``begin``; return them as they are if wrong."""
    lines = iter(octets.splitlines())
    if not any(line.startswith(b"begin ") for line in lines):
        return octets
    data: list[bytes] = []
    for line in lines:
        if line.strip() == b"end":
            break
        try:
            # Some write more behind the length they give.
            length = (line[0] - 32) & 63 if line else 0
            data.append(binascii.a2b_uu(line[: 1 + (length + 2) // 3 * 4])[:length])
        except binascii.Error:
            return octets
    return b"".join(data)
