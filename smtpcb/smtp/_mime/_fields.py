"""What ``message["To"]`` and its kin give: the header objects of `email`, understood by us.

They are subclasses of `email.headerregistry`'s, with the attributes that are documented there.  The
text of one is what came, unfolded, with encoded words decoded where the field may hold them: it is
not written anew, so that it never says less than what was understood.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from datetime import datetime
from email import headerregistry
from email.errors import HeaderDefect, InvalidDateDefect, InvalidHeaderDefect
from email.policy import Policy
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

from smtpcb.smtp._header import field
from smtpcb.smtp._mime._addresses import AddressReader
from smtpcb.smtp._mime._charsets import clean
from smtpcb.smtp._mime._parameters import parameterized
from smtpcb.smtp._mime._words import BLANK, decode_words, tokens

# A date in any form of RFC 5322 fits, and `email` needs quadratic time for what is longer.
_MOST_DATE = 200
_VERSION = re.compile(r"(\d{1,9}) *\. *(\d{1,9})")
_OCTETS_PER_WORD = 45  # an encoded word has 75 characters at most (RFC 2047 §2)


class Told(str):
    """
    The value of a field as the ``header`` event tells it, within a message.

    :ivar source: the whole field as it came, folds included.
    """

    # A field can be four octets, and there may be a quarter of a million of them.
    __slots__ = ("_understood", "source")

    source: bytes
    _understood: Field | None

    @classmethod
    def of(cls, source: bytes) -> tuple[str, Told]:
        """Read a field that a `smtpcb.smtp._header.HeaderReader` has found."""
        name, value = field(source)
        told = cls(value)
        told.source = source
        told._understood = None
        return name, told

    def understood(self, name: str) -> Field:
        """Return the header object of this field; one that takes work is made once."""
        if self._understood is not None:
            return self._understood
        made = _CLASSES.get(name.lower(), Field)(name, str(self))
        if type(made) is not Field:
            self._understood = made
        return made


class Field(headerregistry.BaseHeader):
    """A field of any name."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Understand the value; this is how `email.headerregistry` asks for it."""
        _keep_text(value, kwds)
        kwds["decoded"], well = decode_words(value)
        if not well or ("\ufffd" in kwds["decoded"] and not kwds["defects"]):
            _note(kwds, InvalidHeaderDefect("an encoded word that cannot be decoded"))

    def fold(self, *, policy: Policy) -> str:
        """Return the field as lines, for a message it was copied into; in ASCII."""
        linesep: str = policy.linesep
        words: list[str] = []
        length = len(self.name) + 1
        for word in re.split("[ \t\r\n]+", self):
            for part in [word] if word.isascii() else _encoded(word):
                separator = " " if length + len(part) < 77 or not words else f"{linesep} "
                length = (length if separator == " " else 0) + 1 + len(part)
                words.append(separator + part)
        return f"{self.name}:{''.join(words)}{linesep}"

    def __reduce__(self) -> tuple[Any, ...]:
        # `email` makes such a class anew from its bases, which are others here.
        return str.__new__, (type(self), str(self)), self.__dict__


# What these mix in has an `init` and a `max_count` that fit `BaseHeader`, and types that do not:
# each has its own in the stubs, and a class of two such is refused there.


class AddressField(headerregistry.AddressHeader, Field):  # type: ignore[misc]
    """From, To and what else has addresses: ``.addresses``, ``.groups``."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        reader = AddressReader(value)
        for text in reader.defects:
            _note(kwds, InvalidHeaderDefect(text))
        kwds["groups"] = reader.groups
        _keep_text(value, kwds)
        # Decoding before quoting would let a display name look like one more address.
        if "=?" in value and "what is no address" not in reader.defects:
            kwds["decoded"] = ", ".join(map(str, reader.groups))


class SingleAddressField(AddressField):
    """Sender: ``.address``."""

    @property
    def address(self) -> headerregistry.Address:
        """The first address; the empty one, ``<>``, if there is none."""
        return self.addresses[0] if self.addresses else headerregistry.Address()


class DateField(headerregistry.DateHeader, Field):  # type: ignore[misc]
    """Date: ``.datetime``, which is ``None`` if it is no date."""

    @classmethod
    def parse(cls, value: Any, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        _keep_text(value, kwds)
        kwds["datetime"] = _date(kwds["decoded"])
        if kwds["datetime"] is None:
            _note(kwds, InvalidDateDefect("no date"))


class MimeVersionField(headerregistry.MIMEVersionHeader, Field):  # type: ignore[misc]
    """MIME-Version: ``.version``, ``.major``, ``.minor``."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        _keep_text(value, kwds)
        match = _VERSION.fullmatch(_without_comments(value))
        if match is None:
            _note(kwds, InvalidHeaderDefect("no version"))
        kwds["major"], kwds["minor"] = (int(match[1]), int(match[2])) if match else (None, None)
        kwds["version"] = f"{kwds['major']}.{kwds['minor']}" if match else None


class ContentTypeField(headerregistry.ContentTypeHeader, Field):  # type: ignore[misc]
    """Content-Type: ``.content_type``, ``.maintype``, ``.subtype``, ``.params``."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        maintype, slash, subtype = _parameterized(value, kwds).lower().partition("/")
        if not slash or not re.fullmatch(r"[^\s/]+/[^\s/]+", f"{maintype}/{subtype}"):
            # RFC 2045 §5.2
            _note(kwds, InvalidHeaderDefect("no content type, so that it is text/plain"))
            maintype, subtype = "text", "plain"
        kwds["parse_tree"] = SimpleNamespace(maintype=maintype, subtype=subtype)


class ContentDispositionField(headerregistry.ContentDispositionHeader, Field):  # type: ignore[misc]
    """Content-Disposition: ``.content_disposition``, ``.params``."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        disposition = _parameterized(value, kwds).lower()
        if not disposition:
            _note(kwds, InvalidHeaderDefect("no disposition"))
        kwds["parse_tree"] = SimpleNamespace(content_disposition=disposition or None)


class ContentTransferEncodingField(headerregistry.ContentTransferEncodingHeader, Field):  # type: ignore[misc]
    """Content-Transfer-Encoding: ``.cte``."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        _keep_text(value, kwds)
        cte = _without_comments(kwds["decoded"]).lower()
        if not re.fullmatch(r"\S+", cte):
            _note(kwds, InvalidHeaderDefect("no transfer encoding"))
        kwds["parse_tree"] = SimpleNamespace(cte=cte)


class MessageIdField(headerregistry.MessageIDHeader, Field):  # type: ignore[misc]
    """Message-ID: text, in which nothing is encoded."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """See `Field.parse`."""
        _keep_text(value, kwds)
        if not re.fullmatch(r"<[^<>\s]+>", _without_comments(value)):
            _note(kwds, InvalidHeaderDefect("no message identifier"))


# Those that `email.headerregistry` understands; all others are text.
_CLASSES: dict[str, type[Field]] = {
    **dict.fromkeys(
        ("to", "cc", "bcc", "from", "resent-to", "resent-cc", "resent-bcc", "resent-from"),
        AddressField,
    ),
    "reply-to": AddressField,
    **dict.fromkeys(("sender", "resent-sender"), SingleAddressField),
    **dict.fromkeys(("date", "resent-date", "orig-date"), DateField),
    "mime-version": MimeVersionField,
    "content-type": ContentTypeField,
    "content-disposition": ContentDispositionField,
    "content-transfer-encoding": ContentTransferEncodingField,
    "message-id": MessageIdField,
}


def _note(kwds: dict[str, Any], defect: HeaderDefect) -> None:
    kwds["defects"].append(defect)


def _keep_text(value: str, kwds: dict[str, Any]) -> None:
    kwds["parse_tree"] = None
    kwds["decoded"] = clean(value)
    if kwds["decoded"] != value:
        _note(kwds, InvalidHeaderDefect("octets that are no text"))


def _parameterized(value: str, kwds: dict[str, Any]) -> str:
    read = parameterized(value)
    for text in read.defects:
        _note(kwds, InvalidHeaderDefect(text))
    _keep_text(value, kwds)
    kwds["params"] = read.parameters
    return read.value


def _without_comments(value: str) -> str:
    return "".join(" " if kind == BLANK else text for kind, text in tokens(value)).strip()


def _date(value: str) -> datetime | None:
    if len(value) > _MOST_DATE:
        return None
    try:
        return parsedate_to_datetime(value)
    except Exception:
        # ValueError is documented; which others come has changed with every release.
        return None


def _encoded(word: str) -> list[str]:
    """Write a word as encoded words, no character cut in two."""
    parts: list[bytes] = [b""]
    for character in word:
        octets = character.encode("utf-8", "replace")
        if len(parts[-1]) + len(octets) > _OCTETS_PER_WORD:
            parts.append(b"")
        parts[-1] += octets
    return [f"=?utf-8?b?{b2a_base64(part, newline=False).decode('ascii')}?=" for part in parts]
